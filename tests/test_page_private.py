"""Private mode: the browser computes what the service computes, and says nothing to anybody."""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from browser import Watched, browser, choose_files, playwright, spoken

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from playwright.sync_api import Browser, Page, expect
from serving import Service, served
from sound_files import Encoding, encode

from emovox.inference import voice
from emovox.inference.recognizer import Recognizer
from emovox.inference.stream import timeline

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def talk(clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken(clip, tmp_path_factory.mktemp("microphone") / "talk.wav")


@pytest.fixture(scope="module")
def chromium(talk: Path) -> Iterator[Browser]:
    with playwright() as driver, browser(driver, microphone=talk) as started:
        yield started


@contextmanager
def in_private(chromium: Browser, service: Service) -> Iterator[Page]:
    """Open a page in which `engine` is private mode, and `load(text)` makes a file from base64."""
    page = chromium.new_page()
    page.goto(service.url)
    page.evaluate(
        """async () => {
          const { PrivateEngine } = await import("/page/private.js");
          const { Emovox } = await import("/page/emovox.js");
          const [model] = await new Emovox().models();
          window.engine = await PrivateEngine.load(model, () => {});
          window.load = (text) => new File([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], "clip");
        }"""
    )
    yield page
    page.close()


@pytest.fixture(scope="module")
def engine(chromium: Browser, service: Service) -> Iterator[Page]:
    with in_private(chromium, service) as page:
        yield page


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sound(samples: np.ndarray, rate: int, container: str, codec: str) -> bytes:
    if container in ("ipod", "mp4", "webm"):
        return encode(samples.astype(np.float32), Encoding("av", container, codec), rate=rate)
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=container, subtype=codec)
    return file.getvalue()


