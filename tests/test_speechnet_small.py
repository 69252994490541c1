"""speechnet-small as a classifier and as a graph; what it shares with speechnet is tested there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.base import clone
from speechnet_files import Clips, tiny_whisper, tones
from typer.testing import CliRunner

from emovox.audio import load
from emovox.cli.main import app
from emovox.corpora.synthetic import synthesize
from emovox.emotions import EMOTIONS
from emovox.errors import ModelError, ParameterError
from emovox.inference.bundle import Bundle, BundleMetadata
from emovox.inference.recognizer import Recognizer
from emovox.models.catalog import create
from emovox.models.discriminant import Discriminant
from emovox.models.export import bundle_bytes
from emovox.models.packing import SMALLEST_WORTH_PACKING
from emovox.models.speechnet_small import SmallSpeechNet
from emovox.models.voice_gate import VoiceGate
from emovox.models.whisper import load_small_trunk


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny_whisper(path)
    return path


@pytest.fixture(scope="module")
def clips() -> Clips:
    return tones()


def unfitted(weights: Path, **changes: object) -> SmallSpeechNet:
    return SmallSpeechNet(weights=weights, **{"units": 40, "views": 1, "cache_dir": None, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model(weights: Path, clips: Clips) -> SmallSpeechNet:
    sounds, emotions, speakers = clips
    return unfitted(weights).fit(sounds, emotions, groups=speakers)


def test_it_is_a_classifier(model: SmallSpeechNet, clips: Clips) -> None:
    sounds, emotions, speakers = clips
    probabilities = model.predict_proba(sounds)
    assert model.score(sounds, emotions) == 1.0
    assert model.embed(sounds).shape == (24, 104)
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert fresh.get_params().keys() == {
        "weights", "units", "views", "shrinkage", "cache_dir", "progress", "random_state"
    }  # fmt: skip
    assert np.array_equal(fresh.fit(sounds, emotions, groups=speakers).predict_proba(sounds), probabilities)
    created = create("speechnet-small", seed=3, weights="x")
    assert isinstance(created, SmallSpeechNet)
    assert created.random_state == 3


def test_wrong_arguments_are_refused(weights: Path, clips: Clips) -> None:
    sounds, emotions, _ = clips
    with pytest.raises(ModelError, match="needs pretrained"):
        SmallSpeechNet().fit(sounds, emotions)
    with pytest.raises(ModelError, match="256 units, 257 are wanted"):
        unfitted(weights, units=257).fit(sounds, emotions)
    for wrong in ({"units": 0}, {"views": -1}, {"shrinkage": 0.0}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            unfitted(weights, **wrong).fit(sounds, emotions)


def test_kept_embeddings_are_those_of_its_own_trunk(weights: Path, clips: Clips, tmp_path: Path) -> None:
    sounds, emotions, _ = clips
    for units in (40, 20):
        kept = unfitted(weights, units=units, cache_dir=tmp_path).fit(sounds, emotions)
        assert np.array_equal(kept.embed(sounds), unfitted(weights, units=units).fit(sounds, emotions).embed(sounds))


def test_graph_gives_the_same_probabilities(model: SmallSpeechNet, voice: np.ndarray) -> None:
    graph = model.to_onnx_model()
    onnx.checker.check_model(graph)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for samples in (1_600, 9_999, 48_000):
        clip = np.resize(voice, samples)
        probabilities, embedding = session.run(None, {"waveform": clip[None]})
        np.testing.assert_allclose(probabilities, model.predict_proba([clip]), atol=1e-4)
        np.testing.assert_allclose(embedding, model.embed([clip]), atol=1e-3)
    references = np.random.default_rng(0).normal(size=(2, 104)).astype(np.float32)
    for some in (references[:1], references):
        found = session.run(None, {"waveform": np.stack([voice, -voice]), "reference": some})[0]
        np.testing.assert_allclose(found, model.predict_proba([voice, -voice], references=some), atol=1e-4)


def test_real_size_fits_into_a_megabyte_and_a_half(encoder_weights: Path) -> None:
    model = SmallSpeechNet(weights=encoder_weights)
    model.trunk_ = load_small_trunk(encoder_weights)
    rng = np.random.default_rng(0)
    model.layer_ = Discriminant(rng.normal(size=1024), rng.normal(size=(7, 1024)), rng.normal(size=7))
    model.gate_ = VoiceGate(0.1 * rng.normal(size=1024), 1.0, 0.85)
    model.temperature_, model.classes_ = 1.0, np.array(EMOTIONS)
    meta = BundleMetadata(name="x", labels=EMOTIONS, input="waveform", sample_rate=16_000, card="x" * 10_000)
    data = bundle_bytes(model, meta)
    assert len(data) <= 1_500_000
    left = [
        tensor.name
        for tensor in onnx.load_from_string(data).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) > 1
        and np.prod(tensor.dims) > SMALLEST_WORTH_PACKING
    ]
    assert sorted(left) == ["head.weight", "trunk.front_end.mel"]  # filters of all kinds are packed
    bundle = Bundle(data, threads=1)
    clip = rng.normal(scale=0.1, size=(1, 32_000)).astype(np.float32)
    np.testing.assert_allclose(bundle.run(clip), model.predict_proba(list(clip)), atol=1e-4)


def test_it_learns_what_real_clips_sound_like(corpora_dir: Path, encoder_weights: Path) -> None:
    paths = sorted((corpora_dir / "emodb" / "wav").iterdir())
    paths = [path for path in paths if path.name[5] in "WT"]  # anger and sadness
    sounds, emotions = [load(path).samples for path in paths], np.array([path.name[5] for path in paths])
    known = np.array([path.name[:2] in {"03", "08"} for path in paths])
    model = SmallSpeechNet(weights=encoder_weights, views=0)
    model.fit([sounds[row] for row in np.flatnonzero(known)], emotions[known])
    strangers = np.flatnonzero(~known)
    assert model.score([sounds[row] for row in strangers], emotions[strangers]) > 0.9


@pytest.mark.slow
def test_the_command_writes_a_bundle(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    synthesize(tmp_path / "corpus", speakers=4, sentences=1)
    settings = [part for value in (f"weights={weights}", "units=40", "views=1") for part in ("--set", value)]
    arguments = ["train", "speechnet-small", "-c", tmp_path / "corpus", "-o", tmp_path / "mine.onnx", *settings]
    arguments += ["-p", "speaker", "--folds", 2]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    bundle = Bundle.load(tmp_path / "mine.onnx", threads=1)
    assert bundle.meta.training["model"] == "speechnet-small"
    assert bundle.meta.training["parameters"]["weights"] == "tiny.safetensors"
    assert "Starts from pretrained weights: tiny.safetensors" in bundle.meta.card
    assert bundle.meta.max_seconds == 10.0
    assert len(bundle.meta.scores) == 1
    # Scores that an older recipe left in the folder are not this one's.
    assert (tmp_path / "mine.run" / f"evaluation-{SmallSpeechNet.recipe}").is_dir()
    assert Recognizer(bundle).predict(next((tmp_path / "corpus").rglob("*.wav"))).emotion in EMOTIONS
