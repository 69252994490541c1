"""The only door through which sound enters: decode, bound, mix to mono, resample.

Codes of the `AudioError` that each fault raises:

| code | meaning |
|---|---|
| ``not_found`` | no such file |
| ``is_directory`` | a folder where a file was expected |
| ``no_permission`` | the file may not be read |
| ``not_audio`` | not sound, or in a format that neither libsndfile nor FFmpeg reads |
| ``truncated`` | the file ends before its own header says |
| ``empty`` | no bytes, or no samples |
| ``silent`` | no sample is louder than `Limits.silence_peak` |
| ``too_short``, ``too_long`` | outside `Limits.min_duration_s` .. `Limits.max_duration_s` |
| ``too_large`` | more than `Limits.max_bytes` |
| ``non_finite`` | NaN or infinite samples |
| ``bad_rate``, ``bad_channels`` | an absurd sample rate or channel count |
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from emovox._decoders import Decoder, open_decoder
from emovox.errors import AudioError, ParameterError

Samples: TypeAlias = npt.NDArray[np.float32]
Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

MODEL_RATE = 16_000
"""Sample rate of models and feature sets, in Hz."""

AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "aac", "aif", "aifc", "aiff", "amr", "au", "caf", "flac", "m4a", "mka", "mkv", "mov", "mp3", "mp4"),
        *("mpga", "oga", "ogg", "opus", "rf64", "snd", "w64", "wav", "wave", "weba", "webm", "wma"),
    )
)
"""File name endings that a folder is searched for. A file that is named itself is tried whatever its ending."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is accepted; checked before and while decoding, so that a hostile file costs little.

    Attributes:
        min_duration_s, max_duration_s: length of the sound, in seconds.
        min_rate, max_rate: sample rate, in Hz.
        max_channels: number of channels.
        max_bytes: size of the encoded file.
        silence_peak: largest magnitude that still counts as silence (full scale is 1); negative accepts silence.
    """

    min_duration_s: float = 0.1
    max_duration_s: float = 3600.0
    min_rate: int = 2_000
    max_rate: int = 768_000
    max_channels: int = 32
    max_bytes: int = 4 * 1024**3
    silence_peak: float = 1e-4


DEFAULT_LIMITS = Limits()
STREAM_LIMITS = Limits(min_duration_s=0.0, max_duration_s=float("inf"), silence_peak=-1.0)
"""Limits of `stream`: any length, and silence is allowed."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono sound.

    Attributes:
        samples: float32 of shape (n,), full scale is 1.
        rate: sample rate in Hz.

    Example:
        >>> Waveform(np.zeros(8_000, np.float32), rate=16_000).duration_s
        0.5
    """

    samples: Samples
    rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.rate


def load(
    source: Source,
    *,
    rate: int | None = MODEL_RATE,
    start_s: float = 0.0,
    end_s: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Waveform:
    """Read a recording as mono float32.

    Channels are averaged; the rate is changed with soxr (HQ). WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF and the like
    are read by libsndfile, everything else (m4a, AAC, webm, mp4 ...) by FFmpeg.

    Args:
        source: a path, the bytes of a file, or a binary file object.
        rate: wanted sample rate in Hz; None keeps the file's own.
        start_s: where to begin, in seconds.
        end_s: where to end, in seconds; None reads to the end.
        limits: what to accept; the duration limits count for the part that is read.

    Returns:
        The waveform; at least `limits.min_duration_s` long.

    Raises:
        AudioError: with one of the codes in this module's docstring.
    """
    if start_s < 0 or (end_s is not None and end_s <= start_s):
        raise ParameterError(f"cannot read from {start_s} s to {end_s} s")
    name = source_name(source)
    with _decoder(source, limits) as decoder:
        last_s = float("inf") if end_s is None else end_s
        claimed_s = (decoder.frames or 0) / decoder.rate
        _check_length(min(claimed_s, last_s) - start_s, limits, name, only_too_long=True)
        native_rate = decoder.rate
        first, stop = round(start_s * native_rate), last_s * native_rate
        blocks: list[Samples] = []
        position = 0
        for block in _checked_blocks(decoder, name):
            keep = block[max(first - position, 0) : int(min(max(stop - position, 0), len(block)))]
            position += len(block)
            if len(keep):
                blocks.append(keep)
            _check_length(sum(map(len, blocks)) / native_rate, limits, name, only_too_long=True)
            if position >= stop:
                break
    samples = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    return _finish(samples, native_rate, rate, limits, name)


def from_array(
    samples: npt.ArrayLike,
    *,
    source_rate: int,
    rate: int | None = MODEL_RATE,
    limits: Limits = DEFAULT_LIMITS,
) -> Waveform:
    """Take a recording that is already in memory, with the same checks as `load`.

    Args:
        samples: shape (n,) or, like soundfile gives it, (n, channels). Floating point with full scale 1, or signed
            integers, which are divided by their type's full scale.
        source_rate: its sample rate in Hz.
        rate: wanted sample rate in Hz; None keeps `source_rate`.
        limits: what to accept.

    Raises:
        AudioError: with one of the codes in this module's docstring.

    Example:
        >>> tone = np.sin(np.arange(4_800) / 10)
        >>> from_array(np.stack([tone, tone], axis=1), source_rate=48_000).samples.shape
        (1600,)
    """
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fi":
        raise AudioError(f"an array of shape {array.shape} and type {array.dtype} is not sound", code="not_audio")
    _check_format(source_rate, 1 if array.ndim == 1 else array.shape[1], limits, None)
    if array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    mono = array if array.ndim == 1 else array.mean(axis=1)
    mono = np.ascontiguousarray(mono, dtype=np.float32)
    _check_finite(mono, None)
    return _finish(mono, source_rate, rate, limits, None)


def stream(
    source: Source, *, rate: int = MODEL_RATE, block_s: float = 1.0, limits: Limits = STREAM_LIMITS
) -> Iterator[Samples]:
    """Read a recording of any length in constant memory.

    Args:
        source: as for `load`.
        rate: wanted sample rate in Hz.
        block_s: length of the blocks in seconds; the last one is shorter.
        limits: what to accept.

    Yields:
        Consecutive blocks, float32 of shape (block_s * rate,). Together they are what `load` gives, up to the
        resampler's rounding (1e-6).

    Raises:
        AudioError: with one of the codes in this module's docstring.
    """
    name = source_name(source)
    size = max(1, round(block_s * rate))
    peak, total = 0.0, 0
    with _decoder(source, limits) as decoder:
        native_rate = decoder.rate
        resampler = None
        if native_rate != rate:
            resampler = soxr.ResampleStream(native_rate, rate, 1, dtype="float32", quality="HQ")
        pending = np.empty(0, np.float32)
        for block in _checked_blocks(decoder, name):
            total += len(block)
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            _check_length(total / native_rate, limits, name, only_too_long=True)
            fresh = block if resampler is None else resampler.resample_chunk(block)
            pending = np.concatenate([pending, fresh])
            while len(pending) >= size:
                yield pending[:size]
                pending = pending[size:]
        if resampler is not None:
            pending = np.concatenate([pending, resampler.resample_chunk(np.empty(0, np.float32), last=True)])
    for start in range(0, len(pending), size):
        yield pending[start : start + size]
    _check_signal(total, native_rate, peak, limits, name)


def duration_s(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> float:
    """Length of a recording in seconds, from its header where that says it, otherwise by decoding."""
    with _decoder(source, limits) as decoder:
        frames = decoder.frames
        if frames is None:
            frames = sum(len(block) for block in decoder.blocks())
        return frames / decoder.rate


def find_audio(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """List recordings: files as they are named, folders searched to the bottom in order of names.

    Nothing is checked here: a named file that does not exist is listed too, and fails when it is read.
    """
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            yield path
            continue
        for folder, folders, files in os.walk(path):
            folders.sort()
            for file in sorted(files):
                found = Path(folder, file)
                if found.suffix.lower() in AUDIO_SUFFIXES and not file.startswith("."):
                    yield found


def source_name(source: Source) -> str | None:
    """Name of a source for messages: its path, or None for bytes and nameless file objects."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else None


