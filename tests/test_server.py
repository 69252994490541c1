from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from bundles import LoudnessModel, write_waveform_bundle
from serving import Service, served
from sound_files import encode

from emovox.inference.bundle import Bundle
from emovox.inference.recognizer import Recognizer
from emovox.inference.stream import timeline
from emovox.palette import COLOURS

NO_BOUNDARY = {"Content-Type": "multipart/form-data"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_waveform_bundle(tmp_path_factory.mktemp("model") / "loudness.onnx", max_seconds=30.0)


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[Service]:
    with served(models=(str(bundle),), max_files=4, max_duration_s=60, max_body_bytes=8_000_000) as running:
        yield running


def files(*items: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", item) for item in items]


def test_several_files_in_one_request_in_their_order(service: Service, voice: np.ndarray) -> None:
    loud, quiet = encode(voice, "wav float"), encode(voice / 4, "flac")
    answer = service.client.post(
        "/v1/predict", files=files(("a.wav", loud), ("no.wav", b"no sound"), ("b.flac", quiet))
    )
    assert answer.status_code == 200
    document = answer.json()
    assert document["model"]["name"] == "loudness"
    first, second, third = document["results"]
    assert [first["path"], second["path"], third["path"]] == ["a.wav", "no.wav", "b.flac"]
    np.testing.assert_allclose(list(first["probabilities"].values()), LoudnessModel().expected(voice), atol=1e-4)
    np.testing.assert_allclose(list(third["probabilities"].values()), LoudnessModel().expected(voice / 4), atol=1e-3)
    assert second["error"]["code"] == "not_audio"
    assert first["duration_s"] == 2.0


def test_what_a_result_is_the_mean_of(service: Service, voice: np.ndarray) -> None:
    samples = np.concatenate([np.tile(voice, 15), np.tile(voice / 8, 10)])  # 50 s, in two parts of 25 s
    plain, whole, short = (
        service.client.post("/v1/predict", params=query, files=files(("a.wav", encode(clip, "wav float")))).json()
        for query, clip in (({}, samples), ({"parts": "true"}, samples), ({"parts": "true"}, voice))
    )
    (result,), (more,), (alone,) = plain["results"], whole["results"], short["results"]
    parts = more.pop("parts")
    assert more == result
    assert [part["seconds"] for part in parts] == [25, 25]
    expected = [LoudnessModel().expected(half) for half in np.array_split(samples, 2)]
    np.testing.assert_allclose([list(part["probabilities"].values()) for part in parts], expected, atol=1e-4)
    np.testing.assert_allclose(list(result["probabilities"].values()), np.mean(expected, axis=0), atol=1e-4)
    assert alone["parts"] == [{"seconds": 2.0, "probabilities": alone["probabilities"]}]


@pytest.mark.parametrize(
    ("encoding", "content_type"),
    [
        ("wav int16", "audio/wav"),
        ("webm", "video/webm"),
        ("m4a", "audio/mp4; codecs=aac"),
        ("ogg opus", "application/ogg"),
    ],
)
def test_a_raw_body_of_any_format(service: Service, voice: np.ndarray, encoding: str, content_type: str) -> None:
    answer = service.client.post("/v1/predict", content=encode(voice, encoding), headers={"Content-Type": content_type})
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    assert result["path"] is None
    assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_it_says_what_the_library_says(clip: np.ndarray) -> None:
    data = encode(clip, "wav int16")
    with served() as running:
        (whole,) = running.client.post("/v1/predict", files=files(("clip.wav", data))).json()["results"]
        (talk,) = running.client.post("/v1/predict?utterances=true", files=files(("clip.wav", data))).json()["results"]
    recognizer = Recognizer()
    expected = recognizer.predict(data).to_dict() | {"path": "clip.wav"}
    assert whole["probabilities"] == pytest.approx(expected.pop("probabilities"), abs=1e-5)
    assert {**whole, "probabilities": None} == pytest.approx({**expected, "probabilities": None}, abs=1e-5)
    parts = [part.to_dict() for part in recognizer.utterances(data)]
    assert parts
    assert talk == {"path": "clip.wav", "utterances": parts, "duration_s": expected["duration_s"]}


def test_timeline_is_streamed_line_by_line(service: Service, bundle: Path, voice: np.ndarray) -> None:
    data = encode(np.tile(voice, 4), "wav int16")
    with service.client.stream("POST", "/v1/timeline?window_s=2&hop_s=0.5", files=files(("t.wav", data))) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.iter_lines()]
    *segments, last = lines
    assert last == {"done": True, "segments": len(segments), "duration_s": 8.0}
    assert segments == [item.to_dict() for item in timeline(data, Recognizer(bundle), window_s=2, hop_s=0.5)]


def test_a_timeline_that_breaks_says_so_in_its_last_line(service: Service, voice: np.ndarray) -> None:
    data = encode(np.tile(voice, 10), "flac")
    answer = service.client.post("/v1/timeline", files=files(("cut.flac", data[: len(data) // 2])))
    last = json.loads(answer.text.splitlines()[-1])
    assert last["done"] is False
    assert last["error"]["code"] == "truncated"


def test_models_and_their_files(service: Service, bundle: Path, tmp_path: Path) -> None:
    (model,) = service.client.get("/v1/models").json()["models"]
    assert model["default"] is True
    assert model["size_bytes"] == bundle.stat().st_size
    answer = service.client.get(model["url"])
    (tmp_path / "got.onnx").write_bytes(answer.content)
    assert Bundle.load(tmp_path / "got.onnx").meta.name == "loudness"
    again = service.client.get(model["url"], headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "private" in answer.headers["cache-control"]


def test_two_models_and_the_choice_between_them(tmp_path: Path, voice: np.ndarray) -> None:
    names = ("one", "two")
    paths = tuple(str(write_waveform_bundle(tmp_path / f"{name}.onnx", name=name)) for name in names)
    body = {"content": encode(voice, "wav int16"), "headers": {"Content-Type": "audio/wav"}}
    with served(models=paths) as running:
        assert [item["default"] for item in running.client.get("/v1/models").json()["models"]] == [True, False]
        for query, name in (("", "one"), ("?model=two", "two")):
            assert running.client.post(f"/v1/predict{query}", **body).json()["model"]["name"] == name
        refused = running.client.post("/v1/predict?model=three", **body)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")


def test_small_answers(service: Service) -> None:
    assert service.client.get("/healthz").json() == {"status": "ok"}
    assert service.client.get("/readyz").status_code == 200
    assert service.client.get("/v1/colours").json() == dict(COLOURS)
    assert service.client.get("/").status_code == 200


def test_metrics_count_without_telling_anything(service: Service, voice: np.ndarray) -> None:
    service.client.post("/v1/predict", files=files(("secret-name.wav", encode(voice, "wav int16"))))
    service.client.get("/not/a/page")
    text = service.client.get("/metrics").text
    assert 'emovox_requests_total{method="POST",route="/v1/predict",status="200"}' in text
    assert "emovox_model_seconds_count" in text
    assert "emovox_queue_recordings 0.0" in text
    assert "emovox_upload_bytes 0.0" in text
    assert "secret" not in text
    assert "/not/a/page" not in text


def test_documentation_asks_nobody_else(service: Service) -> None:
    for path in ("/docs", "/docs/style.css"):
        text = service.client.get(path).text
        assert "https://" not in text
        assert "<script" not in text
    text = service.client.get("/docs").text
    for route in service.client.get("/openapi.json").json()["paths"]:
        assert f"<code>{route}</code>" in text


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        (lambda c: c.get("/nothing"), 404, "not_found"),
        (lambda c: c.delete("/v1/predict"), 405, "method_not_allowed"),
        (lambda c: c.post("/v1/predict?utterances=perhaps"), 422, "bad_parameter"),
        (lambda c: c.post("/v1/predict"), 415, "bad_content_type"),
        (lambda c: c.post("/v1/predict", json={"file": "x"}), 415, "bad_content_type"),
        (lambda c: c.post("/v1/predict", files=[("other", ("a.wav", b"x"))]), 400, "no_file"),
        (lambda c: c.post("/v1/predict", data={"file": "text"}), 415, "bad_content_type"),
        (lambda c: c.post("/v1/predict", files=files(("a.wav", b""))), 422, "empty"),
        (lambda c: c.post("/v1/predict", files=files(("a.wav", b"noise" * 100))), 415, "not_audio"),
        (lambda c: c.post("/v1/predict", files=files(*[("a.wav", b"x")] * 5)), 413, "too_many_files"),
        (lambda c: c.post("/v1/timeline", files=files(*[("a.wav", b"x")] * 2)), 413, "too_many_files"),
        (lambda c: c.post("/v1/timeline?window_s=1&hop_s=2", files=files(("a.wav", b"x"))), 422, "bad_parameter"),
        (lambda c: c.post("/v1/timeline?window_s=nan", files=files(("a.wav", b"x"))), 422, "bad_parameter"),
        (lambda c: c.post("/v1/predict", content=b"x", headers=NO_BOUNDARY), 400, "bad_request"),
    ],
)  # fmt: skip
def test_every_error_is_a_problem_document(service: Service, request_of, status: int, code: str) -> None:
    answer: httpx2.Response = request_of(service.client)
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["type"] == f"urn:emovox:problem:{code}"
    assert document["title"]
    assert document["detail"]


def test_too_long_and_silent(service: Service) -> None:
    rate = 8_000
    long = encode(np.random.default_rng(0).normal(size=61 * rate).astype(np.float32) / 10, "wav u8", rate=rate)
    assert service.client.post("/v1/predict", files=files(("long.wav", long))).json()["code"] == "too_long"
    silent = encode(np.zeros(16_000, np.float32), "wav int16")
    assert service.client.post("/v1/predict", files=files(("s.wav", silent))).json()["code"] == "silent"


def test_when_all_files_fail_each_is_named(service: Service) -> None:
    answer = service.client.post("/v1/predict", files=files(("a.wav", b""), ("b.wav", b"noise" * 9)))
    assert [item["error"]["code"] for item in answer.json()["results"]] == ["empty", "not_audio"]


def test_a_fault_of_ours_is_told_without_its_insides(
    service: Service, voice: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("insides")

    upload = files(("a.wav", encode(voice, "wav int16")))
    monkeypatch.setattr(Recognizer, "predict", fail)
    answer = service.client.post("/v1/predict", files=upload)
    assert (answer.status_code, answer.json()["code"]) == (500, "unexpected")
    monkeypatch.setattr(service.app.state.engine, "model", fail)
    other = service.client.post("/v1/predict", files=upload)
    assert (other.status_code, other.json()["code"]) == (500, "unexpected")
    assert "content-security-policy" in other.headers
    assert "insides" not in answer.text + other.text
