"""The one table: what is written is read again, and what cannot be is refused by name."""

from __future__ import annotations

import errno
import math
import os
import string
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emovox import manifest
from emovox.emotions import BEYOND_SEVEN, EMOTIONS
from emovox.errors import ManifestError

ENDINGS = (".csv", ".tsv", ".parquet")


def refusal(text: str | bytes, folder: Path, name: str = "m.csv") -> ManifestError:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(ManifestError) as caught:
        manifest.read(folder / name)
    assert caught.value.path == str(folder / name)
    return caught.value


def table_of(text: str | bytes, folder: Path, name: str = "m.csv") -> pd.DataFrame:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return manifest.read(folder / name)


# Everything but NUL, which CSV cannot hold, lone carriage returns, which it cannot tell from ends of lines, and halves
# of surrogate pairs, which are no text.
texts = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=12).map(str.strip)
names = st.text(string.ascii_letters + "äé你 ,;\"'#\t", min_size=1, max_size=12).filter(lambda name: name.strip() != "")
seconds = st.one_of(st.just(math.nan), st.floats(0, 1e6))
rows = st.fixed_dictionaries(
    {
        "path": names,
        "corpus": texts,
        "speaker": st.one_of(texts, st.sampled_from(["03", "007", "nan", "NA", "None", "1e5", "-"])),
        "gender": st.sampled_from(manifest.GENDERS),
        "emotion": st.sampled_from([*EMOTIONS, *BEYOND_SEVEN, ""]),
        "native_label": texts,
        "sentence": texts,
        "intensity": texts,
        "start": st.just(math.nan),
        "duration": seconds,
    }
)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(rows, max_size=8, unique_by=lambda row: os.path.normpath(row["path"])))
def test_round_trip(ending: str, table: list[dict[str, object]], tmp_path: Path) -> None:
    folder = str(tmp_path)
    written = manifest.build([{**row, "path": f"{folder}/{row['path']}"} for row in table])
    manifest.write(written, tmp_path / f"m{ending}")
    pd.testing.assert_frame_equal(manifest.read(tmp_path / f"m{ending}"), written)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_manifest_keeps_its_columns(ending: str, tmp_path: Path) -> None:
    manifest.write(manifest.build([]), tmp_path / f"m{ending}")
    table = manifest.read(tmp_path / f"m{ending}")
    assert (tuple(table.columns), len(table)) == (manifest.COLUMNS, 0)


def test_columns_and_types() -> None:
    table = manifest.build([{"path": "a.wav", "start": "1.5", "end": 2, "speaker": 3, "extra": "x"}, {"path": "b.wav"}])
    assert tuple(table.columns) == manifest.COLUMNS
    assert table["speaker"].tolist() == ["3", ""]  # not "3.0", though a gap makes the column floating point
    assert table["start"].tolist()[0] == 1.5
    assert all(table[column].dtype == np.float64 for column in manifest.NUMBER_COLUMNS)
    assert all(isinstance(value, str) for column in manifest.TEXT_COLUMNS for value in table[column])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_can_be_moved(ending: str, tmp_path: Path) -> None:
    inside, outside = tmp_path / "here" / "sub" / "a.wav", tmp_path / "elsewhere.wav"
    manifest.write(manifest.build([{"path": str(inside)}, {"path": str(outside)}]), tmp_path / "here" / f"m{ending}")
    (tmp_path / "here").rename(tmp_path / "there")
    table = manifest.read(tmp_path / "there" / f"m{ending}")
    assert table["path"].tolist() == [str(tmp_path / "there" / "sub" / "a.wav"), str(outside)]


def test_relative_paths_are_those_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    manifest.write(manifest.build([{"path": "a.wav"}, {"path": "../b.wav"}]), tmp_path / "tables" / "m.csv")
    expected = [str(tmp_path / "work" / "a.wav"), str(tmp_path / "b.wav")]
    assert manifest.read("../tables/m.csv")["path"].tolist() == expected


