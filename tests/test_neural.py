"""The networks as scikit-learn classifiers: contract, determinism, resuming, early stopping, silence."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from emovox.emotions import EMOTIONS
from emovox.errors import ModelError, ParameterError
from emovox.models.catalog import create
from emovox.models.fitting import split_off_validation
from emovox.models.neural import NetworkClassifier
from emovox.models.training import Training

FEATURES = 24


@pytest.fixture(autouse=True)
def _one_thread():
    """Data as small as these are trained faster without threads, above all beside other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clips(count: int = 70, *, seed: int = 0, noise: float = 0.3, classes: int = 7):
    """Vectors of a shape of their own for each emotion, with noise."""
    rng = np.random.default_rng(seed)
    shapes = np.random.default_rng(99).normal(size=(classes, FEATURES))
    emotions = np.arange(count) % classes
    return (shapes[emotions] + noise * rng.normal(size=(count, FEATURES))).astype(np.float32), np.array(EMOTIONS)[
        emotions
    ]


def quick(**parameters) -> NetworkClassifier:
    return NetworkClassifier(**{"network": "cnn-2", "epochs": 3, "batch_size": 16, "device": "cpu", **parameters})


def numbers(history):
    return {key: values for key, values in history.items() if key != "seconds"}


class Killed(BaseException):
    """Stands for a process that ends in the middle of an epoch."""


def kill_in_epoch(monkeypatch, epoch: int, kind: type[BaseException] = Killed):
    step = Training.training_step

    def dying_step(self, batch):
        if self.current_epoch == epoch and self.metrics():
            raise kind
        return step(self, batch)

    monkeypatch.setattr(Training, "training_step", dying_step)


def test_a_network_learns_and_generalises():
    features, emotions = clips(140)
    unseen, expected = clips(70, seed=1)
    model = quick(network="cnn-1", epochs=8).fit(features, emotions)
    probabilities = model.predict_proba(unseen)
    assert list(model.classes_) == list(EMOTIONS)
    assert model.score(unseen, expected) > 0.9
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (model.classes_[probabilities.argmax(axis=1)] == model.predict(unseen)).all()


@pytest.mark.parametrize("name", ["cnn-1", "cnn-2", "cnn-3", "cnn-4", "cnn-lstm-1", "cnn-lstm-4", "two-branch"])
def test_every_kind_of_network_trains(name):
    features, emotions = clips(28)
    model = create(name, seed=5, epochs=2, device="cpu").fit(features, emotions, validation=(features, emotions))
    assert model.random_state == 5
    assert model.history_["loss"][1] < model.history_["loss"][0]
    assert model.n_features_in_ == FEATURES


def test_the_history_has_one_entry_an_epoch():
    features, emotions = clips()
    model = quick().fit(features, emotions, validation=clips(35, seed=1))
    assert set(model.history_) == {"loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"}
    assert {len(values) for values in model.history_.values()} == {3}
    assert model.best_epoch_ == 1 + int(np.argmin(model.history_["val_loss"]))
    assert model.history_["val_accuracy"][-1] == pytest.approx(model.score(*clips(35, seed=1)))
    without = quick().fit(features, emotions)
    assert set(without.history_) == {"loss", "accuracy", "lr", "seconds"}
    assert without.best_epoch_ is None
    assert numbers(without.history_)["loss"] == model.history_["loss"]


def test_the_history_s_validation_loss_is_cross_entropy_with_the_penalty():
    features, emotions = clips(35)
    model = quick(network="two-branch", epochs=1).fit(features, emotions, validation=(features, emotions))
    probabilities = model.predict_proba(features)[np.arange(35), np.searchsorted(model.classes_, emotions)]
    expected = -np.log(probabilities).mean() + model.module_.penalty().item()
    assert model.history_["val_loss"][0] == pytest.approx(expected, rel=1e-4)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    features, emotions = clips()
    torch.manual_seed(123)
    first = quick(random_state=1).fit(features, emotions)
    torch.manual_seed(456)
    state = torch.get_rng_state()
    second = quick(random_state=1).fit(features, emotions)
    assert torch.equal(torch.get_rng_state(), state)
    assert numbers(first.history_) == numbers(second.history_)
    np.testing.assert_array_equal(first.predict_proba(features), second.predict_proba(features))
    assert numbers(quick(random_state=2).fit(features, emotions).history_) != numbers(first.history_)


OPTIONS = [{}, {"optimizer": "rmsprop", "early_stopping": True, "reduce_lr": True, "reduce_lr_patience": 1}]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch, options):
    features, emotions = clips(noise=2.0)
    expected = quick(epochs=5, **options).fit(features, emotions)
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 3)
        with pytest.raises(Killed):
            quick(epochs=5, checkpoint_dir=tmp_path, **options).fit(features, emotions)
    resumed = quick(epochs=5, checkpoint_dir=tmp_path, **options)
    steps = count_steps(monkeypatch)
    resumed.fit(features, emotions)
    assert 0 < len(steps) <= 2 * 5
    assert numbers(resumed.history_) == numbers(expected.history_)
    np.testing.assert_array_equal(resumed.predict_proba(features), expected.predict_proba(features))


