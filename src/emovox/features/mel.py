"""The Slaney mel scale and its triangular filters."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

LINEAR_HZ_PER_MEL = 200.0 / 3
LOG_START_HZ = 1000.0
LOG_START_MEL = LOG_START_HZ / LINEAR_HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27


def hz_to_mel(frequency: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Convert Hz to Slaney's mel: linear below 1 kHz, logarithmic above (Auditory Toolbox, Slaney 1998).

    Example:
        >>> hz_to_mel([200.0, 1000.0, 6400.0]).round(3).tolist()
        [3.0, 15.0, 42.0]
    """
    hertz = np.asarray(frequency, dtype=np.float64)
    logarithmic = LOG_START_MEL + np.log(np.maximum(hertz, LOG_START_HZ) / LOG_START_HZ) / LOG_STEP
    return np.where(hertz < LOG_START_HZ, hertz / LINEAR_HZ_PER_MEL, logarithmic)


def mel_to_hz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Convert Slaney's mel to Hz; the inverse of `hz_to_mel`."""
    mels = np.asarray(mel, dtype=np.float64)
    logarithmic = LOG_START_HZ * np.exp(LOG_STEP * (np.maximum(mels, LOG_START_MEL) - LOG_START_MEL))
    return np.where(mels < LOG_START_MEL, mels * LINEAR_HZ_PER_MEL, logarithmic)


@lru_cache(maxsize=32)
def mel_filterbank(
    rate: int, n_fft: int, *, n_mels: int = 128, f_min: float = 0.0, f_max: float | None = None
) -> npt.NDArray[np.float32]:
    """Make triangular filters of equal area, evenly spaced on the mel scale.

    Args:
        rate: sample rate in Hz.
        n_fft: length of the DFT in samples.
        n_mels: number of filters.
        f_min: lower edge of the first filter in Hz.
        f_max: upper edge of the last filter in Hz; None for half the rate.

    Returns:
        float32 of shape (n_mels, n_fft // 2 + 1), read-only. Equal to `librosa.filters.mel`.
    """
    top = rate / 2 if f_max is None else f_max
    edges = mel_to_hz(np.linspace(hz_to_mel(f_min), hz_to_mel(top), n_mels + 2))
    bins = np.fft.rfftfreq(n_fft, 1 / rate)
    width = np.diff(edges)
    ramps = edges[:, None] - bins[None, :]
    rising, falling = -ramps[:-2] / width[:-1, None], ramps[2:] / width[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    narrow: npt.NDArray[np.float32] = filters.astype(np.float32)
    narrow.setflags(write=False)
    return narrow
