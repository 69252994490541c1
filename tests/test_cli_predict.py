"""`emovox predict` as a user meets it."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from bundles import write_waveform_bundle

from emovox.cli import common
from emovox.cli.main import app
from emovox.emotions import EMOTIONS
from emovox.inference.recognizer import Recognizer

RATE = 16_000
Run = Callable[..., tuple[int, str, str]]
EMOVOX = [sys.executable, "-c", "from emovox.cli.main import main; main()"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_waveform_bundle(tmp_path_factory.mktemp("model") / "loud.onnx", max_seconds=10, licence="MIT")


@pytest.fixture
def sounds(tmp_path: Path, voice: npt.NDArray[np.float32]) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    soundfile.write(folder / "a.wav", voice, RATE, subtype="FLOAT")
    soundfile.write(folder / "c.flac", voice * 0.3, RATE)
    (folder / "b.wav").write_text("no sound")
    return folder


@pytest.fixture
def run(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*arguments: object, bundle: object = model) -> tuple[int, str, str]:
        options = ["--model", str(bundle)] if bundle else []
        monkeypatch.setattr(sys, "argv", ["emovox", "predict", *map(str, arguments), *options])
        code = common.run(app)
        out, err = capsys.readouterr()
        return code, out, err

    return run_it


def test_json_is_the_document_of_the_design(run: Run, sounds: Path, model: Path) -> None:
    code, out, err = run(sounds, "--format", "json")
    document = json.loads(out)
    assert code == 1
    assert document.keys() == {"model", "adapted_clips", "results"}
    assert document["adapted_clips"] == 0
    assert document["model"]["name"] == "loudness"
    assert document["model"]["labels"] == list(EMOTIONS)
    assert document["model"]["licence"] == "MIT"
    good, bad, other = document["results"]
    assert list(good) == ["path", "emotion", "confidence", "probabilities", "duration_s", "adapted_clips"]
    assert good["path"] == str(sounds / "a.wav")
    wanted = Recognizer(model).predict(sounds / "a.wav")
    assert good == wanted.to_dict()
    assert list(good["probabilities"]) == list(EMOTIONS)
    assert sum(good["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert bad == {"path": str(sounds / "b.wav"), "error": {"code": "not_audio", "message": bad["error"]["message"]}}
    assert other["path"].endswith("c.flac")
    assert "1 of 3" in err


def test_csv_has_a_row_a_recording(run: Run, sounds: Path) -> None:
    code, out, _ = run(sounds, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 1
    assert [Path(row["path"]).name for row in rows] == ["a.wav", "b.wav", "c.flac"]
    assert [row["error_code"] for row in rows] == ["", "not_audio", ""]
    assert rows[1]["emotion"] == ""
    assert sum(float(rows[0][label]) for label in EMOTIONS) == pytest.approx(1, abs=1e-5)
    assert float(rows[0]["confidence"]) == max(float(rows[0][label]) for label in EMOTIONS)


def test_table_names_file_emotion_and_fault(run: Run, sounds: Path) -> None:
    code, out, _ = run(sounds)
    title, good, bad, other = out.splitlines()
    assert code == 1
    assert title == "loudness 1, unadapted"
    assert str(sounds / "a.wav") in good
    assert any(emotion in good for emotion in EMOTIONS)
    assert "%" in other
    assert "failed: is not a recording" in bad


def test_exit_codes(run: Run, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run(sounds / "a.wav")[0] == 0
    assert run(sounds / "a.wav", tmp_path / "missing.wav")[0] == 1
    assert run(tmp_path / "missing.wav")[0] == 1
    code, out, _ = run(tmp_path / "empty")
    assert (code, "holds no recordings" in out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "Missing argument"),
        (("a.wav", "--format", "xml"), "xml"),
        (("a.wav", "--min-confidence", "2"), "min-confidence"),
        (("a.wav", "--jobs", "0"), "jobs"),
        (("a.wav", "--threads", "0"), "threads"),
        (("a.wav", "--window", "2"), "--timeline"),
        (("a.wav", "--no-vad"), "--timeline"),
        (("a.wav", "--timeline", "--window", "1", "--hop", "2"), "hop"),
        (("a.wav", "--nonsense"), "nonsense"),
    ],
)
def test_wrong_use_is_two_with_a_word_on_why(run: Run, arguments: tuple[str, ...], word: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert word in err
    assert "Traceback" not in err


def test_wrong_models_are_wrong_use(run: Run, sounds: Path, tmp_path: Path) -> None:
    for wrong in (sounds / "a.wav", tmp_path / "no.onnx", tmp_path, "no-such-name"):
        code, out, err = run(sounds / "a.wav", bundle=wrong)
        assert (code, out) == (2, "")
        assert str(wrong) in err


def test_stdin(run: Run, sounds: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    content = io.BytesIO((sounds / "a.wav").read_bytes())
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content, isatty=lambda: False))
    code, out, _ = run("-", "--format", "json")
    (result,) = json.loads(out)["results"]
    assert code == 0
    assert result == {**Recognizer(model).predict(sounds / "a.wav").to_dict(), "path": "-"}
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=content, isatty=lambda: True))
    code, _, err = run("-")
    assert (code, "nothing comes from stdin" in err) == (2, True)


def test_unsure_results(run: Run, sounds: Path) -> None:
    arguments = (sounds / "a.wav", "--min-confidence", "1")
    assert json.loads(run(*arguments, "--format", "json")[1])["results"][0]["emotion"] is None
    assert next(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv")[1])))["emotion"] == "uncertain"
    assert "uncertain" in run(*arguments)[1]


def test_timeline_in_all_formats(run: Run, sounds: Path) -> None:
    arguments = (sounds, "--timeline", "--window", "1", "--hop", "0.5", "--no-vad")
    code, out, _ = run(*arguments, "--format", "json")
    good, bad, other = json.loads(out)["results"]
    assert code == 1
    assert [segment["start_s"] for segment in good["timeline"]] == [0, 0.5, 1]
    assert good["timeline"][-1]["end_s"] == good["duration_s"] == 2
    assert list(good["timeline"][0]["probabilities"]) == list(EMOTIONS)
    assert bad["error"]["code"] == "not_audio"
    assert len(other["timeline"]) == 3
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv")[1])))
    assert [row["start_s"] for row in rows] == ["0.0", "0.5", "1.0", "", "0.0", "0.5", "1.0"]
    assert rows[3]["error_code"] == "not_audio"
    lines = run(*arguments)[1].splitlines()
    assert lines[1] == str(sounds / "a.wav")
    assert lines[2].startswith("  0:00:00.0 - 0:00:01.0  ")


def test_timeline_without_speech_and_with_a_fault_on_the_way(run: Run, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(scale=0.001, size=12 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")
    code, out, _ = run(tmp_path / "noise.wav", "--timeline")
    assert code == 0
    assert out.count("no speech") == 10
    noise[-1] = np.nan
    soundfile.write(tmp_path / "noise.wav", noise, RATE, subtype="FLOAT")
    code, out, _ = run(tmp_path / "noise.wav", "--timeline", "--format", "json")
    (result,) = json.loads(out)["results"]
    assert code == 1
    assert result["error"]["code"] == "non_finite"


def test_names_that_terminals_or_utf8_do_not_know(run: Run, sounds: Path, tmp_path: Path) -> None:
    names = [b"\xff.wav", b"\x1b[31mred.wav", b'quo"te, comma.wav', "[bold]ü.wav".encode()]
    folder = os.fsencode(tmp_path / "odd")
    os.mkdir(folder)  # noqa: PTH102 - names are bytes
    for name in names:
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes((sounds / "a.wav").read_bytes())  # noqa: PTH118
    code, out, _ = run(os.fsdecode(folder))
    assert code == 0
    assert "\x1b" not in out
    assert "[bold]ü.wav" in out
    code, out, _ = run(os.fsdecode(folder), "--format", "json")
    assert {os.fsencode(item["path"]) for item in json.loads(out)["results"]} == {
        os.path.join(folder, name)  # noqa: PTH118
        for name in names
    }
    code, out, _ = run(os.fsdecode(folder), "--format", "csv")
    assert code == 0
    assert len(list(csv.DictReader(io.StringIO(out)))) == 4


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*EMOVOX, "predict", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize("options", [(), ("--timeline", "--window", "0.2", "--hop", "0.1", "--no-vad")])
@pytest.mark.parametrize("lines", [1, 10, 11])
def test_ctrl_c_leaves_a_whole_document_with_what_was_done(
    model: Path, sounds: Path, options: tuple[str, ...], lines: int
) -> None:
    process = start(*[sounds / "a.wav"] * 20_000, "--model", model, "--format", "json", *options)
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout as stdout, process.stderr as stderr:
        head = [stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGINT)
        results = json.loads("".join(head) + stdout.read())["results"]
        err = stderr.read()
    assert process.returncode == common.INTERRUPTED
    assert len(results) < 20_000
    assert options or len(results) >= lines - 3
    # It may come between the printing of a result and its count.
    assert any(f"{count} of 20000" in err for count in (len(results), len(results) - 1))
    assert "Traceback" not in err


@pytest.mark.parametrize("output", ["table", "json", "csv"])
def test_a_reader_that_has_seen_enough(model: Path, sounds: Path, output: str) -> None:
    process = start(*[sounds / "a.wav"] * 20_000, "--model", model, "--format", output)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 1)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_rows_appear_as_they_are_found(model: Path, sounds: Path, tmp_path: Path) -> None:
    """The second input is a pipe that nobody has written to yet; the first one's row is there all the same."""
    pipe = tmp_path / "later.wav"
    os.mkfifo(pipe)
    process = start(sounds / "a.wav", sounds / "c.flac", pipe, "--model", model, "-f", "csv", "--jobs", "1")
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout as stdout, process.stderr:
        assert stdout.readline().startswith("path,")
        assert "a.wav" in stdout.readline()
        time.sleep(0.1)
        assert process.poll() is None
        pipe.write_bytes((sounds / "a.wav").read_bytes())
        assert "later.wav" in stdout.read()
    assert process.returncode == 0
