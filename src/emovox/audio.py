"""The only door through which sound enters: decode, bound, mix to mono, resample.

Codes of the `AudioError` that each fault raises:

| code | meaning |
|---|---|
| ``not_found`` | no such file |
| ``is_directory`` | a folder where a file was expected |
| ``no_permission`` | the file may not be read |
| ``unreadable`` | the disk, the network or a pipe failed while it was read |
| ``not_audio`` | not sound, or in a format that neither libsndfile nor FFmpeg reads |
| ``truncated`` | the file ends before its own header says, or is damaged inside |
| ``empty`` | no bytes, or no samples |
| ``silent`` | the samples differ by less than twice `Limits.silence_peak` |
| ``too_short``, ``too_long`` | outside `Limits.min_duration_s` .. `Limits.max_duration_s` |
| ``too_large`` | more than `Limits.max_bytes` |
| ``non_finite`` | samples that are NaN, infinite or beyond 2**32 times full scale |
| ``bad_rate``, ``bad_channels`` | an absurd sample rate or channel count |
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import soxr

from emovox._decoders import Decoder, open_decoder
from emovox._sources import Source, open_source, source_name
from emovox.errors import AudioError, ParameterError

__all__ = [
    "AUDIO_SUFFIXES",
    "DEFAULT_LIMITS",
    "MODEL_RATE",
    "STREAM_LIMITS",
    "Limits",
    "Samples",
    "Source",
    "Waveform",
    "duration_s",
    "find_audio",
    "from_array",
    "load",
    "source_name",
    "stream",
]

Samples: TypeAlias = npt.NDArray[np.float32]

MODEL_RATE = 16_000
"""Sample rate of models and feature sets, in Hz."""

AUDIO_SUFFIXES = frozenset(
    f".{ending}"
    for ending in (
        *("3gp", "aac", "ac3", "aif", "aifc", "aiff", "amr", "au", "avi", "caf", "flac", "flv", "m4a", "mka", "mkv"),
        *("mov", "mp3", "mp4", "mpga", "oga", "ogg", "opus", "rf64", "snd", "sph", "w64", "wav", "wave", "weba"),
        *("webm", "wma", "wv"),
    )
)
"""File name endings that a folder is searched for. A file that is named itself is tried whatever its ending."""

_LARGEST = 2.0**32
"""Magnitude beyond which a sample is an error: more than any integer format's range stored as floating point, and
small enough that a power spectrum stays finite in float32."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is accepted; checked before and while decoding, so that a hostile file costs little.

    Attributes:
        min_duration_s, max_duration_s: length of the sound, in seconds.
        min_rate, max_rate: sample rate, in Hz.
        max_channels: number of channels.
        max_bytes: size of the encoded file.
        silence_peak: largest magnitude, about the mean of the extremes, that still counts as silence (full scale is
            1); negative accepts silence.
    """

    min_duration_s: float = 0.1
    max_duration_s: float = 3600.0
    min_rate: int = 2_000
    max_rate: int = 384_000
    max_channels: int = 32
    max_bytes: int = 4 * 1024**3
    silence_peak: float = 1e-4


DEFAULT_LIMITS = Limits()
STREAM_LIMITS = Limits(min_duration_s=0.0, max_duration_s=math.inf, silence_peak=-1.0)
"""Limits of `stream` and `duration_s`: any length, and silence is allowed."""


@dataclass(frozen=True, eq=False)
class Waveform:
    """Mono sound.

    Attributes:
        samples: float32 of shape (n,), full scale is 1. Lossy formats and the resampler may overshoot it.
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
    """Read a recording, or a part of it, as mono float32.

    Channels are averaged; the rate is changed with soxr (HQ). WAV, FLAC, OGG (Vorbis, Opus), AIFF and the like are
    read by libsndfile, everything else (MP3, m4a, AAC, webm, mp4 ...) by FFmpeg: of several sound tracks the first.
    A part of a WAV, FLAC, AIFF or the like is found at once; other formats are decoded from their beginning.

    Args:
        source: a path, the bytes of a file, or a binary file object. `from_array` takes arrays.
        rate: wanted sample rate in Hz; None keeps the file's own.
        start_s: where to begin, in seconds.
        end_s: where to end, in seconds; None, or more than there is, reads to the end.
        limits: what to accept; the duration limits count for the part that is read.

    Returns:
        The waveform; at least `limits.min_duration_s` long.

    Raises:
        AudioError: with one of the codes in this module's docstring.
        ParameterError: if the part or the rate cannot be.
    """
    stop_s = math.inf if end_s is None else end_s
    if not (0 <= start_s < stop_s and math.isfinite(start_s)):
        raise ParameterError(f"cannot read from {start_s} s to {end_s} s", remedy="Check start and end.")
    _check_wanted_rate(rate)
    name = source_name(source)
    with _decoder(source, limits) as decoder:
        wanted = decoder.rate if rate is None else rate
        if decoder.frames is not None:
            _check_not_longer(min(decoder.frames / decoder.rate, stop_s) - start_s, limits, name)
        blocks = list(_mono_blocks(decoder, wanted, limits, name, start_s, stop_s))
    return Waveform(np.concatenate(blocks), wanted)


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
    _check_wanted_rate(rate)
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fi":
        raise AudioError(
            f"an array of shape {array.shape} and type {array.dtype} is not sound",
            code="not_audio",
            remedy="Give (n,) or (n, channels) of floating point or signed integers; scale unsigned ones yourself.",
        )
    _check_format(source_rate, 1 if array.ndim == 1 else array.shape[1], limits, None)
    scale = -float(np.iinfo(array.dtype).min) if array.dtype.kind == "i" else 1.0
    mono = array if array.ndim == 1 else array.mean(axis=1, dtype=np.float64)
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused
        mono = np.ascontiguousarray(mono / scale, dtype=np.float32)
    extent = _Extent()
    extent.add(mono, source_rate, limits, None)
    extent.check(source_rate, limits, None)
    if rate is None or rate == source_rate:
        return Waveform(mono, source_rate)
    return Waveform(soxr.resample(mono, source_rate, rate, quality="HQ"), rate)


