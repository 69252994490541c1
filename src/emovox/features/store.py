"""Features of many recordings: computed once, in parallel, and kept on disk by content."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from platformdirs import user_cache_path

from emovox import audio
from emovox.errors import EmovoxError, FeatureError, ParameterError
from emovox.features.entries import EntryFolder
from emovox.features.pool import map_unordered, processors
from emovox.features.sets import FeatureSet, feature_set

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]

START_WORKERS_AFTER_S = 1.0
"""Worker processes take about a second to start; what is done sooner needs none."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """Features of rows, and what could not be computed.

    Attributes:
        values: for a set that gives a vector a clip, float32 of shape (rows, size), NaN in rows that failed; for one
            that gives a matrix a clip, a list of float32 arrays of shape (frames, size), without frames in such rows.
        failures: (row, error) of the rows that failed, in order of rows.
        reused: how many rows were found in the store.
        not_stored: why computed values could not be kept on disk; None if all were. The values are right anyway.
    """

    values: Floats | list[Floats]
    failures: list[tuple[int, EmovoxError]]
    reused: int
    not_stored: str | None = None


@dataclass(frozen=True)
class _Outcome:
    values: Floats | None
    error: EmovoxError | None = None
    reused: bool = False
    not_stored: str | None = None


@dataclass(frozen=True)
class _Task:
    """One recording and the parts of it that are wanted, as (start, end) in seconds."""

    path: str
    parts: tuple[tuple[float, float | None], ...]
    set_name: str
    folder: Path


class FeatureStore:
    """Features kept by the SHA-256 of a recording's bytes, so that a file may move and a changed one is computed anew.

    Every value is written as soon as it is computed: a run that is interrupted or killed loses only the recordings
    it was working on. Any number of processes may use one store. If the disk is full or read-only, the work goes on
    without keeping values, and says so.

    Args:
        root: where to keep values; None for ``features`` in the user's cache folder. It may be deleted at any time.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     extraction = FeatureStore(Path(folder)).extract(["missing.wav"], "classic")
        >>> extraction.values.shape, [error.code for _, error in extraction.failures]
        ((1, 180), ['not_found'])
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        self.root = Path(root) if root is not None else user_cache_path("emovox") / "features"

    def extract(
        self, recordings: Any, set_name: str, *, jobs: int | None = None, progress: Progress | None = None
    ) -> Extraction:
        """Compute or look up the features of recordings.

        Args:
            recordings: a manifest (its ``path`` and, if it has them, ``start`` and ``end``), or a sequence of paths.
            set_name: one of `emovox.features.sets.FEATURE_SETS`.
            jobs: number of processes; None for all processors, once the work has taken a second.
            progress: called with (rows done, rows in all) after each row.

        Returns:
            Values aligned with the rows; a recording that cannot be used is a failure and stops no other.

        Raises:
            FeatureError: if there is no such feature set, or worker processes cannot be started.
            MissingExtraError: if the package that computes the set is not installed.
            ParameterError: if `jobs` is below 1 or `recordings` is neither a table nor paths.
        """
        wanted = feature_set(set_name)
        if jobs is not None and jobs < 1:
            raise ParameterError(f"jobs = {jobs}, but at least one process is needed")
        rows = _rows(recordings)
        folder = self.root / f"{wanted.name}-{wanted.version}-{wanted.rate or 'native'}"
        EntryFolder(folder).remove_abandoned()
        by_path: dict[str, list[int]] = {}
        for row, (path, _, _) in enumerate(rows):
            by_path.setdefault(path, []).append(row)
        tasks = [
            _Task(path, tuple((rows[row][1], rows[row][2]) for row in members), wanted.name, folder)
            for path, members in by_path.items()
        ]
        outcomes: dict[int, _Outcome] = {}
        members_of = list(by_path.values())
        for number, task_outcomes in _run(tasks, jobs):
            for row, outcome in zip(members_of[number], task_outcomes, strict=True):
                outcomes[row] = outcome
                if progress is not None:
                    progress(len(outcomes), len(rows))
        return _gather([outcomes[row] for row in range(len(rows))], wanted, self.root)


def _rows(recordings: Any) -> list[tuple[str, float, float | None]]:
    """Rows as (path, start, end); the store sees a table only here, so that it works without pandas."""
    if hasattr(recordings, "columns"):
        if "path" not in recordings.columns:
            raise ParameterError("the table has no column 'path'")
        paths = [str(path) for path in recordings["path"]]
        edges = [
            [float(value) for value in recordings[name]] if name in recordings.columns else [math.nan] * len(paths)
            for name in ("start", "end")
        ]
        return [
            (path, 0.0 if math.isnan(start) else start, None if math.isnan(end) else end)
            for path, start, end in zip(paths, *edges, strict=True)
        ]
    if isinstance(recordings, str | bytes | os.PathLike):
        raise ParameterError("one path was given where a sequence of them is expected", remedy="Put it into a list.")
    return [(os.fspath(path), 0.0, None) for path in recordings]


