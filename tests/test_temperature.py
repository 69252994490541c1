"""What is read from logits of people whom a model has not heard, against scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from sklearn.metrics import log_loss

from emovox.models.temperature import softmax, spread_of_voices, typical_temperature


def said(speakers: int, *, times: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits that are `times` too large for 400 clips of each speaker."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=2.0, size=(400 * speakers, 5))
    truth = np.array([random.choice(5, p=row) for row in softmax(logits)])
    return times * logits, truth, np.repeat(np.arange(speakers), 400)


def test_one_speaker_has_the_temperature_that_scipy_finds() -> None:
    logits, truth, speakers = said(1, times=3.0, seed=1)
    wanted = optimize.minimize_scalar(
        lambda log: log_loss(truth, softmax(logits / np.exp(log))), bounds=(-2, 4), method="bounded"
    )
    assert typical_temperature(logits, truth, speakers) == pytest.approx(np.exp(wanted.x), rel=0.03)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.5, 20.0), st.integers(0, 100))
def test_logits_that_are_too_large_are_divided(times: float, seed: int) -> None:
    logits, truth, speakers = said(3, times=times, seed=seed)
    assert typical_temperature(logits, truth, speakers) == pytest.approx(times, rel=0.25)


def test_one_speaker_who_is_misunderstood_does_not_make_it_doubt_all() -> None:
    logits, truth, speakers = said(5, times=1.0, seed=2)
    before = typical_temperature(logits, truth, speakers)
    last = speakers == 4
    logits[last] = 50 * np.eye(5)[(truth[last] + 1) % 5]
    assert typical_temperature(logits, truth, speakers) == pytest.approx(before, rel=0.1)
    assert typical_temperature(logits[last], truth[last], speakers[last]) > 100


@settings(deadline=None, max_examples=30)
@given(st.floats(0.1, 10.0), st.integers(0, 100))
def test_the_spread_is_that_of_single_clips_not_of_voices(scale: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(8), 200)
    own = random.normal(scale=100.0, size=(8, 6))[speakers]
    logits = own + random.normal(scale=scale, size=(1_600, 6)) + random.normal(size=(1_600, 1))
    found = spread_of_voices(logits, speakers)
    assert found == pytest.approx(scale**2, rel=0.12)
    alone = np.concatenate([logits, logits[:1] + 500])
    assert spread_of_voices(alone, np.append(speakers, 99)) == pytest.approx(found)


@pytest.mark.parametrize("clips", [1, 2, 3])
def test_speakers_of_few_clips_are_heard_together(clips: int) -> None:
    """Alone each of them would be understood always or never, and the median one always."""
    logits, truth, _ = said(1, times=2.0, seed=3)
    speakers = np.arange(400) // clips
    found = typical_temperature(logits, truth, speakers)
    assert found == pytest.approx(typical_temperature(logits, truth, np.zeros(400)), rel=0.05)
    # Beside three who can vote they have none.
    many = [np.concatenate(pair) for pair in zip((logits, truth, speakers), said(3, times=5.0, seed=4), strict=True)]
    many[2][400:] += 1_000
    assert typical_temperature(*many) == pytest.approx(5.0, rel=0.2)


def test_a_spread_that_nobody_shows_is_not_known() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3))
    assert spread_of_voices(logits, np.arange(4)) is None
    assert spread_of_voices(np.repeat(logits, 2, axis=0), np.arange(8) // 2) is None