def stream(
    source: Source, *, rate: int = MODEL_RATE, block_s: float = 1.0, limits: Limits = STREAM_LIMITS
) -> Iterator[Samples]:
    """Read a recording of any length in constant memory.

    Args:
        source: as for `load`.
        rate: wanted sample rate in Hz.
        block_s: length of the blocks in seconds; the last one is shorter.
        limits: what to accept. Whether it is too short or silent shows only after the last block.

    Yields:
        Consecutive blocks, float32 of shape (block_s * rate,). Together they are what `load` gives.

    Raises:
        AudioError: with one of the codes in this module's docstring.
        ParameterError: if the rate or the length of a block cannot be.
    """
    _check_wanted_rate(rate)
    if not 0 < block_s < math.inf:
        raise ParameterError(f"a block cannot be {block_s} s long")
    name = source_name(source)
    size = max(1, round(block_s * rate))
    pending = np.empty(0, np.float32)
    with _decoder(source, limits) as decoder:
        for fresh in _mono_blocks(decoder, rate, limits, name):
            pending = np.concatenate([pending, fresh])
            whole = len(pending) // size * size
            yield from (pending[start : start + size] for start in range(0, whole, size))
            pending = pending[whole:]
    if len(pending):
        yield pending


def duration_s(source: Source, *, limits: Limits = STREAM_LIMITS) -> float:
    """Length of a recording in seconds, from its header where that states it exactly, otherwise by decoding."""
    with _decoder(source, limits) as decoder:
        frames = decoder.frames
        if frames is None:
            frames = sum(len(block) for block in decoder.blocks())
        return frames / decoder.rate


def native_rate(source: Source, *, limits: Limits = DEFAULT_LIMITS) -> int:
    """Sample rate of a recording in Hz, from its header."""
    with _decoder(source, limits) as decoder:
        return decoder.rate


