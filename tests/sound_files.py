"""Makes real encoded files for tests: with libsndfile, and with FFmpeg through PyAV, so that no program is needed."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import soundfile

Signal = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoding:
    """One kind of file.

    Attributes:
        library: who writes it, "soundfile" or "av".
        container, codec: format and subtype of soundfile, or container and codec of FFmpeg.
        rate: the sample rate that it is written with.
        correlation: what a lossy codec must keep; 1 means exact up to the quantisation.
        quantum: largest error of an exact one.
        shift: samples (at `rate`) that it may start late or early: a container that cannot say what to leave out.
        cut: whether a cut is always noticed, because the header says how long the file is.
    """

    library: str
    container: str
    codec: str
    rate: int = 16_000
    correlation: float = 1.0
    quantum: float = 0.0
    shift: int = 0
    cut: bool = True
    options: Mapping[str, str] = field(default_factory=dict)


ENCODINGS = {
    "wav u8": Encoding("soundfile", "WAV", "PCM_U8", quantum=1 / 128),
    "wav int16": Encoding("soundfile", "WAV", "PCM_16", quantum=2**-15),
    "wav int24": Encoding("soundfile", "WAV", "PCM_24", quantum=2**-23),
    "wav int32": Encoding("soundfile", "WAV", "PCM_32", quantum=2**-30),
    "wav float": Encoding("soundfile", "WAV", "FLOAT"),
    "wav double": Encoding("soundfile", "WAV", "DOUBLE"),
    "wav mu-law": Encoding("soundfile", "WAV", "ULAW", correlation=0.99),
    "wav ADPCM": Encoding("soundfile", "WAV", "IMA_ADPCM", correlation=0.97),
    "wav extensible": Encoding("soundfile", "WAVEX", "PCM_16", quantum=2**-15),
    "rf64": Encoding("soundfile", "RF64", "PCM_16", quantum=2**-15),
    "w64": Encoding("soundfile", "W64", "PCM_16", quantum=2**-15),
    "aiff": Encoding("soundfile", "AIFF", "PCM_16", quantum=2**-15),
    "au": Encoding("soundfile", "AU", "PCM_16", quantum=2**-15),
    "caf": Encoding("soundfile", "CAF", "PCM_16", quantum=2**-15),
    "nist": Encoding("soundfile", "NIST", "PCM_16", quantum=2**-15, cut=False),
    "flac": Encoding("soundfile", "FLAC", "PCM_16", quantum=2**-15),
    "ogg vorbis": Encoding("soundfile", "OGG", "VORBIS", correlation=0.97, cut=False),
    "ogg opus": Encoding("soundfile", "OGG", "OPUS", correlation=0.97, cut=False),
    "mp3": Encoding("soundfile", "MP3", "MPEG_LAYER_III", correlation=0.97, cut=False),
    "m4a": Encoding("av", "ipod", "aac", correlation=0.97),
    "m4a lossless": Encoding("av", "ipod", "alac", quantum=2**-15),
    "mp4": Encoding("av", "mp4", "aac", rate=44_100, correlation=0.97),
    "mp4 in fragments": Encoding(
        *("av", "mp4", "aac"),
        correlation=0.97,
        shift=1_024,
        options={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
    ),
    "mov": Encoding("av", "mov", "pcm_s16le", quantum=2**-15),
    "webm": Encoding("av", "webm", "libopus", rate=48_000, correlation=0.97),
    "webm live": Encoding("av", "webm", "libopus", rate=48_000, correlation=0.97, cut=False, options={"live": "1"}),
    "mkv": Encoding("av", "matroska", "aac", correlation=0.97),
    "avi": Encoding("av", "avi", "pcm_s16le", quantum=2**-15),
    "adts": Encoding("av", "adts", "aac", correlation=0.97, shift=1_024, cut=False),
    "amr": Encoding("av", "amr", "libopencore_amrnb", rate=8_000, correlation=0.65, shift=200, cut=False),
    "ac3": Encoding("av", "ac3", "ac3", rate=48_000, correlation=0.97, shift=400, cut=False),
    "mpeg-ts": Encoding("av", "mpegts", "aac", correlation=0.97, shift=1_024, cut=False),
    "flv": Encoding("av", "flv", "aac", rate=44_100, correlation=0.97, shift=1_024, cut=False),
    "wavpack": Encoding("av", "wv", "wavpack", quantum=1 / 128),
}


def encode(signal: Signal, encoding: Encoding | str, *, rate: int | None = None) -> bytes:
    """Encode a signal of shape (n,) or (n, channels); `rate` overrides the encoding's own."""
    kind = ENCODINGS[encoding] if isinstance(encoding, str) else encoding
    buffer = io.BytesIO()
    if kind.library == "soundfile":
        soundfile.write(buffer, signal, rate or kind.rate, format=kind.container, subtype=kind.codec)
    else:
        with av.open(buffer, "w", format=kind.container, options=dict(kind.options)) as container:
            _add_track(container, kind.codec, signal, rate or kind.rate)
    return buffer.getvalue()


