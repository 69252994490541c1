"""Acoustic fingerprints: what a recording keeps when it is re-encoded, resampled, trimmed or made louder.

A fingerprint has one 32-bit word a frame. Bit b says whether the energy difference between the neighbouring bands b and
b + 1 has grown since the frame before (J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR
2002). Two encodings of one recording differ in a tenth of the bits, two takes of one sentence by one speaker in a
third, two unrelated recordings in half. Unlike the paper, which is about music, frames are 256 ms long, bands reach up
to 3.4 kHz and quiet frames are left out: speech pauses hold nothing but the noise of codecs.

Where bits alone leave doubt, `waveform_similarity` decides: two encodings of one recording have the same waveform, two
takes never do, however alike they sound.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emovox import audio

VERSION = 1
RATE = 8_000
"""Sample rate that fingerprints are made at, in Hz: what telephone recordings keep is all that is looked at."""
WINDOW, HOP = 2_048, 128
BITS = 32
LOWEST_HZ, HIGHEST_HZ = 300.0, 3_400.0
ACTIVE_RANGE_DB = 40.0
"""Frames that are this much weaker than the strongest one count as pauses."""
FLOOR_DB = 70.0
WEAK_BITS = 3
"""How many of a word's bits are marked as those that a new encoding is most likely to turn over."""
MIN_FRAMES = 12
"""Active frames that a clip needs for the search of near-duplicates (0.45 s of speech)."""

