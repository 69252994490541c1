"""The page with a model that can adapt, in a real browser: to a voice and to recordings, on the server and private."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from adaptable import AdaptableModel, adaptable_bytes, write_adaptable_bundle
from browser import Watched, browser, choose_files, playwright

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from playwright.sync_api import Browser, Page, expect
from scenes import RATE, Floats, scene
from serving import Service, served

from emovox import audio
from emovox.inference.adaptation import Parts
from emovox.inference.bundle import Bundle
from emovox.inference.live import LiveRecognizer
from emovox.inference.pcm import from_pcm16, to_pcm16
from emovox.inference.recognizer import Prediction, Recognizer
from emovox.inference.running import Voice
from emovox.inference.utterances import Utterance

pytestmark = pytest.mark.slow

MODES = ("server", "private")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes a second at once, so that utterances have parts; its reference has a default, as that of speechnet."""
    path = tmp_path_factory.mktemp("model") / "adaptable.onnx"
    return write_adaptable_bundle(path, model=AdaptableModel(default=True), max_seconds=1.0, spread=0.3)


@pytest.fixture(scope="module")
def service(model: Path) -> Iterator[Service]:
    with served(models=(str(model),)) as running:
        yield running


@pytest.fixture(scope="module")
def clips(corpora_dir: Path) -> list[Floats]:
    """Real utterances of two speakers of EmoDB, each two in a row."""
    paths = sorted((corpora_dir / "emodb" / "wav").glob("*.opus"))
    chosen = [[path for path in paths if path.name.startswith(speaker)][:2] for speaker in ("03", "08")]
    return [audio.load(path, rate=RATE).samples for path in chosen[0] + chosen[1]]


@pytest.fixture(scope="module")
def talk(clips: list[Floats]) -> Floats:
    return from_pcm16(to_pcm16(scene(clips)[0]))


@pytest.fixture(scope="module")
def chromium(talk: Floats, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = tmp_path_factory.mktemp("microphone") / "talk.wav"
    soundfile.write(path, talk, RATE, "PCM_16")
    with playwright() as driver, browser(driver, microphone=path) as started:
        yield started


@pytest.fixture
def watched(chromium: Browser, service: Service) -> Iterator[Watched]:
    context = chromium.new_context()
    found = Watched(context.new_page())
    found.page.goto(service.url)
    expect(found.page.locator("#model-panels .card")).to_have_count(3)
    yield found
    assert found.faults == []
    context.close()


def choose(page: Page, mode: str) -> None:
    if mode == "private":
        page.get_by_role("radio", name="Private").check()
        expect(page.locator("#status")).to_have_text("Private: sound stays in this browser.")


def download(page: Page, button: str) -> Any:
    with page.expect_download() as loading:
        page.get_by_role("button", name=button).click()
    return json.loads(Path(loading.value.path()).read_text(encoding="utf-8"))


HEAR = """async (text) => {
  const { Emovox } = await import("/page/emovox.js");
  const { PrivateEngine } = await import("/page/private.js");
  const server = new Emovox();
  const [model] = await server.models();
  const engines = [server, await PrivateEngine.load(model, () => {})];
  const pcm = new Int16Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
  const hear = (engine, adapt) => new Promise(async (resolve, reject) => {
    const [updates, utterances] = [[], []];
    const listener = {
      onUpdate: (one) => updates.push(one), onUtterance: (one) => utterances.push(one),
      onError: reject, onEnd: () => resolve({ updates, utterances }),
    };
    const stream = await engine.stream(16000, listener, { adapt }).catch((error) => resolve(error.code));
    if (!stream) return;
    for (let start = 0; start < pcm.length; start += 3200) {
      stream.send(pcm.slice(start, start + 3200));
      await new Promise((after) => setTimeout(after, 10));
    }
    stream.end();
  });
"""


def test_both_modes_adapt_as_the_command_does(watched: Watched, model: Path, talk: Floats) -> None:
    live = LiveRecognizer(Recognizer(model), rate=RATE, adapt=True)
    expected = [event for event in [*live.hear(talk), *live.finish()] if isinstance(event, Utterance)]
    assert len(expected) == 4
    told = watched.page.evaluate(
        HEAR
        + """
          const [there, here] = [await hear(engines[0], true), await hear(engines[1], true)];
          // What the one knows of a voice, the other one goes on from.
          const crossed = [
            await hear(engines[0], here.utterances.at(-1).reference),
            await hear(engines[1], there.utterances.at(-1).reference),
          ];
          const wrong = { seconds: 1, weight_s: 1, log_ratios: { calm: 1 } };
          return [there, here, ...crossed, await hear(engines[0], wrong), await hear(engines[1], wrong)];
        }""",
        base64.b64encode(to_pcm16(talk)).decode(),
    )
    for found in told[:2]:
        for one, other in zip(found["utterances"], expected, strict=True):
            assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-3)
            assert one["adapted_s"] == pytest.approx(other.adapted_s, abs=0.01)
        assert {one["adapted_s"] for one in found["updates"]} > {0}
    assert told[4:] == ["other_model", "other_model"]
    seconds = told[0]["utterances"][-1]["reference"]["seconds"]
    for one, other in zip(told[2]["utterances"], told[3]["utterances"], strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-3)
        assert one["adapted_s"] >= seconds - 0.01


