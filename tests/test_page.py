"""The page in a real browser: what people do, and what goes wrong."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from browser import Watched, browser, choose_files, playwright, spoken

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from playwright.sync_api import Browser, FileChooser, Playwright, Route, expect
from serving import Service, served

from emovox.inference.recognizer import Recognizer
from emovox.palette import COLOURS
from emovox.server.keys import KeyRing

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def talk(clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return spoken(clip, tmp_path_factory.mktemp("microphone") / "talk.wav")


@pytest.fixture(scope="module")
def recordings(clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A short one, one of three windows, and one that is no sound."""
    folder = tmp_path_factory.mktemp("recordings")
    soundfile.write(folder / "short, one.wav", clip, 16_000, "PCM_16")
    soundfile.write(folder / "long.flac", np.tile(clip, 3)[:80_000], 16_000)
    (folder / "broken.wav").write_bytes(b"RIFF, or so it says")
    return [folder / name for name in ("short, one.wav", "broken.wav", "long.flac")]


@pytest.fixture(scope="module")
def driver() -> Iterator[Playwright]:
    with playwright() as started:
        yield started


@pytest.fixture(scope="module")
def chromium(driver: Playwright, talk: Path) -> Iterator[Browser]:
    with browser(driver, microphone=talk) as started:
        yield started


@pytest.fixture
def open_page(chromium: Browser, service: Service) -> Iterator[Open]:
    contexts = []

    def opened(url: str = "", *, before: Callable[[Page], Any] | None = None, **options: Any) -> Watched:
        contexts.append(context := chromium.new_context(**options))
        watched = Watched(context.new_page())
        if before is not None:
            before(watched.page)
        watched.page.goto(url or service.url)
        return watched

    yield opened
    for context in contexts:
        context.close()


def choose(page: Page, paths: list[Path]) -> None:
    choose_files(page, *paths)
    expect(page.locator("#recordings .file")).to_have_count(len(paths))
    expect(page.locator("#recordings progress")).to_have_count(0)


def download(page: Page, button: str) -> str:
    with page.expect_download() as loading:
        page.get_by_role("button", name=button).click()
    return Path(loading.value.path()).read_text(encoding="utf-8")


def test_says_which_model_and_how_far_to_trust_it(open_page: Open) -> None:
    page = open_page().page
    panel = page.locator("#model")
    expect(panel).to_contain_text("emovox-base, version 1")
    expect(panel).to_contain_text("EmoDB (454 clips, 10 speakers)")
    scores = {score["protocol"]: score["uar"] for score in Recognizer().meta.scores}
    for protocol, title in {"speaker": "People it never heard", "corpus": "Recordings from elsewhere"}.items():
        row = panel.locator(".scores > div", has_text=title)
        expect(row).to_contain_text(f"{scores[protocol] * 100:.0f} of 100 right")
    expect(panel).to_contain_text("non-commercial")
    expect(panel).to_contain_text("Not for judging people")


