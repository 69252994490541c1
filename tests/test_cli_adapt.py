"""`emovox adapt` and `emovox predict --adapt` as a user meets them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from adaptable import write_adaptable_bundle
from bundles import write_waveform_bundle

from emovox.cli import common
from emovox.cli.main import app
from emovox.inference.adaptation import Reference
from emovox.inference.recognizer import Prediction, Recognizer

RATE = 16_000
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adaptable_bundle(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, corpora_dir: Path) -> Path:
    """Real recordings of two speakers in a folder each: nine and two."""
    root = tmp_path_factory.mktemp("clips")
    for speaker, count in (("03", 9), ("08", 2)):
        (root / speaker).mkdir()
        for clip in sorted((corpora_dir / "emodb" / "wav").glob(f"{speaker}*.opus"))[:count]:
            shutil.copy(clip, root / speaker)
    return root


@pytest.fixture
def run(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(command: str, *arguments: object, bundle: Path = model) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["emovox", command, *map(str, arguments), "--model", str(bundle)])
        code = common.run(app)
        out, err = capsys.readouterr()
        return code, out, err

    return run_it


def test_from_clips_to_adapted_predictions(run: Run, clips: Path, model: Path, tmp_path: Path) -> None:
    me = tmp_path / "me.npz"
    code, out, err = run("adapt", clips / "03", "-o", me)
    wanted = Recognizer(model).adapt(clips / "03")
    assert (code, err) == (0, "")
    assert out == f"{me}: 9 clips, {wanted.seconds:.1f} s, for adaptable 2\n"
    reference = Reference.load(me)
    assert (reference.clips, reference.seconds, reference.model) == (wanted.clips, wanted.seconds, wanted.model)
    np.testing.assert_allclose(reference.embedding, wanted.embedding)

    code, out, err = run("predict", clips / "03", "--adapt", me, "--format", "json")
    document = json.loads(out)
    adapted = Recognizer(model, adapt=me)
    assert (code, err, document["adapted_clips"]) == (0, "", 9)
    expected = [item.to_dict() for item in adapted.predict_many(clips / "03")]
    assert document["results"] == expected
    assert {item["adapted_clips"] for item in expected} == {9}
    rows = list(csv.DictReader(io.StringIO(run("predict", clips / "03", "--adapt", me, "--format", "csv")[1])))
    assert [row["adapted_clips"] for row in rows] == ["9"] * 9
    assert [float(row["confidence"]) for row in rows] == [item["confidence"] for item in expected]
    assert run("predict", clips / "03", "--adapt", me)[1].startswith("adaptable 2, adapted: 9 clips\n")
    assert run("predict", clips / "03")[1].startswith("adaptable 2, unadapted\n")


@pytest.mark.parametrize("kind", ["timeline", "utterances"])
def test_parts_of_recordings_say_it_too(run: Run, clips: Path, tmp_path: Path, kind: str) -> None:
    me = tmp_path / "me.npz"
    run("adapt", clips / "03", "-o", me)
    found = {}
    for options, count in (((), 0), (("--adapt", me), 9)):
        document = json.loads(run("predict", clips / "08", f"--{kind}", "--format", "json", *options)[1])
        rows = csv.DictReader(io.StringIO(run("predict", clips / "08", f"--{kind}", "-f", "csv", *options)[1]))
        assert document["adapted_clips"] == count
        assert {row["adapted_clips"] for row in rows} == {str(count)}
        found[count] = [part["probabilities"] for result in document["results"] for part in result[kind]]
    assert found[0] != found[9]
    code, out, err = run("predict", clips, f"--{kind}", "--adapt", "auto")
    assert (code, out) == (2, "")
    assert "emovox adapt" in err


def test_auto_adapts_each_folder_to_itself(run: Run, clips: Path, model: Path, tmp_path: Path) -> None:
    shutil.copy(next((clips / "03").iterdir()), tmp_path / "alone.opus")
    arguments = ("predict", clips / "03", clips / "08", tmp_path / "alone.opus", "--adapt", "auto")
    code, out, err = run(*arguments, "--format", "json")
    document = json.loads(out)
    assert (code, document["adapted_clips"]) == (0, None)
    assert [item["adapted_clips"] for item in document["results"]] == [9] * 9 + [2] * 2 + [0]
    for folder in ("03", "08"):
        adapted = Recognizer(model, adapt=Recognizer(model).adapt(clips / folder))
        wanted = {item.path: item for item in adapted.predict_many(clips / folder) if isinstance(item, Prediction)}
        found = [item for item in document["results"] if item["path"] in wanted]
        assert len(found) == len(wanted)
        for item in found:
            assert item["probabilities"] == pytest.approx(wanted[item["path"]].probabilities, abs=1e-5)
    assert f"{clips.resolve() / '08'} (2): adapted with few clips" in err
    assert f"{tmp_path.resolve()}: unadapted" in err
    assert str(clips / "03") not in err
    title, *lines = run(*arguments)[1].splitlines()
    assert title == "adaptable 2, adapted to the recordings themselves"
    told = ["adapted: 9 clips"] * 9 + ["adapted: 2 clips"] * 2 + ["unadapted"]
    assert [line.split("  ")[-1].strip() for line in lines] == told
    assert len({line.index(words) for line, words in zip(lines, told, strict=True)}) == 1


def test_auto_follows_the_speakers_of_a_manifest(run: Run, clips: Path, tmp_path: Path) -> None:
    paths = [*sorted((clips / "03").iterdir()), *sorted((clips / "08").iterdir())]
    speakers = ["a", "b", "a", "b", "a", "b", "a", "", "a", "a", "a"]
    lines = [f"{path},{speaker}" for path, speaker in zip(paths, speakers, strict=True)]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(["path,speaker", *lines]))
    code, out, _ = run("predict", clips, "--adapt", "auto", "--manifest", table, "--format", "json")
    counts = [item["adapted_clips"] for item in json.loads(out)["results"]]
    assert code == 0
    assert counts == [7, 3, 7, 3, 7, 3, 7, 0, 7, 7, 7]  # the one without a speaker is alone in its folder
    with table.open("a") as file:
        file.write(f"\n{paths[0]},b,1,2")
    table.write_text(table.read_text().replace("path,speaker", "path,speaker,start,end"))
    code, out, err = run("predict", clips, "--adapt", "auto", "--manifest", table)
    assert (code, out) == (2, "")
    assert "two speakers" in err


def test_clips_of_no_use_are_named(run: Run, clips: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    shutil.copytree(clips / "08", few)
    soundfile.write(few / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(few / "tiny.wav", 0.5 * np.sin(np.arange(RATE // 5)), RATE)
    code, out, err = run("adapt", few, "-o", tmp_path / "me.npz")
    assert (code, Reference.load(tmp_path / "me.npz").clips) == (0, 2)
    assert "silent.wav: passed over: is silent" in err
    assert "tiny.wav: passed over: is shorter" in err
    assert "2 clips only: 8 or more" in err
    (few / "broken.wav").write_text("no sound")
    code, out, err = run("adapt", few, tmp_path / "missing.wav", "-o", tmp_path / "more.npz")
    assert (code, Reference.load(tmp_path / "more.npz").clips) == (1, 2)
    assert "broken.wav: failed: is not a recording" in err
    assert "missing.wav: failed: no such file" in err
    assert "2 of 6 could not be used" in err
    code, out, err = run("adapt", few / "silent.wav", "-o", tmp_path / "none.npz")
    assert (code, out) == (1, "")
    assert "not written" in err
    assert not (tmp_path / "none.npz").exists()


def test_nothing_is_overwritten_unasked(run: Run, clips: Path, tmp_path: Path) -> None:
    me = tmp_path / "me.npz"
    me.write_text("dear diary")
    code, out, err = run("adapt", clips / "08", "-o", me)
    assert (code, out, me.read_text()) == (2, "", "dear diary")
    assert "--force" in err
    assert run("adapt", clips / "08", "-o", me, "--force")[0] == 0
    assert Reference.load(me).clips == 2
    code, _, err = run("adapt", clips / "08", "-o", tmp_path)
    assert (code, "is a folder" in err) == (2, True)


def test_wrong_use(run: Run, clips: Path, tmp_path: Path) -> None:
    plain = write_waveform_bundle(tmp_path / "plain.onnx")
    other = write_adaptable_bundle(tmp_path / "other.onnx", version="3")
    me = tmp_path / "me.npz"
    run("adapt", clips / "08", "-o", me)
    for arguments, bundle, words in (
        (("adapt", clips / "08", "-o", tmp_path / "x.npz"), plain, "takes no reference"),
        (("predict", clips / "08", "--adapt", "auto"), plain, "takes no reference"),
        (("predict", clips / "08", "--adapt", me), plain, "takes no reference"),
        (("predict", clips / "08", "--adapt", me), other, "adaptable 2, not with adaptable 3"),
        (("predict", clips / "08", "--adapt", tmp_path / "no.npz"), other, "no.npz"),
        (("predict", clips / "08", "--adapt", plain), other, "is no reference"),
        (("predict", clips / "08", "--manifest", me), other, "--adapt auto"),
        (("predict", clips / "08", "--adapt", "auto", "--manifest", me), other, "me.npz"),
    ):
        code, out, err = run(*arguments, bundle=bundle)
        assert (code, out) == (2, "")
        assert words in err.replace("\n", " ")
        assert "Traceback" not in err
    assert not (tmp_path / "x.npz").exists()


def test_stdin(run: Run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = next((clips / "08").iterdir()).read_bytes()
    for arguments in (("adapt", "-", "-o", tmp_path / "me.npz"), ("predict", "-", "--adapt", "auto", "-f", "json")):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: False))
        code, out, err = run(*arguments)
        assert code == 0
    assert json.loads(out)["results"][0]["adapted_clips"] == 0
    assert "-: unadapted" in err
    assert Reference.load(tmp_path / "me.npz").clips == 1
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: True))
    code, _, err = run("adapt", "-", "-o", tmp_path / "more.npz")
    assert (code, "nothing comes from stdin" in err) == (2, True)


@pytest.mark.parametrize("old", [False, True])
def test_ctrl_c_leaves_no_half_file_and_the_old_one(model: Path, clips: Path, tmp_path: Path, old: bool) -> None:
    """The last clip is a pipe that nobody writes to, so that the work is surely under way."""
    me, pipe = tmp_path / "me.npz", tmp_path / "never.wav"
    if old:
        me.write_text("old")
    os.mkfifo(pipe)
    main = [sys.executable, "-c", "from emovox.cli.main import main; main()"]
    arguments = ["adapt", clips / "08", pipe, "-o", me, "--force", "--model", model, "--jobs", "1"]
    process = subprocess.Popen([*main, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with pipe.open("wb"):  # opened when the command reads it
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (common.INTERRUPTED, "")
    assert "of 3 were heard; no reference was written" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == (["me.npz", "never.wav"] if old else ["never.wav"])
    assert not old or me.read_text() == "old"
