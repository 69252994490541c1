"""Metrics against scikit-learn and torchmetrics, the bootstrap against its definition, and its speed."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError
from emovox.evaluation import metrics


def made_up(clips: int, *, seed: int = 0, classes: int = 7, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities of somebody who is right more often than not."""
    random = np.random.default_rng(seed)
    truth = random.choice(classes, size=clips, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    logits = random.normal(size=(clips, classes)) + skill * np.eye(classes)[truth]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.asarray(EMOTIONS[:classes])[truth], probabilities


@settings(max_examples=100, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.sampled_from(EMOTIONS), st.sampled_from(EMOTIONS)), min_size=1, max_size=60),
)
def test_metrics_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = (list(side) for side in zip(*pairs, strict=True))
    matrix = metrics.confusion(truth, predicted, EMOTIONS)
    assert matrix.tolist() == reference.confusion_matrix(truth, predicted, labels=EMOTIONS).tolist()
    assert float(metrics.accuracy(matrix)) == pytest.approx(reference.accuracy_score(truth, predicted))
    present = sorted(set(truth))
    recall = reference.recall_score(truth, predicted, labels=present, average="macro", zero_division=0)
    assert float(metrics.uar(matrix)) == pytest.approx(recall)
    weighted = reference.f1_score(truth, predicted, average="weighted", zero_division=0)
    assert float(metrics.weighted_f1(matrix)) == pytest.approx(weighted)


def test_class_report_equals_scikit_learn() -> None:
    truth, probabilities = made_up(500)
    predicted = np.asarray(EMOTIONS)[probabilities.argmax(axis=1)]
    rows = {row.label: row for row in metrics.class_report(metrics.confusion(truth, predicted, EMOTIONS), EMOTIONS)}
    expected = reference.classification_report(truth, predicted, output_dict=True)
    expected["macro average"], expected["weighted average"] = expected["macro avg"], expected["weighted avg"]
    assert list(rows) == [*EMOTIONS, "macro average", "weighted average"]
    for label, row in rows.items():
        theirs = expected[label]
        assert (row.precision, row.recall, row.f1) == pytest.approx(
            (theirs["precision"], theirs["recall"], theirs["f1-score"])
        )
        assert row.support == theirs["support"]


def test_macro_average_leaves_out_classes_that_were_not_tested() -> None:
    rows = metrics.class_report(np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]]), ["a", "b", "c"])
    assert rows[2].support == 0
    assert rows[3].recall == pytest.approx((0.75 + 0.5) / 2)
    assert rows[3].recall == pytest.approx(float(metrics.uar(np.array([[3, 1, 0], [0, 2, 2], [0, 0, 0]]))))


def test_calibration_error_equals_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    for seed, skill in enumerate((0.0, 1.5, 6.0)):
        truth, probabilities = made_up(700, seed=seed, skill=skill)
        codes = np.array([EMOTIONS.index(label) for label in truth])
        expected = functional.multiclass_calibration_error(
            torch.from_numpy(probabilities), torch.from_numpy(codes), num_classes=7, n_bins=15, norm="l1"
        )
        assert metrics.ece(truth, probabilities, EMOTIONS) == pytest.approx(float(expected), abs=1e-6)


def test_calibration_error_at_the_edges() -> None:
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.ece(["a", "a"], sure, ["a", "b"]) == 0
    assert metrics.ece(["b", "b"], sure, ["a", "b"]) == 1
    assert metrics.ece(["a", "b"], np.full((2, 2), 0.5), ["a", "b"]) == 0


@given(st.integers(0, 1_000))
def test_calibration_error_with_weights_is_that_of_repeated_clips(seed: int) -> None:
    truth, probabilities = made_up(30, seed=seed)
    times = np.random.default_rng(seed).integers(1, 5, len(truth))
    repeated = metrics.ece(np.repeat(truth, times), np.repeat(probabilities, times, axis=0), EMOTIONS)
    assert metrics.ece(truth, probabilities, EMOTIONS, weight=times) == pytest.approx(repeated, abs=1e-12)


def test_brier_equals_scikit_learn() -> None:
    truth, probabilities = made_up(300, classes=2)
    expected = reference.brier_score_loss(truth == EMOTIONS[1], probabilities[:, 1])
    assert metrics.brier(truth, probabilities, EMOTIONS[:2]) == pytest.approx(2 * expected)


def slow_bootstrap(truth: np.ndarray, predicted: np.ndarray, speakers: np.ndarray, resamples: int) -> np.ndarray:
    """The definition: draw speakers, put their clips together, measure."""
    random = np.random.default_rng(99)
    names = np.unique(speakers)
    values = []
    for _ in range(resamples):
        rows = np.concatenate([np.flatnonzero(speakers == name) for name in random.choice(names, len(names))])
        values.append(reference.balanced_accuracy_score(truth[rows], predicted[rows]))
    return np.quantile(values, [0.025, 0.975])


def test_bootstrap_over_speakers_agrees_with_its_definition() -> None:
    truth, probabilities = made_up(1200)
    # Speakers differ in how well they are understood; that is what widens the interval.
    speakers = np.repeat([f"s{number:02d}" for number in range(12)], 100)
    predicted = np.asarray(EMOTIONS)[probabilities.argmax(axis=1)]
    predicted[:400] = truth[:400]
    result = metrics.bootstrap_interval(truth, predicted, EMOTIONS, speakers=speakers, resamples=4000)
    low, high = slow_bootstrap(truth, predicted, speakers, 800)
    assert result.over == "speakers"
    assert (result.uar.low, result.uar.high) == pytest.approx((low, high), abs=0.02)
    clips = metrics.bootstrap_interval(truth, predicted, EMOTIONS, resamples=4000)
    assert clips.over == "clips"
    assert clips.uar.high - clips.uar.low < 0.7 * (high - low)


def test_bootstrap_over_clips_has_the_width_of_the_binomial() -> None:
    truth = np.array(["sad"] * 1000)
    predicted = np.array(["sad"] * 700 + ["angry"] * 300)
    result = metrics.bootstrap_interval(truth, predicted, EMOTIONS, resamples=5000)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 1000)
    assert (result.accuracy.low, result.accuracy.high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.004)


@pytest.mark.parametrize(
    ("speakers", "over"),
    [(["a", "b"] * 50, "clips"), ([*"abcdefghij"] * 10, "speakers"), (["", *"abcdefghi"] * 10, "clips")],
)
def test_few_or_unknown_speakers_make_an_interval_over_clips(speakers: list[str], over: str) -> None:
    truth, probabilities = made_up(100)
    result = metrics.score(truth, probabilities, EMOTIONS, speakers=speakers)
    assert result.interval.over == over
    assert result.speakers == len(set(speakers) - {""})


def test_same_seed_same_interval() -> None:
    truth, probabilities = made_up(200)
    one, two, other = (metrics.score(truth, probabilities, EMOTIONS, seed=seed).interval for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_a_thousand_resamples_of_five_thousand_clips_take_less_than_a_second() -> None:
    truth, probabilities = made_up(5000)
    speakers = np.array([f"s{number % 40}" for number in range(5000)])
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        metrics.score(truth, probabilities, EMOTIONS, speakers=speakers, resamples=1000)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ParameterError, match="'calm' is not among"):
        metrics.confusion(["calm"], ["sad"], EMOTIONS)
    with pytest.raises(ParameterError, match="cannot bootstrap 0 clips"):
        metrics.bootstrap_interval([], [], EMOTIONS)
    with pytest.raises(ParameterError, match="probabilities"):
        metrics.score(["sad"], np.zeros((1, 3)), EMOTIONS)