def count_steps(monkeypatch):
    steps, step = [], Training.training_step
    monkeypatch.setattr(Training, "training_step", lambda self, batch: steps.append(1) or step(self, batch))
    return steps


def test_a_finished_run_is_not_repeated_but_can_be_prolonged(tmp_path, monkeypatch):
    features, emotions = clips()
    quick(epochs=2, checkpoint_dir=tmp_path).fit(features, emotions)
    steps = count_steps(monkeypatch)
    again = quick(epochs=2, checkpoint_dir=tmp_path).fit(features, emotions)
    assert not steps
    assert len(again.history_["loss"]) == 2
    longer = quick(epochs=4, checkpoint_dir=tmp_path).fit(features, emotions)
    assert numbers(longer.history_) == numbers(quick(epochs=4).fit(features, emotions).history_)
    with pytest.raises(ModelError, match="4 epochs already"):
        quick(epochs=1, checkpoint_dir=tmp_path).fit(features, emotions)


def test_a_checkpoint_of_other_data_or_parameters_is_refused(tmp_path):
    features, emotions = clips()
    quick(epochs=1, checkpoint_dir=tmp_path).fit(features, emotions)
    for model, data in ((quick(optimizer="sgd"), features), (quick(), features + 1)):
        with pytest.raises(ModelError, match="other parameters or data") as caught:
            model.set_params(checkpoint_dir=tmp_path).fit(data, emotions)
        assert caught.value.code == "foreign_checkpoint"


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path("harm-was-done"),))


def test_a_damaged_or_harmful_checkpoint_is_refused_and_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    features, emotions = clips()
    quick(epochs=1, checkpoint_dir=tmp_path).fit(features, emotions)
    file = tmp_path / "last.ckpt"
    whole = file.read_bytes()
    torch.save({"callbacks": Harmful()}, tmp_path / "harmful")
    for content in (
        whole[:1000],
        b"",
        b"no checkpoint",
        (tmp_path / "harmful").read_bytes(),
        pickle.dumps(Harmful(), protocol=2),
    ):
        file.write_bytes(content)
        with pytest.raises(ModelError) as caught:
            quick(epochs=2, checkpoint_dir=tmp_path).fit(features, emotions)
        assert caught.value.code == "bad_checkpoint"
        assert caught.value.path == str(file)
    assert not (tmp_path / "harm-was-done").exists()


def test_early_stopping_ends_the_training_and_takes_the_best_weights():
    features, emotions = clips(40)
    noise = np.random.default_rng(3).permutation(emotions)
    model = quick(network="cnn-1", epochs=40, early_stopping=True, patience=3)
    model.fit(features, emotions, validation=(features, noise))
    assert model.n_iter_ == model.best_epoch_ + 3
    assert model.n_iter_ < 40
    correct = model.predict(features) == noise
    assert correct.mean() == pytest.approx(model.history_["val_accuracy"][model.best_epoch_ - 1])


def test_the_learning_rate_is_halved_on_a_plateau_as_keras_does():
    """After `reduce_lr_patience` epochs that are not 1e-4 better than the best."""
    features, emotions = clips(40)
    noise = np.random.default_rng(3).permutation(emotions)
    model = quick(network="cnn-1", epochs=8, reduce_lr=True, reduce_lr_patience=2)
    losses = model.fit(features, emotions, validation=(features, noise)).history_["val_loss"]
    rate, best, waited, expected = 1e-3, np.inf, 0, []
    for loss in losses:
        expected.append(rate)
        best, waited = (loss, 0) if loss < best - 1e-4 else (best, waited + 1)
        if waited >= 2:
            rate, waited = rate / 2, 0
    assert model.history_["lr"] == pytest.approx(expected)
    assert model.history_["lr"][-1] < 1e-3


def test_validation_data_are_set_aside_stratified_and_by_speaker():
    labels = np.arange(140) % 7
    train, held_out = split_off_validation(labels, None, fraction=0.2, seed=0)
    assert sorted([*train, *held_out]) == list(range(140))
    assert np.bincount(labels[held_out]).tolist() == [4] * 7
    speakers = np.repeat(np.arange(10), 14)
    train, held_out = split_off_validation(labels, speakers, fraction=0.2, seed=0)
    assert not set(speakers[train]) & set(speakers[held_out])
    assert len(set(speakers[held_out])) == 2
    with pytest.raises(ParameterError, match="one group"):
        split_off_validation(labels, np.zeros(140), fraction=0.2, seed=0)
    with pytest.raises(ParameterError, match="validation=") as caught:
        split_off_validation(np.arange(5), None, fraction=0.2, seed=0)
    assert "least populated" in str(caught.value)


