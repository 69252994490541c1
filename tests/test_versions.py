"""Versions of training clips: the same everywhere, and with nobody in them who is not in the training part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.models.augment import Augmenter
from emovox.models.versions import CROWD, Versions

SPEAKERS = np.repeat(["a", "b", "c", ""], 9)
CLIPS = [np.random.default_rng(number).normal(size=9_000).astype(np.float32) for number in range(len(SPEAKERS))]


def test_view_0_is_the_clip_itself() -> None:
    versions = Versions(CLIPS, speakers=SPEAKERS)
    assert all((versions.sound(0, row) == clip).all() for row, clip in enumerate(CLIPS))
    assert len({versions.name(0, row) for row in range(len(CLIPS))}) == len(CLIPS)


@settings(deadline=None, max_examples=20)
@given(view=st.integers(1, 4), row=st.integers(0, len(CLIPS) - 1))
def test_the_crowd_is_of_other_clips_of_the_speaker(view: int, row: int) -> None:
    crowd = Versions(CLIPS, speakers=SPEAKERS).crowd(view, row)
    assert len(crowd) == len(set(crowd)) == (CROWD if SPEAKERS[row] else 0)
    assert row not in crowd
    assert {SPEAKERS[other] for other in crowd} <= {SPEAKERS[row]}


@pytest.mark.parametrize("left_out", ["a", "b", "c", ""])
def test_folds_without_a_speaker_have_the_same_versions(left_out: str) -> None:
    whole = Versions(CLIPS, speakers=SPEAKERS)
    rows = np.flatnonzero(left_out != SPEAKERS)
    part = Versions([CLIPS[row] for row in rows], speakers=SPEAKERS[rows])
    for place, row in enumerate(rows):
        assert part.name(2, place) == whole.name(2, row)
    for place, row in list(enumerate(rows))[::5]:
        np.testing.assert_array_equal(part.sound(2, place), whole.sound(2, row))


def test_a_version_has_another_name_when_somebody_else_is_in_it() -> None:
    whole = Versions(CLIPS, speakers=SPEAKERS)
    part = Versions(CLIPS[1:], speakers=SPEAKERS[1:])  # a clip of the same speaker is missing
    changed = [
        row for row in range(1, 9) if set(whole.crowd(1, row)) != {other + 1 for other in part.crowd(1, row - 1)}
    ]
    assert changed
    assert all(whole.name(1, row) != part.name(1, row - 1) for row in changed)


def test_names_tell_views_and_seeds_apart() -> None:
    names = {
        Versions(CLIPS, random_state=seed).name(view, row) for seed in (1, 2) for view in (1, 2) for row in range(5)
    }
    assert len(names) == 20


def test_babble_is_made_of_the_crowd() -> None:
    """Behind a clip of silence but for a click, the crowd is heard."""
    clip = np.zeros(8_000, np.float32)
    clip[4_000] = 1.0
    tone = np.sin(np.arange(8_000)).astype(np.float32)
    alone = [Augmenter()(clip, seed) for seed in range(40)]
    among = [Augmenter()(clip, seed, crowd=[tone]) for seed in range(40)]
    differs = [
        len(one) != len(other) or not np.array_equal(one, other) for one, other in zip(alone, among, strict=True)
    ]
    assert 10 < sum(differs) < 30  # half of all versions have babble
