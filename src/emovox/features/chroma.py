"""Energy by pitch class, tuned to the clip: spectral peaks, the tuning that they share, and filters for it.

The definitions are librosa's (McFee et al. 2015; `piptrack`, `estimate_tuning`, `filters.chroma`), which follow
J. O. Smith, "Spectral Audio Signal Processing", for the peaks and Dan Ellis' "Chroma Feature Analysis and Synthesis"
(2007) for the filters. The tuning is the fullest of 100 bins, so one peak that falls differently can change it:
types and order of operations are chosen so that every rounding is the same as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Peaks: TypeAlias = tuple[Floats, Floats]
"""Pitch in Hz and magnitude of spectral peaks."""

PITCH_CLASSES = ("C", "Cs", "D", "Ds", "E", "F", "Fs", "G", "Gs", "A", "As", "B")
"""``Cs`` is C sharp."""
N_CHROMA = len(PITCH_CLASSES)
A_BELOW_HEARING_HZ = 440.0 / 16

PITCH_RANGE_HZ = (150.0, 4000.0)
PEAK_THRESHOLD = 0.1
TUNING_BINS = 100
TUNING_EDGES = np.linspace(-0.5, 0.5, TUNING_BINS + 1)
NO_TUNING = TUNING_BINS // 2

CENTRE_OCTAVE, OCTAVE_WIDTH = 5.0, 2.0
"""Octaves above 27.5 Hz: the filters weigh pitches most at 880 Hz and less away from it."""


def spectral_peaks(magnitude: Floats, rate: int) -> Peaks:
    """Find the partials of each frame by parabolic interpolation.

    Args:
        magnitude: spectrogram of shape (frames, bins), float32.
        rate: sample rate in Hz.

    Returns:
        The peaks between 150 and 4,000 Hz that have a tenth of their frame's maximum at least, frame by frame.
    """
    low, high = _pitch_bins(rate, magnitude.shape[1])
    # One bin more on each side, for the neighbours of the outermost peaks.
    region = np.ascontiguousarray(magnitude[:, low - 1 : high + 1])
    rises = region[:, 1:] > region[:, :-1]
    is_peak = np.zeros(region.shape, np.bool_)
    np.greater(rises[:, :-1], rises[:, 1:], out=is_peak[:, 1:-1])
    is_peak &= region > np.float32(PEAK_THRESHOLD) * magnitude.max(axis=1, keepdims=True)
    place = np.flatnonzero(is_peak)
    left, centre, right = (region.ravel().take(place + offset) for offset in (-1, 0, 1))
    slope = (right - left) * np.float32(0.5)
    curvature = (left + right).astype(np.float64) - 2.0 * centre
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = (-slope / curvature).astype(np.float32)
    shift = np.where(np.abs(slope) < np.abs(curvature), vertex, np.float32(0))
    n_fft = 2 * (magnitude.shape[1] - 1)
    bins = np.arange(low - 1, high + 1, dtype=np.float64)
    column = place - place // region.shape[1] * region.shape[1]  # faster than the remainder
    pitch = (bins.take(column) + shift) * float(rate) / n_fft
    strength: Floats = centre + np.float32(0.5) * slope * shift
    return pitch.astype(np.float32), strength


def tuning_bin(peaks: Sequence[Peaks]) -> int:
    """Find by how much the partials of a clip deviate from the equal-tempered scale.

    The stronger half of the peaks is counted by deviation in hundredths of a semitone; the fullest hundredth wins, the
    lowest of several.

    Args:
        peaks: those of one part of the clip after the other.

    Returns:
        Hundredths of a semitone, from 0 for -0.5 to 99 for 0.49; 50 (no deviation) if there is no peak.

    Example:
        >>> pitches = np.array([440.0, 880.0, 1760.0], np.float32) * np.float32(2 ** (0.2051 / 12))
        >>> tuning_bin([(pitches, np.ones(3, np.float32))])  # 0.20 above the scale
        70
    """
    pitch, strength = (np.concatenate(parts) for parts in zip(*peaks, strict=True))
    if not len(pitch):
        return NO_TUNING
    strong = pitch[strength >= _median(strength)]
    semitone = N_CHROMA * np.log2(strong / np.float32(A_BELOW_HEARING_HZ))
    deviation = semitone - np.floor(semitone)
    deviation -= deviation >= 0.5
    return int(np.bincount(_bins_of(deviation)).argmax())


def _median(values: Floats) -> np.float32:
    """As `numpy.median`, in a third of the time."""
    half = len(values) // 2
    if len(values) % 2:
        odd: np.float32 = np.partition(values, half)[half]
        return odd
    ordered = np.partition(values, half - 1)
    even: np.float32 = (ordered[half - 1] + ordered[half:].min()) / np.float32(2)
    return even


def _bins_of(deviation: Floats) -> npt.NDArray[np.intp]:
    """Number the hundredths that values from -0.5 to below 0.5 fall into; the edges are those of `numpy.linspace`."""
    exact = deviation.astype(np.float64)
    bins = ((exact + 0.5) * TUNING_BINS).astype(np.intp)
    # The product is rounded; what it put on the wrong side of an edge goes back.
    bins -= exact < TUNING_EDGES[bins]
    bins += exact >= TUNING_EDGES[bins + 1]
    return bins


@lru_cache(maxsize=512)
def chroma_filters(rate: int, n_fft: int, tuning: int = NO_TUNING) -> Floats:
    """Make filters that are Gaussian around each pitch class, on a logarithmic axis of frequency.

    Args:
        rate: sample rate in Hz.
        n_fft: length of the DFT in samples.
        tuning: as from `tuning_bin`.

    Returns:
        float32 of shape (12, n_fft // 2 + 1) from C to B, read-only. Equal to `librosa.filters.chroma`.
    """
    deviation = float(TUNING_EDGES[tuning])
    frequency = np.linspace(0, rate, n_fft, endpoint=False)[1:]
    position = N_CHROMA * np.log2(frequency / (A_BELOW_HEARING_HZ * 2 ** (deviation / N_CHROMA)))
    position = np.concatenate([[position[0] - 1.5 * N_CHROMA], position])
    width = np.concatenate([np.maximum(np.diff(position), 1.0), [1.0]])
    half = N_CHROMA // 2
    distance = np.remainder(position[None, :] - np.arange(N_CHROMA)[:, None] + half + 10 * N_CHROMA, N_CHROMA) - half
    weights = np.exp(-0.5 * (2 * distance / width) ** 2)
    weights /= np.linalg.norm(weights, axis=0, keepdims=True)
    weights *= np.exp(-0.5 * ((position / N_CHROMA - CENTRE_OCTAVE) / OCTAVE_WIDTH) ** 2)
    # Position 0 is an A; three semitones above it begins the octave from C.
    from_c = np.roll(weights, -3, axis=0)[:, : n_fft // 2 + 1]
    filters: Floats = np.ascontiguousarray(from_c, dtype=np.float32)
    filters.setflags(write=False)
    return filters


@lru_cache(maxsize=32)
def _pitch_bins(rate: int, n_bins: int) -> tuple[int, int]:
    frequency = np.fft.rfftfreq(2 * (n_bins - 1), 1 / rate)
    low, high = np.searchsorted(frequency, (PITCH_RANGE_HZ[0], min(PITCH_RANGE_HZ[1], rate / 2)))
    return max(int(low), 1), int(high)
