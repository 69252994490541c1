"""Textbook measurements of sounds, for the tests of degraded recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from emovox import audio
from emovox.evaluation.conditions import CONDITIONS

Signal = npt.NDArray[np.float32]

RATE = 16_000


def of_group(group: str) -> list[str]:
    """Names of the conditions of a group."""
    return [name for name, condition in CONDITIONS.items() if condition.group == group]


def tones(*frequencies_hz: float, length: int = RATE) -> Signal:
    """Sum of tones of amplitude 0.05."""
    time = np.arange(length) / RATE
    return sum(0.05 * np.sin(2 * np.pi * frequency * time + frequency) for frequency in frequencies_hz).astype(
        np.float32
    )


def power(samples: npt.NDArray[np.floating]) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def snr_db(clean: Signal, disturbed: Signal) -> float:
    return 10 * np.log10(power(clean) / power(disturbed.astype(np.float64) - clean))


def level_at_db(samples: Signal, frequency_hz: float) -> float:
    """Amplitude of a tone in dB; whole seconds, so that it falls into one bin."""
    return 20 * np.log10(np.abs(np.fft.rfft(samples)[round(frequency_hz * len(samples) / RATE)]) + 1e-12)


def real_recordings(corpora_dir: Path) -> list[Signal]:
    """Recordings of three corpora: loud, very quiet, and with pauses."""
    paths = (
        "emodb/wav/03a01Fa.opus",
        "emodb/wav/16b03Fd.opus",
        "ravdess/Actor_10/03-01-04-02-01-02-10.opus",
        "ravdess/Actor_08/03-01-02-02-02-01-08.opus",
        "tess/YAF_sad/YAF_limb_sad.opus",
        "tess/OAF_Fear/OAF_numb_fear.opus",
    )
    return [audio.load(corpora_dir / path).samples for path in paths]
