"""Which models differ: against statsmodels, all sign flips, and how often equal models pass for different."""

from __future__ import annotations

import itertools
import logging
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError
from emovox.evaluation.significance import SIGNIFICANCE, Comparison, compare, holm

LABELS = np.asarray(EMOTIONS)


def measured(
    clips: list[int], skills: list[float], *, seed: int = 0, spread: float = 0.1
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Truth, predictions of models that are right with these shares, and speakers with so many clips each.

    Some voices are easier than others, for all models and for each model by itself.
    """
    random = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(clips)), clips)
    truth = np.concatenate([np.arange(count) % 7 for count in clips])
    easy = random.normal(0, spread, len(clips))
    predicted = {}
    for number, skill in enumerate(skills):
        chance = np.clip(skill + easy + random.normal(0, spread / 2, len(clips)), 0, 1)[owner]
        wrong = (truth + random.integers(1, 7, len(truth))) % 7
        predicted[f"m{number}"] = LABELS[np.where(random.random(len(truth)) < chance, truth, wrong)]
    return LABELS[truth], predicted, np.array([f"s{number}" for number in owner])


def compared(clips: list[int], skills: list[float], *, seed: int = 0, draws: int = 499) -> Comparison:
    truth, predicted, speakers = measured(clips, skills, seed=seed)
    (result,) = compare(truth, predicted, EMOTIONS, speakers, draws=draws, seed=seed)
    return result


def test_holm_by_hand() -> None:
    """The smallest counts four times, the next three times, and none becomes smaller than the one before it."""
    assert holm([0.03, 0.005, 0.4, 0.012]).tolist() == pytest.approx([0.06, 0.02, 0.4, 0.036])
    assert holm([0.02, 0.02, 0.021]).tolist() == pytest.approx([0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert (corrected >= p_values).all()
    assert (corrected <= np.minimum(1, np.array(p_values) * len(p_values)) + 1e-12).all()
    assert (np.diff(corrected[np.argsort(p_values)]) >= 0).all()


@settings(max_examples=50)
@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    expected = multitest.multipletests(p_values, method="holm")[1]
    assert holm(p_values) == pytest.approx(expected)


@pytest.mark.parametrize("speakers", [12, 4])
def test_a_model_does_not_differ_from_itself(speakers: int) -> None:
    truth, predicted, names = measured([21] * speakers, [0.6])
    (result,) = compare(truth, {"a": predicted["m0"], "b": predicted["m0"]}, EMOTIONS, names)
    assert (result.difference, result.low, result.high) == (0, 0, 0)
    assert (result.p, result.p_holm, result.different) == (1, 1, False)


@pytest.mark.parametrize("clips", [[14] * 10, [28] * 36, [45] * 10 + [52] * 24 + [1400] * 2, [100] * 3])
def test_a_much_better_model_differs(clips: list[int]) -> None:
    for seed in range(10):
        result = compared(clips, [0.8, 0.4], seed=seed)
        assert result.different
        assert 0.1 < result.low < result.difference < result.high < 0.7


def test_one_that_is_always_right_differs_from_one_that_always_says_the_same() -> None:
    truth, _, speakers = measured([14] * 12, [1.0])
    nearly = truth.copy()
    nearly[0] = "sad"
    predicted = {"right": truth, "nearly": nearly, "same": np.full(len(truth), "sad")}
    results = {(one.first, one.second): one for one in compare(truth, predicted, EMOTIONS, speakers)}
    assert results["right", "same"].different
    assert results["nearly", "same"].different
    assert not results["right", "nearly"].different, "one clip is no evidence"


@pytest.mark.parametrize("clips", [[28] * 10, [21] * 36, [21] * 34 + [350] * 2])
def test_equal_models_seldom_pass_for_different(clips: list[int]) -> None:
    """At most 5 % in the long run; 400 trials of a 5 % event give more than 8 % once in 300 such tests."""
    results = [compared(clips, [0.6, 0.6], seed=seed, draws=199) for seed in range(400)]
    assert sum(result.different for result in results) / len(results) <= 0.08
    # p is evenly spread if the models are equal: half of them are below one half.
    assert sum(result.p < 0.5 for result in results) / len(results) == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("clips", [[28] * 10, [21] * 36, [45] * 10 + [52] * 24 + [1400] * 2])
def test_equal_models_pass_for_different_once_in_twenty(clips: list[int]) -> None:
    results = [compared(clips, [0.6, 0.6], seed=seed) for seed in range(1500)]
    assert sum(result.different for result in results) / len(results) == pytest.approx(0.05, abs=0.02)


def test_among_ten_equal_models_holm_leaves_few_false_alarms() -> None:
    alarms = 0
    for seed in range(40):
        truth, predicted, speakers = measured([21] * 20, [0.6] * 10, seed=seed)
        results = compare(truth, predicted, EMOTIONS, speakers, draws=999, seed=seed)
        assert len(results) == 45
        alarms += any(result.different for result in results)
    assert alarms <= 6


def test_p_is_the_share_of_all_sign_flips() -> None:
    """Ten speakers can be flipped in 1,024 ways: swap the predictions of each, and measure again."""
    truth, predicted, speakers = measured([14] * 10, [0.62, 0.55], seed=3)
    one, other = predicted.values()

    def recall(values: np.ndarray) -> float:
        return float(np.mean([(values[truth == label] == label).mean() for label in EMOTIONS]))

    def difference(first: np.ndarray, second: np.ndarray) -> float:
        return recall(first) - recall(second)

    flipped = []
    for flips in itertools.product([False, True], repeat=10):
        swap = np.repeat(flips, 14)
        flipped.append(difference(np.where(swap, other, one), np.where(swap, one, other)))
    expected = np.mean(np.abs(flipped) >= abs(difference(one, other)) - 1e-9)
    assert 0.02 < expected < 0.9, "an example that can fail"
    (result,) = compare(truth, predicted, EMOTIONS, speakers, draws=20_000)
    assert result.difference == pytest.approx(difference(one, other))
    assert result.p == pytest.approx(expected, abs=0.012)


def test_p_over_clips_is_that_of_the_sign_test() -> None:
    """Clips of one class with one model right, all of them in one model's favour or the other's: a fair coin."""
    from scipy.stats import binomtest

    truth = np.array(["sad"] * 60)
    first = np.array(["sad"] * 45 + ["angry"] * 15)
    second = np.array(["sad"] * 20 + ["angry"] * 25 + ["sad"] * 13 + ["angry"] * 2)
    (result,) = compare(truth, {"a": first, "b": second}, EMOTIONS, None, draws=40_000)
    assert result.over == "clips"
    assert result.p == pytest.approx(binomtest(13, 25 + 13).pvalue, abs=0.005)


def test_interval_agrees_with_its_definition() -> None:
    truth, predicted, speakers = measured([10, 25, 40] * 5, [0.7, 0.5], spread=0.2)
    random = np.random.default_rng(5)
    rows_of = [np.flatnonzero(speakers == name) for name in np.unique(speakers)]
    values = []
    for _ in range(300):
        rows = np.concatenate([rows_of[number] for number in random.integers(0, len(rows_of), len(rows_of))])
        one, other = (balanced_accuracy_score(truth[rows], side[rows]) for side in predicted.values())
        values.append(one - other)
    (result,) = compare(truth, predicted, EMOTIONS, speakers)
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.02)


def test_a_draw_without_an_emotion_averages_the_others() -> None:
    """One speaker alone shows surprise; a draw without this speaker has six emotions."""
    truth, predicted, speakers = measured([21] * 12, [0.7, 0.5])
    keep = (truth != "surprise") | (speakers == "s0")
    one, other = (values[keep] for values in predicted.values())
    (result,) = compare(truth[keep], {"a": one, "b": other}, EMOTIONS, speakers[keep])
    expected = balanced_accuracy_score(truth[keep], one) - balanced_accuracy_score(truth[keep], other)
    assert result.difference == pytest.approx(expected)
    assert result.low < expected < result.high


@pytest.mark.parametrize(
    ("speakers", "over"), [([*"abcdefghi"], "clips"), ([*"abcdefghij"], "speakers"), (["", *"abcdefghij"], "clips")]
)
def test_few_or_unknown_speakers_are_compared_over_clips(speakers: list[str], over: str) -> None:
    truth, predicted, _ = measured([14] * len(speakers), [0.6, 0.5])
    (result,) = compare(truth, predicted, EMOTIONS, np.repeat(speakers, 14))
    assert result.over == over


def test_against_one_model_there_are_fewer_pairs_and_less_correction() -> None:
    truth, predicted, speakers = measured([21] * 20, [0.5, 0.5, 0.6, 0.7, 0.4])
    every = compare(truth, predicted, EMOTIONS, speakers)
    some = compare(truth, predicted, EMOTIONS, speakers, against="m1")
    assert [(one.first, one.second) for one in some] == [(name, "m1") for name in ("m0", "m2", "m3", "m4")]
    same = {(one.first, one.second): one for one in every}
    assert same["m0", "m1"].p == some[0].p
    assert same["m1", "m3"].p == some[2].p
    assert same["m1", "m3"].difference == -some[2].difference
    assert len(every) == 10
    assert sum(one.p_holm for one in some) < sum(one.p_holm for one in every if "m1" in (one.first, one.second))


def test_the_order_of_the_clips_does_not_matter_and_the_seed_does() -> None:
    truth, predicted, speakers = measured([21] * 12, [0.62, 0.6])
    order = np.random.default_rng(1).permutation(len(truth))
    moved = {name: values[order] for name, values in predicted.items()}
    one = compare(truth, predicted, EMOTIONS, speakers, seed=4)
    assert one == compare(truth[order], moved, EMOTIONS, speakers[order], seed=4)
    assert one != compare(truth, predicted, EMOTIONS, speakers, seed=5)


def test_twenty_models_take_seconds() -> None:
    truth, predicted, speakers = measured([78] * 36, list(np.linspace(0.3, 0.7, 20)))
    started = time.perf_counter()
    results = compare(truth, predicted, EMOTIONS, speakers)
    assert time.perf_counter() - started < 3
    assert len(results) == 190
    assert min(result.p_holm for result in results) <= SIGNIFICANCE


def test_too_few_speakers_for_so_many_pairs_are_told(caplog: pytest.LogCaptureFixture) -> None:
    truth, predicted, speakers = measured([14] * 10, [0.9] + [0.2] * 7)
    with caplog.at_level(logging.WARNING):
        results = compare(truth, predicted, EMOTIONS, speakers)
    assert "no difference between 28 pairs of models can be shown on 10 speakers" in caplog.text
    assert not any(result.different for result in results)
    caplog.clear()
    assert all(result.different for result in compare(truth, predicted, EMOTIONS, speakers, against="m0"))
    assert not caplog.text


def test_what_cannot_be_compared_is_refused() -> None:
    truth, predicted, speakers = measured([14] * 10, [0.6] * 8)
    with pytest.raises(ParameterError, match="two models or more, got m0"):
        compare(truth, {"m0": predicted["m0"]}, EMOTIONS, speakers)
    with pytest.raises(ParameterError, match="'m9' is not among the models"):
        compare(truth, predicted, EMOTIONS, speakers, against="m9")
    with pytest.raises(ParameterError, match="140 clips, but 139 values of m1"):
        compare(truth, {"m0": predicted["m0"], "m1": predicted["m1"][1:]}, EMOTIONS, speakers)
    with pytest.raises(ParameterError, match="139 values of speakers"):
        compare(truth, predicted, EMOTIONS, speakers[1:])
    with pytest.raises(ParameterError, match=r"28 pairs .* with 500 draws") as caught:
        compare(truth, predicted, EMOTIONS, speakers, draws=500)
    assert "Take 560 draws" in str(caught.value)
    with pytest.raises(ParameterError, match="0 clips"):
        compare([], {"a": [], "b": []}, EMOTIONS, [])
    with pytest.raises(ParameterError, match="'calm' is not among"):
        compare(["sad"], {"a": ["sad"], "b": ["calm"]}, EMOTIONS, None)
