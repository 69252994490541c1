"""Make a clip sound as if another voice had said it, in another room, through another channel."""

from __future__ import annotations

import io
import random
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import soundfile
import soxr
from scipy.signal import fftconvolve

from emovox.audio import MODEL_RATE, Samples

AUGMENT_VERSION = 4
"""Raised whenever the same seed gives another sound."""

_library_state = threading.Lock()


class Augmenter:
    """Random voice, room, noise and channel, each with its own probability; the label stays true.

    In this order: a cut of 0.5 to 2 s, speed by up to 25 % (pitch, formants and tempo move together), pitch by up to 2
    semitones, a room (exponentially decaying noise as impulse response, RT60 of 0.1 to 1 s), babble at 0 to 20 dB SNR,
    coloured noise at 5 to 30 dB SNR, a random equaliser, clipping, a telephone band or a low-pass, Opus or MP3.

    Example:
        >>> clip = np.sin(np.arange(16_000) / 20).astype(np.float32)
        >>> once, again = Augmenter()(clip, 3), Augmenter()(clip, 3)
        >>> bool((once == again).all())
        True
    """

    def __init__(self) -> None:
        import audiomentations as library

        self._shift_pitch = library.PitchShift(min_semitones=-2, max_semitones=2, p=1.0)
        self._equalise = library.SevenBandParametricEQ(min_gain_db=-9, max_gain_db=9, p=1.0)
        self._add_noise = library.AddColorNoise(min_snr_db=5, max_snr_db=30, p=1.0)
        self._clip = library.ClippingDistortion(max_percentile_threshold=8, p=1.0)
        self._low_pass = library.LowPassFilter(min_cutoff_freq=2_500, max_cutoff_freq=7_000, p=1.0)

    def __call__(self, samples: Samples, seed: int, *, crowd: Sequence[Samples] = ()) -> Samples:
        """Give another version of a clip.

        Args:
            samples: shape (n,) at 16 kHz.
            seed: the same seed gives the same version.
            crowd: other clips, which at other speeds make the babble; without any, the clip itself does, backwards.

        Returns:
            float32 of shape (m,); where nothing was cut, m differs from n by up to 25 %.
        """
        rng = np.random.default_rng(seed)
        steps: tuple[tuple[float, Callable[[Samples, np.random.Generator], Samples]], ...] = (
            (0.4, _cut),
            (0.5, _change_speed),
            (0.2, self._of_library(self._shift_pitch)),
            (0.4, _add_room),
            (0.5, lambda clip, random: _add_babble(clip, random, crowd)),
            (0.4, self._of_library(self._add_noise)),
            (0.6, self._of_library(self._equalise)),
            (0.1, self._of_library(self._clip)),
            (0.1, _telephone),
            (0.2, self._of_library(self._low_pass)),
            (0.2, _encode),
        )
        samples = np.array(samples, dtype=np.float32)  # the library refuses what is read-only, as memory maps are
        with _library_state, _seeded(seed), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for probability, step in steps:
                if rng.random() < probability:
                    samples = step(samples, rng)
        return np.ascontiguousarray(samples, dtype=np.float32)

    def _of_library(self, transform: Callable[..., Samples]) -> Callable[[Samples, np.random.Generator], Samples]:
        return lambda samples, _: transform(np.ascontiguousarray(samples, np.float32), sample_rate=MODEL_RATE)


def add_at_snr(samples: Samples, noise: Samples, *, snr_db: float) -> Samples:
    """Add noise so that the ratio of the powers, over the whole clip, is `snr_db`."""
    scale = _rms(samples) / (_rms(noise) + 1e-12) * 10 ** (-snr_db / 20)
    return (samples + scale * noise).astype(np.float32)


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _cut(samples: Samples, rng: np.random.Generator) -> Samples:
    """Take a part of half a second to two: of three that are drawn the loudest, so that somebody speaks in it."""
    length = int(rng.uniform(0.5, 2.0) * MODEL_RATE)
    starts = rng.integers(0, max(1, len(samples) - length), size=3)
    return max((samples[start : start + length] for start in starts), key=_rms)


def _change_speed(samples: Samples, rng: np.random.Generator) -> Samples:
    return _at_speed(samples, 1.25 ** rng.uniform(-1, 1))


def _at_speed(samples: Samples, faster: float) -> Samples:
    changed: Samples = soxr.resample(samples, MODEL_RATE * faster, MODEL_RATE)
    return changed


def _add_room(samples: Samples, rng: np.random.Generator) -> Samples:
    rt60_s = rng.uniform(0.1, 1.0)
    time = np.arange(int(rt60_s * MODEL_RATE)) / MODEL_RATE
    tail = rng.normal(size=time.size) * 10 ** (-3 * time / rt60_s)
    direct_to_reverberant_db = rng.uniform(0, 15)
    tail *= 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] += 1.0
    wet: Samples = fftconvolve(samples, tail.astype(np.float32))[: len(samples)]
    return wet


def _add_babble(samples: Samples, rng: np.random.Generator, crowd: Sequence[Samples]) -> Samples:
    voices = crowd or [samples[::-1]]
    babble = np.zeros(len(samples), np.float32)
    for number in range(int(rng.integers(3, 7))):
        voice = np.resize(_at_speed(voices[number % len(voices)], rng.uniform(0.75, 1.35)), len(samples))
        babble += np.roll(voice, rng.integers(len(samples))) / (_rms(voice) + 1e-9)
    return add_at_snr(samples, babble, snr_db=rng.uniform(0, 20))


def _telephone(samples: Samples, _: np.random.Generator) -> Samples:
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / MODEL_RATE)
    spectrum[(frequency < 300) | (frequency > 3_400)] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def _encode(samples: Samples, rng: np.random.Generator) -> Samples:
    container, codec = (("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"))[int(rng.integers(2))]
    file = io.BytesIO()
    loudest = max(1.0, float(np.abs(samples).max()))
    soundfile.write(
        file, samples / loudest, MODEL_RATE, format=container, subtype=codec, compression_level=rng.uniform(0.7, 0.98)
    )
    file.seek(0)
    decoded: Samples = soundfile.read(file, dtype="float32")[0]
    return decoded * loudest


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators that the library draws from, and put them back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
