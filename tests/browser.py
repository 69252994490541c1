"""Chromium for tests of the page: as Debian installs it, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright


PATIENCE_MS = 60_000
"""How long a page may take to do as expected: a busy machine is slow, not wrong."""


def chromium_path() -> str:
    """Where Chromium is; without it, tests that need it are skipped, or fail where CI is set."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("Chromium is not installed (apt-get install chromium)")
    return path


@contextmanager
def playwright() -> Iterator[Playwright]:
    """Start Playwright; one at a time in a process."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium_path()
    sync_api.expect.set_options(timeout=PATIENCE_MS)
    with sync_api.sync_playwright() as started:
        yield started


@contextmanager
def browser(driver: Playwright, *, microphone: Path | None = None, allowed: bool = True) -> Iterator[Browser]:
    """Start Chromium.

    Args:
        driver: Playwright.
        microphone: a WAV file that its microphone hears, again and again; None leaves the test tone.
        allowed: whether pages get the microphone.
    """
    arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--autoplay-policy=no-user-gesture-required"]
    arguments.append("--use-fake-ui-for-media-stream" if allowed else "--deny-permission-prompts")
    if microphone is not None:
        arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
    started = driver.chromium.launch(executable_path=chromium_path(), args=arguments)
    try:
        yield started
    finally:
        started.close()


def spoken(clip: npt.NDArray[np.floating[Any]], path: Path) -> Path:
    """Write what a microphone hears, at 16 kHz: somebody who says a sentence, and is silent for 1.2 s."""
    quiet = np.random.default_rng(0).normal(scale=1e-4, size=19_200)
    soundfile.write(path, np.concatenate([clip, quiet]), 16_000, "PCM_16")
    return path


def choose_files(page: Page, *paths: Path) -> None:
    """Choose recordings as soon as the page lets people."""
    page.locator("#ways:not([inert])").wait_for(timeout=PATIENCE_MS)
    page.set_input_files("#files", [str(path) for path in paths])


class Watched:
    """A page with what went wrong in it, and what it asked the network for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._hear(message.type, message.text))

    def _hear(self, kind: str, text: str) -> None:
        # A refused recording is an answer with status 4xx, which Chromium writes down as an error too.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.faults.append(text)
