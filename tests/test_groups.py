"""Results by group: against measuring each group by itself, with what is unknown, missing or rare."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, recall_score

from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError
from emovox.evaluation import metrics
from emovox.evaluation.groups import MINIMUM_CLIPS, UNKNOWN, GroupScores, by_group

LABELS = np.asarray(EMOTIONS)


def made_up(clips: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities and predictions."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 7, clips)
    probabilities = random.dirichlet(np.ones(7), clips) / 2 + np.eye(7)[truth] * random.random((clips, 1)) / 2
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return LABELS[truth], probabilities, LABELS[probabilities.argmax(axis=1)]


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.sampled_from(["female", "male", ""]), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_every_clip_is_in_one_group_and_figures_equal_scikit_learn(values: list[str], seed: int) -> None:
    truth, probabilities, predicted = made_up(len(values), seed=seed)
    groups = by_group(truth, probabilities, predicted, EMOTIONS, [""] * len(values), {"gender": values}, resamples=5)
    assert sum(group.clips for group in groups) == len(values)
    for group in groups:
        rows = np.array([(value or UNKNOWN) == group.value for value in values])
        present = sorted(set(truth[rows]))
        assert group.clips == rows.sum()
        assert group.accuracy == pytest.approx(accuracy_score(truth[rows], predicted[rows]))
        expected = recall_score(truth[rows], predicted[rows], labels=present, average="macro", zero_division=0)
        assert group.uar == pytest.approx(expected)
        assert group.missing == tuple(label for label in EMOTIONS if label not in present)
        assert (group.interval is None) == (group.clips < MINIMUM_CLIPS)


def test_a_group_is_measured_as_if_it_were_alone() -> None:
    truth, probabilities, predicted = made_up(400)
    speakers = np.array([f"s{number % 24}" for number in range(400)])
    gender = np.where(np.arange(400) % 2, "male", "female")
    women, men = by_group(truth, probabilities, predicted, EMOTIONS, speakers, {"gender": gender}, seed=3)
    for group, rows in ((women, gender == "female"), (men, gender == "male")):
        alone = metrics.score(truth[rows], probabilities[rows], EMOTIONS, speakers=speakers[rows], seed=3)
        assert (group.uar, group.accuracy, group.ece) == (alone.uar, alone.accuracy, alone.ece)
        assert group.interval == alone.interval
        assert group.speakers == 12
        assert group.interval is not None
        assert group.interval.over == "speakers"


def test_one_speaker_has_an_interval_over_clips() -> None:
    truth, probabilities, predicted = made_up(60)
    speakers = np.repeat(["s1", "s2"], 30)
    groups = by_group(truth, probabilities, predicted, EMOTIONS, speakers, {"speaker": speakers})
    assert [(group.value, group.speakers) for group in groups] == [("s1", 1), ("s2", 1)]
    assert all(group.interval is not None and group.interval.over == "clips" for group in groups)


def test_a_difference_between_groups_is_found() -> None:
    """Women are always understood, men never."""
    truth = np.tile(LABELS, 20)
    gender = np.repeat(["female", "male"], 70)
    predicted = np.where(gender == "female", truth, np.where(truth == "sad", "angry", "sad"))
    probabilities = (predicted[:, np.newaxis] == LABELS).astype(float)
    women, men = by_group(truth, probabilities, predicted, EMOTIONS, [""] * 140, {"gender": gender})
    assert (women.uar, men.uar, women.ece, men.ece) == (1, 0, 0, 1)
    assert women.speakers == 0


@pytest.mark.parametrize("empty", ["", "  ", None, np.nan, pd.NA, "unknown"])
def test_what_is_not_known_is_a_group_of_its_own_and_comes_last(empty: object) -> None:
    truth, probabilities, predicted = made_up(4)
    column = np.array(["zh", empty, "de", empty], dtype=object)
    groups = by_group(truth, probabilities, predicted, EMOTIONS, ["a"] * 4, {"language": column})
    assert [(group.value, group.clips) for group in groups] == [("de", 1), ("zh", 1), (UNKNOWN, 2)]


def test_columns_may_be_categories_or_lists_and_stay_in_order() -> None:
    truth, probabilities, predicted = made_up(3)
    columns = {
        "intensity": pd.Series(["strong", None, "normal"], dtype="category").to_numpy(),
        "corpus": ["tess", "emodb", "tess"],
    }
    groups = by_group(truth, probabilities, predicted, EMOTIONS, ["a", "b", ""], columns)
    assert [(group.column, group.value) for group in groups] == [
        ("intensity", "normal"),
        ("intensity", "strong"),
        ("intensity", UNKNOWN),
        ("corpus", "emodb"),
        ("corpus", "tess"),
    ]
    assert [group.speakers for group in groups] == [0, 1, 1, 1, 1]


def test_small_groups_have_counts_and_no_interval() -> None:
    truth, probabilities, predicted = made_up(19)
    size = np.array(["large"] * 10 + ["small"] * 9)
    large, small = by_group(truth, probabilities, predicted, EMOTIONS, [""] * 19, {"size": size})
    assert isinstance(large, GroupScores)
    assert large.interval is not None
    assert (small.clips, small.interval) == (9, None)


def test_the_predictions_count_and_not_the_most_probable() -> None:
    """Rounded probabilities can tie; what the model said is what is measured."""
    even = np.full((2, 2), 0.5)
    (group,) = by_group(["a", "b"], even, ["a", "b"], ["a", "b"], ["", ""], {"corpus": ["c", "c"]})
    assert group.accuracy == 1


def test_what_does_not_fit_is_refused() -> None:
    truth, probabilities, predicted = made_up(5)
    with pytest.raises(ParameterError, match="5 clips, but 4 values of gender"):
        by_group(truth, probabilities, predicted, EMOTIONS, ["a"] * 5, {"gender": ["male"] * 4})
    with pytest.raises(ParameterError, match="5 clips, but 4 values of predicted"):
        by_group(truth, probabilities, predicted[1:], EMOTIONS, ["a"] * 5, {})
    with pytest.raises(ParameterError, match="'calm' is not among"):
        by_group(["calm"] * 5, probabilities, predicted, EMOTIONS, ["a"] * 5, {"gender": ["male"] * 5})
