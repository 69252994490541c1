"""People's own recordings in tables: manifests, tables with other column names, audformat databases."""

from __future__ import annotations

from pathlib import Path

import audformat
import pandas as pd
import pytest
from corpus_files import put

from emovox import manifest
from emovox.corpora import scan
from emovox.errors import CorpusError, ManifestError

FIELDS = ["corpus", "speaker", "gender", "language", "emotion", "native_label"]


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    put(tmp_path / "wav", "03a01Fa.wav", "16b10Lb.wav")
    table = scan(tmp_path / "wav").table
    for ending in ("csv", "tsv", "parquet"):
        manifest.write(table, tmp_path / f"m.{ending}")
        pd.testing.assert_frame_equal(scan(tmp_path / f"m.{ending}").table, table)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_other_column_names_and_spellings(tmp_path: Path, separator: str) -> None:
    put(tmp_path / "wav", "1.wav", "2.wav", "3.wav")
    rows = [
        ["filename", "label", "speaker_id", "sex", "language"],
        ["wav/1.wav", "Anger", "03", "F", "deu"],
        ["wav/2.wav", "pleasant_surprise", "4", "male", "en"],
        ["wav/3.wav", "excited", "", "", ""],
    ]
    file = tmp_path / "Our Study.csv"
    file.write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8-sig")
    table = scan(file).table
    assert table[FIELDS].to_numpy().tolist() == [
        ["our-study", "our-study-03", "female", "de", "angry", "Anger"],
        ["our-study", "our-study-4", "male", "en", "surprise", "pleasant_surprise"],
        ["our-study", "", "", "", "", "excited"],
    ]
    assert table["duration"].tolist() == pytest.approx([0.5] * 3)


def test_parts_of_recordings(tmp_path: Path) -> None:
    put(tmp_path, "a.wav", seconds=4)
    text = "file,start,end,emotion\na.wav,0 days 00:00:01,0 days 00:00:02.5,joy\na.wav,3,,sad\n"
    (tmp_path / "t.csv").write_text(text)
    table = scan(tmp_path / "t.csv").table
    assert table[["start", "duration"]].to_numpy().tolist() == [[1.0, 1.5], [3.0, 1.0]]
    (tmp_path / "t.csv").write_text("file,start,end,emotion\na.wav,1,2.5,joy\na.wav,9,,sad\n")
    result = scan(tmp_path / "t.csv")
    assert result.table["duration"].tolist() == [1.5]
    assert "ends at 4.00 s, before the part from 9 s begins" in result.failures[0].message
    (tmp_path / "t.csv").write_text("file,start,end,emotion\na.wav,soon,,joy\n")
    with pytest.raises(ManifestError, match="neither seconds nor durations"):
        scan(tmp_path / "t.csv")


def test_recordings_that_a_table_names_and_that_are_not_there(tmp_path: Path) -> None:
    put(tmp_path, "a.wav")
    (tmp_path / "t.csv").write_text("path,emotion\na.wav,sad\nb.wav,sad\n")
    result = scan(tmp_path / "t.csv")
    assert len(result.table) == 1
    assert [(Path(problem.path).name, problem.message) for problem in result.failures] == [("b.wav", "no such file")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"name,emotion\na.wav,sad\n", "no column that names the recordings"),
        (b"path,gender\na.wav,robot\n", "gender = 'robot'"),
        (b"path\na.wav\na.wav\n", "repeats"),
        (b"path,emotion\n\xff\xfe.wav,sad\n", "not UTF-8"),
        (b"", "cannot be read"),
    ],
)
def test_faulty_tables(tmp_path: Path, text: bytes, part: str) -> None:
    (tmp_path / "t.csv").write_bytes(text)
    with pytest.raises(ManifestError, match=part) as caught:
        scan(tmp_path / "t.csv")
    assert "t.csv" in str(caught.value)


def database(folder: Path) -> audformat.Database:
    """A small database with speakers described in a scheme, as published ones have them."""
    db = audformat.Database("voices", languages=["deu"])
    db.schemes["emotion"] = audformat.Scheme(labels=["anger", "happiness", "excitement"])
    people = {"07": {"gender": "female", "language": "deu"}, "08": {"gender": "male", "language": "deu"}}
    db.schemes["speaker"] = audformat.Scheme(labels=people)
    files = ["audio/1.wav", "audio/2.wav", "audio/3.wav"]
    put(folder, *files)
    db["emotion"] = audformat.Table(audformat.filewise_index(files))
    db["emotion"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["emotion"]["emotion"].set(["anger", "happiness", "excitement"])
    db["files"] = audformat.Table(audformat.filewise_index(files))
    db["files"]["speaker"] = audformat.Column(scheme_id="speaker")
    db["files"]["speaker"].set(["07", "08", "07"])
    return db


@pytest.mark.parametrize("storage", ["csv", "parquet"])
def test_audformat_database(tmp_path: Path, storage: str) -> None:
    database(tmp_path).save(str(tmp_path), storage_format=storage)
    for source in (tmp_path, tmp_path / "db.yaml"):
        table = scan(source).table
        assert table[FIELDS].to_numpy().tolist() == [
            ["voices", "voices-07", "female", "de", "angry", "anger"],
            ["voices", "voices-08", "male", "de", "happy", "happiness"],
            ["voices", "voices-07", "female", "de", "", "excitement"],
        ]
        assert table["duration"].tolist() == pytest.approx([0.5] * 3)


def test_audformat_table_as_a_file(tmp_path: Path) -> None:
    db = database(tmp_path)
    db.save(str(tmp_path), storage_format="csv")
    assert scan(tmp_path / "db.emotion.csv").table["emotion"].tolist() == ["angry", "happy", ""]


def test_audformat_segments(tmp_path: Path) -> None:
    db = database(tmp_path)
    index = audformat.segmented_index(["audio/1.wav", "audio/1.wav"], [0, 0.25], [0.25, pd.NaT])
    del db.tables["emotion"]
    db["emotion"] = audformat.Table(index)
    db["emotion"]["emotion"] = audformat.Column(scheme_id="emotion")
    db["emotion"]["emotion"].set(["anger", "happiness"])
    db.save(str(tmp_path), storage_format="csv")
    table = scan(tmp_path / "db.yaml").table
    assert table["emotion"].tolist() == ["angry", "happy"]
    assert table["duration"].tolist() == pytest.approx([0.25, 0.25])


def test_audformat_without_emotions(tmp_path: Path) -> None:
    db = audformat.Database("voices")
    put(tmp_path, "1.wav")
    db.save(str(tmp_path))
    with pytest.raises(CorpusError, match="no scheme 'emotion'"):
        scan(tmp_path)
    (tmp_path / "db.yaml").write_text("[broken")
    with pytest.raises(CorpusError, match="cannot be read as an audformat database"):
        scan(tmp_path)


def test_audformat_with_one_language_for_all(tmp_path: Path) -> None:
    db = database(tmp_path)
    db.drop_tables("files")
    db.save(str(tmp_path))
    assert scan(tmp_path, durations=False).table["language"].tolist() == ["de"] * 3


def test_a_table_beside_unknown_names_is_pointed_at(tmp_path: Path) -> None:
    put(tmp_path, "audio/1.wav")
    (tmp_path / "labels.csv").write_text("file,label\naudio/1.wav,Wut\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="none is named") as caught:
        scan(tmp_path)
    assert "labels.csv" in str(caught.value)
    assert scan(tmp_path / "labels.csv").table["emotion"].tolist() == ["angry"]