def with_video(tracks: list[Signal], *, rate: int = 16_000, picture_first: bool = True) -> bytes:
    """Make an mp4 with a moving picture and sound tracks."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        encoders = [_sound_stream(container, "aac", track, rate) for track in tracks]
        for index in range(10):
            image = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index * 20, np.uint8), format="rgb24")
            container.mux(picture.encode(image))
        container.mux(picture.encode(None))
        for stream, track in zip(encoders, tracks, strict=True):
            _encode_track(container, stream, track, rate)
    return buffer.getvalue()


def _add_track(container: av.container.OutputContainer, codec: str, signal: Signal, rate: int) -> None:
    _encode_track(container, _sound_stream(container, codec, signal, rate), signal, rate)


def _sound_stream(container: av.container.OutputContainer, codec: str, signal: Signal, rate: int) -> av.AudioStream:
    return container.add_stream(codec, rate=rate, layout=_layout(signal))


def _encode_track(container: av.container.OutputContainer, stream: av.AudioStream, signal: Signal, rate: int) -> None:
    planes = np.ascontiguousarray(signal[None, :] if signal.ndim == 1 else signal.T)
    frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=_layout(signal))
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    context = stream.codec_context
    resampler = av.AudioResampler(context.format.name, frame.layout, rate, frame_size=context.frame_size or 1_024)
    parts = [*resampler.resample(frame), *resampler.resample(None)] if len(signal) else []
    for part in [*parts, None]:
        container.mux(stream.encode(part))


def _layout(signal: Signal) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1"}[1 if signal.ndim == 1 else signal.shape[1]]


def wav_chunks(*chunks: tuple[bytes, bytes], form: bytes = b"WAVE") -> bytes:
    """Put a RIFF file together from chunks, padded to even lengths."""
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + form + body


def wav_format(*, rate: int = 16_000, channels: int = 1, bits: int = 16) -> tuple[bytes, bytes]:
    """Make the format chunk of a PCM WAV, with whatever numbers."""
    block = channels * bits // 8
    return b"fmt ", struct.pack("<HHIIHH", 1, channels, rate, rate * block % 2**32, block % 2**16, bits)


def pcm16(signal: Signal) -> bytes:
    """Samples as little-endian 16-bit integers."""
    return np.round(signal * 32_767).astype("<i2").tobytes()


def lag(found: Signal, original: Signal) -> int:
    """How many samples later than `original` the same sound comes in `found`; negative if earlier."""
    size = 1 << (len(found) + len(original)).bit_length()
    spectrum = np.fft.rfft(found, size) * np.conj(np.fft.rfft(original, size))
    place = int(np.argmax(np.fft.irfft(spectrum, size)))
    return place - size if place > size // 2 else place


def correlation(found: Signal, original: Signal, *, shift: int = 0) -> float:
    """Pearson's correlation of `original` with `found` that starts `shift` samples later."""
    found = found[shift:] if shift >= 0 else np.concatenate([np.zeros(-shift, np.float32), found])
    common = min(len(found), len(original))
    return float(np.corrcoef(found[:common], original[:common])[0, 1])