def test_recordings_one_of_them_broken(open_page: Open, service: Service, recordings: list[Path]) -> None:
    watched = open_page()
    page = watched.page
    choose(page, recordings)
    expected = {path.name: Recognizer().predict(path) for path in recordings if path.name != "broken.wav"}
    for name, prediction in expected.items():
        card = page.locator(".file", has_text=name)
        expect(card.locator(".verdict")).to_contain_text(prediction.emotion or "")
        expect(card.locator(".bars li")).to_have_count(7)
    expect(page.locator(".file", has_text="broken.wav").locator(".fault")).to_contain_text("not a recording")
    expect(page.locator("#results-count")).to_have_text("2 of 3 done, 1 could not be used")
    expect(page.locator("#status")).to_have_text("2 of 3 done, 1 could not be used")

    document = json.loads(download(page, "JSON of the recordings"))
    by_path = {result["path"]: result for result in document["results"]}
    for name, prediction in expected.items():
        assert by_path[name]["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-5)
    assert by_path["broken.wav"]["error"]["code"] == "not_audio"
    assert [segment["start_s"] for segment in by_path["long.flac"]["timeline"]] == [0, 1, 2]
    rows = list(csv.DictReader(download(page, "CSV of the recordings").splitlines()))
    assert [row["path"] for row in rows] == [path.name for path in recordings]
    assert rows[1]["error_code"] == "not_audio"
    assert float(rows[0]["confidence"]) == pytest.approx(expected["short, one.wav"].confidence, abs=1e-5)
    assert all(url.startswith(service.url) or url.startswith("blob:" + service.url) for url in watched.requests)
    assert watched.faults == []


def test_colours_are_those_of_reports_and_terminal(open_page: Open) -> None:
    page = open_page().page
    expect(page.locator("#model-panels .card")).to_have_count(3)
    for row in page.locator("#bars li").all():
        name = row.locator(".name").text_content() or ""
        given = row.locator(".fill").evaluate("element => element.style.getPropertyValue('--emotion')")
        assert given == COLOURS[name]


def test_a_timeline_plays_from_where_it_is_pressed(open_page: Open, recordings: list[Path]) -> None:
    page = open_page().page
    choose(page, recordings[2:])
    slider = page.get_by_role("slider", name="Emotions over time in long.flac")
    play = page.get_by_role("button", name="Play long.flac")
    box = slider.bounding_box()
    assert box is not None
    slider.click(position={"x": box["width"] * 0.6, "y": 20})
    expect(play).to_have_class(re.compile("playing"))
    assert float(slider.get_attribute("aria-valuenow") or 0) == pytest.approx(3, abs=0.1)
    expect(slider).to_have_attribute("aria-valuetext", re.compile(r"^0:03, .+ \d+\s%"))
    play.click()
    expect(play).not_to_have_class(re.compile("playing"))


def test_drop(open_page: Open, recordings: list[Path]) -> None:
    page = open_page().page
    expect(page.locator("#model-panels .card")).to_have_count(3)
    data = list(recordings[0].read_bytes())
    handle = page.evaluate_handle(
        "data => { const given = new DataTransfer();"
        " given.items.add(new File([new Uint8Array(data)], 'dropped.wav')); return given; }",
        data,
    )
    page.dispatch_event("#main", "dragenter", {"dataTransfer": handle})
    expect(page.get_by_text("Let go to listen")).to_be_visible()
    page.dispatch_event("#main", "drop", {"dataTransfer": handle})
    expect(page.get_by_text("Let go to listen")).to_be_hidden()
    expect(page.locator(".file .verdict b")).to_be_visible()


def test_speak_and_watch(open_page: Open, service: Service) -> None:
    watched = open_page()
    page = watched.page
    page.get_by_role("button", name="Speak").click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator("#now b")).to_be_visible()  # bars move while somebody speaks
    shares = page.locator("#bars .fill").evaluate_all(
        "fills => fills.map(fill => Number(fill.style.getPropertyValue('--share')))"
    )
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    row = page.locator("#utterances li").last
    expect(row).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text("%")  # said by screen readers, once for each utterance
    drawn = page.locator("#lanes").evaluate(
        "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
    )
    assert drawn > 20
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Speak again")).to_be_visible()
    row.get_by_role("button").click()
    expect(row.get_by_role("button")).to_have_class(re.compile("playing"))
    expect(row.get_by_role("button")).not_to_have_class(re.compile("playing"))  # it ends

    document = json.loads(download(page, "JSON of the utterances"))
    assert [item["index"] for item in document["utterances"]] == list(range(len(document["utterances"])))
    assert all(sum(item["probabilities"].values()) == pytest.approx(1, abs=1e-3) for item in document["utterances"])
    sent = [url for url in watched.requests if not url.startswith(("blob:", service.url))]
    assert sent == []
    assert watched.faults == []


def test_keyboard_alone(open_page: Open, recordings: list[Path]) -> None:
    page = open_page().page
    # From the begin: Playwright does not wait until Chromium hands choosers to it, and a key that comes before opens a
    # chooser that nobody sees.
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    expect(page.locator("#model-panels .card")).to_have_count(3)

    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.locator(selector).evaluate("element => element === document.activeElement"):
                return
        pytest.fail(f"Tab never reaches {selector}")

    tab_to(".skip")
    tab_to("input[value=server]")
    tab_to("#speak")
    page.keyboard.press("Enter")
    expect(page.locator("#speak-word")).to_have_text("Stop")
    page.keyboard.press("Space")
    expect(page.locator("#speak-word")).to_have_text("Speak again")
    tab_to("#files")
    page.keyboard.press("Enter")
    for _ in range(50):
        if choosers:
            break
        page.wait_for_timeout(100)
    (chooser,) = choosers
    chooser.set_files(str(recordings[2]))
    expect(page.locator("#recordings progress")).to_have_count(0)
    tab_to(".over-time canvas")
    slider = page.locator(".over-time canvas")
    page.keyboard.press("ArrowRight")
    assert float(slider.get_attribute("aria-valuenow") or 0) > 1
    page.keyboard.press("Enter")
    expect(page.locator(".file .play")).to_have_class(re.compile("playing"))
    page.keyboard.press("Enter")
    expect(page.locator(".file .play")).not_to_have_class(re.compile("playing"))


