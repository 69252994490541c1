"""How `emovox.audio` decodes: libsndfile for what it reads in full, FFmpeg for the rest. Nothing else uses this file.

MP3 goes to FFmpeg because libsndfile believes the length that it estimates where an MP3 has no Xing header, and
stops there (28 % too early in `tests/test_audio_formats.py`); OGG goes there if it is chained, of which libsndfile
reads the first stream only, or if its last page is not marked, at which libsndfile fails.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile

from emovox._containers import End, find_end
from emovox._sources import SourceFile
from emovox.errors import AudioError

BLOCK_SAMPLES = 1 << 16
SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"caff", b".snd", b"fLaC", b"OggS", b"NIST")
"""First bytes of what libsndfile may open. It knows more, such as MATLAB's, which are rarely recordings."""
FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mp3,aac,ac3,eac3,amr,asf,avi,flv,mpegts,ogg,flac,wav,w64,aiff,au,caf,wv"
)
"""Containers that FFmpeg may recognise: none that can point to other files or hosts (such as hls, concat or sdp)."""
_OPUS_RATE = 48_000
_BINARY = getattr(os, "O_BINARY", 0)  # Windows
MAX_CHANGES = 100
"""How often sample rate, channels or sample format may change within a file."""

Block = npt.NDArray[np.float32]

_log = logging.getLogger(__name__)


