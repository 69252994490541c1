"""Metrics: pure functions over confusion matrices and probabilities, and intervals by bootstrap.

A confusion matrix has the truth in its rows and the prediction in its columns. Functions of one also take a stack of
them, shape (..., k, k), which is what makes the bootstrap fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from emovox.errors import ParameterError

Counts: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = Sequence[str] | npt.NDArray[Any]

MINIMUM_SPEAKERS = 10
"""With fewer speakers than this, the bootstrap draws clips: so few people say little about people in general."""

ECE_BINS = 15


def confusion(truth: Labels, predicted: Labels, labels: Sequence[str]) -> Counts:
    """Count how often each emotion was taken for each.

    Args:
        truth, predicted: labels, shape (n,).
        labels: order of rows and columns; every label of `truth` and `predicted` must be among them.

    Returns:
        Counts of shape (k, k); [i, j] is the number of clips of ``labels[i]`` that were taken for ``labels[j]``.

    Example:
        >>> confusion(["sad", "sad", "angry"], ["sad", "angry", "angry"], ["angry", "sad"]).tolist()
        [[1, 0], [1, 1]]
    """
    size = len(labels)
    cells = _codes(truth, labels) * size + _codes(predicted, labels)
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def normalised(matrix: npt.NDArray[Any]) -> Floats:
    """Divide each row of a confusion matrix by its sum; the diagonal is then the recall. Rows without clips stay 0.

    Example:
        >>> normalised(np.array([[3, 1], [0, 0]])).tolist()
        [[0.75, 0.25], [0.0, 0.0]]
    """
    return _divide(matrix, matrix.sum(axis=-1, keepdims=True))


def accuracy(matrix: npt.NDArray[Any]) -> Floats:
    """Share of clips that are right: sum_i M[i, i] / sum_ij M[i, j].

    Args:
        matrix: confusion matrix or stack of them, shape (..., k, k).

    Returns:
        In [0, 1], shape (...); 0 without clips.

    Example:
        >>> float(accuracy(np.array([[8, 2], [1, 1]])))
        0.75
    """
    return _divide(_diagonal(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def uar(matrix: npt.NDArray[Any]) -> Floats:
    """Unweighted average recall: mean over classes of M[i, i] / sum_j M[i, j].

    Only classes that occur in the truth are averaged: a corpus without a class cannot be recalled in it. Chance is
    1 / number of these classes, whatever their sizes. Equals scikit-learn's ``balanced_accuracy_score``.

    Args:
        matrix: confusion matrix or stack of them, shape (..., k, k).

    Returns:
        In [0, 1], shape (...); 0 without clips.

    Example:
        >>> float(uar(np.array([[8, 2, 0], [1, 1, 0], [0, 0, 0]])))
        0.65
    """
    support = matrix.sum(axis=-1)
    recall = _divide(_diagonal(matrix), support)
    return _divide(recall.sum(axis=-1), (support > 0).sum(axis=-1))


def weighted_f1(matrix: npt.NDArray[Any]) -> Floats:
    """Mean of the classes' F1, weighted by how often they occur in the truth.

    F1_i = 2 M[i, i] / (sum_j M[i, j] + sum_j M[j, i]), the harmonic mean of precision and recall.

    Args:
        matrix: confusion matrix or stack of them, shape (..., k, k).

    Returns:
        In [0, 1], shape (...); 0 without clips.

    Example:
        >>> round(float(weighted_f1(np.array([[8, 2], [1, 1]]))), 4)
        0.7684
    """
    support = matrix.sum(axis=-1)
    f1 = _divide(2 * _diagonal(matrix), support + matrix.sum(axis=-2))
    return _divide((f1 * support).sum(axis=-1), support.sum(axis=-1))


@dataclass(frozen=True)
class ClassRow:
    """One line of a per-class report; all but `support` lie in [0, 1]."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


