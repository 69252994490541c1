"""Hints: what a teacher says at each step, in few numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.models.hints import by_step, find_hints
from emovox.models.student import Heard, Student, batch, hear


def clips(rng: np.random.Generator, count: int = 60) -> list[np.ndarray]:
    """States in which three numbers are hidden, beside what comes from the position alone."""
    hidden = rng.normal(size=(3, 20))
    place = 10 * np.sin(np.arange(40))[:, None] * rng.normal(size=20)
    return [
        (rng.normal(size=(steps, 3)) @ hidden + place[:steps]).astype(np.float32)
        for steps in rng.integers(25, 40, size=count)
    ]


def test_they_say_all_but_the_position() -> None:
    rng = np.random.default_rng(0)
    states = clips(rng, 600)
    hints = find_hints(states, parts=3)
    said = np.concatenate([hints.of(one) for one in states]).astype(np.float64)
    assert said.shape[1] == 3
    assert said.var(axis=0).mean() == pytest.approx(1, rel=0.05)
    np.testing.assert_allclose(np.corrcoef(said.T), np.eye(3), atol=0.05)
    steps = np.concatenate([np.arange(len(one)) for one in states])
    rest = np.concatenate([one - hints.position[: len(one)] for one in states if len(one) <= len(hints.position)])
    assert rest.var() < 0.5 * np.concatenate(states).var()
    for step in range(20):  # no position is known by what is said there
        assert np.abs(said[steps == step].mean(axis=0)).max() < 0.3


def test_few_steps_give_few_parts_and_long_clips_are_no_matter() -> None:
    rng = np.random.default_rng(1)
    states = [rng.normal(size=(steps, 6)).astype(np.float32) for steps in (2, 3)]
    hints = find_hints(states)
    assert len(hints.position) == 2
    assert hints.of(states[0]).shape == (2, 5)
    assert hints.of(rng.normal(size=(50, 6))).shape == (50, 5)


@settings(deadline=None, max_examples=30)
@given(lead=st.integers(0, 4_000), spoken=st.integers(700, 8_000), seed=st.integers(0, 99))
def test_a_step_of_the_student_is_two_of_the_teacher(lead: int, spoken: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=spoken)
    clip = np.concatenate([np.zeros(lead), noise]).astype(np.float32)
    torch.manual_seed(0)
    student = Student(width=8, stem=4, blocks=1)
    with torch.inference_mode():
        spectrogram = student.front_end(torch.from_numpy(clip)[None])
        heard = hear(spectrogram[0])
        (states,), _ = student.encode(*batch([heard]))
    teacher = torch.arange(-(-spectrogram.shape[2] // 2))[:, None].float()
    said = by_step(teacher, heard)[:, 0]
    assert len(said) == states.shape[1]
    assert heard.start % 4 == 0
    np.testing.assert_allclose(said[:-1], heard.start / 2 + 2 * np.arange(len(said) - 1) + 0.5)
    assert said[-1] <= len(teacher) - 1


def test_the_last_step_may_be_half() -> None:
    heard = Heard(np.zeros((80, 6), np.float16), np.ones(6, bool), 0)
    assert by_step(torch.tensor([[1.0], [3.0], [8.0]]), heard).tolist() == [[2.0], [8.0]]