def test_paths_in_a_file_are_those_of_its_folder(tmp_path: Path) -> None:
    table = table_of("path\nwav/a.wav\n./b.wav\n../c.wav\n/d.wav\n", tmp_path)
    assert table["path"].tolist() == [
        *(str(tmp_path / "wav" / "a.wav"), str(tmp_path / "b.wav")),
        *(str(tmp_path.parent / "c.wav"), "/d.wav"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfpath,speaker,start,end\na.wav,03,0.5,1.25\n",
        b"path;speaker;start;end\r\na.wav;03;0,5;1,25\r\n",
        b"path\tspeaker\tstart\tend\na.wav\t03\t0.5\t1.25\n",
        b'"path", "speaker","start","end"\n"a.wav","03","0.5","1.25"\n',
        b"end,start,path,speaker\n1.25,0.5,a.wav, 03 \n\n",
    ],
    ids=["byte order mark", "semicolons and decimal commas", "tabs", "quotes", "another order"],
)
@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.txt"])
def test_how_spreadsheets_write(text: bytes, name: str, tmp_path: Path) -> None:
    table = table_of(text, tmp_path, name)
    assert table[["path", "speaker", "start", "end"]].values.tolist() == [[str(tmp_path / "a.wav"), "03", 0.5, 1.25]]


def test_names_that_look_like_something_else(tmp_path: Path) -> None:
    table = table_of("path,speaker,sentence\n1.wav,NA,null\n2.wav,1e3,007\n3.wav,True,\n", tmp_path)
    assert table[["speaker", "sentence"]].values.tolist() == [["NA", "null"], ["1e3", "007"], ["True", ""]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read"),
        ("\n\n", "cannot be read"),
        ("file,emotion\na.wav,sad\n", "has no column 'path' (columns: file, emotion)"),
        ("path,path\na.wav,b.wav\n", "repeats|twice|path.1"),
        ("path,emotion\na.wav,sad\n,sad\n", "row 2 has path = ''"),
        ("path,emotion\na.wav,furious\n", "row 1 has emotion = 'furious'"),
        ("path,gender\na.wav,F\n", "row 1 has gender = 'F'"),
        ("path,start\na.wav,0\nb.wav,soon\n", "row 2 has start = 'soon'"),
        ("path,start\na.wav,inf\n", "row 1 has start = 'inf'"),
        ("path,start\na.wav,-1\n", "row 1 has start = '-1.0'"),
        ("path,start,end\na.wav,2,1\n", "row 1 has end = '1.0'"),
        ("path,end\na.wav,0\n", "row 1 has end = '0.0'"),
        ("path,duration\na.wav,-0.1\n", "row 1 has duration = '-0.1'"),
        ("path\na.wav\nb.wav\n./a.wav\n", "row 3 repeats"),
        ("path,emotion\na.wav,sad,extra\nb.wav,sad,extra\n", "cannot be read"),
        ("path,emotion\na.wav,sad\nb.wav,sad,extra\n", "cannot be read"),
        ('path,emotion\n"a.wav,sad\n', "cannot be read"),
        ("path,speaker\nMüller.wav,1\n".encode("cp1252"), "is not UTF-8 text"),
        ("path,speaker\na.wav,1\n".encode("utf-16"), "is not UTF-8 text"),
    ],
)
def test_what_is_no_manifest(text: str | bytes, message: str, tmp_path: Path) -> None:
    error = refusal(text, tmp_path)
    assert any(part in str(error) for part in message.split("|")), str(error)
    assert error.remedy


def test_parts_of_one_file_are_no_repetition(tmp_path: Path) -> None:
    assert len(table_of("path,start,end\na.wav,0,1\na.wav,1,2\na.wav,,\n", tmp_path)) == 3


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.read(tmp_path / "none.csv")
    assert caught.value.code == "not_found"
    for name in ("folder.csv", "folder.parquet"):
        (tmp_path / name).mkdir()
        with pytest.raises(ManifestError):
            manifest.read(tmp_path / name)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), ending=st.sampled_from(ENDINGS), head=st.sampled_from([b"", b"path\n", b"PAR1"]))