def class_report(matrix: npt.NDArray[Any], labels: Sequence[str]) -> list[ClassRow]:
    """Precision, recall, F1 and support of each class, then their averages.

    precision_i = M[i, i] / sum_j M[j, i], recall_i = M[i, i] / sum_j M[i, j]; 0 where nothing is divided.
    ``macro average`` is the plain mean over the classes that occur in the truth (its recall is the UAR),
    ``weighted average`` weights them by support.

    Args:
        matrix: one confusion matrix, shape (k, k).
        labels: names of its rows.

    Returns:
        k + 2 rows.
    """
    support = matrix.sum(axis=1)
    hits = _diagonal(matrix)
    columns = np.stack(
        [
            _divide(hits, matrix.sum(axis=0)),
            _divide(hits, support),
            _divide(2 * hits, support + matrix.sum(axis=0)),
        ]
    )
    names = [*labels, "macro average", "weighted average"]
    for weights in ((support > 0).astype(float), support.astype(float)):
        columns = np.column_stack([columns, _divide(columns[:, : len(labels)] @ weights, weights.sum())])
    supports = [*support, support.sum(), support.sum()]
    return [
        ClassRow(name, float(column[0]), float(column[1]), float(column[2]), int(count))
        for name, column, count in zip(names, columns.T, supports, strict=True)
    ]


def ece(
    truth: Labels,
    probabilities: npt.NDArray[Any],
    labels: Sequence[str],
    *,
    bins: int = ECE_BINS,
    weight: npt.ArrayLike | None = None,
) -> float:
    """Expected calibration error: how far the confidence is from the share that is right.

    The clips are sorted into bins of equal width by the probability of the predicted class (Naeini et al. 2015, in
    the form of Guo et al. 2017, eq. 3): ECE = sum_b n_b / n * |accuracy_b - mean confidence_b|.

    Args:
        truth: labels, shape (n,).
        probabilities: shape (n, k), rows sum to 1, columns in the order of `labels`.
        labels: names of the columns.
        bins: number of bins in [0, 1].
        weight: of each clip, shape (n,), positive; None where all count alike.

    Returns:
        In [0, 1]; 0 is perfect, and the value without clips.

    Example:
        >>> round(ece(["a", "a"], np.array([[0.9, 0.1], [0.3, 0.7]]), ["a", "b"]), 6)
        0.4
    """
    if not len(truth):
        return 0.0
    confidence = probabilities.max(axis=1).astype(float)
    right = probabilities.argmax(axis=1) == _codes(truth, labels)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=float)
    gap = np.bincount(bin_of, (right - confidence) * counts, minlength=bins)
    return float(np.abs(gap).sum() / counts.sum())


def brier(truth: Labels, probabilities: npt.NDArray[Any], labels: Sequence[str]) -> float:
    """Brier score (Brier 1950): mean over clips of sum_k (p_k - [truth is k])^2.

    Args:
        truth, probabilities, labels: as for `ece`.

    Returns:
        In [0, 2]; 0 is perfect. One who always gives 1/k to each class gets 1 - 1/k.

    Example:
        >>> brier(["a"], np.array([[0.5, 0.5]]), ["a", "b"])
        0.5
    """
    if not len(truth):
        return 0.0
    wanted = np.eye(len(labels))[_codes(truth, labels)]
    return float(((probabilities.astype(float) - wanted) ** 2).sum(axis=1).mean())


