"""`emovox train`, `evaluate`, `report` and `export`, from sound on disk to bundle and page."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from emovox import manifest
from emovox.cli import common
from emovox.cli.main import app
from emovox.corpora.synthetic import synthesize
from emovox.emotions import EMOTIONS
from emovox.evaluation.card import permits
from emovox.inference.bundle import Bundle, read_metadata
from emovox.inference.recognizer import Recognizer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic speech of six speakers."""
    folder = tmp_path_factory.mktemp("corpus")
    synthesize(folder, speakers=6, sentences=1)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep features of tests out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def emovox(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line in this process and give its exit code."""
    monkeypatch.setattr("sys.argv", ["emovox", *map(str, arguments)])
    return common.run(app)


def test_train_writes_a_bundle_that_tells_what_it_is(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "forest.onnx"
    code = emovox(
        monkeypatch,
        "train",
        "random-forest",
        "-c",
        corpus,
        "-o",
        path,
        "--set",
        "n_estimators=20",
        "--folds",
        3,
        "-j",
        1,
    )
    assert code == 0
    meta = read_metadata(path)
    assert meta.name == "forest"
    assert meta.labels == EMOTIONS
    (corpus_entry,) = meta.training["corpora"]
    assert (corpus_entry["name"], corpus_entry["clips"], corpus_entry["speakers"]) == ("synthetic", 42, 6)
    assert meta.training["parameters"] == {"n_estimators": 20}
    (scores,) = meta.scores
    assert scores["separates_speakers"]
    assert scores["clips"] == 42
    assert scores["uar_interval"][0] <= scores["uar"] <= scores["uar_interval"][1]
    assert "3 folds without a common speaker" in meta.card
    assert "synthetic" in meta.card
    assert "Do not use it to judge people" in meta.card
    printed = capsys.readouterr().out
    assert f"UAR {100 * scores['uar']:.1f} %" in printed
    # What was trained on is known by heart: the bundle is the fitted model and no other.
    clip = next(corpus.rglob("*.wav"))
    truth = manifest_of(corpus)[str(clip)]
    assert Recognizer(str(path)).predict(clip).emotion == truth


def manifest_of(corpus: Path) -> dict[str, str]:
    from emovox.corpora.scanning import scan

    table = scan(corpus, durations=False).table
    return dict(zip(table["path"], table["emotion"], strict=True))


def test_evaluate_prints_json_for_programs_and_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    arguments = ("evaluate", "decision-tree", "k-neighbors", "-c", corpus, "-p", "random", "-p", "speaker", "-o", out)
    assert emovox(monkeypatch, *arguments, "--folds", 2, "-j", 1, "--format", "json") == 0
    document = json.loads(capsys.readouterr().out)
    found = {(item["model"], item["protocol"]["name"]) for item in document["results"]}
    assert found == {(model, name) for model in ("decision-tree", "k-neighbors") for name in ("random", "speaker")}
    assert document["study"]["corpora"][0]["synthetic"]
    assert document["study"]["clips"] == 42
    times = {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    assert emovox(monkeypatch, *arguments, "--folds", 2, "-j", 1) == 0
    assert {path: path.stat().st_mtime_ns for path in (out / "cells").iterdir()} == times
    printed = capsys.readouterr().out
    assert "synthetic: computed sounds" in printed.replace("\n", " ")
    assert "Speaker-dependent" in printed


def test_evaluate_from_a_manifest_as_csv(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from emovox.corpora.scanning import scan

    rows = tmp_path / "rows.csv"
    manifest.write(scan(corpus, durations=False).table, rows)
    code = emovox(
        monkeypatch,
        "evaluate",
        "decision-tree",
        "-m",
        rows,
        "-o",
        tmp_path / "out",
        "--folds",
        2,
        "-j",
        1,
        "--labels",
        "angry,sad,neutral",
        "--map",
        "fear=sad",
        "--format",
        "csv",
    )
    assert code == 0
    (line,) = csv.DictReader(capsys.readouterr().out.splitlines())
    assert line["model"] == "decision-tree"
    assert 0 <= float(line["UAR %"]) <= 100
    study = json.loads((tmp_path / "out" / "study.json").read_text())
    assert study["emotions"] == {"angry": 6, "neutral": 6, "sad": 12}
    assert study["mapped"] == {"fear": 6}
    assert study["dropped"] == {"disgust": 6, "happy": 6, "surprise": 6}


def test_a_broken_recording_is_named_and_the_others_are_used(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from emovox.corpora.scanning import scan

    table = scan(corpus, durations=False).table
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    table.loc[0, "path"] = str(broken)
    rows = tmp_path / "rows.csv"
    manifest.write(table, rows)
    out = tmp_path / "out"
    assert emovox(monkeypatch, "evaluate", "decision-tree", "-m", rows, "-o", out, "--folds", 2, "-j", 1) == 1
    assert "broken.wav" in capsys.readouterr().err
    study = json.loads((out / "study.json").read_text())
    assert study["clips"] == 41
    assert [item["name"] for item in study["unreadable"]] == ["broken.wav"]


def test_a_bundle_is_tested_as_it_is_and_warned_about_when_it_knows_the_corpus(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "tree.onnx"
    assert emovox(monkeypatch, "train", "decision-tree", "-c", corpus, "-o", bundle, "-p", "none") == 0
    capsys.readouterr()
    assert emovox(monkeypatch, "evaluate", bundle, "-c", corpus, "-o", tmp_path / "known", "--format", "json") == 0
    printed = capsys.readouterr()
    (result,) = json.loads(printed.out)["results"]
    assert "the saved model was trained on synthetic, which is tested here" in printed.err.replace("\n", " ")
    assert not result["protocol"]["separates_speakers"]
    assert result["details"]["overlap"] == ["synthetic"]
    assert result["scores"]["accuracy"] == 1.0  # a tree knows what it was trained on by heart

    from emovox.corpora.scanning import scan

    table = scan(corpus, durations=False).table.assign(corpus="elsewhere")
    manifest.write(table, tmp_path / "rows.csv")
    other = tmp_path / "unknown"
    assert emovox(monkeypatch, "evaluate", bundle, "-m", tmp_path / "rows.csv", "-o", other, "--format", "json") == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["protocol"]["separates_speakers"]
    assert result["scores"]["clips"] == 42


def test_report_as_page_and_as_markdown(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    assert emovox(monkeypatch, "evaluate", "decision-tree", "-c", corpus, "-o", out, "--folds", 2, "-j", 1) == 0
    assert emovox(monkeypatch, "report", out, "-o", tmp_path / "page.html") == 0
    assert "decision-tree is best" in (tmp_path / "page.html").read_text()
    capsys.readouterr()
    assert emovox(monkeypatch, "report", out, "--markdown") == 0
    assert "| decision-tree |" in capsys.readouterr().out


def test_export_describes_a_bundle_anew_and_keeps_the_model(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "one.onnx", tmp_path / "two.onnx"
    card = tmp_path / "card.md"
    card.write_text("# Ours")
    assert emovox(monkeypatch, "train", "k-neighbors", "-c", corpus, "-o", first, "-p", "none") == 0
    changes = ("--name", "ours", "--model-version", "2", "--card", card)
    assert emovox(monkeypatch, "export", first, "-o", second, *changes) == 0
    meta = read_metadata(second)
    assert (meta.name, meta.version, meta.card) == ("ours", "2", "# Ours")
    assert meta.labels == read_metadata(first).labels
    features = np.random.default_rng(0).normal(size=(5, 180)).astype(np.float32)
    assert Bundle.load(first).run(features).tolist() == Bundle.load(second).run(features).tolist()
    assert emovox(monkeypatch, "export", first, "-o", second) == common.WRONG_USE


@pytest.mark.slow
def test_a_network_is_trained_resumed_and_exported_from_its_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "cnn.onnx"
    settings = ("--set", "early_stopping=true", "--set", "standardize=true")
    arguments = ("train", "cnn-1", "-c", corpus, "-o", path, *settings)
    assert emovox(monkeypatch, *arguments, "--set", "epochs=2") == 0
    assert "scores were not measured" in capsys.readouterr().err.replace("\n", " ")
    assert read_metadata(path).training["validation_clips"] in (7, 14)
    assert emovox(monkeypatch, "export", tmp_path / "cnn.run", "-o", tmp_path / "again.onnx") == 0
    features = np.random.default_rng(0).normal(size=(4, 180)).astype(np.float32)
    once = Bundle.load(path).run(features)
    assert np.abs(once - Bundle.load(tmp_path / "again.onnx").run(features)).max() < 1e-5
    # Going on from the checkpoint gives what training in one go gives.
    assert emovox(monkeypatch, *arguments, "--set", "epochs=4") == 0
    whole = tmp_path / "whole.onnx"
    assert emovox(monkeypatch, "train", "cnn-1", "-c", corpus, "-o", whole, *settings, "--set", "epochs=4") == 0
    assert np.abs(Bundle.load(path).run(features) - Bundle.load(whole).run(features)).max() < 1e-5


@pytest.mark.slow
def test_real_recordings_from_folder_to_bundle(
    corpora_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "svc.onnx"
    assert emovox(monkeypatch, "train", "svc-scaled", "-c", corpora_dir / "emodb", "-o", path, "-j", 1) == 0
    assert "Left out: 81 boredom" in capsys.readouterr().err
    meta = read_metadata(path)
    (scores,) = meta.scores
    assert (scores["clips"], scores["speakers"], scores["interval_over"]) == (454, 10, "speakers")
    assert 0.5 < scores["uar"] < 0.85
    assert meta.labels == tuple(label for label in EMOTIONS if label != "surprise")
    assert meta.licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "decision-tree", "-o", "x"), "either --manifest FILE or --corpora DIR"),
        (("evaluate", "no-model", "-c", "{corpus}", "-o", "x"), "there is no model 'no-model'"),
        (("evaluate", "svc", "-c", "{corpus}", "-o", "x", "-p", "guess"), "there is no protocol 'guess'"),
        (("evaluate", "svc", "-c", "{corpus}", "-o", "x", "-p", "file"), "--folds-file"),
        (("evaluate", "svc", "-c", "{corpus}", "-o", "x", "-p", "corpus"), "found only: synthetic"),
        (("evaluate", "svc", "-c", "{corpus}", "-o", "x", "--labels", "calm,boredom"), "none of 42 recordings"),
        (("evaluate", "svc", "-m", "none.csv", "-o", "x"), "no such file"),
        (("evaluate", "none.onnx", "-c", "{corpus}", "-o", "x"), "no such bundle"),
        (("train", "svc", "-c", "{corpus}", "-o", "x.onnx", "--set", "nonsense"), "cannot read the parameter"),
        (("train", "svc", "-c", "{corpus}", "-o", "x.onnx", "--set", "nonsense=1"), "unexpected keyword"),
        (("train", "svc", "-c", "{corpus}", "-o", "x.onnx", "-p", "guess"), "cannot be measured by 'guess'"),
        (("train", "svc", "-c", "{corpus}", "-o", "x.txt"), "x.txt must end in .onnx"),
        (("export", "none", "-o", "x", "--name", "a"), "x must end in .onnx"),
        (("report", "none"), "holds no results"),
        (("export", "none", "-o", "x.onnx", "--name", "a"), "no such bundle"),
        (("export", "{corpus}", "-o", "x.onnx"), "not the folder of a network's training"),
    ],
)
def test_wrong_use_ends_with_a_sentence(
    arguments: tuple[str, ...],
    message: str,
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code = emovox(monkeypatch, *(item.format(corpus=corpus) for item in arguments))
    captured = capsys.readouterr()
    assert code == common.WRONG_USE
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_permits_follow_the_strictest_licence() -> None:
    assert permits(["CC0-1.0", "ODbL 1.0 and DbCL 1.0"]).startswith("any use")
    assert "CC BY-NC-ND 4.0" in permits(["CC0-1.0", "CC BY-NC-ND 4.0"])
    assert permits(["research only"]).startswith("non-commercial")
    assert permits(["CC0-1.0", "unknown licence (mine)"]).startswith("ask")
    assert permits([]).startswith("ask")


def test_scores_of_several_protocols_are_recorded(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tree.onnx"
    wanted = ("-p", "speaker", "-p", "random", "--folds", 2, "-j", 1)
    assert emovox(monkeypatch, "train", "decision-tree", "-c", corpus, "-o", path, *wanted) == 0
    scores = {score["protocol"]: score["separates_speakers"] for score in read_metadata(path).scores}
    assert scores == {"speaker": True, "random": False}
