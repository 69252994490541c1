"""speechnet-small as a classifier, as a graph, and as honest as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from sklearn.base import clone
from speechnet_files import Clips, tiny_whisper, tones
from typer.testing import CliRunner

from emovox.audio import load
from emovox.cli.main import app
from emovox.corpora.synthetic import synthesize
from emovox.emotions import EMOTIONS
from emovox.errors import ModelError, ParameterError
from emovox.evaluation.training import _with_what_was_learned
from emovox.inference.bundle import Bundle, BundleMetadata
from emovox.inference.recognizer import Recognizer
from emovox.models import teaching
from emovox.models.catalog import create
from emovox.models.discriminant import Discriminant
from emovox.models.export import bundle_bytes
from emovox.models.packing import SMALLEST_WORTH_PACKING
from emovox.models.speechnet_small import SmallSpeechNet
from emovox.models.student import Student
from emovox.models.voice_gate import VoiceGate
from emovox.models.whisper import round_matrices, round_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny_whisper(path)
    return path


@pytest.fixture(scope="module")
def clips() -> Clips:
    return tones()


def unfitted(weights: Path, **changes: object) -> SmallSpeechNet:
    small = {"pooled_blocks": (1, 2), "views": 0, "width": 16, "stem": 8, "blocks": 2, "epochs": 4}
    return SmallSpeechNet(weights=weights, **{**small, **changes})


@pytest.fixture(scope="module")
def model(weights: Path, clips: Clips) -> SmallSpeechNet:
    sounds, emotions, speakers = clips
    return unfitted(weights).fit(sounds, emotions, groups=speakers)


def test_it_is_a_classifier(model: SmallSpeechNet, clips: Clips) -> None:
    sounds, emotions, speakers = clips
    probabilities = model.predict_proba(sounds)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert list(model.classes_) == ["angry", "sad"]
    assert model.score(sounds, emotions) == 1.0
    assert model.embed(sounds).shape == (24, 16)
    assert len(model.losses_) == 4
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert not hasattr(fresh, "layer_")
    assert np.array_equal(fresh.fit(sounds, emotions, groups=speakers).predict_proba(sounds), probabilities)
    alone = np.concatenate([model.predict_proba([sound]) for sound in sounds[:5]])
    np.testing.assert_allclose(alone, probabilities[:5], atol=1e-9)
    created = create("speechnet-small", seed=3, weights="x")
    assert isinstance(created, SmallSpeechNet)
    assert created.random_state == 3


def test_wrong_arguments_are_refused(weights: Path, clips: Clips) -> None:
    sounds, emotions, speakers = clips
    with pytest.raises(ModelError, match="needs pretrained"):
        SmallSpeechNet().fit(sounds, emotions)
    with pytest.raises(ParameterError, match="24 clips, 3 labels"):
        unfitted(weights).fit(sounds, emotions[:3])
    for wrong in (
        {"calibration": 0.0},
        {"epochs": 0},
        {"hint_weight": -1.0},
        {"views": -1},
        {"shrinkage": 0.0},
        {"device": "gpu"},
    ):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            unfitted(weights, **wrong).fit(sounds, emotions, groups=speakers)


def test_graph_gives_the_same_probabilities(model: SmallSpeechNet, voice: np.ndarray) -> None:
    graph = model.to_onnx_model()
    onnx.checker.check_model(graph)
    assert [item.name for item in graph.graph.input] == ["waveform", "reference"]
    assert [item.name for item in graph.graph.output] == ["probabilities", "embedding"]
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for samples in (1_600, 9_999, 48_000):
        clip = np.resize(voice, samples)
        probabilities, embedding = session.run(None, {"waveform": clip[None]})
        np.testing.assert_allclose(probabilities, model.predict_proba([clip]), atol=1e-4)
        np.testing.assert_allclose(embedding, model.embed([clip]), atol=1e-3)
    fade = np.zeros(3_200, np.float32)
    longer = np.concatenate([np.zeros(6_400, np.float32), fade, voice[:16_000], fade])
    quiet = np.concatenate([longer, np.zeros(16_000, np.float32)])
    ends = [session.run(None, {"waveform": sound[None]})[0] for sound in (longer[6_400:], longer, quiet)]
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, atol=1e-4)
    references = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    for some in (references[:1], references):
        found = session.run(None, {"waveform": np.stack([voice, -voice]), "reference": some})[0]
        np.testing.assert_allclose(found, model.predict_proba([voice, -voice], references=some), atol=1e-4)


def test_a_bundle_says_who_taught_it(model: SmallSpeechNet, clips: Clips) -> None:
    sounds = clips[0]
    plain = BundleMetadata(name="x", labels=("sad", "angry"), input="waveform", sample_rate=16_000)
    bundle = Bundle(bundle_bytes(model, _with_what_was_learned(plain, model)), threads=1)
    assert bundle.embedding_size == 16
    assert bundle.meta.temperature == model.temperature_
    assert bundle.meta.training["pretrained"]["role"] == "teacher"
    assert "Taught by a network with pretrained weights: tiny.safetensors" in bundle.meta.card
    clip = sounds[0][None]
    np.testing.assert_allclose(bundle.run(clip, bundle.embed(clip)), [bundle.meta.neutral], atol=1e-5)


def test_weights_lie_on_the_grid_of_the_bundle(model: SmallSpeechNet, weights: Path, clips: Clips) -> None:
    matrices = [parameter for parameter in model.trunk_.parameters() if parameter.ndim > 1]
    assert {matrix.ndim for matrix in matrices} == {2, 3}
    for matrix in matrices:
        torch.testing.assert_close(round_weights(matrix.data), matrix.data)
    rough = unfitted(weights, weight_bits=None, epochs=1).fit(clips[0], clips[1])
    assert not torch.equal(round_weights(rough.trunk_.conv1.weight.data), rough.trunk_.conv1.weight.data)


def test_real_size_fits_into_a_megabyte_and_a_half() -> None:
    torch.manual_seed(0)
    model = SmallSpeechNet()
    model.trunk_ = Student(width=model.width, stem=model.stem, blocks=model.blocks).eval()
    round_matrices(model.trunk_)
    rng = np.random.default_rng(0)
    model.layer_ = Discriminant(rng.normal(size=192), rng.normal(size=(7, 192)), rng.normal(size=7))
    model.gate_ = VoiceGate(0.1 * rng.normal(size=192), 1.0, 0.85)
    model.temperature_, model.classes_ = 1.0, np.array(EMOTIONS)
    meta = BundleMetadata(name="x", labels=EMOTIONS, input="waveform", sample_rate=16_000, card="x" * 10_000)
    data = bundle_bytes(model, meta)
    assert len(data) <= 1_500_000
    left = [
        tensor.name
        for tensor in onnx.load_from_string(data).graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) > 1
        and np.prod(tensor.dims) > SMALLEST_WORTH_PACKING
    ]
    assert sorted(left) == ["head.weight", "trunk.front_end.mel"]  # filters of all kinds are packed
    bundle = Bundle(data, threads=1)
    assert bundle.embedding_size == 192
    clip = rng.normal(scale=0.1, size=(1, 32_000)).astype(np.float32)
    np.testing.assert_allclose(bundle.run(clip), model.predict_proba(list(clip)), atol=1e-4)


@pytest.mark.parametrize("seed", [0, 2])
def test_temperature_is_that_of_strangers(weights: Path, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Emotions that nobody can hear: they can be learned by heart, of strangers they are a coin's toss."""
    rng = np.random.default_rng(seed)
    sounds = [rng.normal(size=6_000).astype(np.float32) * np.float32(rng.uniform(0.1, 1)) for _ in range(40)]
    emotions, speakers = rng.permutation(np.repeat(["angry", "sad"], 20)), np.repeat(np.arange(8), 5)
    model = unfitted(weights, epochs=30, learning_rate=1e-2, emotion_weight=3.0, hint_weight=0.0, shrinkage=0.01)
    model.fit(sounds, emotions, groups=speakers)
    assert model.score(sounds, emotions) > 0.8
    assert model.predict_proba(sounds).max(axis=1).mean() < 0.6
    # Held out of the layer alone, speakers from whom the student has learned are none.
    of_acquaintances = model._find_temperature(model.embed(sounds)[:, None], emotions, speakers, np.ones(40))
    assert model.temperature_ > 5 * of_acquaintances
    with caplog.at_level("WARNING"):
        assert clone(model).set_params(epochs=1).fit(sounds, emotions).temperature_ == 1.0
    assert "too sure" in caplog.text


