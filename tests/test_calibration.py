"""Temperatures that are known beforehand, scikit-learn's own temperature scaling and curve, and the metrics' ECE."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError
from emovox.evaluation import metrics
from emovox.evaluation.calibration import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    apply_temperature,
    fit_temperature,
    reliability,
)
from emovox.evaluation.cells import STEP

LABELS = np.asarray(EMOTIONS)


def drawn(clips: int, *, factor: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth drawn from softmax(logits), and softmax(factor * logits): a model that is `factor` times too sure."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(clips, len(EMOTIONS)))
    chances = softmax(logits, axis=1)
    truth = (chances.cumsum(axis=1) > random.random((clips, 1))).argmax(axis=1)
    return LABELS[truth], softmax(factor * logits, axis=1)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.0])
def test_a_model_that_is_so_many_times_too_sure_gets_that_temperature(factor: float) -> None:
    truth, probabilities = drawn(30_000, factor=factor)
    found = fit_temperature(probabilities, truth, EMOTIONS)
    assert found == pytest.approx(factor, rel=0.05)
    assert metrics.ece(truth, apply_temperature(probabilities, found), EMOTIONS) < 0.015
    assert factor == 1 or metrics.ece(truth, probabilities, EMOTIONS) > 0.05


class Given(ClassifierMixin, BaseEstimator):
    """A classifier whose features are its probabilities."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Given:
        self.classes_ = np.unique(y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return X

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.classes_[X.argmax(axis=1)]


@pytest.mark.parametrize("factor", [0.5, 1.7])
def test_temperature_equals_scikit_learn(factor: float) -> None:
    truth, probabilities = drawn(400, factor=factor)
    probabilities = 0.98 * probabilities + 0.02 / 7  # no zeros: scikit-learn treats them in another way
    reference = CalibratedClassifierCV(FrozenEstimator(Given().fit(probabilities, truth)), method="temperature")
    expected = reference.fit(probabilities, truth).predict_proba(probabilities)
    found = apply_temperature(probabilities, fit_temperature(probabilities, truth, EMOTIONS))
    assert found == pytest.approx(expected, abs=1e-5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), clips=st.integers(1, 30), factor=st.floats(0.1, 30))
def test_no_other_temperature_is_better(seed: int, clips: int, factor: float) -> None:
    truth, probabilities = drawn(clips, factor=factor, seed=seed)
    found = fit_temperature(probabilities, truth, EMOTIONS)
    assert LOWEST_TEMPERATURE <= found <= HIGHEST_TEMPERATURE

    def loss(temperature: float) -> float:
        return float(-np.log(apply_temperature(probabilities, temperature)[truth[:, np.newaxis] == LABELS]).mean())

    assert loss(found) == pytest.approx(log_loss(truth, apply_temperature(probabilities, found), labels=EMOTIONS))
    others = np.geomspace(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE, 60)
    assert loss(found) <= min(loss(temperature) for temperature in others) + 1e-6


def test_at_the_ends_of_the_range() -> None:
    unsure = np.array([[0.6, 0.4], [0.4, 0.6]])
    assert fit_temperature(unsure, ["a", "b"], ["a", "b"]) == pytest.approx(LOWEST_TEMPERATURE, rel=0.01)
    assert fit_temperature(unsure, ["b", "a"], ["a", "b"]) == pytest.approx(HIGHEST_TEMPERATURE, rel=0.01)


def test_a_probability_of_zero_counts_as_the_step_of_the_store() -> None:
    """A truth that a model held to be impossible makes it less sure, not infinitely wrong."""
    truth = np.array(["a"] * 9 + ["b"])
    probabilities = np.tile([1.0, 0.0], (10, 1))
    found = fit_temperature(probabilities, truth, ["a", "b"])
    assert apply_temperature(probabilities, found)[0, 0] == pytest.approx(0.9, abs=1e-4)
    stored = np.rint(drawn(2000, factor=4)[1] / STEP) * STEP
    assert (stored == 0).any()
    truth = drawn(2000, factor=4)[0]
    assert fit_temperature(stored, truth, EMOTIONS) == pytest.approx(4, rel=0.1)