@dataclass(frozen=True)
class Interval:
    """A 95 % interval; both ends in [0, 1]."""

    low: float
    high: float


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of the headline metrics, and what was drawn to get them."""

    uar: Interval
    accuracy: Interval
    weighted_f1: Interval
    over: Literal["speakers", "clips"]


def bootstrap_interval(
    truth: Labels,
    predicted: Labels,
    labels: Sequence[str],
    *,
    speakers: Labels | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Bootstrap:
    """How far the metrics would move with other speakers: percentile bootstrap (Efron & Tibshirani 1993, ch. 13).

    Speakers are drawn with replacement, each with all of his or her clips, because clips of one speaker are not
    independent. With fewer than `MINIMUM_SPEAKERS` speakers, or where one is unknown, clips are drawn instead: such an
    interval is too narrow, which is why the result says what was drawn.

    Args:
        truth, predicted: labels, shape (n,), n >= 1.
        labels: all classes.
        speakers: shape (n,); empty text where unknown; None if no speaker is known.
        resamples: number of draws.
        level: share of the draws inside the interval, 0 < level < 1.
        seed: of the draws.

    Returns:
        The interval of each metric.

    Raises:
        ParameterError: without clips, or if an argument is out of its range.
    """
    if not len(truth) or resamples < 1 or not 0 < level < 1:
        raise ParameterError(f"cannot bootstrap {len(truth)} clips, {resamples} times, at level {level}")
    random = np.random.default_rng(seed)
    size = len(labels)
    cells = _codes(truth, labels) * size + _codes(predicted, labels)
    names, owner = np.unique(np.asarray(["" for _ in truth] if speakers is None else speakers), return_inverse=True)
    over: Literal["speakers", "clips"]
    if len(names) >= MINIMUM_SPEAKERS and "" not in names:
        over = "speakers"
        # One matrix a speaker; a resample is a sum of them, weighted by how often each was drawn.
        table = np.bincount(owner * size**2 + cells, minlength=len(names) * size**2).reshape(len(names), -1)
        draws = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples) @ table
    else:
        over = "clips"
        # Drawing n clips with replacement is drawing n cells of the confusion matrix.
        counts = np.bincount(cells, minlength=size**2)
        draws = random.multinomial(len(cells), counts / len(cells), size=resamples)
    stack = draws.reshape(resamples, size, size)
    tails = [(1 - level) / 2, (1 + level) / 2]

    def interval(values: Floats) -> Interval:
        low, high = np.quantile(values, tails)
        return Interval(float(low), float(high))

    return Bootstrap(interval(uar(stack)), interval(accuracy(stack)), interval(weighted_f1(stack)), over)


@dataclass(frozen=True)
class Scores:
    """Everything that is said about one set of predictions.

    Attributes:
        labels: order of the confusion matrix.
        clips, speakers: how many were tested; unknown speakers are not counted.
        uar, accuracy, weighted_f1, ece, brier: see the functions of these names.
        interval: 95 % intervals.
        matrix: confusion matrix, counts, shape (k, k).
        report: per class.
    """

    labels: tuple[str, ...]
    clips: int
    speakers: int
    uar: float
    accuracy: float
    weighted_f1: float
    ece: float
    brier: float
    interval: Bootstrap
    matrix: Counts
    report: list[ClassRow]


def score(
    truth: Labels,
    probabilities: npt.NDArray[Any],
    labels: Sequence[str],
    *,
    predicted: Labels | None = None,
    speakers: Labels | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Scores:
    """Measure one set of predictions with every metric.

    Args:
        truth: labels, shape (n,).
        probabilities: shape (n, k), columns in the order of `labels`.
        labels: all classes.
        predicted: shape (n,); None takes the most probable label of each row.
        speakers: for the interval, shape (n,).
        resamples, seed: for the interval.

    Example:
        >>> result = score(["a", "b", "b"], np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]), ["a", "b"])
        >>> result.uar, round(result.accuracy, 3), result.interval.over
        (0.75, 0.667, 'clips')
    """
    if probabilities.shape != (len(truth), len(labels)):
        raise ParameterError(f"{len(truth)} clips and {len(labels)} classes, but probabilities {probabilities.shape}")
    if predicted is None:
        predicted = np.asarray(labels)[probabilities.argmax(axis=1)]
    matrix = confusion(truth, predicted, labels)
    return Scores(
        labels=tuple(labels),
        clips=len(truth),
        speakers=0 if speakers is None else len(set(speakers) - {""}),
        uar=float(uar(matrix)),
        accuracy=float(accuracy(matrix)),
        weighted_f1=float(weighted_f1(matrix)),
        ece=ece(truth, probabilities, labels),
        brier=brier(truth, probabilities, labels),
        interval=bootstrap_interval(truth, predicted, labels, speakers=speakers, resamples=resamples, seed=seed),
        matrix=matrix,
        report=class_report(matrix, labels),
    )


def _codes(values: Labels, labels: Sequence[str]) -> npt.NDArray[np.intp]:
    order = np.argsort(np.asarray(labels, dtype=str))
    ordered = np.asarray(labels, dtype=str)[order]
    items = np.asarray(values, dtype=str)
    places = np.clip(np.searchsorted(ordered, items), 0, len(ordered) - 1)
    strange = ordered[places] != items
    if strange.any():
        raise ParameterError(f"label {str(items[strange][0])!r} is not among {', '.join(labels)}")
    return order[places]


def _diagonal(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.diagonal(matrix, axis1=-2, axis2=-1)


def _divide(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Floats:
    below = np.asarray(below, dtype=float)
    quotient: Floats = np.zeros(np.broadcast_shapes(np.shape(above), below.shape))
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