@contextmanager
def _decoder(source: Source, limits: Limits) -> Iterator[Decoder]:
    name = source_name(source)
    with _open_file(source, limits) as file, open_decoder(file, name) as decoder:
        _check_format(decoder.rate, decoder.channels, limits, name)
        yield decoder


@contextmanager
def _open_file(source: Source, limits: Limits) -> Iterator[BinaryIO]:
    name = source_name(source)
    if isinstance(source, bytes | bytearray | memoryview):
        _check_size(memoryview(source).nbytes, limits, name)
        with io.BytesIO(source) as buffer:
            yield buffer
    elif isinstance(source, str | os.PathLike):
        try:
            file = Path(source).open("rb")  # noqa: SIM115 - closed below, where its own errors are not taken for these
        except FileNotFoundError as error:
            raise AudioError("no such file", code="not_found", path=name, remedy="Check the path.") from error
        except IsADirectoryError as error:
            raise AudioError("is a folder, not a recording", code="is_directory", path=name) from error
        except PermissionError as error:
            raise AudioError("may not be read", code="no_permission", path=name, remedy="Check its rights.") from error
        except (OSError, ValueError) as error:
            raise AudioError(f"cannot be opened ({error})", code="not_found", path=name) from error
        with file:
            if Path(source).is_fifo():
                yield _buffered(file, limits, name)
            else:
                _check_size(os.fstat(file.fileno()).st_size, limits, name)
                yield file
    elif hasattr(source, "read"):
        yield _buffered(source, limits, name)
    else:
        raise ParameterError(f"cannot read sound from {type(source).__name__}", remedy="Use from_array for arrays.")


