"""What happens to recordings on their way through the world: new codecs, other rates, cut ends, other levels."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import av
import numpy as np
import numpy.typing as npt
import soxr

from emovox import audio

Samples = npt.NDArray[np.float32]
Variant = Callable[[Samples, int], tuple[Samples, int]]
"""Takes samples and their rate, gives changed samples and their rate."""


def through_codec(samples: Samples, rate: int, *, codec: str, container: str, bit_rate: int) -> tuple[Samples, int]:
    """Encode at a bit rate (in bits a second) and decode again."""
    coded_rate = 48_000 if codec == "libopus" else rate
    signal = soxr.resample(samples, rate, coded_rate) if coded_rate != rate else samples
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=coded_rate)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = bit_rate
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray((np.clip(signal, -1, 1) * 32_767).astype(np.int16)[None], layout="mono")
        frame.rate = coded_rate
        for packet in stream.encode(frame):
            file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    decoded = audio.load(buffer.getvalue(), rate=None)
    return decoded.samples, decoded.rate


def opus_32k(samples: Samples, rate: int) -> tuple[Samples, int]:
    """Opus at 32 kbit/s."""
    return through_codec(samples, rate, codec="libopus", container="ogg", bit_rate=32_000)


def mp3_64k(samples: Samples, rate: int) -> tuple[Samples, int]:
    """MP3 at 64 kbit/s."""
    return through_codec(samples, rate, codec="libmp3lame", container="mp3", bit_rate=64_000)


def to_8_khz(samples: Samples, rate: int) -> tuple[Samples, int]:
    """Telephone rate."""
    return soxr.resample(samples, rate, 8_000), 8_000


def gain(decibels: float) -> Variant:
    """Louder or softer; clipped at full scale and stored in 16 bits."""
    return lambda samples, rate: (_stored(samples * np.float32(10 ** (decibels / 20))), rate)


def cut(begin: float, end: float) -> Variant:
    """Leave out a share of the beginning and of the end."""

    def change(samples: Samples, rate: int) -> tuple[Samples, int]:
        # Odd positions, so that frames never fall on those of the whole clip.
        first, stop = round(begin * len(samples)) + 37, round((1 - end) * len(samples)) - 11
        return samples[first:stop].copy(), rate

    return change


def cut_half_second(samples: Samples, rate: int) -> tuple[Samples, int]:
    """Leave out half a second at the beginning, or 30 % of a shorter clip."""
    return samples[min(rate // 2, round(0.3 * len(samples))) + 37 :].copy(), rate


def both(first: Variant, second: Variant) -> Variant:
    """One after the other."""
    return lambda samples, rate: second(*first(samples, rate))


def _stored(samples: Samples) -> Samples:
    return (np.round(np.clip(samples, -1, 1) * 32_767) / 32_767).astype(np.float32)


VARIANTS: Mapping[str, Variant] = {
    "Opus 32 kbit/s": opus_32k,
    "MP3 64 kbit/s": mp3_64k,
    "8 kHz": to_8_khz,
    "+12 dB, clipped": gain(12),
    "-12 dB, 16 bit": gain(-12),
    "0.5 s cut off the beginning": cut_half_second,
    "30 % cut off the beginning": cut(0.3, 0.0),
    "30 % cut off the end": cut(0.0, 0.3),
    "30 % cut off both ends": cut(0.3, 0.3),
    "30 % off the beginning, MP3 64 kbit/s": both(cut(0.3, 0.0), mp3_64k),
    "0.5 s off the beginning, -12 dB, Opus 32 kbit/s": both(cut_half_second, both(gain(-12), opus_32k)),
    "30 % off both ends, 8 kHz, Opus 32 kbit/s": both(cut(0.3, 0.3), both(to_8_khz, opus_32k)),
}
"""Changes that an audit must see through, by name."""