class Decoder(Protocol):
    """An open recording.

    Attributes:
        rate: sample rate in Hz.
        channels: channel count at the beginning.
        frames: length in samples a channel if the header states it exactly.
    """

    rate: int
    channels: int
    frames: int | None

    def seek(self, frame: int) -> int:
        """Go to `frame` if that is exact in this format; returns where the next block begins."""

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of shape (frames, channels); raise AudioError where the file is damaged."""


@contextmanager
def open_decoder(file: SourceFile) -> Iterator[Decoder]:
    """Open `file` with the library that knows its format.

    Raises:
        AudioError: ``not_audio``, ``truncated``, ``bad_rate`` or ``bad_channels``.
    """
    end = find_end(file)
    if end is End.CUT:
        raise _incomplete("ends before its header says", file.name)
    if end is End.LOST:
        raise _not_audio("holds more parts than a recording has", file.name)
    magic = file.read(4)
    file.seek(0)
    sound = _open_sndfile(file) if magic in SNDFILE_MAGIC and end is not End.OPEN else None
    if sound is not None:
        with sound:
            yield _SndfileDecoder(sound, file.name)
    else:
        file.seek(0)
        with _FFmpegDecoder(file) as decoder:
            yield decoder


def _open_sndfile(file: SourceFile) -> soundfile.SoundFile | None:
    """Open with libsndfile, which reads by itself what has a path: Ctrl-C in a function that C calls would be lost."""
    try:
        sound = soundfile.SoundFile(file if file.path is None else os.open(file.path, os.O_RDONLY | _BINARY))
    except OSError as error:
        raise AudioError(f"cannot be opened ({error})", code="not_found", path=file.name) from error
    except soundfile.LibsndfileError as error:
        if error.code == 24:  # "SF_INFO struct incomplete": a rate below 1 or above 2**31
            raise AudioError("has an impossible sample rate", code="bad_rate", path=file.name) from error
        if error.code in (32, 33, 34):
            raise AudioError("has an impossible number of channels", code="bad_channels", path=file.name) from error
        return None
    # An MP3 in a WAV; a FLAC of unknown length (about 2**63 then), at whose end libsndfile fails.
    if sound.subtype.startswith("MPEG") or not 0 <= sound.frames < 1 << 48:
        sound.close()
        return None
    return sound


def _incomplete(message: str, name: str | None) -> AudioError:
    return AudioError(
        f"{message}; it is incomplete or damaged", code="truncated", path=name, remedy="Copy or download it again."
    )


def _not_audio(message: str, name: str | None) -> AudioError:
    return AudioError(message, code="not_audio", path=name, remedy="Use WAV, FLAC, OGG, Opus, MP3, m4a or webm.")


class _SndfileDecoder:
    def __init__(self, sound: soundfile.SoundFile, name: str | None) -> None:
        self._sound = sound
        self._name = name
        self._position = 0
        self.rate = int(sound.samplerate)
        self.channels = int(sound.channels)
        self.frames: int | None = int(sound.frames)
        self._frames = int(sound.frames)

    def seek(self, frame: int) -> int:
        # Opus differs for some time after a jump.
        if frame and self._sound.format != "OGG" and self._sound.seekable():
            self._position = min(frame, self._frames)
            try:
                self._sound.seek(self._position)
            except soundfile.LibsndfileError as error:
                raise _incomplete(f"cannot be read at {frame / self.rate:.1f} s", self._name) from error
        return self._position

    def blocks(self) -> Iterator[Block]:
        size = max(1, BLOCK_SAMPLES // self.channels)
        while True:
            try:
                block = self._sound.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise _incomplete(f"cannot be decoded after {self._position / self.rate:.1f} s", self._name) from error
            if not len(block):
                break
            self._position += len(block)
            yield block
        # 10 ms: what an encoder may have padded or a decoder trimmed.
        if self._position < self._frames - self.rate // 100:
            raise _incomplete(f"holds {self._position} samples of the {self._frames} in its header", self._name)


class _FFmpegDecoder:
    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._name = file.name
        self.frames: int | None

    def __enter__(self) -> _FFmpegDecoder:
        import av  # 40 ms that readers of WAV need not wait for

        self._errors = (av.FFmpegError, ValueError, EOFError)
        self._new_resampler: Any = av.AudioResampler
        options = {"format_whitelist": FFMPEG_FORMATS, "protocol_whitelist": "none"}
        try:
            self._container = av.open(self._file, mode="r", options=options, metadata_errors="replace")
        except self._errors as error:
            raise _not_audio("is not a recording in a known format, or its beginning is damaged", self._name) from error
        try:
            self._choose_stream()
        except BaseException:
            self._container.close()
            raise
        return self

    def _choose_stream(self) -> None:
        """Take the first sound track that can be decoded."""
        for stream in self._container.streams.audio:
            codec = stream.codec_context
            if codec is not None and codec.sample_rate and codec.channels:
                break
        else:
            tracks = len(self._container.streams.audio)
            raise _not_audio(f"holds no sound track{' that can be decoded' if tracks else ''}", self._name)
        self._stream = stream
        self.rate = int(codec.sample_rate)
        self.channels = int(codec.channels)
        self.frames = None
        self._last_packet: Any = None  # that gave sound
        # In other formats the duration may be guessed from the bit rate.
        if self._container.format.name.startswith("mov") and stream.duration and stream.time_base:
            self.frames = round(stream.duration * stream.time_base * self.rate)

    def __exit__(self, *exception: object) -> None:
        self._container.close()

    def seek(self, frame: int) -> int:
        del frame  # a jump would not be exact to the sample
        return 0

    def blocks(self) -> Iterator[Block]:
        """Gather frames, which are short and would each keep a larger buffer alive."""
        held: list[Block] = []
        count = 0
        for block in self._float_frames():
            if held and (sum(map(len, held)) * block.shape[1] >= BLOCK_SAMPLES or held[0].shape[1] != block.shape[1]):
                yield np.concatenate(held)
                held = []
            if not count:
                block = block[self._lead_in(len(block)) :]
            count += len(block)
            held.append(block)
        if held:
            held[-1] = held[-1][: len(held[-1]) - self._padding(len(held[-1]), count)]
            yield np.concatenate(held)

    def _lead_in(self, first_frame: int) -> int:
        """Samples at the begin that FFmpeg should have left out.

        Opus in Matroska: it counts what is to be left out at the rate that the file names, which is that of the sound
        before it was encoded, and decodes at 48 kHz (RFC 7845, section 4.2; first seen in FFmpeg 8).
        """
        codec = self._stream.codec_context
        head = bytes(codec.extradata or b"")
        packet = self._last_packet
        if codec.name not in ("opus", "libopus") or not head.startswith(b"OpusHead") or len(head) < 16:
            return 0
        if not self._container.format.name.startswith("matroska") or packet is None or not packet.duration:
            return 0
        pre_skip, named_rate = struct.unpack_from("<HI", head, 10)
        whole = round(packet.duration * packet.time_base * _OPUS_RATE)
        left_out = max(0, whole - first_frame)
        return min(first_frame, max(0, pre_skip - left_out)) if named_rate != _OPUS_RATE else 0

    def _padding(self, last_frame: int, count: int) -> int:
        """Samples at the end that an AAC encoder added to fill its last frame; FFmpeg keeps them, browsers do not.

        How long the last packet is, and the whole in MP4 (its edit list), says the container.
        """
        packet = self._last_packet
        if self._stream.codec_context.name not in ("aac", "aac_fixed") or packet is None:
            return 0
        ends = [] if self.frames is None else [self.frames]
        if packet.duration and packet.time_base:
            ends.append(count - last_frame + round(packet.duration * packet.time_base * self.rate))
        padding = max((count - end for end in ends), default=0)
        return padding if 0 < padding < last_frame else 0

    def _float_frames(self) -> Iterator[Block]:
        resampler, setup, changes = None, None, 0
        for frame in self._frames():
            found = (frame.format.name, frame.layout.name, frame.sample_rate)
            if found != setup:
                yield from self._converted(resampler, None)
                # Only to interleaved float32, and to the first rate if that changes.
                resampler, setup = self._new_resampler(format="flt", layout=frame.layout, rate=self.rate), found
                changes += 1
                if changes > MAX_CHANGES:
                    raise _incomplete("changes its sample rate or channels over and over", self._name)
            yield from self._converted(resampler, frame)
        yield from self._converted(resampler, None)

    def _converted(self, resampler: Any, frame: Any) -> Iterator[Block]:
        if resampler is None:
            return
        try:
            parts = resampler.resample(frame)
        except self._errors as error:
            raise _incomplete("holds samples of an impossible kind", self._name) from error
        for part in parts:
            if part is not None:
                yield part.to_ndarray().reshape(-1, part.layout.nb_channels)

    def _frames(self) -> Iterator[Any]:
        """Decode; like every player, pass over a few damaged packets, but say so."""
        packets, damaged = 0, 0
        try:
            for packet in self._packets():
                packets += 1
                try:
                    frames = packet.decode()
                except self._errors:
                    damaged += 1
                    continue
                if frames:
                    self._last_packet = packet
                yield from frames
        except self._errors as error:
            raise _incomplete(f"cannot be decoded to its end ({error})", self._name) from error
        if damaged > 2 + packets // 50:
            raise _incomplete(f"holds {damaged} damaged packets among {packets}", self._name)
        if damaged:
            _log.warning("%s: passed over %d damaged packet(s)", self._name or "recording", damaged)

    def _packets(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                if packet.stream_index == self._stream.index:
                    yield packet
        except IndexError:
            # After the last packet PyAV looks up tracks that appeared in the middle of the file, which it cannot find.
            return
