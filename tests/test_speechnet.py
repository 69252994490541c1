"""speechnet as a classifier, as a graph, and on people whom it has not heard."""

from __future__ import annotations

import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from scipy import signal
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score
from speechnet_files import Clips, tiny_whisper, tones

from emovox.audio import load
from emovox.errors import ModelError, ParameterError
from emovox.models.augment import Augmenter, add_at_snr
from emovox.models.discriminant import fit_discriminant
from emovox.models.embeddings import UNUSED_DAYS, EmbeddingCache
from emovox.models.packing import pack_fourier_basis, pack_weights
from emovox.models.speechnet import UNITS_SHARE, UNITS_SHRINKAGE, SpeechNet, balance


@pytest.fixture(scope="module")
def clips() -> Clips:
    return tones()


@pytest.fixture(scope="module")
def model(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> SpeechNet:
    weights = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    tiny_whisper(weights)
    sounds, emotions, speakers = clips
    return SpeechNet(weights=weights, pooled_blocks=(1, 2), units=256, views=0, cache_dir=None).fit(
        sounds, emotions, groups=speakers
    )


def test_it_is_a_classifier(model: SpeechNet, clips: Clips) -> None:
    sounds, emotions, _ = clips
    probabilities = model.predict_proba(sounds)
    assert probabilities.shape == (24, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert list(model.classes_) == ["angry", "sad"]
    assert list(model.predict(sounds)) == list(model.classes_[probabilities.argmax(axis=1)])
    assert model.score(sounds, emotions) == 1.0
    fresh = clone(model)
    assert not hasattr(fresh, "layer_")
    assert fresh.get_params() == model.get_params()
    again = fresh.fit(sounds, emotions, groups=clips[2]).predict_proba(sounds)
    np.testing.assert_allclose(again, probabilities, atol=1e-6)


def test_one_clip_at_a_time_gives_the_same(model: SpeechNet, clips: Clips) -> None:
    sounds = clips[0][:5]
    alone = np.concatenate([model.predict_proba([sound]) for sound in sounds])
    np.testing.assert_allclose(alone, model.predict_proba(sounds), atol=1e-9)


def test_wrong_arguments_are_refused(model: SpeechNet, clips: Clips) -> None:
    sounds, emotions, _ = clips
    with pytest.raises(ModelError, match="needs pretrained"):
        SpeechNet().fit(sounds, emotions)
    with pytest.raises(ParameterError, match="24 clips, 3 labels"):
        clone(model).fit(sounds, emotions[:3])
    with pytest.raises(ParameterError, match="corpora must be as many"):
        clone(model).fit(sounds, emotions, corpora=["one"] * 3)
    with pytest.raises(ParameterError, match="shrinkage"):
        clone(model).set_params(shrinkage=0.0).fit(sounds, emotions)
    with pytest.raises(ParameterError, match="two emotions"):
        clone(model).fit(sounds, ["sad"] * 24)
    with pytest.raises(ParameterError, match="pooled_blocks"):
        clone(model).set_params(pooled_blocks=()).fit(sounds, emotions)
    with pytest.raises(ParameterError, match="units must be"):
        clone(model).set_params(units=0).fit(sounds, emotions)
    with pytest.raises(ModelError, match="256 units a block, 257 are wanted"):
        clone(model).set_params(units=257).fit(sounds, emotions)


def test_graph_gives_the_same_probabilities(model: SpeechNet, voice: np.ndarray) -> None:
    graph = model.to_onnx_model()
    onnx.checker.check_model(graph)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    noise = np.random.default_rng(0).normal(scale=0.03, size=64_000).astype(np.float32)
    in_noise = noise + np.pad(voice, 16_000)
    for clip in (*(np.resize(voice, samples) for samples in (1_600, 9_999, 48_000)), in_noise):
        probabilities, embedding = session.run(None, {"waveform": clip[None]})
        np.testing.assert_allclose(probabilities, model.predict_proba([clip]), atol=1e-4)
        np.testing.assert_allclose(embedding, model.embed([clip]), atol=1e-3)
    two = session.run(None, {"waveform": np.stack([voice, -voice])})[0]
    np.testing.assert_allclose(two, model.predict_proba([voice, -voice]), atol=1e-4)
    references = np.random.default_rng(0).normal(size=(2, len(model.layer_.mean))).astype(np.float32)
    for some in (references[:1], references):
        found = session.run(None, {"waveform": np.stack([voice, -voice]), "reference": some})[0]
        np.testing.assert_allclose(found, model.predict_proba([voice, -voice], references=some), atol=1e-4)


def test_adaptation_takes_away_what_all_clips_share(model: SpeechNet, clips: Clips) -> None:
    sounds, emotions, _ = clips
    shift = np.random.default_rng(0).normal(size=len(model.layer_.mean)) * 3
    change = model.decision_function(sounds) - model.decision_function(sounds, references=shift)
    np.testing.assert_allclose(change, np.broadcast_to(change[0], change.shape), atol=1e-5)
    assert not np.allclose(change[0], change[0][0])
    centred = model.decision_function(sounds, references=model.embed(sounds).mean(axis=0))
    assert (model.classes_[centred.argmax(axis=1)] == emotions).all()


def test_units_are_read_beside_the_states_and_apart(model: SpeechNet, clips: Clips) -> None:
    sounds, emotions, speakers = clips
    assert len(model.layer_.mean) == 4 * 64 + 2 * 256
    few = clone(model).set_params(units=3).fit(sounds, emotions, groups=speakers)
    assert len(few.layer_.mean) == 4 * 64 + 2 * 3
    np.testing.assert_allclose(few.layer_.coef[:, :256], model.layer_.coef[:, :256], rtol=1e-4, atol=1e-6)
    numbers = np.searchsorted(few.classes_, emotions)
    voices = np.unique(speakers, return_inverse=True)[1]
    units = few.embed(sounds)[:, 256:] + few.layer_.mean[256:]
    alone = fit_discriminant(units, numbers, balance(emotions, None), speakers=voices, shrinkage=UNITS_SHRINKAGE)
    np.testing.assert_allclose(few.layer_.coef[:, 256:], UNITS_SHARE * alone.coef, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(few.embed(sounds)[:, 256:259], model.embed(sounds)[:, 256:259], atol=1e-5)


def test_a_temperature_that_cannot_be_found_is_told(
    model: SpeechNet, clips: Clips, caplog: pytest.LogCaptureFixture
) -> None:
    sounds, emotions, speakers = clips
    for groups in (None, np.full(len(sounds), "the only one")):
        caplog.clear()
        fitted = clone(model).fit(sounds, emotions, groups=groups)
        assert (fitted.temperature_, fitted.spread_) == (1.0, None)
        assert "too sure" in caplog.text
    caplog.clear()
    assert clone(model).fit(sounds, emotions, groups=speakers).temperature_ != 1.0
    assert "too sure" not in caplog.text


def test_views_are_learned_and_change_the_layer(model: SpeechNet, clips: Clips) -> None:
    sounds, emotions, speakers = clips
    seen: list[tuple[int, int]] = []
    viewed = clone(model).set_params(views=1, progress=lambda done, total: seen.append((done, total)))
    viewed.fit(sounds, emotions, groups=speakers)
    assert not np.allclose(viewed.layer_.coef, model.layer_.coef)
    assert [done for done, _ in seen] == list(range(1, 49))
    assert {total for _, total in seen} == {48}


@pytest.mark.parametrize(("levels", "saved"), [(127, 2.5), (7, 2.9)])
@pytest.mark.parametrize("inside", [64, 65])
def test_packing_changes_nothing_but_the_size(levels: int, saved: float, inside: int) -> None:
    rng = np.random.default_rng(0)
    integers = rng.integers(-levels, levels + 1, size=(inside, 95)).astype(np.float32)
    integers[:, 0] = levels
    on_grid = (integers * rng.uniform(0.001, 0.1, size=(inside, 1))).astype(np.float32)
    off_grid = rng.normal(size=(95, 64)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "first"], ["h"]), helper.make_node("MatMul", ["h", "second"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "two layers",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, inside])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(on_grid, "first"), numpy_helper.from_array(off_grid, "second")],
    )
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    before = plain.SerializeToString()
    after = pack_weights(plain).SerializeToString()
    assert len(before) - len(after) > saved * integers.size
    x = rng.normal(size=(1, inside)).astype(np.float32)
    results = [onnxruntime.InferenceSession(data).run(None, {"x": x})[0] for data in (before, after)]
    np.testing.assert_allclose(results[1], results[0], atol=1e-6 * np.abs(results[0]).max())