def test_a_killed_fit_ends_as_if_it_had_not_been(
    weights: Path, clips: Clips, model: SmallSpeechNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds, emotions, speakers = clips
    monkeypatch.setattr(teaching, "SAVE_EVERY", 1)
    deaths = [10, 40, 104]  # while clips are heard, in the first teaching, in the second one
    seen: list[int] = []

    class KilledError(Exception):
        pass

    def watch(done: int, total: int) -> None:
        seen.append(done)
        if deaths and done == deaths[0]:
            deaths.pop(0)
            raise KilledError

    one = unfitted(weights, checkpoint_dir=tmp_path, progress=watch)
    for files in (set(), {"calibration"}, {"calibration", "student"}):
        with pytest.raises(KilledError):
            one.fit(sounds, emotions, groups=speakers)
        assert {file.name for file in tmp_path.iterdir()} == {f"{name}.safetensors" for name in files}
    seen.clear()
    one.fit(sounds, emotions, groups=speakers)
    assert seen == [*range(1, 25), 128, 152]  # what was taught is not taught again
    assert np.array_equal(one.layer_.coef, model.layer_.coef)
    assert one.temperature_ == model.temperature_
    with pytest.raises(ModelError, match="another"):
        clone(one).set_params(random_state=8).fit(sounds, emotions, groups=speakers)


def test_progress_counts_clips_heard_and_epochs(weights: Path, clips: Clips) -> None:
    sounds, emotions, speakers = clips
    seen: list[tuple[int, int]] = []
    unfitted(weights, views=1, progress=lambda *told: seen.append(told)).fit(sounds, emotions, groups=speakers)
    heard, shorter, longer = 48, 2 * 2 * 16, 4 * 48
    assert {total for _, total in seen} == {heard + shorter + longer}
    assert [done for done, _ in seen[:48]] == list(range(1, 49))
    done = [done for done, _ in seen]
    assert done == sorted(done)
    assert done[-1] == seen[0][1]


def test_it_learns_what_real_clips_sound_like(corpora_dir: Path, encoder_weights: Path) -> None:
    paths = sorted((corpora_dir / "emodb" / "wav").iterdir())
    paths = [path for path in paths if path.name[5] in "WT"][:20]  # anger and sadness
    sounds, emotions = [load(path).samples for path in paths], [path.name[5] for path in paths]
    model = unfitted(encoder_weights, pooled_blocks=(2, 3), epochs=30, learning_rate=1e-2, emotion_weight=1.0)
    model.fit(sounds, emotions)
    assert model.losses_[-1] < 0.75 * model.losses_[0]
    assert model.score(sounds, emotions) > 0.9


@pytest.mark.slow
def test_the_command_keeps_the_teaching_and_writes_a_bundle(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    synthesize(tmp_path / "corpus", speakers=4, sentences=1)
    options = {
        "weights": weights,
        "pooled_blocks": [1, 2],
        "views": 1,
        "width": 16,
        "stem": 8,
        "blocks": 1,
        "epochs": 2,
    }
    settings = [part for key, value in options.items() for part in ("--set", f"{key}={value}")]
    arguments = ["train", "speechnet-small", "-c", tmp_path / "corpus", "-o", tmp_path / "mine.onnx", *settings]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    kept = {file.name for file in (tmp_path / "mine.run" / "checkpoint").iterdir()}
    assert kept == {"calibration.safetensors", "student.safetensors"}
    bundle = Bundle.load(tmp_path / "mine.onnx", threads=1)
    assert bundle.meta.training["model"] == "speechnet-small"
    assert bundle.meta.training["parameters"]["weights"] == "tiny.safetensors"
    assert bundle.meta.max_seconds == 10.0
    assert bundle.meta.temperature != 1.0
    assert Recognizer(bundle).predict(next((tmp_path / "corpus").rglob("*.wav"))).emotion in EMOTIONS