def test_fit_keeps_the_groups_of_early_stopping_apart(monkeypatch):
    features, emotions = clips(70)
    seen = {}
    monkeypatch.setattr(
        NetworkClassifier, "_train", lambda self, train, validation: seen.update(train=train, validation=validation)
    )
    quick(early_stopping=True).fit(features, emotions, groups=np.repeat(np.arange(5), 14))
    assert [len(part[0]) for part in (seen["train"], seen["validation"])] == [56, 14]


def test_class_weights_help_the_rare_class():
    features, emotions = clips(200, noise=3.0, classes=2)
    keep = (emotions == "angry") | (np.random.default_rng(0).random(200) < 0.1)
    unseen, expected = clips(200, noise=3.0, classes=2, seed=1)
    recalls = []
    for weight in (None, "balanced"):
        model = quick(epochs=6, class_weight=weight).fit(features[keep], emotions[keep])
        recalls.append((model.predict(unseen) == expected)[expected == "disgust"].mean())
    assert recalls[1] > recalls[0]


def test_standardising_makes_the_unit_of_a_feature_irrelevant():
    features, emotions = clips()
    stretched = features * np.logspace(-2, 3, FEATURES, dtype=np.float32) + 100
    near = quick(standardize=True).fit(features, emotions)
    far = quick(standardize=True).fit(stretched, emotions)
    np.testing.assert_allclose(near.predict_proba(features), far.predict_proba(stretched), atol=0.02)


def test_a_constant_feature_is_no_problem():
    features, emotions = clips(28)
    features[:, 3] = 7
    assert np.isfinite(quick(standardize=True, epochs=1).fit(features, emotions).predict_proba(features)).all()


def test_a_training_that_diverges_says_so():
    features, emotions = clips(28)
    with pytest.raises(ModelError, match="diverged") as caught:
        quick(learning_rate=1e30, optimizer="sgd").fit(features * 1000, emotions)
    assert caught.value.code == "diverged"


def test_half_precision():
    features, emotions = clips(140)
    model = quick(precision="bf16-mixed", epochs=6).fit(features, emotions)
    assert model.score(features, emotions) > 0.9
    assert next(model.module_.parameters()).dtype == torch.float32


def test_nothing_is_written_to_disk_or_shown(tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    features, emotions = clips(28)
    quick(early_stopping=True, epochs=2, progress=True).fit(features, emotions, validation=(features, emotions))
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn]


def test_an_interrupt_reaches_the_caller_and_keeps_the_finished_epochs(tmp_path, monkeypatch):
    features, emotions = clips(28)
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        kill_in_epoch(patch, 2, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            quick(checkpoint_dir=tmp_path).fit(features, emotions)
    assert signal.getsignal(signal.SIGINT) is handler
    assert (tmp_path / "last.ckpt").is_file()
    assert len(quick(checkpoint_dir=tmp_path).fit(features, emotions).history_["loss"]) == 3


WRONG = [
    {"network": "cnn-9"},
    {"optimizer": "lion"},
    {"device": "tpu"},
    {"precision": "8"},
    {"epochs": 0},
    {"batch_size": 0},
    {"patience": 0},
    {"random_state": -1},
    {"learning_rate": 0.0},
    {"validation_fraction": 1.0},
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: next(iter(wrong)))
def test_a_parameter_that_makes_no_sense_is_named(wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        quick(**wrong).fit(*clips(14))


def test_validation_data_must_go_with_the_training_data():
    features, emotions = clips(28)
    with pytest.raises(ParameterError, match="calm"):
        quick().fit(features, emotions, validation=(features[:1], ["calm"]))
    with pytest.raises(ParameterError, match="5 features"):
        quick().fit(features, emotions, validation=(features[:, :5], emotions))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said():
    with pytest.raises(ParameterError, match="no GPU"):
        quick(device="cuda").fit(*clips(14))


@pytest.mark.parametrize("name", ["cnn-2", "two-branch"])
def test_the_onnx_graph_gives_the_same_probabilities(name, capfd):
    features, emotions = clips(28)
    model = quick(network=name, epochs=1, standardize=True).fit(features, emotions)
    graph = model.to_onnx_model().SerializeToString()
    assert capfd.readouterr() == ("", "")
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [item.name for item in (*session.get_inputs(), *session.get_outputs())] == ["features", "probabilities"]
    for count in (1, 28):
        (probabilities,) = session.run(["probabilities"], {"features": features[:count]})
        np.testing.assert_allclose(probabilities, model.predict_proba(features[:count]), atol=1e-5)


def test_cloning_keeps_the_parameters_only():
    model = quick(optimizer="adamax").fit(*clips(14))
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert not hasattr(copy, "module_")


@parametrize_with_checks([NetworkClassifier("cnn-1", epochs=10, batch_size=16, learning_rate=3e-3, device="cpu")])
def test_scikit_learn_s_contract(estimator, check):
    check(estimator)
