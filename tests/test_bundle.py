"""Bundles: description, damage, foreign files, safety."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import LoudnessModel, waveform_meta, write_waveform_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from emovox.emotions import EMOTIONS
from emovox.errors import BundleError, ParameterError
from emovox.inference import bundle as bundle_module
from emovox.inference.bundle import Bundle, BundleMetadata, read_metadata
from emovox.inference.container import CHECKSUM_KEY, DESCRIPTION_KEY, FORMAT_KEY, open_envelope, seal
from emovox.models.export import bundle_bytes


@pytest.fixture(scope="module")
def data() -> bytes:
    return bundle_bytes(LoudnessModel(), waveform_meta())


def plain_model() -> onnx.ModelProto:
    return LoudnessModel().to_onnx_model()


def code_of(data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle(data, threads=1)
    return caught.value.code


def test_probabilities_are_those_of_the_formula(data: bytes) -> None:
    clips = np.random.default_rng(0).normal(scale=0.1, size=(5, 1_600)).astype(np.float32)
    wanted = np.stack([LoudnessModel().expected(clip) for clip in clips])
    np.testing.assert_allclose(Bundle(data).run(clips), wanted, atol=1e-5)


def test_batch_gives_what_single_clips_give(data: bytes) -> None:
    clips = np.random.default_rng(0).normal(scale=0.1, size=(4, 800)).astype(np.float32)
    bundle = Bundle(data)
    np.testing.assert_allclose(bundle.run(clips), np.concatenate([bundle.run(clip[None]) for clip in clips]), atol=1e-6)
    assert bundle.run(np.empty((0, 800), np.float32)).shape == (0, 7)


@pytest.mark.parametrize("shape", [(180,), (1, 2, 3), ()])
def test_other_shapes_are_refused(data: bytes, shape: tuple[int, ...]) -> None:
    with pytest.raises(ParameterError, match="shape"):
        Bundle(data).run(np.zeros(shape, np.float32))


def test_what_the_graph_cannot_process_is_an_error_of_ours(data: bytes) -> None:
    for clip in (np.full((1, 100), np.nan), np.full((1, 100), np.inf)):
        with pytest.raises(BundleError) as caught:
            Bundle(data).run(clip)
        assert caught.value.code == "failed"


def test_onnx_accepts_the_file_and_onnxruntime_sees_the_description(data: bytes) -> None:
    import onnxruntime

    onnx.checker.check_model(data, full_check=True)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata[FORMAT_KEY] == "1"
    assert json.loads(metadata[DESCRIPTION_KEY])["labels"] == list(EMOTIONS)
    cut = data.index(CHECKSUM_KEY.encode()) - len(b"rQ\n\r")  # tag, length, tag, length
    assert metadata[CHECKSUM_KEY] == hashlib.sha256(data[:cut]).hexdigest()


def test_metadata_survive_the_trip_through_json() -> None:
    meta = waveform_meta(
        max_seconds=30.0,
        licence="CC BY-NC-SA 4.0",
        permits="research",
        training={"corpora": [{"name": "emodb", "clips": 454, "speakers": 10, "licence": "CC0-1.0"}]},
        scores=({"uar": 0.5, "protocol": "speaker"},),
        temperature=1.7,
        card="# Modèle\n\nünïcode",
    )
    again = BundleMetadata.from_json(meta.to_json())
    assert dataclasses.asdict(again) == {**dataclasses.asdict(meta), "scores": [{"uar": 0.5, "protocol": "speaker"}]}
    assert BundleMetadata.from_json(again.to_json()) == again


def test_keys_of_later_versions_are_passed_over() -> None:
    document = {**json.loads(waveform_meta().to_json()), "mood_ring": True}
    assert BundleMetadata.from_json(json.dumps(document)) == BundleMetadata.from_json(waveform_meta().to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"labels": ("angry",)},
        {"labels": ("angry", "angry")},
        {"labels": "angry,sad"},
        {"labels": ["angry", 3]},
        {"input": "picture"},
        {"sample_rate": 0},
        {"sample_rate": None},
        {"sample_rate": 16000.5},
        {"sample_rate": True},
        {"max_seconds": -1},
        {"temperature": 0},
        {"temperature": "hot"},
        {"training": []},
        {"scores": [3]},
        {"version": 1},
        {"card": None},
    ],
)
def test_impossible_descriptions_are_refused(changes: dict[str, object]) -> None:
    document = {**json.loads(waveform_meta().to_json()), **changes}
    with pytest.raises(BundleError) as caught:
        BundleMetadata.from_json(json.dumps(document))
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', "[" * 100_000])
def test_descriptions_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(BundleError) as caught:
        BundleMetadata.from_json(text)
    assert caught.value.code == "corrupt"


@pytest.mark.parametrize("content", [b"", b"hello world", b"\x00" * 1000, b"RIFF\x24\x00\x00\x00WAVEfmt "])
def test_other_files_are_no_bundles(content: bytes) -> None:
    assert code_of(content) == "not_a_bundle"


def test_plain_onnx_is_no_bundle() -> None:
    assert code_of(plain_model().SerializeToString()) == "not_a_bundle"


def test_newer_format_is_told_from_damage(data: bytes) -> None:
    newer = data.replace(b"emovox.format\x12\x011", b"emovox.format\x12\x012")
    assert newer != data
    assert code_of(newer) == "newer_version"


def test_every_cut_is_noticed(data: bytes) -> None:
    codes = {code_of(data[:length]) for length in range(0, len(data), 7)}
    assert codes <= {"corrupt", "not_a_bundle"}
    # Once the first field that names the maker is there, it is known to be a damaged bundle.
    assert {code_of(data[:length]) for length in range(40, len(data), 7)} == {"corrupt"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(data: bytes, position: int, bit: int) -> None:
    changed = bytearray(data)
    changed[position % len(data)] ^= 1 << bit
    assert code_of(bytes(changed)) in {"corrupt", "not_a_bundle", "newer_version"}


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(content: bytes) -> None:
    assert code_of(content) in {"corrupt", "not_a_bundle"}


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_random_graphs_under_a_right_checksum_raise_nothing_else(content: bytes) -> None:
    assert code_of(seal(content, waveform_meta().to_json())) in {"corrupt", "not_a_bundle", "unsafe"}


def test_random_descriptions_under_a_right_checksum_are_corrupt() -> None:
    assert code_of(seal(plain_model().SerializeToString(), '{"name": 1}')) == "corrupt"


def test_graph_that_does_not_fit_its_description_is_refused() -> None:
    model = plain_model().SerializeToString()
    six = waveform_meta(labels=EMOTIONS[:6])
    classic = BundleMetadata(name="x", labels=EMOTIONS, input="classic")
    assert code_of(seal(model, six.to_json())) == "corrupt"
    assert code_of(seal(model, classic.to_json())) == "corrupt"


def test_foreign_operators_are_refused() -> None:
    model = plain_model()
    model.graph.node.append(helper.make_node("Spy", ["waveform"], ["secret"], domain="com.example"))
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    assert code_of(seal(model.SerializeToString(), waveform_meta().to_json())) == "unsafe"


def test_weights_in_another_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = plain_model()
    weights = next(item for item in model.graph.initializer if item.name == "head.weight")
    (tmp_path / "secret.bin").write_bytes(numpy_helper.to_array(weights).tobytes())
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="secret.bin")
    monkeypatch.chdir(tmp_path)
    assert code_of(seal(model.SerializeToString(), waveform_meta().to_json())) == "unsafe"


def test_load_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_waveform_bundle(tmp_path / "data" / "mine.onnx")
    assert Bundle.load(path).meta.name == "loudness"
    assert read_metadata(str(path)).labels == EMOTIONS
    monkeypatch.setattr(bundle_module, "_packaged", lambda name: tmp_path / "data" / f"{name}.onnx")
    assert Bundle.load("mine").path == str(path)
    with pytest.raises(BundleError, match="mine") as caught:
        Bundle.load("other")
    assert caught.value.code == "not_found"


def test_missing_file_and_folder_are_not_found(tmp_path: Path) -> None:
    for wrong in (tmp_path / "no.onnx", tmp_path):
        with pytest.raises(BundleError) as caught:
            Bundle.load(wrong)
        assert caught.value.code == "not_found"
        assert str(wrong) in str(caught.value)


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "song.onnx"
    path.write_bytes(b"RIFF")
    with pytest.raises(BundleError, match=r"song\.onnx"):
        Bundle.load(path)


def test_threads_must_be_positive(data: bytes) -> None:
    with pytest.raises(ParameterError, match="threads"):
        Bundle(data, threads=0)


def test_seal_and_open() -> None:
    envelope = open_envelope(seal(plain_model().SerializeToString(), '{"a": "ü"}'))
    assert envelope.description == '{"a": "ü"}'
    assert envelope.domains == {""}


def test_prediction_imports_no_training_package(tmp_path: Path) -> None:
    path = write_waveform_bundle(tmp_path / "model.onnx")
    program = f"""
import sys
import numpy as np
import emovox
result = emovox.Recognizer({str(path)!r}).predict(np.sin(np.arange(16000)), rate=16000)
assert result.emotion in result.probabilities
from emovox.cli import main, predict, predict_output
import emovox.inference.stream, emovox.features.classic
heavy = {{"torch", "sklearn", "pandas", "onnx", "scipy", "skl2onnx", "matplotlib", "librosa"}}
print(sorted(heavy & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert run.stderr == ""
