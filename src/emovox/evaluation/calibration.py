"""Whether a model is as sure as it is right, and how to make it so: reliability and temperature scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emovox.errors import ParameterError
from emovox.evaluation.cells import STEP
from emovox.evaluation.metrics import ECE_BINS, Floats, Labels, confusion

LOWEST_TEMPERATURE = 0.05
HIGHEST_TEMPERATURE = 20.0


def fit_temperature(probabilities: npt.NDArray[Any], truth: Labels, labels: Sequence[str]) -> float:
    """Find the temperature under which the truth is most probable (Guo et al. 2017, section 4.2).

    Minimises mean_i -log softmax(log p_i / T)[truth_i], which has one minimum in T. Probabilities stand for the
    logits, which differ from their logarithms by a constant only; they count as `emovox.evaluation.cells.STEP` at
    least, the step in which studies keep them.

    Fit on clips that are not tested, such as validation clips: a temperature that has seen the test flatters it.

    Args:
        probabilities: shape (n, k), columns in the order of `labels`.
        truth: labels, shape (n,), n >= 1.
        labels: names of the columns.

    Returns:
        In [`LOWEST_TEMPERATURE`, `HIGHEST_TEMPERATURE`]: over 1 for a model that was too sure of itself, below 1 for
        one that was too timid.

    Raises:
        ParameterError: without clips, with an unknown label, or where shapes do not fit or a value is no probability.

    Example:
        >>> boastful = np.array([[0.99, 0.01], [0.99, 0.01], [0.01, 0.99], [0.99, 0.01]])
        >>> round(fit_temperature(boastful, ["a", "a", "b", "b"], ["a", "b"]), 2)
        4.18
    """
    from scipy.optimize import minimize_scalar

    if not len(truth):
        raise ParameterError("a temperature cannot be fitted to 0 clips")
    _check(truth, probabilities, labels)
    logits = _logarithms(probabilities)
    wanted = _is_label(truth, labels)

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        # The largest logarithm is taken off, so that none overflows.
        scaled -= scaled.max(axis=1, keepdims=True)
        return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[wanted]).mean())

    bounds = (float(np.log(LOWEST_TEMPERATURE)), float(np.log(HIGHEST_TEMPERATURE)))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def apply_temperature(probabilities: npt.NDArray[Any], temperature: float) -> Floats:
    """Make probabilities more even (temperature > 1) or more extreme (< 1): softmax(log p / T).

    The order of the classes in a row stays the same, and with it every metric but `metrics.ece` and `metrics.brier`.

    Args:
        probabilities: shape (n, k), in [0, 1]; counted as `emovox.evaluation.cells.STEP` at least.
        temperature: > 0.

    Returns:
        Shape (n, k), rows sum to 1.

    Raises:
        ParameterError: if the temperature is not positive.

    Example:
        >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
        [[0.667, 0.333]]
    """
    if not 0 < temperature < np.inf:
        raise ParameterError(f"temperature must be positive, got {temperature}")
    scaled = _logarithms(probabilities) / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    evened: Floats = raised / raised.sum(axis=1, keepdims=True)
    return evened


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Clips of similar confidence; a bar of a reliability diagram.

    Attributes:
        low, high: edges, low < confidence <= high (the first bin takes 0 too).
        clips: how many, >= 1.
        share: of all clips, in (0, 1].
        confidence: mean probability of the predicted class.
        accuracy: share of these clips that is right.
    """

    low: float
    high: float
    clips: int
    share: float
    confidence: float
    accuracy: float


def reliability(
    truth: Labels, probabilities: npt.NDArray[Any], labels: Sequence[str], *, bins: int = ECE_BINS
) -> list[Bin]:
    """Sort clips by confidence and say how many of each bin are right (Guo et al. 2017, section 2).

    The bins are those of `metrics.ece`, which is the sum of share * |accuracy - confidence| over them.

    Args:
        truth: labels, shape (n,).
        probabilities: shape (n, k), rows sum to 1, columns in the order of `labels`.
        labels: names of the columns.
        bins: number of bins of equal width in [0, 1], >= 1.

    Returns:
        The bins that hold clips, from unsure to sure.

    Raises:
        ParameterError: without bins, with an unknown label, or where shapes do not fit or a value is no probability.

    Example:
        >>> for bin in reliability(["a", "b"], np.array([[0.9, 0.1], [0.9, 0.1]]), ["a", "b"], bins=2):
        ...     print(bin)
        Bin(low=0.5, high=1.0, clips=2, share=1.0, confidence=0.9, accuracy=0.5)
    """
    if bins < 1:
        raise ParameterError(f"reliability needs one bin or more, got {bins}")
    if not len(truth):
        return []
    _check(truth, probabilities, labels)
    confidence = probabilities.max(axis=1).astype(float)
    right = np.asarray(labels, dtype=str)[probabilities.argmax(axis=1)] == np.asarray(truth, dtype=str)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for number in np.unique(bin_of):
        inside = bin_of == number
        found.append(
            Bin(
                low=float(number / bins),
                high=float((number + 1) / bins),
                clips=int(inside.sum()),
                share=float(inside.mean()),
                confidence=float(confidence[inside].mean()),
                accuracy=float(right[inside].mean()),
            )
        )
    return found


def _logarithms(probabilities: npt.NDArray[Any]) -> Floats:
    logarithms: Floats = np.log(np.clip(probabilities.astype(float), STEP, None))
    return logarithms


def _is_label(truth: Labels, labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    matches: npt.NDArray[np.bool_] = np.asarray(truth, dtype=str)[:, np.newaxis] == np.asarray(labels, dtype=str)
    return matches


def _check(truth: Labels, probabilities: npt.NDArray[Any], labels: Sequence[str]) -> None:
    confusion(truth, truth, labels)  # refuses an unknown label
    if probabilities.shape != (len(truth), len(labels)):
        raise ParameterError(f"{len(truth)} clips and {len(labels)} classes, but probabilities {probabilities.shape}")
    if not ((probabilities >= 0) & (probabilities <= 1 + STEP)).all():
        raise ParameterError("probabilities must lie between 0 and 1")