def test_any_bytes_are_a_manifest_or_an_error(data: bytes, ending: str, head: bytes, tmp_path: Path) -> None:
    try:
        table_of(head + data, tmp_path, f"m{ending}")
    except ManifestError as error:
        assert error.path  # noqa: PT017


def test_damaged_parquet(tmp_path: Path) -> None:
    manifest.write(manifest.build([{"path": f"{n}.wav"} for n in range(99)]), tmp_path / "m.parquet")
    whole = (tmp_path / "m.parquet").read_bytes()
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 100):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        for data in (bytes(damaged), whole[:place]):
            try:
                table_of(data, tmp_path, "m.parquet")
            except ManifestError:
                continue


def test_columns_that_are_left_out_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table_of("path,emotions,age\na.wav,sad,30\n", tmp_path)
    assert "emotions, age" in caplog.text


@pytest.mark.parametrize("ending", ENDINGS)
def test_fifty_thousand_rows(ending: str, tmp_path: Path) -> None:
    table = pd.DataFrame({"path": [f"/data/{n % 20}/{n}.wav" for n in range(50_000)]})
    table["emotion"], table["speaker"], table["duration"] = "sad", "x-03", np.arange(50_000) / 7
    begin = time.process_time()
    manifest.write(table, tmp_path / f"m{ending}")
    written = time.process_time()
    found = manifest.read(tmp_path / f"m{ending}")
    read = time.process_time()
    assert written - begin < 2
    assert read - written < 2
    assert found["duration"].tolist() == table["duration"].tolist()


def _full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("step", ["write", "replace"])
def test_a_full_disk_leaves_the_old_file(
    ending: str, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"m{ending}"
    manifest.write(manifest.build([{"path": "/old.wav"}]), path)
    if step == "write":
        monkeypatch.setattr(pd.DataFrame, "to_parquet" if ending == ".parquet" else "to_csv", _full_disk)
    else:
        monkeypatch.setattr(Path, "replace", _full_disk)
    with pytest.raises(ManifestError, match="No space left on device") as caught:
        manifest.write(manifest.build([{"path": "/new.wav"}]), path)
    assert caught.value.code == "not_written"
    assert manifest.read(path)["path"].tolist() == ["/old.wav"]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    table = manifest.build([{"path": "/a.wav"}])
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "m.csv", tmp_path / "m.xlsx", tmp_path / "m"):
        with pytest.raises(ManifestError):
            manifest.write(table, place)
    for ending in ENDINGS:
        with pytest.raises(ManifestError, match="not text"):
            manifest.write(manifest.build([{"path": "/bad\udcff.wav"}]), tmp_path / f"m{ending}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_labels_are_chosen_and_counted() -> None:
    table = manifest.build(
        [{"path": f"{n}.wav", "emotion": emotion, "native_label": native} for n, (emotion, native) in enumerate(
            [("sad", "T"), ("calm", "02"), ("boredom", "L"), ("", "puzzled"), ("", "puzzled"), ("", "")]
        )]
    )  # fmt: skip
    chosen = manifest.select_labels(table, mapping={"calm": "neutral"})
    assert chosen.table["emotion"].tolist() == ["sad", "neutral"]
    assert chosen.table.index.tolist() == [0, 1]
    assert (chosen.dropped, chosen.mapped) == ({"boredom": 1, "puzzled": 2, "": 1}, {"calm": 1})
    assert len(chosen.table) + sum(chosen.dropped.values()) == len(table)


def test_fingerprint() -> None:
    table = manifest.build([{"path": "/a/x.wav", "emotion": "sad"}, {"path": "/a/y.z.wav", "emotion": "sad"}])
    elsewhere = table.assign(path=["/b/x.flac", "/b/y.z.opus"])
    assert manifest.fingerprint(table) == manifest.fingerprint(elsewhere)
    for column, value in (("path", "q.wav"), ("emotion", "fear"), ("speaker", "1"), ("sentence", "1"), ("corpus", "1")):
        assert manifest.fingerprint(table.assign(**{column: [value, "r"]})) != manifest.fingerprint(table)
