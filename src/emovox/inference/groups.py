"""Recordings that belong together, each measured from the mean of its group.

Every recording goes through the model once. Its logits are W (embedding - reference) + b, so a reference moves the log
probabilities of all clips alike: log p' = log p - W reference + a constant. How far is measured with two made-up
clips, once for each group.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emovox import audio
from emovox.errors import ParameterError
from emovox.inference.adaptation import Heard, gather, weighted_mean
from emovox.inference.bundle import Bundle, Floats
from emovox.inference.recognizer import Recognizer
from emovox.inference.recordings import Recording, expand
from emovox.inference.results import Failure, Prediction

SMALLEST_GROUP = 2
"""Clips that a group needs: the mean of one is its emotion."""

PROBE_S = 1.0
"""Length of the made-up clips that a reference's effect is measured with."""

_SMALLEST_PROBABILITY = 1e-30
"""Below it float32 has fewer digits, and soon none."""

_SAME_SHIFT = 1e-4
"""Log probabilities of two clips that are moved by more than this apart are not moved alike."""

_NEGLIGIBLE = 1e-7
"""A probability that is of no account, whatever it is exactly."""


@dataclass(frozen=True)
class Member:
    """A recording and the name of the group in which it is: a folder's or a speaker's, empty for sound in memory."""

    source: Recording | Failure
    group: str


def members(sources: Iterable[Recording | Failure], speakers: Mapping[str, str] | None = None) -> list[Member]:
    """Find the recordings, and which of them belong together.

    Args:
        sources: recordings and folders. Those below a folder form a group with it, however deep they lie: folders in
            it might hold an emotion each. Files form one with the folder in which they lie.
        speakers: speaker of a recording, by its path; an empty name counts as none.

    Returns:
        Recordings in order, and failures for folders that hold none.
    """
    named = {os.path.realpath(path): speaker for path, speaker in (speakers or {}).items() if speaker}
    found = []
    for source in sources:
        if isinstance(source, str | os.PathLike):
            given = os.path.realpath(source)
            folder = given if os.path.isdir(given) else os.path.dirname(given)  # noqa: PTH112, PTH120 - bytes may be odd
            for item in expand([source]):
                group = folder
                if named and isinstance(item, str | os.PathLike):
                    group = named.get(os.path.realpath(item), folder)
                found.append(Member(item, group))
        else:
            found.append(Member(source, ""))
    return found


def predict_members(
    recognizer: Recognizer,
    recordings: Sequence[Member],
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Prediction | Failure]:
    """Do the work of `Recognizer.predict_adapted`; a group of fewer than two clips is not adapted.

    Args:
        recognizer: an unadapted one.
        recordings: what `members` gave.
        jobs: threads that decode.
        progress: called with (recordings heard, recordings in all).
    """
    if recognizer.reference is not None:
        raise ParameterError("this recognizer is adapted already", remedy="Make one without a reference.")
    recognizer.bundle.require_adaptable()
    return _predicted(recognizer, recordings, jobs, progress)


def _predicted(
    recognizer: Recognizer,
    recordings: Sequence[Member],
    jobs: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Prediction | Failure]:
    heard: list[Heard | Failure] = []
    with closing(recognizer.hear_many([member.source for member in recordings], jobs=jobs)) as items:
        for item in items:
            heard.append(item)
            if progress is not None:
                progress(len(heard), len(recordings))
    by_group: dict[str, list[Heard]] = {}
    for member, item in zip(recordings, heard, strict=True):
        if isinstance(item, Heard):
            by_group.setdefault(member.group, []).append(item)
    adapters = {name: _Adapter(recognizer, group) for name, group in by_group.items()}
    for member, item in zip(recordings, heard, strict=True):
        yield item if isinstance(item, Failure) else adapters[member.group].predict(member, item)


class _Adapter:
    """Predicts the recordings of a group."""

    def __init__(self, recognizer: Recognizer, group: Sequence[Heard]) -> None:
        self._recognizer = recognizer
        self._reference = gather(group, recognizer.bundle.identity, at_least=SMALLEST_GROUP)
        self._shift = None if self._reference is None else log_shift(recognizer.bundle, self._reference.embedding)

    def predict(self, member: Member, heard: Heard) -> Prediction | Failure:
        if self._reference is None:
            rows: Floats | None = heard.probabilities
        else:
            rows = None if self._shift is None else shifted(heard.probabilities, self._shift)
        if rows is None:
            return self._again(member.source)
        clips = 0 if self._reference is None else self._reference.clips
        mean = weighted_mean(rows, heard.weights)
        return self._recognizer.prediction(heard.path, mean, heard.duration_s, adapted_clips=clips)

    def _again(self, source: Recording | Failure) -> Prediction | Failure:
        """Let a recording go through the model once more, with the reference."""
        before = self._recognizer
        adapted = Recognizer(
            before.bundle, min_confidence=before.min_confidence, limits=before.limits, adapt=self._reference
        )
        (result,) = adapted.predict_many([source], jobs=1)
        return result


def log_shift(bundle: Bundle, reference: npt.ArrayLike) -> npt.NDArray[np.float64] | None:
    """Measure how far a reference moves the log probabilities of every clip.

    Args:
        bundle: one that can adapt.
        reference: shape (d,).

    Returns:
        Shape (labels,), up to a constant; None where a probe is so sure that it cannot be told, or where the graph is
        not linear, so that clips are moved differently.
    """
    rate = bundle.meta.sample_rate or audio.MODEL_RATE
    length = round(min(PROBE_S, bundle.meta.max_seconds or PROBE_S) * rate)
    noise = np.random.default_rng(0).normal(scale=0.1, size=(2, length)).astype(np.float32)
    noise[1] = np.cumsum(noise[1] - noise[1].mean()) / 10  # low where the other one is high
    row = np.asarray(reference, dtype=np.float32)
    probabilities = bundle.run(np.concatenate([noise, noise]), np.stack([0 * row, 0 * row, row, row]))
    if probabilities.min() < _SMALLEST_PROBABILITY:
        return None
    logs = np.log(probabilities.astype(np.float64))
    moved = logs[2:] - logs[:2]
    moved -= moved.mean(axis=1, keepdims=True)
    return moved.mean(axis=0) if float(np.abs(moved[0] - moved[1]).max()) < _SAME_SHIFT else None


def shifted(probabilities: Floats, shift: npt.NDArray[np.float64]) -> Floats | None:
    """Move log probabilities, shape (n, labels), by what `log_shift` measured.

    Returns:
        Probabilities, shape (n, labels); None where float32 kept too little of a small one to say what becomes of it.
    """
    small = probabilities < _SMALLEST_PROBABILITY
    logs = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST_PROBABILITY)) + shift
    exponents = np.exp(logs - logs.max(axis=1, keepdims=True))
    moved = exponents / exponents.sum(axis=1, keepdims=True)
    if (moved[small] > _NEGLIGIBLE).any():
        return None
    return np.asarray(moved, dtype=np.float32)
