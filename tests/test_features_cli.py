"""`emovox features` as its users call it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_store import expected, write_recordings

from emovox.cli import common, features
from emovox.cli.main import app
from emovox.features import FEATURE_SETS, FeatureStore


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three recordings, in the current folder; the user's cache is a temporary one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_recordings(tmp_path / "clips", 3)
    return tmp_path / "clips"


def emovox(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["emovox", *map(str, arguments)])
    code = common.run(app)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def call(*arguments: object) -> tuple[int, str, str]:
        return emovox(capsys, monkeypatch, "features", *arguments)

    return call


class TestOutput:
    def test_npy_has_a_row_a_file_in_the_order_given(self, run, folder: Path) -> None:
        second, third = folder / "0001.wav", folder / "0002.wav"
        assert run(third, folder, second, "-o", "out.npy")[0] == 0
        files = [third, *sorted(folder.iterdir()), second]
        np.testing.assert_allclose(np.load("out.npy"), expected(files), rtol=1e-5, atol=1e-6)

    def test_parquet_names_recordings_and_columns(self, run, folder: Path) -> None:
        code, *_ = run("clips", "missing.wav", "--set", "classic", "-o", "out.parquet")
        assert code == 1
        table = pd.read_parquet("out.parquet")
        assert list(table.columns) == ["path", "error", *FEATURE_SETS["classic"].names]
        assert list(table["path"]) == ["clips/0000.wav", "clips/0001.wav", "clips/0002.wav", "missing.wav"]
        assert list(table["error"].notna()) == [False, False, False, True]
        np.testing.assert_allclose(table.iloc[:3, 2:], expected(sorted(folder.iterdir())), rtol=1e-5, atol=1e-6)
        assert table.iloc[3, 2:].isna().all()

    def test_npz_holds_matrices(self, run, folder: Path) -> None:
        assert run("clips", "-s", "logmel", "-o", "out.NPZ")[0] == 0
        arrays = np.load("out.NPZ")
        assert [arrays[str(row)].shape for row in range(3)] == [(20, 80)] * 3

    def test_a_folder_that_does_not_exist_yet_is_made(self, run, folder: Path) -> None:
        assert run("clips", "-o", "new/deep/out.npy")[0] == 0
        assert [file.name for file in Path("new/deep").iterdir()] == ["out.npy"]

    def test_a_second_run_says_that_it_only_read(self, run, folder: Path) -> None:
        run("clips", "-o", "out.npy")
        assert run("clips", "-o", "out.npy")[1] == "out.npy: classic, 3 x 180, 3 of them computed before\n"
        assert FeatureStore("cache/emovox/features").extract(["clips/0000.wav"], "classic").reused == 1

    def test_values_are_kept_where_the_user_says(self, run, folder: Path) -> None:
        run("clips", "-o", "out.npy", "--store", "kept")
        assert len(list(Path("kept").rglob("*.npy"))) == 3
        assert not Path("cache").exists()


class TestBadRecordings:
    def test_are_named_and_keep_their_rows(self, run, folder: Path) -> None:
        (folder / "0001.wav").write_text("not sound")
        code, out, err = run("clips", "missing.wav", "-o", "out.npy")
        assert code == 1
        assert out == "out.npy: classic, 4 x 180\n"
        assert "row 1: clips/0001.wav: is not a recording" in err
        assert "row 3: missing.wav: no such file" in err
        assert "2 of 4 could not be used; their rows are empty" in err
        values = np.load("out.npy")
        assert np.isnan(values).all(axis=1).tolist() == [False, True, False, True]

    def test_json_says_it_all_and_nothing_else_is_on_stdout(self, run, folder: Path) -> None:
        code, out, _ = run("clips/0000.wav", "missing.wav", "-o", "out.npy", "--format", "json")
        document = json.loads(out)
        assert code == 1
        assert document["set"]["name"] == "classic"
        assert document["set"]["features"] == list(FEATURE_SETS["classic"].names)
        assert document["rows"] == [
            {"path": "clips/0000.wav"},
            {"path": "missing.wav", "error": {"code": "not_found", "message": "no such file"}},
        ]

    def test_csv(self, run, folder: Path) -> None:
        _, out, _ = run("clips/0000.wav", "missing.wav", "-o", "out.npy", "--format", "csv")
        assert list(csv.reader(out.splitlines())) == [
            ["row", "path", "error", "message"],
            ["0", "clips/0000.wav", "", ""],
            ["1", "missing.wav", "not_found", "no such file"],
        ]

    def test_an_empty_folder_beside_a_full_one(self, run, folder: Path) -> None:
        Path("empty").mkdir()
        code, _, err = run("empty", "clips", "-o", "out.npy")
        assert (code, err) == (1, "empty: holds no recordings\n")
        assert len(np.load("out.npy")) == 3


class TestWrongUse:
    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (("clips",), "Missing option '--output'"),
            (("-o", "out.npy"), "Missing argument"),
            (("clips", "-o", "out.txt"), "Name a file that ends in .npy, .npz, .parquet"),
            (("clips", "-o", "out"), "a file without an ending"),
            (("clips", "-o", "clips/folder.npy"), "is a folder"),
            (("clips", "-o", "clips/0000.wav/out.npy"), "folder cannot be made"),
            (("clips", "-o", "out.npy", "--set", "mfcc"), "There are: classic, egemaps, compare, logmel"),
            (("clips", "-o", "out.npy", "--set", "logmel"), "Write a .npz"),
            (("clips", "-o", "out.npy", "--jobs", "0"), "--jobs"),
            (("clips", "-o", "out.npy", "--format", "xml"), "--format"),
            (("empty", "-o", "out.npy"), "no recordings were found"),
        ],
    )
    def test_says_what_is_wrong_and_does_nothing(self, run, folder: Path, arguments, complaint: str) -> None:
        Path("empty").mkdir()
        (folder / "folder.npy").mkdir()
        code, out, err = run(*arguments)
        assert code == 2
        assert complaint in " ".join(err.split())
        assert out == ""
        assert not Path("out.npy").exists()
        assert not Path("cache").exists()

    def test_help_names_every_set(self, run, folder: Path) -> None:
        code, out, _ = run("--help")
        assert code == 0
        assert all(name in out for name in FEATURE_SETS)


class TestWriting:
    def test_a_full_disk_leaves_the_old_file_and_the_values(
        self, run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Path("out.npy").write_text("old")

        def full(file: Path, *_: object) -> None:
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(features, "_write_as", full)
            code, _, err = run("clips", "-o", "out.npy")
        assert code == 1
        assert "out.npy: cannot be written (No space left on device). The values are kept" in " ".join(err.split())
        assert Path("out.npy").read_text() == "old"
        assert sorted(path.name for path in Path().iterdir()) == ["cache", "clips", "out.npy"]
        assert "3 of them computed before" in run("clips", "-o", "out.npy")[1]

    def test_real_recordings(self, run, corpora_dir: Path, tmp_path: Path, folder: Path) -> None:
        for file in sorted((corpora_dir / "emodb" / "wav").iterdir())[:5]:
            shutil.copy(file, tmp_path / "clips")
        soundfile.write("stereo.flac", np.random.default_rng(0).normal(0, 0.1, (44_100, 2)), 44_100)
        assert run("clips", "stereo.flac", "-o", "out.npy")[0] == 0
        values = np.load("out.npy")
        assert values.shape == (9, 180)
        assert np.isfinite(values).all()
