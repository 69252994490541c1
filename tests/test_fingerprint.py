"""Fingerprints against librosa's spectrum and the paper's formula, and what must and must not change them."""

from __future__ import annotations

import itertools

import librosa
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox import audio
from emovox.corpora import fingerprint as fp


def wave(samples: npt.ArrayLike, rate: int = fp.RATE) -> audio.Waveform:
    return audio.Waveform(np.asarray(samples, np.float32), rate)


@pytest.fixture(scope="module")
def noise() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)


def test_words_are_the_papers_formula(noise: npt.NDArray[np.float32]) -> None:
    spectrum = librosa.stft(noise, n_fft=fp.WINDOW, hop_length=fp.HOP, window="hann", center=False)
    power = np.abs(spectrum.astype(complex)) ** 2
    width = fp.RATE / fp.WINDOW
    edges = np.geomspace(fp.LOWEST_HZ, fp.HIGHEST_HZ, fp.BITS + 2)
    centres = librosa.fft_frequencies(sr=fp.RATE, n_fft=fp.WINDOW)
    energies = np.stack(
        [
            np.clip(np.minimum(centres + width / 2, high) - np.maximum(centres - width / 2, low), 0, None) @ power
            for low, high in itertools.pairwise(edges)
        ]
    )
    levels = np.log(energies)
    slopes = levels[:-1] - levels[1:]
    expected = (slopes[:, 1:] - slopes[:, :-1]) > 0
    words = fp.fingerprint(wave(noise)).words
    bits = (words[:, None] >> np.arange(fp.BITS - 1, -1, -1)) & 1
    assert np.mean(expected != bits.T) < 1e-4


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0.01, 100.0))
def test_level_does_not_matter(noise: npt.NDArray[np.float32], gain: float) -> None:
    one, two = fp.fingerprint(wave(noise)), fp.fingerprint(wave(noise * np.float32(gain)))
    assert fp.align(one, two, 0).bit_error < 1e-3


def test_content_is_equal_for_equal_sound_only(noise: npt.NDArray[np.float32]) -> None:
    changed = noise.copy()
    changed[100] += 1e-4
    assert fp.content_hash(wave(noise)) == fp.content_hash(wave(noise.copy()))
    assert fp.content_hash(wave(noise)) != fp.content_hash(wave(changed))
    assert fp.content_hash(wave(noise)) != fp.content_hash(wave(noise, 16_000))


def test_other_sound_differs_in_half_the_bits(noise: npt.NDArray[np.float32]) -> None:
    other = np.random.default_rng(1).normal(0, 0.1, 24_000)
    alignment = fp.align(fp.fingerprint(wave(noise)), fp.fingerprint(wave(other)), 0)
    assert alignment.bit_error == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("frames", [-40, -1, 0, 3, 60])
def test_alignment_finds_a_cut(noise: npt.NDArray[np.float32], frames: int) -> None:
    start = abs(frames) * fp.HOP
    one, two = fp.fingerprint(wave(noise)), fp.fingerprint(wave(noise[start:]))
    if frames < 0:
        one, two = two, one
    assert fp.align(one, two, frames).bit_error == 0
    assert fp.align(one, two, frames + 30).bit_error > 0.3
    first, second = (wave(noise), wave(noise[start:]))
    pair = (first, second) if frames >= 0 else (second, first)
    assert fp.waveform_similarity(*pair, frames) == pytest.approx(1.0, abs=1e-6)


def test_nothing_in_common() -> None:
    one = fp.fingerprint(wave(np.random.default_rng(2).normal(size=8_000)))
    assert fp.align(one, one, 10_000) == fp.Alignment(10_000, 0, 1.0)
    assert fp.waveform_similarity(wave(np.ones(100)), wave(np.ones(100)), 0) == 0.0


def test_pauses_are_left_out(noise: npt.NDArray[np.float32]) -> None:
    quiet = np.concatenate([noise, 1e-5 * np.random.default_rng(3).normal(size=16_000)])
    value = fp.fingerprint(wave(quiet))
    assert value.active[:150].all()
    assert not value.active[-60:].any()
    assert not fp.fingerprint(wave(noise[:2_500])).searchable
    assert fp.fingerprint(wave(noise[:100])).words.shape == (0,)


def test_similarity_tells_copies_from_other_sound(noise: npt.NDArray[np.float32]) -> None:
    other = np.random.default_rng(4).normal(0, 0.1, len(noise))
    assert fp.waveform_similarity(wave(noise), wave(-0.3 * noise + 0.01 * other), 0) > 0.9
    assert fp.waveform_similarity(wave(noise), wave(other), 0) < 0.2