def find_audio(paths: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    """List recordings: files as they are named, folders searched to the bottom in order of names.

    Hidden files and folders are passed over. Nothing is checked here: a named file that does not exist is listed
    too, and fails when it is read. A folder that may not be read is reported as a warning in the log.
    """
    for given in paths:
        path = Path(given)
        if not path.is_dir():
            yield path
            continue
        for folder, folders, files in os.walk(path, onerror=lambda error: _log.warning("passed over: %s", error)):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                found = Path(folder, file)
                if found.suffix.lower() in AUDIO_SUFFIXES and not file.startswith("."):
                    yield found


@contextmanager
def _decoder(source: Source, limits: Limits) -> Iterator[Decoder]:
    with open_source(source, max_bytes=limits.max_bytes) as file:
        try:
            with open_decoder(file) as decoder:
                _check_format(decoder.rate, decoder.channels, limits, file.name)
                yield decoder
        except AudioError as error:
            if error.code == "truncated" and file.path is not None:
                file.try_reading()
            file.raise_failure()  # the cause, if the libraries took a failed read for the end
            raise
        file.raise_failure()


def _mono_blocks(
    decoder: Decoder, rate: int, limits: Limits, name: str | None, start_s: float = 0.0, stop_s: float = math.inf
) -> Iterator[Samples]:
    """Decode a part, check it, average its channels and resample it to `rate`, all block by block."""
    first, stop = round(start_s * decoder.rate), stop_s * decoder.rate
    extent = _Extent()
    resampler = None
    if rate != decoder.rate:
        resampler = soxr.ResampleStream(decoder.rate, rate, 1, dtype="float32", quality="HQ")
    position = decoder.seek(first)
    for block in decoder.blocks():
        part = block[max(first - position, 0) : round(min(max(stop - position, 0), len(block)))]
        position += len(block)
        if len(part):
            with np.errstate(over="ignore", invalid="ignore"):  # refused by what follows
                mono = part[:, 0] if part.shape[1] == 1 else part.mean(axis=1, dtype=np.float32)
            extent.add(mono, decoder.rate, limits, name)
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if position >= stop:
            break
    extent.check(decoder.rate, limits, name)
    if resampler is not None:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)


class _Extent:
    """How many samples there were, and the lowest and highest of them."""

    def __init__(self) -> None:
        self._count = 0
        self._low, self._high = math.inf, -math.inf

    def add(self, samples: Samples, rate: int, limits: Limits, name: str | None) -> None:
        """Count `samples` in, and refuse what may not go on."""
        self._count += len(samples)
        _check_not_longer(self._count / rate, limits, name)
        low, high = float(samples.min(initial=math.inf)), float(samples.max(initial=-math.inf))
        if len(samples) and not (low >= -_LARGEST and high <= _LARGEST):  # NaN compares false
            raise AudioError(
                "has samples that are NaN, infinite or absurdly large",
                code="non_finite",
                path=name,
                remedy="Export it again, as 16-bit PCM for instance.",
            )
        self._low, self._high = min(self._low, low), max(self._high, high)

    def check(self, rate: int, limits: Limits, name: str | None) -> None:
        """Judge the whole."""
        if self._count == 0:
            raise AudioError("holds no samples in this part", code="empty", path=name, remedy="Record it again.")
        seconds = self._count / rate
        if seconds < limits.min_duration_s:
            raise AudioError(
                f"is {seconds:.3f} s long; at least {limits.min_duration_s:g} s are needed",
                code="too_short",
                path=name,
                remedy="Record more.",
            )
        if (self._high - self._low) / 2 <= limits.silence_peak:
            peak = max(abs(self._low), abs(self._high))
            raise AudioError(
                f"is silent (its loudest sample is at {20 * math.log10(peak):.0f} dB)" if peak else "is silent",
                code="silent",
                path=name,
                remedy="Check the microphone.",
            )


def _check_wanted_rate(rate: int | None) -> None:
    if rate is not None and not 1 <= rate <= DEFAULT_LIMITS.max_rate:
        raise ParameterError(f"cannot resample to {rate} Hz", remedy=f"Use 1 to {DEFAULT_LIMITS.max_rate} Hz.")


def _check_format(rate: int, channels: int, limits: Limits, name: str | None) -> None:
    if not limits.min_rate <= rate <= limits.max_rate:
        raise AudioError(
            f"has a sample rate of {rate} Hz; {limits.min_rate} to {limits.max_rate} Hz are accepted",
            code="bad_rate",
            path=name,
            remedy="Convert it, or correct its header.",
        )
    if not 1 <= channels <= limits.max_channels:
        raise AudioError(
            f"has {channels} channels; 1 to {limits.max_channels} are accepted",
            code="bad_channels",
            path=name,
            remedy="Arrays have the shape (n, channels): transpose one that is (channels, n)."
            if name is None
            else "Extract the channels that hold speech.",
        )


def _check_not_longer(seconds: float, limits: Limits, name: str | None) -> None:
    if seconds > limits.max_duration_s:
        raise AudioError(
            f"is longer than {limits.max_duration_s:g} s",
            code="too_long",
            path=name,
            remedy="Read long recordings with --timeline, or cut it.",
        )
