"""Recordings that belong together, each measured from the mean of its group.

Every recording goes through the model once. Its logits are W (embedding - reference) + b, so what the mean of a group
does to probabilities shows in the probabilities themselves (`emovox.inference.log_ratios`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from emovox.errors import ParameterError
from emovox.inference.adaptation import Heard, gather, weigh, weighted_mean
from emovox.inference.bundle import Floats
from emovox.inference.log_ratios import SMALLEST_PROBABILITY, Ratios, measured_from
from emovox.inference.metadata import BundleMetadata
from emovox.inference.recognizer import Recognizer
from emovox.inference.recordings import Recording, expand
from emovox.inference.results import Failure, Prediction

SMALLEST_GROUP = 2
"""Clips that a group needs: the mean of one is its emotion."""

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
        self._reference = gather(group, recognizer.bundle, at_least=SMALLEST_GROUP)
        self._ratios = None if self._reference is None else group_ratios(group, recognizer.meta)

    def predict(self, member: Member, heard: Heard) -> Prediction | Failure:
        rows: Floats | None = heard.probabilities
        if self._reference is not None:
            rows = None if self._ratios is None else adapted(heard.probabilities, self._ratios)
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


def group_ratios(group: Sequence[Heard], meta: BundleMetadata) -> Ratios | None:
    """Give the reference of a group as log ratios, shape (labels,): as much of their mean as `trust` says.

    Returns:
        None where the model does not say that it is linear (`BundleMetadata.neutral`), or is so sure that float32 lost
        small probabilities.
    """
    known = weigh(group, meta)
    if known.ratios is None or min(heard.probabilities.min() for heard in known.used) < SMALLEST_PROBABILITY:
        return None
    return known.share * known.ratios


def adapted(probabilities: Floats, ratios: Ratios) -> Floats | None:
    """Measure probabilities, shape (n, labels), from what `group_ratios` gave; what is no voice stays as it is.

    Returns:
        Shape (n, labels); None where float32 kept too little of a small one to say what becomes of it.
    """
    found = measured_from(probabilities, ratios)
    return None if (found[probabilities < SMALLEST_PROBABILITY] > _NEGLIGIBLE).any() else found
