"""The measure of how far a sound is a voice, against scikit-learn's covariance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import ShrunkCovariance

from emovox.models.voice_gate import DOUBT, LEAST, SURE, fit_voice_gate

Rows = np.ndarray


def rows_of(seed: int, *, apart: float = 40.0) -> tuple[Rows, Rows, Rows]:
    """Speech in two emotions, and sounds that lie apart from it."""
    random = np.random.default_rng(seed)
    classes = np.tile([0, 1], 100)
    speech = random.normal(size=(200, 6)) @ random.normal(size=(6, 6)) + random.normal(size=(2, 6))[classes]
    direction = random.normal(size=6)
    return speech, classes, random.normal(size=(50, 6)) + apart * direction / np.linalg.norm(direction)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), shrinkage=st.floats(0.05, 1.0))
def test_the_direction_is_fishers(seed: int, shrinkage: float) -> None:
    speech, classes, background = rows_of(seed)
    gate = fit_voice_gate(speech, classes, np.ones(len(speech)), background, shrinkage=shrinkage)
    scaled, others = speech / speech.std(axis=0), background / speech.std(axis=0)
    within = np.concatenate([scaled[classes == one] - scaled[classes == one].mean(axis=0) for one in (0, 1)])
    shrunk = ShrunkCovariance(shrinkage=shrinkage, assume_centered=True).fit(within)
    direction = shrunk.precision_ @ (scaled.mean(axis=0) - others.mean(axis=0)) / speech.std(axis=0)
    cosine = direction @ gate.coef / np.linalg.norm(direction) / np.linalg.norm(gate.coef)
    assert cosine == pytest.approx(1.0, abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_speech_is_a_voice_and_background_none(seed: int) -> None:
    speech, classes, background = rows_of(seed, apart=200.0)
    gate = fit_voice_gate(speech, classes, np.ones(len(speech)), background)
    measured = speech @ gate.coef + gate.intercept
    assert measured.mean() == pytest.approx(1.0)
    assert (background @ gate.coef + gate.intercept).mean() == pytest.approx(0.0, abs=1e-6)
    assert np.mean(gate.voice(speech) == 1.0) >= 0.99
    assert gate.sure <= SURE
    assert gate.voice(background).mean() < 0.3


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_learned_speech_counts_even_where_the_network_tells_nothing_apart(seed: int) -> None:
    speech, classes, background = rows_of(seed, apart=0.0)
    gate = fit_voice_gate(speech, classes, np.ones(len(speech)), background)
    assert np.mean(gate.voice(speech) == 1.0) >= 0.99


def test_between_it_falls_evenly() -> None:
    speech, classes, background = rows_of(3, apart=500.0)
    gate = fit_voice_gate(speech, classes, np.ones(len(speech)), background)
    along = gate.coef / (gate.coef @ gate.coef)
    at = np.array([gate.sure - DOUBT, gate.sure - DOUBT / 2, gate.sure]) - gate.intercept
    np.testing.assert_allclose(gate.voice(at[:, None] * along), [LEAST, 0.5, 1.0], atol=1e-9)


def test_weights_count_like_copies() -> None:
    speech, classes, background = rows_of(5)
    copies = np.random.default_rng(5).integers(1, 4, size=len(speech))
    weighted = fit_voice_gate(speech, classes, copies.astype(float), background)
    copied = fit_voice_gate(
        np.repeat(speech, copies, axis=0), np.repeat(classes, copies), np.ones(copies.sum()), background
    )
    np.testing.assert_allclose(weighted.coef, copied.coef, rtol=1e-6)