def test_phone(open_page: Open, recordings: list[Path]) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2).page
    choose(page, recordings)
    page.get_by_role("button", name="Speak").tap()
    expect(page.locator("#utterances li").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    small = page.locator("button:visible, label.button:visible").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).filter(box => box.height < 36 || box.width < 36).length"
    )
    assert small == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_can_be_read(open_page: Open, scheme: str) -> None:
    page = open_page(color_scheme=scheme).page
    names = ("--paper", "--card", "--ink", "--muted", "--accent", "--on-accent", "--warn", "--warn-ink")
    value = "name => getComputedStyle(document.documentElement).getPropertyValue(name)"
    paper, card, ink, muted, accent, on_accent, warn, warn_ink = (_luminance(page.evaluate(value, n)) for n in names)
    pairs = [(ink, paper), (muted, paper), (muted, card), (accent, card), (on_accent, accent), (warn_ink, warn)]
    for one, other in pairs:
        assert (max(one, other) + 0.05) / (min(one, other) + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


def _luminance(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    values = np.array([int(colour.strip()[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_nothing_moves_for_those_who_want_it_calm(open_page: Open) -> None:
    page = open_page(reduced_motion="reduce").page
    expect(page.locator("#model-panels .card")).to_have_count(3)
    for selector in ("#ring", "#bars .fill >> nth=0"):
        assert page.locator(selector).evaluate("element => getComputedStyle(element).transitionDuration") == "0s"


def test_low_confidence_looks_like_it(open_page: Open, recordings: list[Path]) -> None:
    values = dict(zip(COLOURS, (0.3, 0.26, 0.2, 0.1, 0.08, 0.04, 0.02), strict=False))
    result = {"path": "a", "emotion": "angry", "confidence": 0.3, "probabilities": values, "duration_s": 1.9}

    def answer(route: Route) -> None:
        route.fulfill(json={"model": {}, "results": [result]})

    page = open_page(before=lambda page: page.route("**/v1/predict*", answer)).page
    choose(page, recordings[:1])
    verdict = page.locator(".file .verdict")
    expect(verdict).to_contain_text("unsure")
    expect(verdict).to_contain_text(re.compile(r"Could be: angry 30\s%, disgust 26\s%"))
    opacity = page.locator(".file .bars .fill").first.evaluate("element => Number(getComputedStyle(element).opacity)")
    assert opacity < 0.6


def test_what_is_no_voice_gets_no_emotion(open_page: Open, tmp_path: Path) -> None:
    time = np.arange(32_000) / 16_000
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time), 16_000)
    page = open_page().page
    choose(page, [tmp_path / "tone.wav"])
    expect(page.locator(".file .verdict")).to_contain_text("No emotion stands out")


def test_where_it_changes_no_emotion_stands_for_all(open_page: Open, recordings: list[Path]) -> None:
    said = ["happy", "sad", "happy", "angry", "sad", "happy", "neutral", "sad", "happy", "happy"]
    lines = [
        {"start_s": n, "end_s": n + 1, "emotion": emotion, "confidence": 1, "probabilities": {emotion: 1}}
        for n, emotion in enumerate(said)
    ]
    document = "".join(json.dumps(line) + "\n" for line in [*lines, {"done": True}])
    page = open_page(before=lambda page: page.route("**/v1/timeline", lambda route: route.fulfill(body=document))).page
    choose(page, recordings[2:])
    verdict = page.locator(".file .verdict")
    expect(verdict.locator("b")).to_have_text("changing")
    expect(verdict).to_contain_text(re.compile(r"happy 50\s%\s+sad 30\s%\s+angry 10\s%\s*of the time. As a whole: "))


def test_microphone_denied(service: Service, driver: Playwright) -> None:
    with browser(driver, allowed=False) as started:
        page = started.new_page()
        page.goto(service.url)
        page.get_by_role("button", name="Speak").click()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The microphone is blocked")
        expect(alert).to_contain_text("Allow it")
        expect(page.get_by_role("button", name="Speak")).to_be_enabled()
        page.get_by_role("button", name="Close this message").click()
        expect(alert).to_be_hidden()


def test_server_gone(open_page: Open, recordings: list[Path]) -> None:
    page = open_page(before=lambda page: page.route("**/v1/predict*", lambda route: route.abort())).page
    choose(page, recordings[:1])
    expect(page.locator(".fault")).to_contain_text("The server cannot be reached.")
    page = open_page(before=lambda page: page.route("**/v1/models", lambda route: route.abort())).page
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached.")
    assert page.locator("#ways").evaluate("element => element.inert")  # nothing to press that would do nothing
    page.unroute("**/v1/models")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#model-panels .card")).to_have_count(3)
    expect(page.get_by_role("alert")).to_be_hidden()
    assert not page.locator("#ways").evaluate("element => element.inert")


def test_key(open_page: Open, recordings: list[Path], tmp_path: Path) -> None:
    key = KeyRing(tmp_path / "keys.json").create("page")
    with served(require_keys=True, keys_file=tmp_path / "keys.json") as guarded:
        page = open_page(guarded.url).page
        page.get_by_label("This server asks for a key.").fill("wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("This server asks for a key.").fill(key)
        page.keyboard.press("Enter")
        expect(page.locator("#key")).to_be_hidden()
        expect(page.get_by_role("alert")).to_be_hidden()
        choose(page, recordings[:1])
        expect(page.locator(".file .verdict b")).to_be_visible()
        page.get_by_role("button", name="Speak").click()
        expect(page.locator("#utterances li").first).to_be_visible()
        page.close()