@pytest.mark.parametrize("spread", [None, 0.3, 3.0, 30.0])
def test_the_browser_knows_a_voice_as_python_does(watched: Watched, spread: float | None) -> None:
    bundle = Bundle(adaptable_bytes(spread=spread), threads=1)
    random = np.random.default_rng(0)
    heard = random.dirichlet(np.ones(7), size=(6, 3)).astype(np.float32)
    heard[1, 0] = heard[3] = heard[5, 2] = 1 / 7  # no voice
    voice, weights = Voice(bundle), np.array([1.0, 2.0, 0.5])
    expected = []
    for parts in heard:
        expected.append(voice.measure(Parts(parts, weights)).tolist())
        voice.hear(Parts(parts, weights), 2.0)
    found = watched.page.evaluate(
        """async ([model, heard, weights]) => {
          const { Voice } = await import("/page/voice.js");
          const voice = new Voice(model);
          const measured = heard.map((rows) => {
            const parts = rows.map((probabilities, index) => ({ probabilities, weight: weights[index] }));
            const found = voice.measure(parts);
            voice.hear(parts, 2.0);
            return found;
          });
          return [measured, voice.reference];
        }""",
        [
            {name: getattr(bundle.meta, name) for name in ("labels", "neutral", "spread")},
            heard.tolist(),
            weights.tolist(),
        ],
    )
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    known = voice.to_dict()
    assert found[1]["seconds"] == pytest.approx(known["seconds"], abs=1e-3)
    assert found[1]["log_ratios"] == pytest.approx(known["log_ratios"], abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_the_page_adapts_to_a_voice_and_begins_anew(watched: Watched, mode: str) -> None:
    page = watched.page
    choose(page, mode)
    switch, note = page.get_by_role("switch", name="Adapt to my voice"), page.locator("#adapt-note")
    expect(switch).not_to_be_checked()
    expect(note).to_contain_text("Measures each sentence from those before it")
    switch.check()
    expect(note).to_contain_text("Adapted to nothing yet")
    rows = page.locator("#utterances li")
    page.get_by_role("button", name="Speak").click()
    expect(note).to_have_text(re.compile(r"Adapted to [1-9]\d* s of this voice"))
    expect(rows.nth(1)).to_be_visible()
    expect(rows.last).to_contain_text("unadapted")
    expect(rows.first).to_contain_text(re.compile(r"adapted to \d+ s"))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Speak again")).to_be_visible()

    before = rows.count()
    page.get_by_role("button", name="Speak again").click()  # it still knows the voice
    expect(rows).not_to_have_count(before)
    expect(rows.first).to_contain_text(re.compile(r"adapted to \d+ s"))
    page.get_by_role("button", name="Start again").click()  # another one speaks
    expect(note).to_contain_text("Adapted to nothing yet")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(note).to_have_text(re.compile(r"Adapted to [1-9]\d* s of this voice"))
    expect(rows.first).to_contain_text("unadapted")
    switch.uncheck()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Speak again")).to_be_visible()
    said = download(page, "JSON of the utterances")["utterances"]
    assert [item["adapted_s"] for item in said].count(0) >= 2
    assert max(item["adapted_s"] for item in said) > 2
    assert not any("reference" in item for item in said)
    page.reload()
    expect(switch).not_to_be_checked()
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


@pytest.mark.parametrize("mode", MODES)
def test_recordings_are_measured_from_what_they_share(
    watched: Watched, mode: str, model: Path, clips: list[Floats], tmp_path: Path
) -> None:
    page = watched.page
    choose(page, mode)
    paths = [tmp_path / f"{number}.wav" for number in range(5)]
    for path, samples in zip(paths, [clips[0][:7_000], *clips], strict=True):
        soundfile.write(path, samples, RATE, "PCM_16")
    choose_files(page, *paths)
    expect(page.locator("#recordings progress")).to_have_count(0)
    switch = page.get_by_role("switch", name="Adapt to these recordings")
    expect(page.locator(".file h3").first).to_contain_text("unadapted")
    recognizer = Recognizer(model)
    plain = list(recognizer.predict_many(paths))
    count = sum(-(-len(samples) // RATE) for samples in clips)  # each second is a clip to this model
    for wanted, clips_used in ((list(recognizer.predict_adapted(paths)), count), (plain, 0)):
        switch.set_checked(clips_used > 0)
        expect(page.locator(".file h3").first).to_contain_text(
            f"adapted to {count} clips" if clips_used else "unadapted"
        )
        found = download(page, "JSON of the recordings")["results"]
        for one, other in zip(found, wanted, strict=True):
            assert isinstance(other, Prediction)
            assert (one["path"], one["adapted_clips"]) == (Path(str(other.path)).name, clips_used)
            assert one["emotion"] == other.emotion
            assert "parts" not in one
            assert one["probabilities"] == pytest.approx(other.probabilities, abs=1e-3)
    with page.expect_download() as loading:
        page.get_by_role("button", name="CSV of the recordings").click()
    assert "adapted_clips" in Path(loading.value.path()).read_text().splitlines()[0]
    page.get_by_role("button", name="Clear all recordings").click()
    choose_files(page, paths[0])
    expect(page.locator("#recordings progress")).to_have_count(0)
    expect(switch).to_be_hidden()  # one is not enough


def test_emotions_over_time_are_measured_too(
    watched: Watched, model: Path, clips: list[Floats], tmp_path: Path
) -> None:
    page = watched.page
    long = np.concatenate([np.tile(clips[0], 3)[: 5 * RATE], clips[2]])
    soundfile.write(tmp_path / "long.flac", long, RATE)
    choose_files(page, tmp_path / "long.flac")
    expect(page.locator("#recordings progress")).to_have_count(0)
    plain = download(page, "JSON of the recordings")["results"][0]
    page.get_by_role("switch", name="Adapt to these recordings").check()
    expect(page.locator(".file h3")).to_contain_text(re.compile(r"adapted to \d+ clips"))
    found = download(page, "JSON of the recordings")["results"][0]
    assert len(found["timeline"]) == len(plain["timeline"]) >= 4
    ratios = [
        np.log(list(one["probabilities"].values())) - np.log(list(other["probabilities"].values()))
        for one, other in zip(found["timeline"], plain["timeline"], strict=True)
        if one["emotion"]
    ]
    ratios = [ratio - ratio.mean() for ratio in ratios]
    np.testing.assert_allclose(ratios, [ratios[0]] * len(ratios), atol=1e-3)  # all are moved alike
    assert np.abs(ratios[0]).max() > 0.01


def test_a_model_that_cannot_adapt_offers_nothing_of_it(
    chromium: Browser, loudness_bundle: Path, clips: list[Floats], tmp_path: Path
) -> None:
    with served(models=(str(loudness_bundle),)) as running:
        page = chromium.new_page()
        page.goto(running.url)
        expect(page.locator("#model-panels .card")).to_have_count(3)
        expect(page.locator("#adapt")).to_be_hidden()
        for number in range(2):
            soundfile.write(tmp_path / f"{number}.wav", clips[number], RATE, "PCM_16")
        choose_files(page, tmp_path / "0.wav", tmp_path / "1.wav")
        expect(page.locator("#recordings progress")).to_have_count(0)
        expect(page.locator("#adapt-files")).to_be_hidden()
        expect(page.locator(".file h3").first).not_to_contain_text("unadapted")
        codes = page.evaluate(HEAR + "return [await hear(engines[0], true), await hear(engines[1], true)]; }", "")
        assert codes == ["cannot_adapt", "cannot_adapt"]
        page.close()
