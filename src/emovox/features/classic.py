"""The reference study's 180 numbers a clip: means over time of 40 MFCC, 12 chroma and 128 mel bands, from one STFT.

The values are those of the recipe that the study and countless notebooks use with librosa's defaults
(`librosa.feature.mfcc`, `chroma_stft` on the magnitude spectrogram, `melspectrogram`), without librosa.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from emovox.errors import FeatureError
from emovox.features.chroma import N_CHROMA, PITCH_CLASSES, chroma_filters, spectral_peaks, tuning_bin
from emovox.features.mel import mel_filterbank

Floats: TypeAlias = npt.NDArray[np.float32]

N_FFT, HOP = 2048, 512
N_BINS = N_FFT // 2 + 1
N_MFCC, N_MELS = 40, 128
CLASSIC_SIZE = N_MFCC + N_CHROMA + N_MELS
CLASSIC_VERSION = "1"
CLASSIC_NAMES = (
    *(f"mfcc_{number}" for number in range(1, N_MFCC + 1)),
    *(f"chroma_{pitch_class}" for pitch_class in PITCH_CLASSES),
    *(f"mel_{band}" for band in range(1, N_MELS + 1)),
)
"""Names of the columns."""

TOP_DB = 80.0
"""MFCC see nothing that is further below the loudest mel band of the clip."""
MEL_FLOOR = 1e-10
SILENCE = np.finfo(np.float32).tiny
"""Frames whose loudest pitch class is below this are not scaled."""

MEL_GROUPS = 8
BLOCK_FRAMES, PRODUCT_FRAMES = 16, 64
"""Frames transformed, and multiplied by filters, at a time: few enough to stay in the processor's cache."""
CHUNK_FRAMES = 4096
"""Frames held in memory at a time: 43 s at 48 kHz."""
CACHE_LINE_BYTES = 64


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
        >>> vector.shape, CLASSIC_NAMES[40 + vector[40:52].argmax()]
        ((180,), 'chroma_A')
    """
    if samples.ndim != 1 or not len(samples):
        raise FeatureError(f"classic features need one channel and a sample at least, got the shape {samples.shape}")
    frames = len(samples) // HOP + 1
    chunks = [range(first, min(first + CHUNK_FRAMES, frames)) for first in range(0, frames, CHUNK_FRAMES)]
    # Needed twice: for the tuning, then for the rest. A clip of one chunk, as most are, is transformed once.
    magnitude_of = lru_cache(maxsize=1)(partial(_magnitude_spectrogram, samples))
    tuning = tuning_bin([spectral_peaks(magnitude_of(chunk), rate) for chunk in chunks])
    chroma_sum = np.zeros(N_CHROMA)
    mel = np.empty((frames, N_MELS), np.float32)
    for chunk in chunks:
        magnitude = magnitude_of(chunk)
        for first in range(0, len(chunk), PRODUCT_FRAMES):
            part = magnitude[first : first + PRODUCT_FRAMES]
            chroma_sum += _chroma_sum(part, chroma_filters(rate, N_FFT, tuning))
            _mel_bands(np.square(part, out=part), rate, out=mel[chunk.start + first :][: len(part)])
    return np.concatenate([_mfcc_mean(mel), chroma_sum / frames, mel.mean(axis=0, dtype=np.float64)]).astype(np.float32)


def _magnitude_spectrogram(samples: Floats, chunk: range) -> Floats:
    """Magnitudes of some frames, shape (frames, 1025).

    Transformed in float64 and then rounded, as librosa does: the spectrum is the same to the last bit, and so near-ties
    between peaks fall alike.
    """
    memory = _workspace
    magnitude = memory.array("magnitude", (len(chunk), N_BINS), np.float32)
    padded = memory.array("padded", ((BLOCK_FRAMES - 1) * HOP + N_FFT,), np.float64)
    windowed = memory.array("windowed", (BLOCK_FRAMES, N_FFT), np.float64)
    exact = memory.array("exact", (BLOCK_FRAMES, N_BINS), np.complex128)
    rounded = memory.array("rounded", (BLOCK_FRAMES, N_BINS), np.complex64)
    frames = np.ndarray(
        (BLOCK_FRAMES, N_FFT), np.float64, padded.data, strides=(HOP * padded.itemsize, padded.itemsize)
    )
    for first in range(0, len(chunk), BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, len(chunk) - first)
        _copy_padded(samples, (chunk.start + first) * HOP - N_FFT // 2, padded)
        np.multiply(frames[:count], _window(), out=windowed[:count])
        np.fft.rfft(windowed[:count], out=exact[:count])
        rounded[:count] = exact[:count]
        np.abs(rounded[:count], out=magnitude[first : first + count])
    return magnitude


def _copy_padded(samples: Floats, begin: int, target: npt.NDArray[np.float64]) -> None:
    """Fill `target` with the samples from `begin` on, and with zeros where there are none."""
    inside = samples[max(begin, 0) : max(begin + len(target), 0)]
    before = max(-begin, 0)
    target[:before] = 0
    target[before : before + len(inside)] = inside
    target[before + len(inside) :] = 0


class _Workspace(threading.local):
    """Memory that is used again for the next clip: to map it anew each time costs a fifth of the whole.

    Arrays begin at a cache line, as wide stores that straddle two of them cost a third more.
    """

    def __init__(self) -> None:
        self._memory: dict[str, npt.NDArray[np.uint8]] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if name not in self._memory or len(self._memory[name]) < size:
            block = np.empty(size + CACHE_LINE_BYTES, np.uint8)
            self._memory[name] = block[-block.ctypes.data % CACHE_LINE_BYTES :]
        return self._memory[name][:size].view(dtype).reshape(shape)


_workspace = _Workspace()


def _chroma_sum(magnitude: Floats, filters: Floats) -> Floats:
    chroma = magnitude @ filters.T
    peak = chroma.max(axis=1)
    total: Floats = (1 / np.where(peak < SILENCE, np.float32(1), peak)) @ chroma
    return total


def _mel_bands(power: Floats, rate: int, *, out: Floats) -> None:
    for bands, bins, filters in _mel_parts(rate):
        np.matmul(power[:, bins], filters, out=out[:, bands])


def _mfcc_mean(mel: Floats) -> npt.NDArray[np.float64]:
    decibel = np.maximum(mel, MEL_FLOOR)
    np.log10(decibel, out=decibel)
    decibel *= 10
    np.maximum(decibel, decibel.max() - TOP_DB, out=decibel)
    # The DCT is linear: that of the mean is the mean of those of the frames.
    mean: npt.NDArray[np.float64] = _dct_matrix() @ decibel.mean(axis=0, dtype=np.float64)
    return mean


@lru_cache(maxsize=32)
def _mel_parts(rate: int) -> list[tuple[slice, slice, Floats]]:
    """Mel filters in eight groups, each with the bins that it touches: most of the whole matrix is zeros."""
    filters = mel_filterbank(rate, N_FFT, n_mels=N_MELS)
    parts = []
    for first in range(0, N_MELS, N_MELS // MEL_GROUPS):
        bands = slice(first, first + N_MELS // MEL_GROUPS)
        touched = np.flatnonzero(filters[bands].any(axis=0))
        bins = slice(int(touched[0]), int(touched[-1]) + 1) if len(touched) else slice(0, 1)
        parts.append((bands, bins, np.ascontiguousarray(filters[bands, bins].T)))
    return parts


@lru_cache(maxsize=1)
def _window() -> npt.NDArray[np.float64]:
    # Periodic Hann, evaluated from -pi to pi as SciPy does: then even the last bits of the spectrum are librosa's.
    window: npt.NDArray[np.float64] = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, N_FFT + 1)[:-1])
    return window


@lru_cache(maxsize=1)
def _dct_matrix() -> npt.NDArray[np.float64]:
    """First 40 rows of the orthonormal DCT-II of 128 values."""
    angle = np.pi / (2 * N_MELS) * np.outer(np.arange(N_MFCC), 2 * np.arange(N_MELS) + 1)
    matrix: npt.NDArray[np.float64] = np.sqrt(2 / N_MELS) * np.cos(angle)
    matrix[0] /= np.sqrt(2)
    return matrix
