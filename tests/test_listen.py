"""`emovox listen`: from files and from a microphone that is made up, in a terminal and elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from adaptable import write_adaptable_bundle
from bundles import write_waveform_bundle
from scenes import RATE, Floats, save, two_sentences
from typer.testing import CliRunner

from emovox.audio import Waveform
from emovox.cli import common, microphone
from emovox.cli.main import app
from emovox.errors import MissingExtraError
from emovox.inference.live import LiveRecognizer, Update
from emovox.inference.pcm import to_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.inference.utterances import Utterance

EMOVOX = [sys.executable, "-c", "from emovox.cli.main import main; main()"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_waveform_bundle(tmp_path_factory.mktemp("bundle") / "m.onnx")


@pytest.fixture(scope="module")
def samples(corpora_dir: Path) -> Floats:
    return two_sentences(corpora_dir)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, samples: Floats) -> Path:
    return save(tmp_path_factory.mktemp("talk") / "talk.wav", samples)


def listen(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["listen", *map(str, arguments)])
    return result.exit_code, result.stdout, str(result.exception or "")


def test_json_has_a_line_an_event_and_the_utterances_of_predict(model: Path, talk: Path) -> None:
    code, out, _ = listen("--input", talk, "--at-once", "--format", "json", "--model", model)
    ready, *events, bye = [json.loads(line) for line in out.splitlines()]
    assert (code, ready["type"], ready["version"]) == (0, "ready", 1)
    expected = [item.to_dict() for item in Recognizer(model).utterances(talk)]
    found = [event for event in events if event["type"] == "utterance"]
    assert found == [{"type": "utterance", "index": n, **item} for n, item in enumerate(expected)]
    duration_s = soundfile.info(talk).duration
    assert bye == {"type": "bye", "utterances": len(expected), "duration_s": pytest.approx(duration_s, abs=1e-6)}
    updates = [event for event in events if event["type"] == "update"]
    assert [item["time_s"] for item in updates] == [(n + 1) / 4 for n in range(int(duration_s * 4))]
    told = [item for item in updates if item["probabilities"]]
    assert len(told) >= 6
    assert all(item["speech"] and item["confidence"] == max(item["probabilities"].values()) for item in told)


def test_lines_where_nobody_watches(model: Path, talk: Path, tmp_path: Path) -> None:
    code, out, _ = listen("--input", talk, "--at-once", "--model", model)
    expected = list(Recognizer(model).utterances(talk))
    assert (code, len(out.splitlines())) == (0, len(expected))
    assert all(item.emotion and item.emotion in line for item, line in zip(expected, out.splitlines(), strict=True))
    soundfile.write(tmp_path / "quiet.wav", np.zeros(RATE), RATE)
    assert listen("--input", tmp_path / "quiet.wav", "--at-once", "--model", model)[1] == "no speech\n"


def test_a_file_comes_as_fast_as_it_was_spoken(model: Path, samples: Floats, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", samples[: 3 * RATE // 2], RATE)
    with microphone.from_file(tmp_path / "short.wav") as (rate, blocks):
        begin = time.monotonic()
        heard = list(blocks)
    assert 1.4 <= time.monotonic() - begin < 3
    assert sum(len(block.samples) for block in heard) == 3 * rate // 2
    assert {len(block.samples) for block in heard} == {800}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--at-once",), "--input"),
        (("--input", "a.wav", "--device", "1"), "exclude"),
        (("--input", "no such.wav"), "no such file"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], word: str) -> None:
    code, _, error = listen(*arguments)
    assert code != 0
    assert word in error


def test_only_the_newest_sound_is_worth_a_running_result(model: Path, samples: Floats) -> None:
    live = LiveRecognizer(Recognizer(model), rate=RATE)
    events = list(live.hear(samples))
    updates = [event for event in events if isinstance(event, Update)]
    assert all(update.probabilities is None for update in updates[:-1])
    utterances = [event for event in [*events, *live.finish()] if isinstance(event, Utterance)]
    assert utterances == list(Recognizer(model).utterances(Waveform(samples, RATE))) or len(utterances) >= 2
    live = LiveRecognizer(Recognizer(model), rate=RATE)
    assert all(update.probabilities is None for update in live.hear(samples, behind=True) if isinstance(update, Update))


@pytest.fixture(scope="module")
def adaptable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adaptable_bundle(tmp_path_factory.mktemp("adaptable") / "m.onnx")


def test_it_gets_used_to_the_voice(adaptable: Path, talk: Path, tmp_path: Path) -> None:
    options = ("--input", talk, "--at-once", "--model", adaptable)
    code, out, _ = listen(*options, "--adapt", "--format", "json")
    first, second, *_ = [json.loads(line) for line in out.splitlines() if '"utterance"' in line]
    spoken_s = first["end_s"] - first["start_s"]
    assert (code, first["adapted_s"], second["adapted_s"]) == (0, 0, pytest.approx(spoken_s, abs=2e-3))
    plain = [item.to_dict() for item in Recognizer(adaptable).utterances(talk)]
    assert first["probabilities"] == plain[0]["probabilities"]
    assert second["probabilities"] != pytest.approx(plain[1]["probabilities"], abs=1e-3)
    lines = listen(*options, "--adapt")[1].splitlines()
    assert lines[0].endswith("  unadapted")
    assert lines[1].endswith(f"  adapted to {spoken_s:.0f} s of this voice")

    recognizer = Recognizer(adaptable)
    recognizer.adapt(talk).save(tmp_path / "me.npz")
    seconds = soundfile.info(talk).duration
    for extra, more_s in (((), 0.0), (("--adapt",), spoken_s)):
        lines = listen(*options, "--reference", tmp_path / "me.npz", *extra)[1].splitlines()
        assert lines[0].endswith(f"  adapted to {round(seconds)} s of this voice")
        assert lines[1].endswith(f"  adapted to {round(seconds + more_s)} s of this voice")


def test_what_cannot_get_used_to_a_voice(model: Path, talk: Path, tmp_path: Path) -> None:
    code, _, error = listen("--input", talk, "--at-once", "--model", model, "--adapt")
    assert (code != 0, "cannot adapt" in error) == (True, True)
    assert "no such" in listen("--input", talk, "--model", model, "--reference", tmp_path / "no.npz")[2].lower()


class FakeSounddevice:
    """As much of sounddevice as is used; its microphone hears `sound` and is then unplugged."""

    class PortAudioError(Exception):
        pass

    def __init__(self, sound: bytes = b"", names: tuple[str, ...] = ("Built-in", "Headset")) -> None:
        self._sound = sound
        self._devices = [
            {"index": n, "name": name, "max_input_channels": 1, "default_samplerate": 16_000.0}
            for n, name in enumerate(names)
        ]
        self.opened: Any = None

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if kind is None:
            return self._devices
        if device is None and self._devices:
            return self._devices[0]
        if device is None:
            raise self.PortAudioError("Error querying device -1")
        found = [item for item in self._devices if device in (item["index"], item["name"])]
        if not found:
            raise ValueError(f"No input device matching {device!r}")
        return found[0]

    def RawInputStream(  # noqa: N802 - as it is called there
        self, *, blocksize: int, callback: Callable[..., None], finished_callback: Callable[[], None], **options: Any
    ) -> Any:
        self.opened = options
        size = 2 * blocksize

        def run() -> None:
            for start in range(0, len(self._sound), size):
                callback(self._sound[start : start + size], blocksize, None, None)
                time.sleep(0.002)
            finished_callback()

        thread = threading.Thread(target=run)

        class Stream:
            start = staticmethod(thread.start)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                thread.join()

        return Stream()


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    return lambda fake: monkeypatch.setitem(sys.modules, "sounddevice", fake)


def test_a_microphone(plug: Callable[[Any], None], model: Path, samples: Floats) -> None:
    fake = FakeSounddevice(to_pcm16(samples))
    plug(fake)
    code, out, error = listen("--format", "json", "--model", model, "--device", "Headset")
    events = [json.loads(line) for line in out.splitlines()]
    found = [event for event in events if event["type"] == "utterance"]
    assert fake.opened == {"samplerate": RATE, "device": 1, "channels": 1, "dtype": "int16"}
    assert len(found) == len(list(Recognizer(model).utterances(Waveform(samples, RATE))))
    assert code != 0
    assert "went away" in error


def test_no_microphone(plug: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plug(FakeSounddevice(names=()))
    assert "there is no microphone" in listen()[2]
    assert "--input FILE" in listen()[2]
    plug(FakeSounddevice())
    assert "--device: 0 (Built-in), 1 (Headset)" in listen("--device", "Other")[2]
    plug(None)  # as if it was not installed
    code, _, error = listen()
    assert (code != 0, "emovox[mic]" in error) == (True, True)
    with pytest.raises(MissingExtraError), microphone.from_microphone():
        pass


def test_portaudio_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise OSError("PortAudio library not found")

    finder = SimpleNamespace(find_spec=lambda name, *_: missing() if name == "sounddevice" else None)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert "libportaudio2" in listen()[2]


def in_terminal(*arguments: object, interrupt_after_s: float | None = None) -> tuple[int, str]:
    """Run it in a terminal of 24 x 80; give the exit code and all that was written."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, True)
    process = subprocess.Popen(
        [*EMOVOX, "listen", *map(str, arguments)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "PYTHONIOENCODING": "utf-8"},
    )
    os.close(theirs)
    written = b""
    timer = threading.Timer(interrupt_after_s or 60, process.send_signal, (signal.SIGINT,))
    timer.start()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        while True:
            try:
                data = screen.read(65_536)
            except OSError:  # what the end of a terminal is on Linux
                break
            if not data:
                break
            written += data
    timer.cancel()
    return process.wait(timeout=30), written.decode()


def test_bars_in_a_terminal(model: Path, talk: Path) -> None:
    code, out = in_terminal("--input", talk, "--at-once", "--model", model)
    assert code == 0
    assert "█" in out
    assert "speech" in out
    assert "\x1b[2J" not in out  # never the whole screen at once
    assert out.rstrip().count("0:00:0") >= 2
    assert "Traceback" not in out


def test_a_terminal_says_how_much_of_the_voice_is_known(adaptable: Path, talk: Path) -> None:
    code, out = in_terminal("--input", talk, "--at-once", "--model", adaptable, "--adapt")
    assert code == 0
    assert "unadapted; Ctrl-C ends" in out
    assert re.search(r"adapted to \d s of this voice; Ctrl-C ends", out)


def test_ctrl_c_is_the_usual_end(model: Path, talk: Path) -> None:
    code, out = in_terminal("--input", talk, "--model", model, "--format", "json", interrupt_after_s=4.0)
    assert code == common.DONE
    last = json.loads(out.strip().splitlines()[-1])
    assert last["type"] == "bye"
