"""The JavaScript client of live streams, in a real browser: connections that break, a service that restarts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import browser, playwright

pytest.importorskip("playwright.sync_api")
pytest.importorskip("fastapi")

from playwright.sync_api import Browser, Page
from serving import process, served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with playwright() as driver, browser(driver) as started:
        yield started


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page of a service of its own."""
    with served() as running:
        opened = chromium.new_page()
        opened.goto(running.url)
        yield opened
        opened.close()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_broken_connection_changes_no_result(page: Page, clip: np.ndarray) -> None:
    """It goes on where the connection broke."""
    quiet = np.random.default_rng(1).normal(scale=1e-4, size=16_000)
    pcm = np.round(np.concatenate([quiet, clip, quiet, clip, quiet]) * 32_767).astype("<i2")
    told = page.evaluate(
        """async (text) => {
          const { Emovox } = await import("/page/emovox.js");
          const pcm = new Int16Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
          const sockets = [];
          const Real = WebSocket;
          window.WebSocket = class extends Real {
            constructor(address) { super(address); sockets.push(this); }
          };
          const hear = (breaks) => new Promise(async (resolve, reject) => {
            const utterances = [];
            let updates = 0;
            const onUpdate = () => { updates += 1; if (breaks.includes(updates)) sockets.at(-1).close(3999); };
            const stream = await new Emovox().stream(16000, {
              onUpdate, onUtterance: (one) => utterances.push(one), onError: reject,
              onEnd: () => resolve({ utterances, connections: sockets.splice(0).length }),
            });
            for (let start = 0; start < pcm.length; start += 640) {
              stream.send(pcm.slice(start, start + 640));
              await new Promise((after) => setTimeout(after, 10));
            }
            stream.end();
          });
          const both = [await hear([]), await hear([4, 14])];
          window.WebSocket = Real;
          return both;
        }""",
        encoded(pcm.tobytes()),
    )
    whole, broken = told
    assert (whole["connections"], broken["connections"]) == (1, 3)
    assert len(whole["utterances"]) == 2
    assert broken["utterances"] == whole["utterances"]


def test_a_restart_of_the_service_loses_nothing(chromium: Browser, clip: np.ndarray, tmp_path: Path) -> None:
    """It goes on in a new session, with the first sample that was not heard."""
    quiet = np.random.default_rng(1).normal(scale=1e-4, size=16_000)
    pcm = np.round(np.concatenate([quiet, clip, quiet, clip, quiet]) * 32_767).astype("<i2")
    with process(tmp_path / "log") as first:
        page = chromium.new_page()
        page.goto(first.url)
        page.evaluate(
            """async (text) => {
              const { Emovox } = await import("/page/emovox.js");
              const pcm = new Int16Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
              window.told = { utterances: [], times: [] };
              const stream = await new Emovox().stream(16000, {
                onUpdate: ({ time_s }) => told.times.push(time_s), onUtterance: (one) => told.utterances.push(one),
                onError: (error) => { told.end = error.code; }, onEnd: () => { told.end = "well"; },
              });
              (async () => {
                for (let start = 0; start < pcm.length; start += 1600) {
                  stream.send(pcm.slice(start, start + 1600));
                  await new Promise((after) => setTimeout(after, 100));
                }
                stream.end();
              })();
            }""",
            encoded(pcm.tobytes()),
        )
        page.wait_for_timeout(1_800)
        first.stop()
        with process(tmp_path / "again", "--port", str(first.port)):
            for _ in range(300):
                if page.evaluate("told.end"):
                    break
                page.wait_for_timeout(100)
            told = page.evaluate("told")
        page.close()
    assert told["end"] == "well"
    assert told["times"] == sorted(set(told["times"]))
    assert told["times"][-1] == pytest.approx(len(pcm) / 16_000, abs=0.5)
    assert 2 <= len(told["utterances"]) <= 3  # one may have been cut in two
    assert [one["index"] for one in told["utterances"]] == list(range(len(told["utterances"])))