Words = npt.NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of a recording.

    Attributes:
        content: SHA-256 of the decoded samples and their rate, in hexadecimal: equal for equal sound, whatever the
            file's name and container.
        words: uint32 of shape (frames,), a word every `HOP` samples at `RATE`.
        weak: uint32 of shape (frames,): the word's `WEAK_BITS` least reliable bits; 0 marks a pause.
        duration_s: length of the recording in seconds.
    """

    content: str
    words: Words
    weak: Words
    duration_s: float

    @property
    def active(self) -> npt.NDArray[np.bool_]:
        """Which frames hold sound, of shape (frames,)."""
        return np.asarray(self.weak != 0)

    @property
    def searchable(self) -> bool:
        """Whether there is enough sound to tell this recording from others."""
        return int(np.count_nonzero(self.weak)) >= MIN_FRAMES


@dataclass(frozen=True)
class Alignment:
    """How two fingerprints fit when the second one begins `offset` frames after the first.

    Attributes:
        offset: in frames of `HOP` samples; negative if the second recording begins earlier.
        frames: frames in which both are active.
        bit_error: share of differing bits in these frames, 0..1.
    """

    offset: int
    frames: int
    bit_error: float


def fingerprint(waveform: audio.Waveform) -> Fingerprint:
    """Make the fingerprint of a waveform; its sample rate and level do not matter.

    Example:
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
        >>> one = fingerprint(audio.Waveform(noise, rate=8_000))
        >>> two = fingerprint(audio.Waveform(0.25 * noise, rate=8_000))
        >>> one.words.shape, bool((one.words == two.words).all()), one.content == two.content
        ((109,), True, False)
    """
    words, weak = _words(_at_rate(waveform))
    return Fingerprint(content_hash(waveform), words, weak, waveform.duration_s)


def content_hash(waveform: audio.Waveform) -> str:
    """SHA-256 of the samples and the rate: what two files share if they hold the same sound, bit by bit."""
    digest = hashlib.sha256(f"{waveform.rate} Hz\n".encode())
    digest.update(np.ascontiguousarray(waveform.samples, dtype="<f4").tobytes())
    return digest.hexdigest()


def align(first: Fingerprint, second: Fingerprint, offset: int) -> Alignment:
    """Compare two fingerprints at one offset, see `Alignment`; no common frame counts as an error of 1."""
    start, stop = max(0, offset), min(len(first.words), offset + len(second.words))
    if stop <= start:
        return Alignment(offset, 0, 1.0)
    here, there = slice(start, stop), slice(start - offset, stop - offset)
    both = (first.weak[here] != 0) & (second.weak[there] != 0)
    frames = int(np.count_nonzero(both))
    if not frames:
        return Alignment(offset, 0, 1.0)
    wrong = int(np.bitwise_count(first.words[here][both] ^ second.words[there][both]).sum())
    return Alignment(offset, frames, wrong / (BITS * frames))


def waveform_similarity(first: audio.Waveform, second: audio.Waveform, offset: int) -> float:
    """Highest correlation of two waveforms near an alignment of their fingerprints.

    Both are resampled to `RATE`; the second one is moved by up to two hops about `offset` frames. The part that
    overlaps at `offset` is compared; gain and polarity do not matter.

    Returns:
        0..1; above 0.9 for most encodings of one recording, below 0.6 for two takes.
    """
    one, two = _at_rate(first), _at_rate(second)
    shift = offset * HOP
    start, stop = max(0, shift), min(len(one), shift + len(two))
    if stop - start < WINDOW:
        return 0.0
    left, right = one[start:stop].astype(np.float64), two[start - shift : stop - shift].astype(np.float64)
    reach = min(2 * HOP, (stop - start) // 4)
    core = right[reach : len(right) - reach]
    size = 1 << (len(left) - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(left, size) * np.conj(np.fft.rfft(core, size)), size)[: 2 * reach + 1]
    power = np.concatenate([[0.0], np.cumsum(left**2)])
    energies = power[len(core) :][: 2 * reach + 1] - power[: 2 * reach + 1]
    scale = np.sqrt(np.maximum(energies * np.dot(core, core), 1e-30))
    return float(min(1.0, np.abs(products / scale).max()))


def _at_rate(waveform: audio.Waveform) -> audio.Samples:
    if waveform.rate == RATE:
        return waveform.samples
    anything = audio.Limits(min_duration_s=0.0, max_duration_s=float("inf"), silence_peak=-1.0)
    return audio.from_array(waveform.samples, source_rate=waveform.rate, rate=RATE, limits=anything).samples


def _words(samples: audio.Samples) -> tuple[Words, Words]:
    energies = _band_energies(samples)
    if len(energies) < 2:
        empty = np.empty(0, np.uint32)
        return empty, empty
    total = energies.sum(axis=1)
    floor = max(float(energies.max()) * 10 ** (-FLOOR_DB / 10), 1e-30)
    levels = np.log(energies + floor)
    slopes = levels[:, :-1] - levels[:, 1:]
    changes = slopes[1:] - slopes[:-1]
    words = _pack(changes > 0)
    weakest = np.argpartition(np.abs(changes), WEAK_BITS, axis=1)[:, :WEAK_BITS]
    marks = np.zeros(changes.shape, dtype=bool)
    np.put_along_axis(marks, weakest, True, axis=1)
    active = total[1:] > total.max() * 10 ** (-ACTIVE_RANGE_DB / 10)
    return words, np.where(active, _pack(marks), np.uint32(0)).astype(np.uint32)


def _pack(bits: npt.NDArray[np.bool_]) -> Words:
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)


def _band_energies(samples: audio.Samples) -> npt.NDArray[np.float64]:
    """Energy of 33 bands, logarithmically spaced, in every whole window: float64 of shape (frames, 33)."""
    if len(samples) < WINDOW:
        return np.empty((0, BITS + 1))
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    taper, first, stop, below, part = _front_end()
    energies = np.empty((len(windows), BITS + 1))
    for start in range(0, len(windows), 512):  # bounds the memory that a recording of hours needs
        spectrum = np.fft.rfft(windows[start : start + 512] * taper)[:, first:stop]
        # The energy below each edge, then differences: as a matrix product, but without the threads that BLAS starts.
        power = np.square(spectrum.real, dtype=np.float64) + np.square(spectrum.imag, dtype=np.float64)
        summed = np.cumsum(power, axis=1)
        energies[start : start + 512] = np.diff(summed[:, below] + part * power[:, below + 1], axis=1)
    return energies


@functools.cache
def _front_end() -> tuple[npt.NDArray[np.float32], int, int, npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Hann window, the range of FFT bins that is needed, and where in it the band edges lie.

    An edge lies between the bins `below` and `below + 1`, of which it takes `part`: a bin reaches half a bin to both
    sides of its frequency.
    """
    taper = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BITS + 2) * WINDOW / RATE + 0.5
    first, stop = int(edges[0]) - 1, int(edges[-1]) + 1
    whole = np.floor(edges).astype(np.int64)
    return taper, first, stop, whole - 1 - first, edges - whole