@given(seed=st.integers(0, 1000), temperature=st.floats(LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE))
def test_a_temperature_changes_no_decision(seed: int, temperature: float) -> None:
    _, probabilities = drawn(20, seed=seed)
    changed = apply_temperature(probabilities, temperature)
    assert changed.sum(axis=1) == pytest.approx(np.ones(20))
    assert (changed.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert apply_temperature(changed, 1 / temperature).shape == probabilities.shape
    assert apply_temperature(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-12)
    surer = changed.max(axis=1) - probabilities.max(axis=1)
    assert ((surer >= -1e-12) if temperature <= 1 else (surer <= 1e-12)).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), clips=st.integers(1, 200), bins=st.integers(1, 30), factor=st.floats(0, 20))
def test_the_bins_are_those_of_the_calibration_error(seed: int, clips: int, bins: int, factor: float) -> None:
    truth, probabilities = drawn(clips, factor=factor, seed=seed)
    stored = np.rint(probabilities / STEP) * STEP
    found = reliability(truth, stored, EMOTIONS, bins=bins)
    error = sum(one.share * abs(one.accuracy - one.confidence) for one in found)
    assert error == pytest.approx(metrics.ece(truth, stored, EMOTIONS, bins=bins), abs=1e-12)
    assert sum(one.clips for one in found) == clips
    assert sum(one.share for one in found) == pytest.approx(1)
    for one in found:
        assert one.low - 1e-9 <= one.confidence <= one.high + 1e-9
        assert one.high - one.low == pytest.approx(1 / bins)
        assert 0 <= one.accuracy <= 1
    assert [one.low for one in found] == sorted({one.low for one in found})


@pytest.mark.parametrize("bins", [5, 15])
def test_reliability_equals_scikit_learn(bins: int) -> None:
    random = np.random.default_rng(2)
    positive = random.random(500)
    truth = np.where(random.random(500) < positive**2, "b", "a")
    probabilities = np.column_stack([1 - positive, positive])
    right = truth == np.where(positive > 0.5, "b", "a")
    shares, confidences = calibration_curve(right, probabilities.max(axis=1), n_bins=bins)
    found = reliability(truth, probabilities, ["a", "b"], bins=bins)
    assert [one.accuracy for one in found] == pytest.approx(shares.tolist())
    assert [one.confidence for one in found] == pytest.approx(confidences.tolist())


def test_confidence_on_an_edge_belongs_to_the_bin_below() -> None:
    (one,) = reliability(["a"], np.array([[0.5, 0.5]]), ["a", "b"], bins=4)
    assert (one.low, one.high, one.clips, one.accuracy) == (0.25, 0.5, 1, 1.0)
    assert reliability([], np.zeros((0, 2)), ["a", "b"]) == []


def test_what_cannot_be_calibrated_is_refused() -> None:
    even = np.full((1, 2), 0.5)
    with pytest.raises(ParameterError, match="0 clips"):
        fit_temperature(np.zeros((0, 2)), [], ["a", "b"])
    with pytest.raises(ParameterError, match="2 classes, but probabilities"):
        fit_temperature(np.zeros((1, 3)), ["a"], ["a", "b"])
    with pytest.raises(ParameterError, match="'c' is not among"):
        reliability(["c"], even, ["a", "b"])
    for impossible in (np.nan, -0.1, 1.5):
        with pytest.raises(ParameterError, match="between 0 and 1"):
            reliability(["a"], np.array([[impossible, 0.0]]), ["a", "b"])
    with pytest.raises(ParameterError, match="one bin or more"):
        reliability(["a"], even, ["a", "b"], bins=0)
    for wrong in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ParameterError, match="must be positive"):
            apply_temperature(even, wrong)