@pytest.mark.parametrize("n_fft", [400, 16, 9])
def test_computed_fourier_basis_is_numpys_transform(n_fft: int) -> None:
    bins = n_fft // 2 + 1
    stored = numpy_helper.from_array(np.zeros((2 * bins, 1, n_fft), np.float32), "basis")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["frame", "basis"], ["spectrum"])],
        "transform",
        [helper.make_tensor_value_info("frame", onnx.TensorProto.FLOAT, [1, 1, n_fft])],
        [helper.make_tensor_value_info("spectrum", onnx.TensorProto.FLOAT, [1, 2 * bins, 1])],
        [stored],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    pack_fourier_basis(model, name="basis", n_fft=n_fft)
    onnx.checker.check_model(model, full_check=True)
    frame = np.random.default_rng(0).normal(size=n_fft).astype(np.float32)
    found = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"frame": frame[None, None]})[0].ravel()
    wanted = np.fft.rfft(frame * signal.get_window("hann", n_fft))
    np.testing.assert_allclose(found[:bins] + 1j * found[bins:], wanted, atol=1e-4)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((3, 1, 2), np.float32), "other"))
    with pytest.raises(ModelError, match="no Fourier basis"):
        pack_fourier_basis(model, name="other", n_fft=n_fft)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_augmentation_is_repeatable_and_bounded(seed: int) -> None:
    clip = np.sin(np.arange(8_000) / 15).astype(np.float32)
    augment = Augmenter()
    changed = augment(clip, seed)
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    assert 0.79 * 8_000 < len(changed) < 1.26 * 8_000  # a clip of half a second is never cut
    assert np.array_equal(changed, augment(clip, seed))


