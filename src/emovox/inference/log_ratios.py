"""What a reference does to probabilities, told from probabilities alone: no second run, and no embedding.

With logits = W (embedding - reference) + b, W embedding = log p - log neutral up to a constant, where neutral =
softmax(b) is what the model says of the default reference (`BundleMetadata.neutral`). So the mean of these log ratios
(centred: Aitchison, 1986) over some clips, taken from log p, does what their mean embedding does inside the graph. It
has one number a label, and the browser computes it likewise (`server/page/voice.js`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from emovox.errors import BundleError
from emovox.inference.adaptation import (
    CLIP_S,
    HALF_LIFE_S,
    Parts,
    Reference,
    RunningReference,
    telling,
    weighted_mean,
)
from emovox.inference.bundle import Bundle, Floats

SMALLEST_PROBABILITY = 1e-30
"""Below it float32 has fewer digits, and soon none."""

LARGEST_WEIGHT_S = HALF_LIFE_S / math.log(2)
"""What a running reference weighs after hours of speech, in seconds: no other one may weigh more."""

Ratios = npt.NDArray[np.float64]


def log_ratios(probabilities: npt.ArrayLike, neutral: npt.ArrayLike) -> Ratios:
    """Tell what the embedding adds to each logit: clr(p) - clr(neutral), with clr(p) = log p - mean(log p).

    Args:
        probabilities: shape (n, labels), unadapted; below `SMALLEST_PROBABILITY` they count as that.
        neutral: shape (labels,).

    Returns:
        Shape (n, labels), rows with sum 0.

    Example:
        >>> log_ratios([[0.5, 0.5]], [0.2, 0.8]).round(3).tolist()
        [[0.693, -0.693]]
    """
    found = _logs(probabilities) - _logs(neutral)
    return np.asarray(found - found.mean(axis=-1, keepdims=True))


def measured_from(probabilities: npt.ArrayLike, reference: npt.ArrayLike) -> Floats:
    """Take a reference from log probabilities; rows that tell nothing (`telling`) stay as they are.

    Args:
        probabilities: shape (n, labels), unadapted.
        reference: log ratios, shape (labels,).

    Returns:
        Adapted probabilities, shape (n, labels).

    Example:
        >>> measured_from([[0.4, 0.6]], log_ratios([[0.4, 0.6]], [0.2, 0.8])[0]).round(3).tolist()
        [[0.20000000298023224, 0.800000011920929]]
    """
    logs = _logs(probabilities) - np.asarray(reference, dtype=np.float64)
    exponents = np.exp(logs - logs.max(axis=-1, keepdims=True))
    moved = exponents / exponents.sum(axis=-1, keepdims=True)
    return np.where(telling(probabilities)[:, None], moved, probabilities).astype(np.float32)


def _logs(probabilities: npt.ArrayLike) -> Ratios:
    return np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), SMALLEST_PROBABILITY))


class Voice:
    """What a stream knows of the voice that it hears: the running reference of its utterances, as log ratios.

    Args:
        bundle: the model.
        start: the reference that the bundle's results are measured from already; where the voice starts from.

    Raises:
        BundleError: ``cannot_adapt``.
    """

    def __init__(self, bundle: Bundle, *, start: Reference | None = None) -> None:
        bundle.require_adaptable()
        if bundle.meta.neutral is None:
            raise BundleError(
                f"cannot adapt in streams: the model {bundle.identity} says nothing of its default reference",
                code="cannot_adapt",
                path=bundle.path,
                remedy="Export it with this version of emovox, or use another model.",
            )
        self.labels = bundle.meta.labels
        self._neutral = np.asarray(bundle.meta.neutral, dtype=np.float64)
        self._running = RunningReference(len(self.labels))
        if start is not None:  # what it heard lies at the reference, which is 0 here
            weight_s = min(start.clips * CLIP_S, LARGEST_WEIGHT_S)
            self._running.resume(np.zeros(len(self.labels)), weight_s=weight_s, seconds=start.seconds)

    @property
    def seconds(self) -> float:
        """How much speech the reference holds; 0 leaves results unadapted."""
        return self._running.seconds

    def measure(self, parts: Parts) -> Floats:
        """Give the adapted probabilities of some sound, shape (labels,)."""
        return weighted_mean(measured_from(parts.probabilities, self._running.value), parts.weights)

    def hear(self, parts: Parts, seconds: float) -> None:
        """Take in an utterance, or what of it is a voice; `measure` it before, or it is measured from itself."""
        kept = telling(parts.probabilities)
        if kept.any():
            ratios, weights = log_ratios(parts.probabilities[kept], self._neutral), parts.weights[kept]
            seconds *= float(weights.sum() / parts.weights.sum())
            self._running.update(np.average(ratios, axis=0, weights=weights), seconds)

    def to_dict(self) -> dict[str, Any]:
        """Give what is known as plain data for JSON, for `resume`."""
        mean = {label: round(float(value), 6) for label, value in zip(self.labels, self._running.mean, strict=True)}
        return {
            "seconds": round(self.seconds, 3),
            "weight_s": round(self._running.weight_s, 6),
            "log_ratios": mean,
        }

    def resume(self, *, seconds: float, weight_s: float, log_ratios: Mapping[str, float]) -> None:
        """Go on from what `to_dict` gave.

        Raises:
            KeyError: if it is of a model with other labels.
            ParameterError: if a value makes no sense.
        """
        mean = [log_ratios[label] for label in self.labels]
        self._running.resume(mean, weight_s=min(weight_s, LARGEST_WEIGHT_S), seconds=seconds)
