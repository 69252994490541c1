"""The reference study's 180 numbers a clip: means over time of 40 MFCC, 12 chroma and 128 mel bands, from one STFT.

The values are those of the recipe that the study and countless notebooks use with librosa's defaults
(`librosa.feature.mfcc`, `chroma_stft` on the magnitude spectrogram, `melspectrogram`), without librosa.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from emovox.errors import FeatureError
from emovox.features.mel import mel_filterbank

Floats: TypeAlias = npt.NDArray[np.float32]

N_FFT, HOP = 2048, 512
N_MFCC, N_CHROMA, N_MELS = 40, 12, 128
CLASSIC_SIZE = N_MFCC + N_CHROMA + N_MELS
CLASSIC_VERSION = "1"
CLASSIC_NAMES = (
    *(f"mfcc_{number}" for number in range(1, N_MFCC + 1)),
    *(f"chroma_{pitch_class}" for pitch_class in ("C", "Cs", "D", "Ds", "E", "F", "Fs", "G", "Gs", "A", "As", "B")),
    *(f"mel_{band}" for band in range(1, N_MELS + 1)),
)
"""Names of the columns; ``Cs`` is C sharp."""
TOP_DB = 80.0
"""MFCC see nothing that is further below the loudest mel band of the clip."""

PITCH_RANGE_HZ = (150.0, 4000.0)
PEAK_THRESHOLD = 0.1
TUNING_BINS = 100
BLOCK_FRAMES = 8
"""Frames transformed at a time: few enough to stay in the processor's cache."""
MEL_GROUPS = 8
"""Mel filters are applied in so many groups, each to the bins that it touches."""


def classic(samples: Floats, rate: int) -> Floats:
    """Compute the 180 numbers.

    STFT with 2,048 samples, hop 512, periodic Hann window, centred on zero-padded edges. Mel: Slaney's filters on the
    power spectrogram. MFCC: orthonormal DCT-II of the mel bands in dB, at most 80 dB below the clip's maximum. Chroma:
    the magnitude spectrogram through filters that are tuned to the clip, each frame scaled to a maximum of 1.

    Args:
        samples: mono, float32 of shape (n,), n >= 1, full scale 1.
        rate: sample rate in Hz; the study uses each file's own.

    Returns:
        float32 of shape (180,): MFCC 0-39, chroma C-B, mel bands 0-127.

    Raises:
        FeatureError: if there is no sample, or not one dimension.

    Example:
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
        >>> vector = classic(tone, 16_000)
        >>> vector.shape, "C C# D D# E F F# G G# A A# B".split()[vector[40:52].argmax()]
        ((180,), 'A')
    """
    if samples.ndim != 1 or not len(samples):
        raise FeatureError(f"classic features need one channel and a sample at least, got the shape {samples.shape}")
    magnitude = _magnitude_spectrogram(samples)
    chroma = magnitude @ _chroma_filters(rate, _tuning_bin(magnitude, rate)).T
    peak = chroma.max(axis=1, keepdims=True)
    np.divide(chroma, peak, out=chroma, where=peak >= np.finfo(np.float32).tiny)
    np.square(magnitude, out=magnitude)
    mel = np.concatenate([magnitude[:, bins] @ part for bins, part in _mel_parts(rate)], axis=1)
    decibel = 10.0 * np.log10(np.maximum(mel, 1e-10))
    np.maximum(decibel, decibel.max() - TOP_DB, out=decibel)
    # The DCT is linear: that of the mean is the mean of those of the frames.
    mfcc = _dct_matrix() @ decibel.mean(axis=0, dtype=np.float64)
    return np.concatenate([mfcc, chroma.mean(axis=0), mel.mean(axis=0)]).astype(np.float32)


