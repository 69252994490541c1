"""Which of several models differ: pairs of models on the same test clips, by bootstrap over speakers.

All models are measured on the same draws of speakers, so that a difference is that of the models and not of the people
who happened to be drawn. Of many pairs some differ by chance: the p-values are corrected for that.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from emovox.errors import ParameterError
from emovox.evaluation.metrics import MINIMUM_SPEAKERS, Floats, Labels, confusion, uar

SIGNIFICANCE = 0.05
"""Pairs with a corrected p-value of at most this are called different."""

_CHUNK = 4_000_000
"""Numbers that are held at a time for the draws (32 MB)."""

_ROUNDING = 1e-9
"""Differences in UAR that differ by less are the same."""

logger = logging.getLogger(__name__)

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same clips.

    Attributes:
        first, second: names of the models.
        difference: UAR of the first less UAR of the second, in [-1, 1].
        low, high: 95 % percentile interval of the difference; not corrected for the number of pairs.
        p: two-sided p-value of "they are equally good", in (0, 1].
        p_holm: the same after Holm's correction for all pairs of the call.
        different: whether p_holm is at most `SIGNIFICANCE`.
        over: what was drawn. Over ``clips``, p is too small and the interval too narrow.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    different: bool
    over: Literal["speakers", "clips"]


def compare(
    truth: Labels,
    predicted: Mapping[str, Labels],
    labels: Sequence[str],
    speakers: Labels | None,
    *,
    against: str | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> list[Comparison]:
    """Test which models differ in UAR, by paired bootstraps over speakers.

    The interval is that of `metrics.bootstrap_interval`: speakers are drawn with replacement, each with all clips and
    with the predictions of all models (Efron & Tibshirani 1993, ch. 13).

    The p-value imposes "equally good" (wild cluster bootstrap with Rademacher weights, Cameron, Gelbach & Miller
    2008). A difference d is a sum over speakers, since UAR = sum_s sum_c hits_sc / (classes * clips_c); were the models
    equally good, each speaker's share of it might as well have the other sign, which is to swap the two models'
    predictions for this speaker (approximate randomisation, Noreen 1989). With d* the sum under signs by chance,

        p = (1 + number of draws with |d*| >= |d|) / (1 + draws)

    (Davison & Hinkley 1997, ch. 4). To ask instead how often a redrawn difference falls on the other side of 0 would
    call one in ten pairs of equal models different with ten speakers, or with two of 36 who speak half of the clips.

    As in `metrics.bootstrap_interval`, clips are drawn where there are fewer than `metrics.MINIMUM_SPEAKERS` speakers
    or one is unknown; each result says so.

    Args:
        truth: labels, shape (n,), n >= 1.
        predicted: labels, shape (n,), by the name of the model; two models or more.
        labels: all classes.
        speakers: shape (n,); empty text where unknown; None if no speaker is known.
        against: a model that all others are compared with; None compares all pairs.
        draws: number of draws. No p is below 1 / (1 + draws), which has to be at most `SIGNIFICANCE` / pairs. Nor can
            n speakers give one below 2 ** (1 - n): ten are too few for all pairs of eight models; a warning says so.
        seed: of the draws.

    Returns:
        A comparison of each pair, in the order of `predicted`; with `against`, that model is always the second.

    Raises:
        ParameterError: with fewer than two models, without clips, with an unknown label or model, with columns of
            unequal length, or with too few draws for so many pairs.

    Example:
        >>> truth, names = ["sad", "angry"] * 60, [f"s{number // 10}" for number in range(120)]
        >>> (result,) = compare(truth, {"good": truth, "guess": ["sad"] * 120}, ["angry", "sad"], names)
        >>> result.difference, result.different, result.over
        (0.5, True, 'speakers')
    """
    names = list(predicted)
    pairs = _pairs(names, against)
    _check(truth, predicted, speakers, len(pairs), draws)
    observed = [float(uar(confusion(truth, predicted[name], labels))) for name in names]
    difference = np.array([observed[one] - observed[other] for one, other in pairs])
    sample = _sample(truth, predicted, labels, speakers)
    # All speakers on one side is the strongest evidence that there can be: two of all patterns of signs.
    least = 2.0 ** (1 - sample.size)
    if len(pairs) * least > SIGNIFICANCE:
        logger.warning(
            "no difference between %d pairs of models can be shown on %d %s", len(pairs), sample.size, sample.over
        )
    random = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // sample.hits[..., 0].size)
    sizes = [min(chunk, draws - start) for start in range(0, draws, chunk)]
    redrawn = _between(np.concatenate([_redrawn(sample, random, size) for size in sizes]), pairs)
    swapped = _between(np.concatenate([_swapped(sample, random, size) for size in sizes]), pairs)
    counted = (1 + (np.abs(swapped) >= np.abs(difference) - _ROUNDING).sum(axis=0)) / (1 + draws)
    p_values = np.maximum(counted, least)
    low, high = np.quantile(redrawn, [0.025, 0.975], axis=0)
    corrected = holm(p_values)
    return [
        Comparison(
            first=names[one],
            second=names[other],
            difference=float(difference[number]),
            low=float(low[number]),
            high=float(high[number]),
            p=float(p_values[number]),
            p_holm=float(corrected[number]),
            different=bool(corrected[number] <= SIGNIFICANCE),
            over=sample.over,
        )
        for number, (one, other) in enumerate(pairs)
    ]


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Correct p-values for their number, so that any false alarm at all is as rare as asked for (Holm 1979).

    The i-th smallest of m becomes the largest of (m - j + 1) p_j over j <= i, at most 1. Holds whatever the tests
    have to do with each other.

    Args:
        p_values: shape (m,), in [0, 1].

    Returns:
        Corrected, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(6).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return corrected


@dataclass(frozen=True, eq=False)
class _Sample:
    """What is drawn: u units, each a speaker, or all clips of one class that the same models have right.

    Attributes:
        copies: how many of each unit there are, shape (u,): 1 for a speaker.
        support: clips of each class in one copy of a unit, shape (u, k).
        hits: those of them that each model has right, shape (u, models, k).
        over: what the copies are.
    """

    copies: npt.NDArray[np.int64]
    support: Floats
    hits: Floats
    over: Literal["speakers", "clips"]

    @property
    def size(self) -> int:
        """How many speakers or clips there are."""
        return int(self.copies.sum())


def _sample(truth: Labels, predicted: Mapping[str, Labels], labels: Sequence[str], speakers: Labels | None) -> _Sample:
    truths = np.asarray(truth, dtype=str)
    classes = (truths[:, np.newaxis] == np.asarray(labels, dtype=str)).astype(float)
    right = np.stack([np.asarray(values, dtype=str) == truths for values in predicted.values()], axis=1)
    names, owner = np.unique(np.asarray([""] if speakers is None else speakers, dtype=str), return_inverse=True)
    if len(names) >= MINIMUM_SPEAKERS and "" not in names:
        support = np.zeros((len(names), len(labels)))
        hits = np.zeros((len(names), right.shape[1], len(labels)))
        np.add.at(support, owner, classes)
        np.add.at(hits, owner, right[:, :, np.newaxis] * classes[:, np.newaxis])
        return _Sample(np.ones(len(names), dtype=np.int64), support, hits, "speakers")
    kinds, copies = np.unique(np.column_stack([classes, right]), axis=0, return_counts=True)
    support, hit = kinds[:, : len(labels)], kinds[:, len(labels) :]
    return _Sample(copies.astype(np.int64), support, hit[:, :, np.newaxis] * support[:, np.newaxis], "clips")


def _redrawn(sample: _Sample, random: np.random.Generator, draws: int) -> Floats:
    """UAR of all models on speakers (clips) drawn with replacement, shape (draws, models)."""
    weights = random.multinomial(sample.size, sample.copies / sample.size, size=draws).astype(float)
    support = weights @ sample.support
    hits = np.tensordot(weights, sample.hits, axes=1)
    recall = hits / np.where(support > 0, support, 1)[:, np.newaxis]
    mean: Floats = recall.sum(axis=2) / (support > 0).sum(axis=1, keepdims=True)
    return mean


def _swapped(sample: _Sample, random: np.random.Generator, draws: int) -> Floats:
    """UAR of all models when each speaker's (clip's) share of it has a sign by chance, shape (draws, models)."""
    support = sample.copies @ sample.support
    weights = np.divide(1, support, out=np.zeros_like(support), where=support > 0) / (support > 0).sum()
    signs = 2 * random.binomial(sample.copies, 0.5, size=(draws, len(sample.copies))) - sample.copies
    drawn: Floats = signs @ (sample.hits @ weights)
    return drawn


def _between(values: Floats, pairs: Sequence[Pair]) -> Floats:
    """Differences between models in (draws, models), shape (draws, pairs)."""
    first, second = (list(side) for side in zip(*pairs, strict=True))
    difference: Floats = values[:, first] - values[:, second]
    return difference


def _pairs(names: Sequence[str], against: str | None) -> list[Pair]:
    if len(names) < 2:
        raise ParameterError(f"comparing needs two models or more, got {', '.join(names) or 'none'}")
    if against is None:
        return list(combinations(range(len(names)), 2))
    if against not in names:
        raise ParameterError(f"{against!r} is not among the models {', '.join(names)}")
    reference = names.index(against)
    return [(number, reference) for number in range(len(names)) if number != reference]


def _check(truth: Labels, predicted: Mapping[str, Labels], speakers: Labels | None, n_pairs: int, draws: int) -> None:
    if not len(truth):
        raise ParameterError("models cannot be compared on 0 clips")
    lengths = {name: len(values) for name, values in predicted.items()}
    if speakers is not None:
        lengths["speakers"] = len(speakers)
    for name, length in lengths.items():
        if length != len(truth):
            raise ParameterError(f"{len(truth)} clips, but {length} values of {name}")
    if n_pairs / (1 + draws) > SIGNIFICANCE:
        raise ParameterError(
            f"no difference between {n_pairs} pairs of models could be shown with {draws} draws",
            remedy=f"Take {int(np.ceil(n_pairs / SIGNIFICANCE))} draws or more, or compare against one model.",
        )