def test_augmentation_is_repeatable_in_threads(voice: np.ndarray) -> None:
    augment = Augmenter()
    alone = [augment(voice, seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(augment, [voice] * 12, range(12)))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))
    assert len({sound.tobytes() for sound in alone}) > 10


def test_what_is_read_only_can_be_augmented(voice: np.ndarray) -> None:
    """As clips are in the processes that compute a study: memory maps."""
    locked = voice.copy()
    locked.flags.writeable = False
    augment = Augmenter()
    assert all(np.array_equal(augment(locked, seed), augment(voice, seed)) for seed in range(40))


@given(st.floats(-10, 40))
def test_noise_is_added_at_the_ratio_asked_for(snr_db: float) -> None:
    rng = np.random.default_rng(1)
    clip, noise = rng.normal(size=(2, 4_000)).astype(np.float32)
    added = add_at_snr(clip, noise, snr_db=snr_db).astype(np.float64) - clip
    assert 10 * np.log10(np.mean(clip.astype(np.float64) ** 2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.1)


def test_embeddings_are_computed_once(tmp_path: Path) -> None:
    calls = []

    def compute() -> np.ndarray:
        calls.append(1)
        return np.array([len(calls), 0.5], np.float32)

    first = EmbeddingCache(tmp_path, key="a").get(b"one", compute)
    assert np.array_equal(EmbeddingCache(tmp_path, key="a").get(b"one", compute), first)
    assert len(calls) == 1
    EmbeddingCache(tmp_path, key="b").get(b"one", compute)
    EmbeddingCache(tmp_path, key="a").get(b"two", compute)
    EmbeddingCache(None, key="a").get(b"one", compute)
    assert len(calls) == 4


def test_embeddings_that_nobody_uses_are_removed(tmp_path: Path) -> None:
    def use(key: str) -> set[Path]:
        EmbeddingCache(tmp_path, key=key).get(b"one", lambda: np.zeros(3, np.float32))
        return set(tmp_path.glob("*.sqlite"))

    def age(file: Path, days: float) -> None:
        then = time.time() - 24 * 3600 * days
        os.utime(file, (then, then))

    (first,) = use("first")
    (second,) = use("second") - {first}
    age(first, UNUSED_DAYS - 0.1)
    age(second, UNUSED_DAYS + 0.1)
    (third,) = use("third") - {first}
    assert set(tmp_path.iterdir()) == {first, third}
    age(first, UNUSED_DAYS + 0.1)
    assert use("first") == {first, third}  # used again in time
    age(third, UNUSED_DAYS + 0.1)
    assert use("first") == {first}


def test_a_damaged_cache_costs_time_and_nothing_else(
    tmp_path: Path, voice: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    EmbeddingCache(tmp_path, key="a").get(b"one", lambda: voice[:3])
    (file,) = tmp_path.glob("*.sqlite")
    file.write_bytes(b"this is no database, and it is long enough to be one" * 50)
    with caplog.at_level(logging.WARNING):
        found = EmbeddingCache(tmp_path, key="a").get(b"one", lambda: voice[:3])
    assert np.array_equal(found, voice[:3])
    assert "embeddings are not kept" in caplog.text


@pytest.mark.slow
def test_it_hears_emotion_in_unseen_actors(corpora_dir: Path, encoder_weights: Path) -> None:
    def actors(*numbers: int) -> Clips:
        paths = [
            path
            for number in numbers
            for path in sorted((corpora_dir / "ravdess" / f"Actor_{number:02}").iterdir())
            if path.name[6:8] in ("03", "04", "05") and path.name[9:11] == "02"
        ]
        emotions = np.array([path.name[6:8] for path in paths])
        return [load(path).samples for path in paths], emotions, np.array([path.name[18:20] for path in paths])

    heard, emotions, speakers = actors(1, 2, 3, 4, 5, 6)
    unheard, truth, _ = actors(20, 21)
    model = SpeechNet(weights=encoder_weights, views=0, cache_dir=None).fit(heard, emotions, groups=speakers)
    # Chance is one third.
    assert balanced_accuracy_score(truth, model.predict(unheard)) > 0.7
