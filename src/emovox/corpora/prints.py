"""Fingerprints of all clips of a manifest: process-parallel, kept on disk, failures named."""

from __future__ import annotations

import hashlib
import logging
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import platformdirs

from emovox import audio
from emovox.corpora import fingerprint as fp
from emovox.errors import AudioError, CorpusError, EmovoxError, ManifestError

Progress = Callable[[int, int], None]
"""Called with the number of clips done and the number of all clips."""

_BATCH = 16
_LIMITS = audio.Limits(min_duration_s=0.0)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A recording, or a part of one.

    Attributes:
        path: the file.
        start_s, end_s: the part, in seconds; None is the end of the file.
    """

    path: str
    start_s: float = 0.0
    end_s: float | None = None

    def load(self) -> audio.Waveform:
        """Read it at its own sample rate.

        Raises:
            AudioError: as `emovox.audio.load`.
        """
        return audio.load(self.path, rate=None, start_s=self.start_s, end_s=self.end_s, limits=_LIMITS)


@dataclass(frozen=True)
class Failure:
    """A row whose recording cannot be read.

    Attributes:
        row: its position in the manifest, from 0.
        error: what is wrong with it.
    """

    row: int
    error: EmovoxError


@dataclass(frozen=True, eq=False)
class Prints:
    """Fingerprints, aligned with the rows of a manifest.

    Attributes:
        clips: a recording a row.
        values: its fingerprint, or None where the recording cannot be read.
        failures: why, for each None.
    """

    clips: Sequence[Clip]
    values: Sequence[fp.Fingerprint | None]
    failures: Sequence[Failure]


def default_cache() -> Path:
    """Folder in which fingerprints are kept between runs."""
    return Path(platformdirs.user_cache_dir("emovox"), "fingerprints", f"v{fp.VERSION}")


def clips_of(table: pd.DataFrame) -> list[Clip]:
    """Read from a manifest where each row's sound lies."""
    starts, ends = table["start"].fillna(0.0), table["end"]
    return [
        Clip(path, float(start), None if math.isnan(end) else float(end))
        for path, start, end in zip(table["path"], starts, ends, strict=True)
    ]


def fingerprints(
    table: pd.DataFrame,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Prints:
    """Make the fingerprint of every row's recording.

    What is finished is kept in `cache` at once, so that an interrupted run goes on from where it stood; a file that
    has changed (size or time of change) is read again.

    Args:
        table: a manifest.
        jobs: number of processes; default one for each processor.
        progress: called after every few clips.
        cache: folder for finished fingerprints; default `default_cache`.

    Raises:
        CorpusError: if the cache cannot be written or a worker process dies.
    """
    clips = clips_of(table)
    folder = cache or default_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"cannot keep fingerprints here ({error.strerror})", path=folder) from error
    values: list[fp.Fingerprint | None] = [None] * len(clips)
    failures: list[Failure] = []
    done = 0
    for first, results in _results(clips, folder, jobs or os.cpu_count() or 1):
        for row, result in enumerate(results, start=first):
            if isinstance(result, fp.Fingerprint):
                values[row] = result
            else:
                failures.append(Failure(row, result))
        done += len(results)
        if progress is not None:
            progress(done, len(clips))
    return Prints(clips, values, sorted(failures, key=lambda failure: failure.row))


def _results(
    clips: Sequence[Clip], folder: Path, jobs: int
) -> Iterator[tuple[int, list[fp.Fingerprint | EmovoxError]]]:
    batches = [(start, clips[start : start + _BATCH]) for start in range(0, len(clips), _BATCH)]
    if jobs == 1 or len(batches) <= 1:
        for start, batch in batches:
            yield start, _batch(batch, folder)
        return
    # Started afresh rather than forked: a fork would copy the locks of a running progress bar.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(batches)), mp_context=context, initializer=_ignore_interrupt)
    try:
        waiting = {pool.submit(_batch, batch, folder): start for start, batch in batches}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    except BrokenProcessPool as error:
        raise CorpusError(
            "a worker process died",
            code="worker_died",
            remedy="If memory is short, use one job; a script must call this under if __name__ == '__main__'.",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which stops the workers in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _batch(clips: Sequence[Clip], folder: Path) -> list[fp.Fingerprint | EmovoxError]:
    results: list[fp.Fingerprint | EmovoxError] = []
    for clip in clips:
        try:
            results.append(_one(clip, folder))
        except EmovoxError as error:
            results.append(error)
    return results


def _one(clip: Clip, folder: Path) -> fp.Fingerprint:
    if clip.end_s is not None and clip.end_s <= clip.start_s:
        raise ManifestError(f"ends at {clip.end_s} s, before its start at {clip.start_s} s", path=clip.path)
    try:
        state = Path(clip.path).stat()
    except OSError as error:
        raise AudioError("no such file", code="not_found", path=clip.path, remedy="Check the path.") from error
    identity = f"{Path(clip.path).absolute()}\n{state.st_size}\n{state.st_mtime_ns}\n{clip.start_s}\n{clip.end_s}"
    name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()
    file = folder / name[:2] / f"{name}.npy"
    kept = _read(file)
    if kept is not None:
        return kept
    value = fp.fingerprint(clip.load())
    _write(file, value)
    return value


def _read(file: Path) -> fp.Fingerprint | None:
    try:
        raw = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        _logger.debug("%s is damaged and is made again", file)
        return None
    if raw.dtype != np.uint32 or raw.ndim != 1 or len(raw) < 9 or len(raw) % 2 == 0:
        return None
    frames = (len(raw) - 9) // 2
    content = raw[:8].astype(">u4").tobytes().hex()
    return fp.Fingerprint(content, raw[9 : 9 + frames], raw[9 + frames :], float(raw[8]) / 1e3)


def _write(file: Path, value: fp.Fingerprint) -> None:
    head = np.frombuffer(bytes.fromhex(value.content), dtype=">u4").astype(np.uint32)
    length = np.array([round(value.duration_s * 1e3)], np.uint32)
    partial = file.with_name(f".{file.name}.{os.getpid()}.npy")
    try:
        file.parent.mkdir(exist_ok=True)
        np.save(partial, np.concatenate([head, length, value.words, value.weak]), allow_pickle=False)
        partial.replace(file)
    except OSError as error:
        # Worth a warning, not the work: the next run has to compute this one again.
        _logger.warning("a fingerprint could not be kept in %s: %s", file.parent, error.strerror)
        partial.unlink(missing_ok=True)
