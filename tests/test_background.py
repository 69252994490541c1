"""Sounds that are made up to learn what is no voice, heard by a detector of voices that we did not write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.inference.voice import SpeechDetector
from emovox.models.background import background_sounds


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_sounds_can_be_used_as_clips(seed: int) -> None:
    made = background_sounds(4, seed=seed)
    assert len(made) == 12
    for sound in made:
        assert sound.dtype == np.float32
        assert 16_000 <= len(sound) <= 5 * 16_000
        assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-6)


def test_a_seed_tells_all() -> None:
    once, again, other = background_sounds(3, seed=1), background_sounds(3, seed=1), background_sounds(3, seed=2)
    assert all((a == b).all() for a, b in zip(once, again, strict=True))
    assert not any(len(a) == len(b) and (a == b).all() for a, b in zip(once, other, strict=True))


def test_more_sounds_begin_with_the_same() -> None:
    few, many = background_sounds(2), background_sounds(5)
    assert all((a == b).all() for a, b in zip(few, many, strict=False))


def test_nobody_speaks() -> None:
    speech = []
    for sound in background_sounds(12):
        speech.append(float(np.mean(SpeechDetector()(sound) > 0.5)))
    assert np.mean(speech) < 0.05  # Silero takes a pipe for a voice at times