def _magnitude_spectrogram(samples: Floats) -> Floats:
    """Shape (frames, 1025). Transformed in float64 as librosa does, so that near-ties between peaks fall alike."""
    padded = np.zeros(len(samples) + N_FFT, np.float32)
    padded[N_FFT // 2 : N_FFT // 2 + len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    magnitude = np.empty((len(frames), N_FFT // 2 + 1), np.float32)
    windowed = np.empty((BLOCK_FRAMES, N_FFT))
    spectrum = np.empty((BLOCK_FRAMES, N_FFT // 2 + 1), np.complex128)
    rounded = np.empty(spectrum.shape, np.complex64)
    window = _window()
    for start in range(0, len(frames), BLOCK_FRAMES):
        block = frames[start : start + BLOCK_FRAMES]
        count = len(block)
        np.multiply(block, window, out=windowed[:count])
        np.fft.rfft(windowed[:count], out=spectrum[:count])
        rounded[:count] = spectrum[:count]
        np.abs(rounded[:count], out=magnitude[start : start + count])
    return magnitude


def _tuning_bin(magnitude: Floats, rate: int) -> int:
    """Find by how much the clip's partials deviate from the equal-tempered scale.

    Spectral peaks by parabolic interpolation (Smith, "Spectral Audio Signal Processing"), the stronger half of them
    counted by their deviation in hundredths of a semitone; as `librosa.piptrack` and `librosa.estimate_tuning` do.

    Returns:
        Hundredths of a semitone, from 0 for -0.5 to 99 for 0.49; 50 (no deviation) if there is no peak.
    """
    low, high = np.searchsorted(np.fft.rfftfreq(N_FFT, 1 / rate), (PITCH_RANGE_HZ[0], min(PITCH_RANGE_HZ[1], rate / 2)))
    low = max(int(low), 1)
    inner = magnitude[:, low:high]
    peaks = inner > PEAK_THRESHOLD * magnitude.max(axis=1, keepdims=True)
    peaks &= inner > magnitude[:, low - 1 : high - 1]
    peaks &= inner >= magnitude[:, low + 1 : high + 1]
    frame, column = np.divmod(np.flatnonzero(peaks), high - low)
    if not len(frame):
        return TUNING_BINS // 2
    bin_ = column + low
    centre_at = frame * magnitude.shape[1] + bin_
    left, centre, right = (magnitude.ravel().take(centre_at + offset) for offset in (-1, 0, 1))
    slope = (right - left) / 2
    curvature = (left + right).astype(np.float64) - 2.0 * centre
    shift = np.zeros_like(centre)
    np.divide(-slope, curvature, out=shift, where=np.abs(slope) < np.abs(curvature), casting="same_kind")
    strength = centre + np.float32(0.5) * slope * shift
    pitch = ((bin_ + shift) * float(rate) / N_FFT).astype(np.float32)
    pitch = pitch[strength >= np.median(strength)]
    deviation = np.mod(N_CHROMA * np.log2(pitch / np.float32(440.0 / 16)), np.float32(1.0))
    deviation[deviation >= 0.5] -= 1.0
    counts, _ = np.histogram(deviation, TUNING_BINS, range=(-0.5, 0.5))
    return int(counts.argmax())


@lru_cache(maxsize=512)
def _chroma_filters(rate: int, tuning_bin: int) -> Floats:
    """Gaussian bumps around each pitch class, shape (12, 1025), as `librosa.filters.chroma` makes them (Ellis 2007)."""
    tuning = float(np.linspace(-0.5, 0.5, TUNING_BINS + 1)[tuning_bin])
    frequency = np.linspace(0, rate, N_FFT, endpoint=False)[1:]
    position = N_CHROMA * np.log2(frequency / (440.0 * 2 ** (tuning / N_CHROMA) / 16))
    position = np.concatenate([[position[0] - 1.5 * N_CHROMA], position])
    width = np.concatenate([np.maximum(np.diff(position), 1.0), [1.0]])
    half = N_CHROMA // 2
    distance = np.remainder(position[None, :] - np.arange(N_CHROMA)[:, None] + half + 10 * N_CHROMA, N_CHROMA) - half
    weights = np.exp(-0.5 * (2 * distance / width) ** 2)
    weights /= np.linalg.norm(weights, axis=0, keepdims=True)
    weights *= np.exp(-0.5 * ((position / N_CHROMA - 5.0) / 2.0) ** 2)
    from_c = np.roll(weights, -3, axis=0)[:, : N_FFT // 2 + 1]
    return np.ascontiguousarray(from_c, dtype=np.float32)


@lru_cache(maxsize=32)
def _mel_parts(rate: int) -> list[tuple[slice, Floats]]:
    """Mel filters in eight groups, each with the bins that it touches: most of the whole matrix is zeros."""
    parts = []
    for group in np.split(mel_filterbank(rate, N_FFT, n_mels=N_MELS), MEL_GROUPS):
        touched = np.flatnonzero(group.any(axis=0))
        bins = slice(int(touched[0]), int(touched[-1]) + 1) if len(touched) else slice(0, 1)
        parts.append((bins, np.ascontiguousarray(group[:, bins].T)))
    return parts


@lru_cache(maxsize=1)
def _window() -> npt.NDArray[np.float64]:
    # Periodic Hann, evaluated from -pi to pi as SciPy does: then even the last bits of the spectrum are librosa's.
    window: npt.NDArray[np.float64] = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, N_FFT + 1)[:-1])
    return window


@lru_cache(maxsize=1)
def _dct_matrix() -> npt.NDArray[np.float64]:
    """First 40 rows of the orthonormal DCT-II of 128 values."""
    index = np.arange(N_MELS)
    matrix = np.cos(np.pi * (2 * index + 1) * np.arange(N_MFCC)[:, None] / (2 * N_MELS)) * np.sqrt(2 / N_MELS)
    matrix[0] /= np.sqrt(2)
    return matrix