def _buffered(file: Any, limits: Limits, name: str | None) -> BinaryIO:
    if isinstance(file, io.BufferedReader | io.BytesIO) and file.seekable():
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        _check_size(size, limits, name)
        return file
    data = file.read(limits.max_bytes + 1)
    _check_size(len(data), limits, name)
    return io.BytesIO(data)


def _checked_blocks(decoder: Decoder, name: str | None) -> Iterator[Samples]:
    for block in decoder.blocks():
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        _check_finite(mono, name)
        yield mono


def _finish(samples: Samples, native_rate: int, rate: int | None, limits: Limits, name: str | None) -> Waveform:
    peak = float(np.abs(samples).max(initial=0.0))
    _check_signal(len(samples), native_rate, peak, limits, name)
    if rate is None or rate == native_rate:
        return Waveform(samples, native_rate)
    return Waveform(soxr.resample(samples, native_rate, rate, quality="HQ"), rate)


def _check_size(size: int, limits: Limits, name: str | None) -> None:
    if size == 0:
        raise AudioError("has no content (0 bytes)", code="empty", path=name, remedy="Record it again.")
    if size > limits.max_bytes:
        raise AudioError(
            f"is larger than {limits.max_bytes / 1e6:,.0f} MB",
            code="too_large",
            path=name,
            remedy="Split it.",
        )


def _check_format(rate: int, channels: int, limits: Limits, name: str | None) -> None:
    if not limits.min_rate <= rate <= limits.max_rate:
        raise AudioError(
            f"has a sample rate of {rate} Hz; {limits.min_rate} to {limits.max_rate} Hz are accepted",
            code="bad_rate",
            path=name,
            remedy="Check the file's header.",
        )
    if not 1 <= channels <= limits.max_channels:
        raise AudioError(
            f"has {channels} channels; 1 to {limits.max_channels} are accepted",
            code="bad_channels",
            path=name,
        )


def _check_finite(samples: Samples, name: str | None) -> None:
    if not np.isfinite(samples).all():
        raise AudioError(
            "has samples that are NaN or infinite", code="non_finite", path=name, remedy="Export it again."
        )


def _check_length(seconds: float, limits: Limits, name: str | None, *, only_too_long: bool = False) -> None:
    if seconds > limits.max_duration_s:
        raise AudioError(
            f"is longer than {limits.max_duration_s:g} s",
            code="too_long",
            path=name,
            remedy="Read long recordings with --timeline, or cut it.",
        )
    if not only_too_long and seconds < limits.min_duration_s:
        raise AudioError(
            f"is {seconds:.3f} s long; at least {limits.min_duration_s:g} s are needed",
            code="too_short",
            path=name,
        )


def _check_signal(count: int, rate: int, peak: float, limits: Limits, name: str | None) -> None:
    if count == 0:
        raise AudioError("holds no samples", code="empty", path=name, remedy="Record it again.")
    _check_length(count / rate, limits, name)
    if peak <= limits.silence_peak:
        raise AudioError(
            f"is silent (peak {peak:.1e} of full scale)",
            code="silent",
            path=name,
            remedy="Check the microphone.",
        )
