"""Scenes for tests of live recognition: real utterances with pauses and the noise of a room, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from emovox import audio
from emovox.inference.pcm import to_pcm16

RATE = 16_000
Floats = npt.NDArray[np.float32]


def spoken_part(samples: Floats) -> tuple[int, int]:
    """Begin and end of what is spoken in a clip: frames of 10 ms within 25 dB of the loudest one."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-12)
    loud = np.flatnonzero(level > level.max() - 25)
    return int(loud[0]) * 160, (int(loud[-1]) + 1) * 160


def scene(
    clips: Sequence[Floats], *, pause_s: float = 1.0, noise: float = 1e-3, seed: int = 0
) -> tuple[Floats, list[tuple[float, float]]]:
    """Put clips one after the other with pauses before, between and behind them, under noise.

    Returns:
        Samples at 16 kHz, shape (n,); and where somebody speaks, in seconds.
    """
    silence = np.zeros(round(pause_s * RATE), np.float32)
    parts, truth = [silence], []
    for clip in clips:
        position = sum(map(len, parts))
        first, stop = spoken_part(clip)
        truth.append(((position + first) / RATE, (position + stop) / RATE))
        parts += [clip, silence]
    samples = np.concatenate(parts)
    hiss = np.random.default_rng(seed).normal(scale=noise, size=len(samples))
    return (samples + hiss).astype(np.float32), truth


def real_clips(corpora: Path, corpus: str, count: int, *, seed: int = 0) -> list[Floats]:
    """Some clips of a corpus, at 16 kHz."""
    files = sorted(path for path in (corpora / corpus).rglob("*.opus"))
    chosen = np.random.default_rng(seed).choice(len(files), count, replace=False)
    return [audio.load(files[index]).samples for index in chosen]


def two_sentences(corpora: Path) -> Floats:
    """Two clips of EmoDB with pauses."""
    return scene(real_clips(corpora, "emodb", 2, seed=4), pause_s=0.8)[0]


def save(path: Path, samples: Floats) -> Path:
    """Write samples at 16 kHz as the 16-bit numbers that a stream of them has."""
    soundfile.write(path, np.frombuffer(to_pcm16(samples), "<i2"), RATE)
    return path
