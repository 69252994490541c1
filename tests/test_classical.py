"""The classical models: the study's estimators, with probabilities that agree with their predictions."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import skl2onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import make_classification
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from emovox.emotions import EMOTIONS
from emovox.errors import ModelError, ParameterError
from emovox.models import svc_onnx
from emovox.models.catalog import CATALOG, create
from emovox.models.svc import VotingSVC

CLASSICAL = [name for name, spec in CATALOG.items() if spec.family == "classical"]
BASELINES = ["hist-gradient-boosting", "logistic-regression-scaled", "svc-linear-scaled"]
QUICK = {
    "random-forest": {"n_estimators": 10},
    "gradient-boosting": {"n_estimators": 2},
    "hist-gradient-boosting": {"max_iter": 3},
    "mlp": {"max_iter": 10},
}


def clips(seed: int = 0, count: int = 280, classes: int = 7):
    features, numbers = make_classification(
        count, 12, n_informative=8, n_classes=classes, n_clusters_per_class=1, random_state=seed
    )
    return features.astype(np.float32), np.array(EMOTIONS)[numbers]


@pytest.mark.parametrize("name", CLASSICAL)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_probabilities_and_predictions_agree(name):
    features, emotions = clips()
    model = create(name, seed=0, **QUICK.get(name.removesuffix("-scaled"), {})).fit(features[:200], emotions[:200])
    probabilities = model.predict_proba(features[200:])
    assert list(model.classes_) == list(EMOTIONS)
    assert probabilities.shape == (80, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(features[200:])).all()


def test_scaled_models_do_not_mind_the_unit_of_a_feature():
    features, emotions = clips()
    stretched = features * np.logspace(-3, 3, 12, dtype=np.float32)
    near = create("k-neighbors-scaled").fit(features, emotions).predict_proba(features)
    far = create("k-neighbors-scaled").fit(stretched, emotions).predict_proba(stretched)
    assert np.abs(near - far).mean() < 0.01
    unscaled = create("k-neighbors").fit(stretched, emotions).predict_proba(stretched)
    assert np.abs(near - unscaled).mean() > 0.05


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("break_ties", [False, True])
def test_svc_predicts_what_scikit_learn_s_predicts(classes, break_ties):
    features, emotions = clips(classes=classes)
    ours = VotingSVC(break_ties=break_ties).fit(features, emotions)
    theirs = SVC(break_ties=break_ties).fit(features, emotions)
    assert (ours.predict(features) == theirs.predict(features)).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 7))
def test_svc_s_most_probable_class_is_the_predicted_one_even_in_ties(seed, classes):
    features, emotions = clips(seed, count=120, classes=classes)
    machine = VotingSVC().fit(features[:60], emotions[:60])
    most_probable = machine.classes_[machine.predict_proba(features).argmax(axis=1)]
    assert (most_probable == machine.predict(features)).all()


def test_svc_ties_occur_in_the_data_of_the_test_above():
    """Otherwise it would prove nothing: somewhere the vote is tied and the tie is not broken by confidence."""
    differing = 0
    for seed in range(5):
        features, emotions = clips(seed, count=120)
        machine = VotingSVC().fit(features[:60], emotions[:60])
        by_confidence = machine.classes_[machine.decision_function(features).argmax(axis=1)]
        differing += (by_confidence != machine.predict(features)).sum()
    assert differing > 0


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_svc_as_matrices_gives_libsvm_s_own_decisions(classes):
    features, emotions = clips(classes=classes)
    machine = VotingSVC().fit(features, emotions)
    weights, intercepts = machine.one_against_one()
    gamma = 1 / (features.shape[1] * features.var(dtype=np.float64))
    decisions = rbf_kernel(features.astype(float), machine.support_vectors_, gamma=gamma) @ weights + intercepts
    expected = SVC(decision_function_shape="ovo").fit(features, emotions).decision_function(features)
    np.testing.assert_allclose(decisions.reshape(expected.shape), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["svc", "svc-scaled", "svc-linear-scaled"])
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_svc_gives_the_same_probabilities_as_an_onnx_graph(name, classes):
    features, emotions = clips(classes=classes, count=400)
    features = features * np.logspace(-2, 2, 12, dtype=np.float32) + 30
    model = create(name).fit(features[:200], emotions[:200])
    svc_onnx.register()
    kind = [("features", FloatTensorType([None, 12]))]
    graph = skl2onnx.to_onnx(model, initial_types=kind, options={id(model): {"zipmap": False}}, target_opset=18)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {"features": features})
    np.testing.assert_allclose(probabilities, model.predict_proba(features), atol=1e-6)
    assert (labels == model.predict(features)).all()


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_a_linear_svc_s_pairs_are_scikit_learn_s_own_planes(classes):
    features, emotions = clips(classes=classes)
    machine = VotingSVC(kernel="linear").fit(features, emotions)
    weights, intercepts = machine.one_against_one()
    np.testing.assert_allclose((machine.support_vectors_.T @ weights).T, machine.coef_, atol=1e-9)
    np.testing.assert_array_equal(intercepts, machine.intercept_)


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("columns", [88, 6373])
def test_baselines_take_any_number_of_features(name, columns):
    generator = np.random.default_rng(0)
    numbers = np.arange(70) % 7
    features = generator.normal(size=(70, columns)).astype(np.float32) * 0.1
    features[:, :7] += 10 * np.eye(7, dtype=np.float32)[numbers]
    emotions = np.array(EMOTIONS)[numbers]
    # With all the columns' noise between ten clips a class, boosting needs leaves of few clips.
    model = create(name, seed=0, **({"max_iter": 3, "min_samples_leaf": 5} if name.startswith("hist") else {}))
    assert model.fit(features, emotions).n_features_in_ == columns
    assert (model.predict(features) == emotions).mean() > 0.9


@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")
def test_logistic_regression_converges():
    features, emotions = clips(count=2_000)
    model = create("logistic-regression-scaled").fit(features, emotions)
    assert model[-1].n_iter_.max() < model[-1].max_iter


def test_boosting_learns_from_every_clip_of_a_large_corpus():
    """scikit-learn's own choice beyond 10,000 clips is to hold some out, of speakers that it learns from."""
    features, emotions = clips(count=10_010, classes=2)
    model = create("hist-gradient-boosting", seed=0, max_iter=2).fit(features, emotions)
    assert not model.do_early_stopping_
    assert len(model.validation_score_) == 0


def test_an_svc_of_another_kernel_says_that_it_cannot_be_exported():
    features, emotions = clips(count=60)
    model = create("svc", kernel="poly").fit(features, emotions)
    svc_onnx.register()
    with pytest.raises(ModelError, match="poly"):
        skl2onnx.to_onnx(model, features[:1])


def test_svc_log_probabilities():
    features, emotions = clips(count=60)
    machine = VotingSVC().fit(features, emotions)
    np.testing.assert_allclose(np.exp(machine.predict_log_proba(features)), machine.predict_proba(features))


def test_svc_with_ovo_scores_says_that_it_has_no_probabilities():
    features, emotions = clips(count=60)
    machine = VotingSVC(decision_function_shape="ovo").fit(features, emotions)
    with pytest.raises(ParameterError, match="ovr"):
        machine.predict_proba(features)


def failures_of_scikit_learn_s_own_svc(estimator):
    reason = "scikit-learn's SVC itself does not treat a weight of 2 as a repeated row exactly"
    return {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")}


@parametrize_with_checks([VotingSVC()], expected_failed_checks=failures_of_scikit_learn_s_own_svc)
def test_svc_keeps_scikit_learn_s_contract(estimator, check):
    check(estimator)