KINDS = {
    "wav 16 kHz": (16_000, 1, "WAV", "PCM_16", 1e-4),
    "wav 8 kHz": (8_000, 1, "WAV", "PCM_16", 1e-3),
    "wav 22.05 kHz, 8 bit": (22_050, 1, "WAV", "PCM_U8", 1e-3),
    "wav 44.1 kHz, stereo": (44_100, 2, "WAV", "PCM_16", 1e-3),
    "wav 48 kHz, 24 bit": (48_000, 1, "WAV", "PCM_24", 1e-3),
    "wav 96 kHz, float": (96_000, 1, "WAV", "FLOAT", 1e-3),
    "flac 16 kHz": (16_000, 1, "FLAC", "PCM_16", 1e-4),
    "flac 48 kHz, stereo": (48_000, 2, "FLAC", "PCM_16", 1e-3),
    "vorbis 44.1 kHz": (44_100, 1, "OGG", "VORBIS", 1e-3),
    "opus 48 kHz": (48_000, 1, "OGG", "OPUS", 1e-3),
    "mp3 44.1 kHz": (44_100, 1, "MP3", "MPEG_LAYER_III", 1e-3),
    "mp3 16 kHz": (16_000, 1, "MP3", "MPEG_LAYER_III", 1e-3),
    "m4a 16 kHz": (16_000, 1, "ipod", "aac", 1e-3),
    "m4a 44.1 kHz, stereo": (44_100, 2, "ipod", "aac", 1e-3),
    "mp4 48 kHz": (48_000, 1, "mp4", "aac", 1e-3),
    "webm 48 kHz": (48_000, 1, "webm", "libopus", 1e-3),
    "webm 16 kHz, stereo": (16_000, 2, "webm", "libopus", 1e-3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_probabilities_as_the_service(engine: Page, service: Service, clip: np.ndarray, kind: str) -> None:
    rate, channels, container, codec, tolerance = KINDS[kind]
    samples = clip if rate == 16_000 else soxr.resample(clip, 16_000, rate, quality="VHQ")
    columns = np.stack([samples, 0.3 * samples], axis=1)[:, :channels]
    data = sound(columns, rate, container, codec)
    answer = service.client.post("/v1/predict", files={"file": ("clip", data)}).json()["results"][0]
    here = engine.evaluate("text => engine.predict(load(text))", encoded(data))
    assert here["probabilities"] == pytest.approx(answer["probabilities"], abs=tolerance)
    assert here["emotion"] == answer["emotion"]
    assert here["duration_s"] == pytest.approx(answer["duration_s"], abs=1e-3)


def test_the_small_model_says_the_same_too(chromium: Browser, clip: np.ndarray) -> None:
    with served(models=("emovox-small",)) as service, in_private(chromium, service) as engine:
        data = sound(clip, 16_000, "WAV", "PCM_16")
        answer = service.client.post("/v1/predict", files={"file": ("clip", data)}).json()
        here = engine.evaluate("text => engine.predict(load(text))", encoded(data))
    assert answer["model"]["name"] == "emovox-small"
    assert here["probabilities"] == pytest.approx(answer["results"][0]["probabilities"], abs=1e-4)


def test_the_same_timeline(engine: Page, clip: np.ndarray, tmp_path: Path) -> None:
    samples = np.concatenate([clip, np.zeros(70_000, np.float32), np.tile(clip, 2)])
    soundfile.write(tmp_path / "long.wav", samples, 16_000, "PCM_16")
    here = engine.evaluate(
        "async text => { const all = []; await engine.timeline(load(text), (one) => all.push(one)); return all; }",
        encoded((tmp_path / "long.wav").read_bytes()),
    )
    there = [segment.to_dict() for segment in timeline(tmp_path / "long.wav", Recognizer())]
    for edge in ("start_s", "end_s"):
        assert [one[edge] for one in here] == pytest.approx([one[edge] for one in there], abs=1e-3)
    assert [one["emotion"] for one in here] == [one["emotion"] for one in there]
    assert any(one["emotion"] is None for one in here)
    for one, other in zip(here, there, strict=True):
        if one["emotion"]:
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)


def test_a_recording_of_more_than_one_part(engine: Page, clip: np.ndarray) -> None:
    samples = np.tile(clip, 40)[: 16_000 * 65]
    here = engine.evaluate("text => engine.predict(load(text))", encoded(sound(samples, 16_000, "FLAC", "PCM_16")))
    there = Recognizer().predict(io.BytesIO(sound(samples, 16_000, "FLAC", "PCM_16")))
    assert here["probabilities"] == pytest.approx(there.probabilities, abs=1e-3)


def test_a_long_recording_can_be_stopped(engine: Page, clip: np.ndarray) -> None:
    samples = np.tile(clip, 60)[: 16_000 * 95]
    error, shares, duration_s = engine.evaluate(
        """async ([long, short]) => {
          const [stop, shares] = [new AbortController(), []];
          const onProgress = (share) => { shares.push(share); if (share > 0) stop.abort(); };
          const error = await engine.predict(load(long), { signal: stop.signal, onProgress }).catch(({ name }) => name);
          return [error, shares, (await engine.predict(load(short))).duration_s];
        }""",
        [encoded(sound(samples, 16_000, "FLAC", "PCM_16")), encoded(sound(clip, 16_000, "WAV", "PCM_16"))],
    )
    parts = math.ceil(95 / (Recognizer().meta.max_seconds or 300))
    assert (error, shares[:2]) == ("AbortError", [0, pytest.approx(1 / parts)])
    assert len(shares) < parts
    assert duration_s == pytest.approx(len(clip) / 16_000)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty"),
        (b"no sound", "not_audio"),
        (sound(np.zeros(16_000), 16_000, "WAV", "PCM_16"), "silent"),
        (sound(np.ones(800) * 0.1, 16_000, "WAV", "PCM_16"), "too_short"),
    ],
    ids=["empty", "no sound", "silence", "50 ms"],
)
def test_the_same_refusals(engine: Page, data: bytes, code: str) -> None:
    said = engine.evaluate("text => engine.predict(load(text)).then(() => '', (error) => error.code)", encoded(data))
    assert said == code
    answer = Recognizer().predict_many([io.BytesIO(data)])
    assert next(answer).to_dict()["error"]["code"] == code


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_the_resampler_is_near_soxr(engine: Page, rate: int) -> None:
    samples = np.random.default_rng(rate).normal(scale=0.1, size=rate // 2).astype(np.float32)
    samples = soxr.resample(soxr.resample(samples, rate, 12_000 * rate // 16_000), 12_000 * rate // 16_000, rate)[
        : len(samples)
    ]
    here = engine.evaluate(
        """async ([samples, rate]) => {
          const { Resampler } = await import("/page/resample.js");
          const resampler = new Resampler(rate, 16000);
          const given = Float32Array.from(samples);
          const parts = [];
          for (let start = 0; start < given.length; start += 777)
            parts.push(...resampler.push(given.subarray(start, start + 777), start + 777 >= given.length));
          return parts;
        }""",
        [samples.tolist(), rate],
    )
    there = soxr.resample(samples, rate, 16_000, quality="HQ")
    assert len(here) == len(there)
    assert np.abs(np.array(here) - there)[200:-200].max() < 1e-3


def test_the_same_spans_of_speech(engine: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules alone: both are told the same probabilities of speech."""
    random = np.random.default_rng(7)
    cases = [_course(random) for _ in range(20)]
    here = engine.evaluate(
        """async (cases) => {
          const { Segmenter } = await import("/page/segmenter.js");
          return cases.map(([speech, power]) => {
            const segmenter = new Segmenter();
            const spans = speech.map((value, index) => segmenter.hear(value, power[index]));
            spans.push(segmenter.finish(512 * speech.length));
            return spans.filter(Boolean).map(({ start, end }) => [start, end]);
          });
        }""",
        [[speech.tolist(), power.tolist()] for speech, power in cases],
    )
    for (speech, power), spans in zip(cases, here, strict=True):
        segmenter = voice.Segmenter()
        given = zip(speech.tolist(), power.tolist(), strict=True)
        monkeypatch.setattr(segmenter._detector, "chunks", lambda samples, given=given: given)
        there = segmenter(np.zeros(512 * len(speech), np.float32)) + segmenter.finish()
        assert spans == [[span.start, span.end] for span in there]
    assert sum(map(len, here)) > 40


def _course(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Speech and pauses of random length, up to some that must be cut, with doubtful chunks in between."""
    parts: list[np.ndarray] = []
    for _ in range(8):
        parts.append(random.uniform(0.4, 1, random.choice([3, 20, 60, 1_500], p=[0.3, 0.3, 0.3, 0.1])))
        parts.append(random.uniform(0, 0.45, random.choice([3, 14, 30])))
    speech = np.concatenate(parts)
    return speech, random.uniform(0.01, 1, len(speech))


def test_live_speech_is_that_of_the_service(engine: Page, clip: np.ndarray) -> None:
    """The same samples through both streams: the same utterances."""
    quiet = np.random.default_rng(1).normal(scale=1e-4, size=24_000)
    pcm = np.round(np.concatenate([quiet, clip, quiet, clip, quiet]) * 32_767).astype("<i2")
    told = engine.evaluate(
        """async (text) => {
          const { Emovox } = await import("/page/emovox.js");
          const pcm = new Int16Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
          const hear = (engine) => new Promise(async (resolve, reject) => {
            const [updates, utterances] = [[], []];
            const stream = await engine.stream(16000, {
              onUpdate: (one) => updates.push(one), onUtterance: (one) => utterances.push(one),
              onError: reject, onEnd: () => resolve({ updates, utterances }),
            });
            for (let start = 0; start < pcm.length; start += 320) stream.send(pcm.slice(start, start + 320));
            stream.end();
          });
          return [await hear(window.engine), await hear(new Emovox())];
        }""",
        encoded(pcm.tobytes()),
    )
    here, there = told
    assert len(here["utterances"]) == len(there["utterances"]) == 2
    for one, other in zip(here["utterances"], there["utterances"], strict=True):
        assert one["index"] == other["index"]
        assert (one["start_s"], one["end_s"]) == pytest.approx((other["start_s"], other["end_s"]), abs=1e-3)
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)
    assert [one["time_s"] for one in here["updates"]] == [one["time_s"] for one in there["updates"]]
    assert [one["level_db"] for one in here["updates"]] == pytest.approx(
        [one["level_db"] for one in there["updates"]], abs=0.051
    )


def test_nothing_leaves_the_browser(chromium: Browser, service: Service, clip: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "mine.wav", clip, 16_000, "PCM_16")
    expected = Recognizer().predict(tmp_path / "mine.wav")
    watched = Watched(chromium.new_page())
    page = watched.page
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(service.url)
    page.get_by_role("radio", name="Private").check()
    expect(page.locator("#status")).to_have_text("Private: sound stays in this browser.")
    expect(page.locator("#loading")).to_be_hidden()
    watched.requests.clear()

    choose_files(page, tmp_path / "mine.wav")
    expect(page.locator(".file .verdict b")).to_have_text(str(expected.emotion))
    expect(page.locator(".file h3")).to_contain_text("in this browser")
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#now b")).to_be_visible()
    expect(page.locator("#utterances li").first).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Speak again")).to_be_visible()
    with page.expect_download() as loading:
        page.get_by_role("button", name="JSON of the recordings").click()
    result = json.loads(Path(loading.value.path()).read_text())["results"][0]
    assert result["probabilities"] == pytest.approx(expected.probabilities, abs=1e-4)

    left = [url for url in watched.requests if not url.startswith("blob:") and not _is_program(url, service)]
    assert (left, sockets, watched.faults) == ([], [], [])
    page.close()


def _is_program(url: str, service: Service) -> bool:
    """The thread of the sound card loads its script when the microphone is opened first."""
    return url == f"{service.url}/page/capture-worklet.js"


def test_loading_shows_how_far_it_is_and_can_be_stopped(chromium: Browser, service: Service) -> None:
    page = chromium.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 0, "downloadThroughput": 1_000_000, "uploadThroughput": 1_000_000}
    page.goto(service.url)
    expect(page.locator("#model-panels .card")).to_have_count(3)
    session.send("Network.emulateNetworkConditions", slow)
    page.get_by_role("radio", name="Private").check()
    expect(page.locator("#loading-text")).to_have_text(re.compile(r"^[1-9]\d* of 2\d MB"))
    assert 0 < float(page.locator("#loading-bar").get_attribute("value") or 0) < 1
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#loading")).to_be_hidden()
    expect(page.get_by_role("radio", name="This server")).to_be_checked()
    page.close()


def test_what_cannot_be_loaded_is_said(chromium: Browser, service: Service) -> None:
    page = chromium.new_page()
    refused: dict[str, Any] = {"status": 503, "body": ""}
    page.route("**/v1/models/*.onnx", lambda route: route.fulfill(**refused))
    page.goto(service.url)
    page.get_by_role("radio", name="Private").click()  # `check` fails if the page goes back before it has looked
    expect(page.get_by_role("alert")).to_contain_text("The model could not be loaded")
    expect(page.get_by_role("radio", name="This server")).to_be_checked()
    page.close()