def _run(tasks: Sequence[_Task], jobs: int | None) -> Iterator[tuple[int, list[_Outcome]]]:
    done = 0
    if jobs is None or jobs == 1:
        patience_s = math.inf if jobs == 1 or processors() == 1 else START_WORKERS_AFTER_S
        started = time.monotonic()
        while done < len(tasks) and (time.monotonic() - started < patience_s or done == len(tasks) - 1):
            yield done, _compute_all(tasks[done])
            done += 1
    left = dict(enumerate(tasks[done:], start=done))
    numbers = list(left)
    try:
        for place, outcomes in map_unordered(_compute_all, list(left.values()), jobs=jobs or processors()):
            task = left.pop(numbers[place])
            yield numbers[place], outcomes if outcomes is not None else _died(task)
    except FeatureError as error:
        if jobs is not None:
            raise
        logger.warning("%s Going on in one process.", error)
    for number, task in left.items():
        yield number, _compute_all(task)


def _died(task: _Task) -> list[_Outcome]:
    error = FeatureError(
        "ended the process that read it",
        code="worker_died",
        path=task.path,
        remedy="Memory may have run out, or the file may be malformed; convert or cut it.",
    )
    return [_Outcome(None, error) for _ in task.parts]


def _compute_all(task: _Task) -> list[_Outcome]:
    """Work on one recording; runs in a worker process. Never raises: what goes wrong is part of the outcome."""
    try:
        content, digest = _content(task.path)
    except Exception as error:
        return [_Outcome(None, _as_failure(error, task.path)) for _ in task.parts]
    outcomes = []
    for start, end in task.parts:
        try:
            outcomes.append(_compute(task, content, digest, start, end))
        except Exception as error:
            outcomes.append(_Outcome(None, _as_failure(error, task.path)))
    return outcomes


def _content(path: str) -> tuple[bytes | None, str]:
    """Read a recording's bytes and hash them; (None, "") for what cannot be read twice or at once.

    What is hashed is what is decoded, even if somebody writes to the file meanwhile.
    """
    file = Path(path)
    try:
        if not file.is_file() or file.stat().st_size > audio.DEFAULT_LIMITS.max_bytes:
            return None, ""
        content = file.read_bytes()
    except (OSError, ValueError):
        return None, ""  # audio.load meets the same obstacle and has the words for it
    return content, hashlib.sha256(content).hexdigest()


def _compute(task: _Task, content: bytes | None, digest: str, start: float, end: float | None) -> _Outcome:
    wanted = feature_set(task.set_name)
    entries = EntryFolder(task.folder)
    key = digest if not start and end is None else f"{digest}_{start!r}-{end!r}"
    if content is not None:
        known = entries.read(key)
        if known is not None and wanted.fits(known):
            return _Outcome(known.astype(np.float32, copy=False), reused=True)
    source = task.path if content is None else io.BytesIO(content)
    waveform = audio.load(source, rate=wanted.rate, start_s=start, end_s=end)
    values = wanted.function(waveform.samples, waveform.rate)
    if not wanted.fits(values):
        raise FeatureError("is so loud that its features are infinite", code="non_finite", remedy="Scale it to 1.")
    if content is None:
        return _Outcome(values)
    try:
        entries.write(key, values)
    except OSError as error:
        return _Outcome(values, not_stored=error.strerror or str(error))
    return _Outcome(values)


def _as_failure(error: Exception, path: str) -> EmovoxError:
    if isinstance(error, EmovoxError):
        return type(error)(error.message, code=error.code, path=path, remedy=error.remedy)
    logger.debug("unexpected error with %s", path, exc_info=error)
    return FeatureError(f"cannot be processed ({type(error).__name__}: {error})", code="unexpected", path=path)


def _gather(outcomes: Sequence[_Outcome], wanted: FeatureSet, root: Path) -> Extraction:
    values: Floats | list[Floats]
    if wanted.per_clip:
        absent = np.full(wanted.size, np.nan, np.float32)
        values = np.array([absent if item.values is None else item.values for item in outcomes], np.float32)
        values = values.reshape(len(outcomes), wanted.size)
    else:
        absent = np.empty((0, wanted.size), np.float32)
        values = [absent if item.values is None else item.values for item in outcomes]
    failures = [(row, item.error) for row, item in enumerate(outcomes) if item.error is not None]
    not_stored = next((item.not_stored for item in outcomes if item.not_stored), None)
    if not_stored:
        logger.warning("features could not be kept in %s (%s); they are computed again next time", root, not_stored)
    return Extraction(values, failures, sum(item.reused for item in outcomes), not_stored)
