"""How `emovox.audio` decodes: libsndfile first, FFmpeg for what that cannot read. Nothing else uses this file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from emovox.errors import AudioError

BLOCK_FRAMES = 1 << 16
FFMPEG_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,amr,asf,caf,flac,mp3,ogg,wav,aiff,au,flv,mpegts,ac3"
"""Containers that FFmpeg may recognise: none that can point to other files or hosts (such as hls or concat)."""


class Decoder(Protocol):
    """An open recording: its rate in Hz, channel count, length if its header says it, and its samples."""

    rate: int
    channels: int
    frames: int | None

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield float32 blocks of shape (frames, channels); raise AudioError where the file is damaged."""


@contextmanager
def open_decoder(file: BinaryIO, name: str | None) -> Iterator[Decoder]:
    """Open `file` with the first library that knows its format.

    Raises:
        AudioError: ``not_audio`` or ``truncated``.
    """
    _check_ends(file, name)
    try:
        sound = soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError):
        file.seek(0)
        with _FFmpegDecoder(file, name) as decoder:
            yield decoder
        return
    with sound:
        yield _SndfileDecoder(sound, name)


def truncated(name: str | None) -> AudioError:
    """Make the error of a file that ends too early."""
    return AudioError(
        "ends before its header says; it is incomplete",
        code="truncated",
        path=name,
        remedy="Copy or download it again.",
    )


class _SndfileDecoder:
    def __init__(self, sound: soundfile.SoundFile, name: str | None) -> None:
        self._sound = sound
        self._name = name
        self.rate = int(sound.samplerate)
        self.channels = int(sound.channels)
        # libsndfile gives 2**63 - 1 where a header does not tell.
        self.frames = sound.frames if 0 <= sound.frames < 1 << 48 else None

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        read = 0
        while True:
            try:
                block = self._sound.read(BLOCK_FRAMES // max(1, self.channels), dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise truncated(self._name) from error
            if not len(block):
                break
            read += len(block)
            yield np.asarray(block, dtype=np.float32)
        # Encoders pad and decoders trim a few frames; a real cut loses more.
        if self.frames is not None and read < self.frames - max(self.rate // 10, self.frames // 200):
            raise truncated(self._name)


class _FFmpegDecoder:
    def __init__(self, file: BinaryIO, name: str | None) -> None:
        self._file = file
        self._name = name

    def __enter__(self) -> _FFmpegDecoder:
        import av  # 40 ms that readers of WAV need not wait for

        av.logging.set_level(None)
        self._errors: Any = av.error.FFmpegError
        self._resampler_type = av.AudioResampler
        try:
            self._container = av.open(self._file, mode="r", options={"format_whitelist": FFMPEG_FORMATS})
        except (self._errors, ValueError, OSError) as error:
            raise self._not_audio() from error
        try:
            if not self._container.streams.audio:
                raise AudioError("holds no sound track", code="not_audio", path=self._name)
            self._stream = self._container.streams.audio[0]
            self.rate = int(self._stream.codec_context.sample_rate or 0)
            self.channels = int(self._stream.codec_context.channels or 0)
            if not self.rate or not self.channels:
                raise self._not_audio()
            length = self._stream.duration
            base = self._stream.time_base
            self.frames = None if length is None or base is None else round(length * base * self.rate)
        except BaseException:
            self._container.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def blocks(self) -> Iterator[npt.NDArray[np.float32]]:
        resampler = self._resampler_type(format="flt")  # only the sample format: interleaved float32
        read = 0
        try:
            for frame in self._container.decode(self._stream):
                for part in resampler.resample(frame):
                    block = part.to_ndarray().reshape(-1, self.channels).astype(np.float32, copy=False)
                    read += len(block)
                    yield block
        except (self._errors, ValueError) as error:
            raise (truncated(self._name) if read else self._not_audio()) from error
        if self.frames is not None and read < self.frames - max(self.rate // 5, self.frames // 100):
            raise truncated(self._name)

    def _not_audio(self) -> AudioError:
        return AudioError(
            "is not a recording in a known format",
            code="not_audio",
            path=self._name,
            remedy="Use WAV, FLAC, OGG, Opus, MP3, m4a or webm.",
        )


def _check_ends(file: BinaryIO, name: str | None) -> None:
    """Find cuts that libsndfile hides: it shortens what it reports to what is there."""
    head = file.read(12)
    file.seek(0, 2)
    size = file.tell()
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        _check_riff(file, size, name)
    elif head[:4] == b"OggS" and size > 27:
        _check_ogg(file, size, name)
    file.seek(0)


def _check_riff(file: BinaryIO, size: int, name: str | None) -> None:
    position = 12
    while position + 8 <= size:
        file.seek(position)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind == b"data":
            # 0 and 2**32 - 1 are what programs write that cannot go back to fill in the length.
            if length < 0x7FFFFFFF and position + 8 + length > size:
                raise truncated(name)
            return
        position += 8 + length + (length & 1)
    if position > size or position == 12:
        raise truncated(name)


def _check_ogg(file: BinaryIO, size: int, name: str | None) -> None:
    """Look whether the last page is whole: its segment table says how long it must be (RFC 3533, section 6)."""
    tail_size = min(size, 1 << 17)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    start = tail.rfind(b"OggS")
    if start < 0 or start + 27 > len(tail):
        raise truncated(name)
    ends_stream = tail[start + 5] & 0x04
    segments = tail[start + 27 : start + 27 + tail[start + 26]]
    end = start + 27 + tail[start + 26] + sum(segments)
    if len(segments) < tail[start + 26] or end > len(tail) or not ends_stream:
        raise truncated(name)
