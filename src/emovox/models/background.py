"""Sounds in which nobody speaks, made up: what `emovox.models.voice_gate` learns to tell from speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

from emovox.audio import MODEL_RATE, Samples

Sound: TypeAlias = npt.NDArray[np.float64]
MAJOR = (0, 2, 4, 5, 7, 9, 11, 12)
"""Steps of the major scale, in semitones."""


def background_sounds(count: int, *, seed: int = 7) -> list[Samples]:
    """Make up sounds in which nobody speaks: noises, tones and music, as many of each.

    Args:
        count: of each kind.
        seed: the same seed gives the same sounds.

    Returns:
        3 * `count` clips of 1 to 5 s at 16 kHz, float32, peak 0.5.

    Example:
        >>> len(background_sounds(2))
        6
    """
    kinds: tuple[tuple[Callable[[np.random.Generator], Sound], ...], ...] = (
        (_noise, _noise, _hum, _clicks),
        (_tone, _chord, _sweep, _buzz),
        (_music,),
    )
    made = []
    for number in range(count):
        for kind, makers in enumerate(kinds):
            rng = np.random.default_rng([seed, kind, number])
            sound = makers[number % len(makers)](rng)
            made.append((0.5 * sound / (np.abs(sound).max() + 1e-9)).astype(np.float32))
    return made


def _time(rng: np.random.Generator) -> Sound:
    return np.arange(int(rng.uniform(1, 5) * MODEL_RATE)) / MODEL_RATE


def _pitch(rng: np.random.Generator) -> float:
    """Draw a frequency from 80 Hz to 4 kHz, octaves alike."""
    return float(80 * 50 ** rng.random())


def _noise(rng: np.random.Generator) -> Sound:
    """Coloured noise, at times a band of it, at times in gusts."""
    length = len(_time(rng))
    frequency = np.fft.rfftfreq(length, 1 / MODEL_RATE)
    spectrum = np.fft.rfft(rng.normal(size=length)) * np.maximum(frequency, 20) ** rng.uniform(-1.2, 0.5)
    if rng.random() < 0.4:
        low = rng.uniform(0, 3_000)
        spectrum[(frequency < low) | (frequency > low + rng.uniform(200, 5_000))] = 0
    sound = np.fft.irfft(spectrum, length)
    if rng.random() < 0.5:
        gusts = rng.uniform(0.1, 1, max(2, int(length / MODEL_RATE * rng.uniform(0.5, 6))))
        sound *= np.interp(np.linspace(0, len(gusts) - 1, length), np.arange(len(gusts)), gusts)
    return sound


def _hum(rng: np.random.Generator) -> Sound:
    """Mains, motors: harmonics of 50 to 120 Hz."""
    time, base = _time(rng), rng.choice([50.0, 60.0, 100.0, 120.0])
    waves = (rng.uniform() / k * np.sin(2 * np.pi * base * k * time + rng.uniform(0, 6)) for k in range(1, 15))
    return np.asarray(sum(waves) + 0.02 * rng.normal(size=time.size))


def _clicks(rng: np.random.Generator) -> Sound:
    """Knocks, keys, drops: bursts that die away."""
    sound = np.zeros(len(_time(rng)))
    sound[rng.integers(0, sound.size, int(rng.integers(2, 40)))] = rng.uniform(0.2, 1)
    burst = np.exp(-np.arange(2_000) / rng.uniform(20, 400)) * rng.normal(size=2_000)
    return np.convolve(sound, burst)[: sound.size]


def _tone(rng: np.random.Generator) -> Sound:
    time = _time(rng)
    return np.asarray(np.sin(2 * np.pi * _pitch(rng) * time) * _beeps(time, rng))


def _chord(rng: np.random.Generator) -> Sound:
    time = _time(rng)
    return np.asarray(sum(np.sin(2 * np.pi * _pitch(rng) * time) for _ in range(3)) * _beeps(time, rng))


def _sweep(rng: np.random.Generator) -> Sound:
    time = _time(rng)
    return np.asarray(np.sin(2 * np.pi * np.cumsum(np.linspace(_pitch(rng), _pitch(rng), time.size)) / MODEL_RATE))


def _buzz(rng: np.random.Generator) -> Sound:
    time = _time(rng)
    return np.asarray(np.sign(np.sin(np.pi * _pitch(rng) * time)) * _beeps(time, rng))


def _beeps(time: Sound, rng: np.random.Generator) -> Sound:
    """Switch on and off, at times."""
    period = rng.uniform(0.1, 0.8)
    pulse = (time / period) % 1 < rng.uniform(0.2, 0.8)
    return np.asarray(pulse.astype(float) if rng.random() < 0.4 else np.ones(time.size))


def _music(rng: np.random.Generator) -> Sound:
    """A tune of one to four parts on plucked strings and pipes, most often with drums."""
    length = len(_time(rng))
    sound = np.zeros(length + 5 * MODEL_RATE)
    beat_s, tonic = rng.uniform(0.15, 0.6), rng.uniform(110, 220)
    for _ in range(int(rng.integers(1, 5))):
        instrument = _string if rng.random() < 0.5 else _pipe
        octave, step_s, level = 2 ** rng.integers(0, 3), beat_s * rng.choice([0.5, 1, 2]), rng.uniform(0.3, 1)
        chord = 1 if rng.random() < 0.6 else 3
        for start_s in np.arange(0, length / MODEL_RATE, step_s):
            root = int(rng.integers(0, 6))
            for third in range(chord):
                frequency = tonic * octave * 2 ** (MAJOR[(root + 2 * third) % 8] / 12)
                _place(sound, level * instrument(frequency, min(2, step_s * rng.uniform(0.8, 2)), rng), start_s)
    if rng.random() < 0.6:
        for start_s in np.arange(0, length / MODEL_RATE, beat_s / 2):
            _place(sound, rng.uniform(0, 1.5) * _drum(rng), start_s)
    return sound[:length]


def _place(sound: Sound, note: Sound, start_s: float) -> None:
    start = int(start_s * MODEL_RATE)
    sound[start : start + note.size] += note / (np.abs(note).max() + 1e-9)


def _string(frequency: float, seconds: float, rng: np.random.Generator) -> Sound:
    """A plucked string (Karplus and Strong, 1983)."""
    period = max(2, int(MODEL_RATE / frequency))
    excitation = np.zeros(int(seconds * MODEL_RATE) + period)
    excitation[:period] = rng.uniform(-1, 1, period)
    loop = np.zeros(period + 2)
    loop[0], loop[period:] = 1.0, -0.498
    return np.asarray(lfilter([1.0], loop, excitation))


def _pipe(frequency: float, seconds: float, rng: np.random.Generator) -> Sound:
    """Harmonics with a vibrato, that swell and fade."""
    time = np.arange(int(seconds * MODEL_RATE)) / MODEL_RATE
    level = rng.uniform(0, 1, 8) / np.arange(1, 9) ** rng.uniform(0.3, 2)
    phase = 2 * np.pi * frequency * time + rng.uniform(0, 0.1) * np.sin(2 * np.pi * 5 * time)
    waves = sum(level[k - 1] * np.sin(k * phase) for k in range(1, 9) if k * frequency < MODEL_RATE / 2)
    return np.asarray(waves * np.minimum(1, time / rng.uniform(0.005, 0.1)) * np.exp(-time / rng.uniform(0.2, 3)))


def _drum(rng: np.random.Generator) -> Sound:
    time = np.arange(MODEL_RATE // 4) / MODEL_RATE
    skin = rng.uniform(0, 2) * np.sin(2 * np.pi * rng.uniform(50, 200) * time * (1 - time))
    return np.asarray((skin + rng.uniform(0, 1) * rng.normal(size=time.size)) * np.exp(-time / rng.uniform(0.01, 0.1)))
