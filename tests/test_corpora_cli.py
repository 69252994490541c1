"""`emovox corpora list` and `scan` as users type them, also wrongly."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from corpus_files import put

from emovox import manifest
from emovox.cli.main import main
from emovox.corpora import CORPORA


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def emovox(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `emovox corpora ...` in this process, on a screen of 100 columns."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["emovox", "corpora", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return Done(int(ended.value.code or 0), output.out, output.err)

    return run


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    root = tmp_path / "mixed"
    put(root, "03a01Fa.wav", "03a01La.wav", "03-01-02-01-01-01-05.wav", "copy/03a01Fa.wav")
    return root


def test_list(emovox: Run) -> None:
    table = emovox("list")
    assert table.returncode == 0
    assert all(name in table.stdout for name in CORPORA)
    document = json.loads(emovox("list", "--format", "json").stdout)
    assert {item["name"]: item["clips"] for item in document["corpora"]}["casia"] == [1200, 9600]
    rows = list(csv.DictReader(io.StringIO(emovox("list", "-f", "csv").stdout)))
    assert [row["name"] for row in rows] == list(CORPORA)


def test_scan_writes_the_manifest_and_says_what_it_left_out(emovox: Run, mixed: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    done = emovox("scan", mixed, "-o", file)
    assert done.returncode == 0, done.stderr
    assert [Path(path).name for path in manifest.read(file)["path"]] == ["03a01Fa.wav"]
    for part in ("1 boredom (outside the label set)", "1 calm (outside the label set)", "further copies", "535"):
        assert part in done.stdout
    assert "Wrote 1 rows" in done.stderr


@pytest.mark.parametrize(
    ("options", "emotions"),
    [
        (("--labels", "all"), ["boredom", "calm", "happy"]),
        (("--map", "calm=neutral", "--map", "boredom=sad"), ["happy", "neutral", "sad"]),
        (("--labels", "happy,calm"), ["calm", "happy"]),
        (("--labels", "all", "--keep-copies"), ["boredom", "calm", "happy", "happy"]),
    ],
)
def test_labels_and_copies(
    emovox: Run, mixed: Path, tmp_path: Path, options: tuple[str, ...], emotions: list[str]
) -> None:
    file = tmp_path / "m.parquet"
    assert emovox("scan", mixed, "-o", file, *options).returncode == 0
    assert sorted(manifest.read(file)["emotion"]) == emotions


def test_scan_for_programs(emovox: Run, mixed: Path) -> None:
    document = json.loads(emovox("scan", mixed, "-f", "json").stdout)
    assert document["kept"] == 1
    assert document["outside_labels"] == {"boredom": 1, "calm": 1}
    assert {corpus["name"]: corpus["clips"] for corpus in document["corpora"]} == {"emodb": 2, "ravdess": 1}
    assert [problem["kind"] for problem in document["problems"]] == ["copy"]
    quick = emovox("scan", mixed, "-f", "csv", "--names-only")
    rows = list(csv.DictReader(io.StringIO(quick.stdout)))
    assert [(row["name"], row["clips"], row["seconds"]) for row in rows] == [("ravdess", "1", ""), ("emodb", "2", "")]


def test_a_broken_file_ends_with_1_and_the_rest_is_written(emovox: Run, mixed: Path, tmp_path: Path) -> None:
    (mixed / "03a01Wa.wav").write_bytes(b"no sound")
    done = emovox("scan", mixed, "-o", tmp_path / "m.csv")
    assert done.returncode == 1
    assert "03a01Wa.wav" in done.stdout
    assert len(manifest.read(tmp_path / "m.csv")) == 1


def test_only_broken_files(emovox: Run, tmp_path: Path) -> None:
    (tmp_path / "03a01Wa.wav").write_bytes(b"no sound")
    done = emovox("scan", tmp_path, "-o", tmp_path / "m.csv")
    assert done.returncode == 1
    assert not (tmp_path / "m.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument"),
        (("nowhere",), "no such file or folder"),
        (("{mixed}", "--labels", "glad"), "unknown emotion or label set 'glad'"),
        (("{mixed}", "--map", "calm"), "cannot read the mapping 'calm'"),
        (("{mixed}", "-o", "m.txt"), "cannot write a manifest called 'm.txt'"),
        (("{mixed}", "--labels", "angry,sad"), "leaves no recording with these labels"),
        (("{mixed}", "--format", "xml"), "'xml' is not one of"),
        (("{empty}",), "it is empty"),
    ],
)
def test_wrong_use(emovox: Run, mixed: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"mixed": mixed, "empty": tmp_path / "empty"}
    done = emovox("scan", *(argument.format(**places) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
