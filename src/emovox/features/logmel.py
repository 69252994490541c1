"""Whisper's log-mel spectrogram: 80 bands, a frame every 10 ms, at 16 kHz."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from emovox.errors import FeatureError
from emovox.features.mel import mel_filterbank

LOGMEL_RATE = 16_000
N_FFT, HOP = 400, 160
"""A window of 25 ms every 10 ms, in samples."""
LOGMEL_SIZE = 80
LOGMEL_VERSION = "1"
FLOOR = 1e-10
RANGE_DECADES = 8.0
BLOCK_FRAMES = 64


def logmel(samples: npt.NDArray[np.float32], rate: int = LOGMEL_RATE) -> npt.NDArray[np.float32]:
    """Compute the log-mel spectrogram that Whisper hears (Radford et al. 2022, section 2.2).

    Power spectrogram with a periodic Hann window, centred on mirrored edges, without the last frame; 80 Slaney mel
    filters; log10, at most 8 below the clip's maximum; ``(x + 4) / 4``. Unlike Whisper's own, it is not padded to 30 s.

    Args:
        samples: mono, float32 of shape (n,), n >= 160, full scale 1.
        rate: sample rate in Hz; only 16,000.

    Returns:
        float32 of shape (n // 160, 80). The clip's maximum is ``(log10(power) + 4) / 4`` and nothing is more than 2
        below it.

    Raises:
        FeatureError: if the rate is another one, or the clip is shorter than a frame or not one channel.

    Example:
        >>> logmel(np.ones(16_000, np.float32)).shape
        (100, 80)
    """
    if rate != LOGMEL_RATE:
        raise FeatureError(
            f"logmel is defined at {LOGMEL_RATE} Hz, not at {rate} Hz", remedy="Load with rate=16000, which resamples."
        )
    if samples.ndim != 1 or len(samples) < HOP:
        raise FeatureError(f"logmel needs one channel of {HOP} samples at least, got the shape {samples.shape}")
    padded = np.pad(samples.astype(np.float64), N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: len(samples) // HOP]
    filters = mel_filterbank(LOGMEL_RATE, N_FFT, n_mels=LOGMEL_SIZE).T
    bands = np.empty((len(frames), LOGMEL_SIZE), np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        spectrum = np.fft.rfft(frames[start : start + BLOCK_FRAMES] * _window()).astype(np.complex64)
        bands[start : start + BLOCK_FRAMES] = (spectrum.real**2 + spectrum.imag**2) @ filters
    np.log10(np.maximum(bands, FLOOR, out=bands), out=bands)
    np.maximum(bands, bands.max() - RANGE_DECADES, out=bands)
    bands += 4.0
    bands /= 4.0
    return bands


@lru_cache(maxsize=1)
def _window() -> npt.NDArray[np.float64]:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)
