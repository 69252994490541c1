"""For whom a model works: results by gender, speaker, language, intensity or any other column of the test clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from emovox.errors import ParameterError
from emovox.evaluation.metrics import Bootstrap, Labels, score

UNKNOWN = "unknown"
"""The group of clips for which a column says nothing."""

MINIMUM_CLIPS = 10
"""Fewer clips than this are given without an interval: a bootstrap of so few says nothing."""


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """Results on the test clips with one value in one column.

    Attributes:
        column, value: such as ``gender`` and ``female``; the value is `UNKNOWN` where the column is empty.
        clips, speakers: how many were tested; unknown speakers are not counted.
        uar: over the emotions that occur in the group. Two groups can be compared where the same ones are missing.
        accuracy, ece: see the functions of these names in `emovox.evaluation.metrics`.
        missing: the emotions that do not occur in the group, in the order of the labels.
        interval: 95 % intervals, over clips where the group has few speakers; None with fewer than `MINIMUM_CLIPS`
            clips.
    """

    column: str
    value: str
    clips: int
    speakers: int
    uar: float
    accuracy: float
    ece: float
    missing: tuple[str, ...]
    interval: Bootstrap | None


def by_group(
    truth: Labels,
    probabilities: npt.NDArray[Any],
    predicted: Labels,
    labels: Sequence[str],
    speakers: Labels,
    columns: Mapping[str, Labels],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[GroupScores]:
    """Measure a model on each group of test clips by itself.

    Args:
        truth, predicted: labels, shape (n,).
        probabilities: shape (n, k), columns in the order of `labels`.
        labels: all classes.
        speakers: shape (n,); empty text where unknown.
        columns: by name what the clips are divided by, each of shape (n,): ``gender``, ``speaker``, ``language``,
            ``intensity``, ``corpus``. Empty text, None and NaN are the group `UNKNOWN`.
        resamples, seed: for the intervals.

    Returns:
        The groups of each column, columns in the order given, values by the alphabet with `UNKNOWN` last.

    Raises:
        ParameterError: if an argument has another number of clips, or a label is unknown.

    Example:
        >>> right = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
        >>> for group in by_group(["a", "b", "b"], right, ["a", "b", "a"], ["a", "b"], ["x", "x", "y"],
        ...                       {"gender": ["female", "female", ""]}):
        ...     print(group.value, group.clips, group.uar, group.missing)
        female 2 1.0 ()
        unknown 1 0.0 ('a',)
    """
    lengths = {"predicted": len(predicted), "probabilities": len(probabilities), "speakers": len(speakers)}
    for name, length in (lengths | {column: len(values) for column, values in columns.items()}).items():
        if length != len(truth):
            raise ParameterError(f"{len(truth)} clips, but {length} values of {name}")
    truths, predictions, voices = (np.asarray(values, dtype=str) for values in (truth, predicted, speakers))
    found = []
    for column, values in columns.items():
        names = _names(values)
        for value in sorted(set(names), key=lambda name: (name == UNKNOWN, name)):
            rows = np.flatnonzero(names == value)
            enough = len(rows) >= MINIMUM_CLIPS
            scores = score(
                truths[rows],
                probabilities[rows],
                labels,
                predicted=predictions[rows],
                speakers=voices[rows],
                resamples=resamples if enough else 1,
                seed=seed,
            )
            found.append(
                GroupScores(
                    column=column,
                    value=str(value),
                    clips=scores.clips,
                    speakers=scores.speakers,
                    uar=scores.uar,
                    accuracy=scores.accuracy,
                    ece=scores.ece,
                    missing=tuple(label for label in labels if label not in set(truths[rows])),
                    interval=scores.interval if enough else None,
                )
            )
    return found


def _names(values: Labels) -> npt.NDArray[np.str_]:
    known = [
        "" if empty else str(value).strip() for value, empty in zip(values, pd.isna(pd.Series(values)), strict=True)
    ]
    return np.array([name or UNKNOWN for name in known], dtype=str)
