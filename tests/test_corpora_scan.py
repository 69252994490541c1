"""Scanning folders as people have them: mixed, nested twice, with broken files, links and strange names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus_files import put

from emovox.corpora import recognise, scan, summarise
from emovox.errors import CorpusError


def names_of(root: Path, table) -> set[str]:  # type: ignore[no-untyped-def]
    return {Path(path).relative_to(root).as_posix() for path in table["path"]}


def test_several_corpora_in_one_folder(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a/03-01-05-01-02-01-12.wav",
        "a/03-02-05-01-02-01-12.wav",
        "b/DC/su01.flac",
        "1055_IEO_disgust_HI.wav",
    )
    result = scan(tmp_path)
    assert not result.problems
    assert dict(zip(result.table["corpus"], result.table["speaker"], strict=True)) == {
        "ravdess": "ravdess-12",
        "ravdess-song": "ravdess-12",
        "savee": "savee-DC",
        "cremad": "cremad-1055",
    }
    assert result.table["duration"].tolist() == pytest.approx([0.5] * 4)
    assert {(found.corpus.name, found.clips) for found in recognise(tmp_path)} == {
        ("ravdess", 1),
        ("ravdess-song", 1),
        ("savee", 1),
        ("cremad", 1),
    }


def test_a_broken_file_is_reported_and_the_rest_is_done(tmp_path: Path) -> None:
    put(tmp_path, "03a01Fa.wav", "03a01Wa.wav", "03a02Wb.wav")
    put(tmp_path, "08a01Na.wav", seconds=0.02)
    (tmp_path / "03a01Wa.wav").write_bytes(b"this is no sound")
    (tmp_path / "03a02Fc.wav").touch()
    whole = (tmp_path / "03a02Wb.wav").read_bytes()
    (tmp_path / "03a02Wb.wav").write_bytes(whole[: len(whole) // 2])
    result = scan(tmp_path)
    assert names_of(tmp_path, result.table) == {"03a01Fa.wav"}
    assert {Path(problem.path).name for problem in result.failures if problem.kind == "audio"} == {
        "03a01Wa.wav",
        "03a02Fc.wav",
        "03a02Wb.wav",
        "08a01Na.wav",
    }
    assert len(scan(tmp_path, durations=False).table) == 5  # names alone do not show it


def test_copies_are_listed_once(tmp_path: Path) -> None:
    """As in the archive of RAVDESS that holds all its folders twice."""
    inner = "audio_speech_actors_01-24/Actor_01/03-01-05-01-02-01-01.wav"
    put(tmp_path, "Actor_01/03-01-05-01-02-01-01.wav", inner, "01_01_01_01_dogs-sitting_angry.wav")
    result = scan(tmp_path)
    assert names_of(tmp_path, result.table) == {"01_01_01_01_dogs-sitting_angry.wav"}  # the least deeply nested
    assert [problem.kind for problem in result.problems] == ["copy", "copy"]
    assert not result.failures
    assert len(scan(tmp_path, keep_copies=True).table) == 3


def test_a_lossless_copy_is_preferred_and_a_broken_one_replaced(tmp_path: Path) -> None:
    put(tmp_path, "AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav")
    assert names_of(tmp_path, scan(tmp_path).table) == {"AudioWAV/1001_DFA_ANG_XX.wav"}
    (tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav").write_bytes(b"broken")
    result = scan(tmp_path)
    assert names_of(tmp_path, result.table) == {"AudioMP3/1001_DFA_ANG_XX.mp3"}
    assert [(problem.kind, Path(problem.path).suffix) for problem in result.problems] == [("audio", ".wav")]


def test_leftovers_and_other_files_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "f1/dis-f1-b1.wav")
    for name in (
        "__MACOSX/f1/._dis-f1-b1.wav",
        "f1/._dis-f1-b1.wav",
        "f1/.DS_Store",
        "f1/read.txt",
        "a.TXT",
        "LICENSE",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    result = scan(tmp_path)
    assert len(result.table) == 1
    assert result.leftovers == 3
    assert result.other_files == {"": 1, ".txt": 2}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "f1/dis-f1-b1.wav")
    root = tmp_path / "corpora"
    root.mkdir()
    (root / "emovo").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "gone.wav").symlink_to(root / "nowhere.wav")
    result = scan(root)
    assert names_of(root, result.table) == {"emovo/f1/dis-f1-b1.wav"}
    assert [path.name for path in result.seen_twice] == ["loop"]
    assert [Path(problem.path).name for problem in result.failures] == ["gone.wav"]


def test_faulty_names_are_reported_with_the_reason(tmp_path: Path) -> None:
    put(tmp_path, "03a01Fa.wav", "99a01Fa.wav", "hello.wav")
    messages = {Path(problem.path).name: problem.message for problem in scan(tmp_path).failures}
    assert messages["99a01Fa.wav"] == "EmoDB has no speaker 99"
    assert "no corpus" in messages["hello.wav"]


def test_folder_per_emotion(tmp_path: Path) -> None:
    root = tmp_path / "My Voices"
    put(root, "Angry/1.wav", "joy/1.ogg", "Ärger/ünï.wav", "A\u0308rger/2.wav", "excited/1.wav", "train/sadness/1.wav")
    rows = {
        Path(row["path"]).relative_to(root).as_posix(): (
            row["corpus"],
            row["speaker"],
            row["emotion"],
            row["native_label"],
        )
        for row in scan(root).table.to_dict("records")
    }
    assert rows == {
        "Angry/1.wav": ("my-voices", "", "angry", "Angry"),
        "joy/1.ogg": ("my-voices", "", "happy", "joy"),
        "Ärger/ünï.wav": ("my-voices", "", "angry", "Ärger"),
        "A\u0308rger/2.wav": ("my-voices", "", "angry", "Ärger"),
        "excited/1.wav": ("my-voices", "", "", "excited"),
        "train/sadness/1.wav": ("my-voices", "", "sad", "sadness"),
    }


def test_folder_per_speaker_and_emotion(tmp_path: Path) -> None:
    put(tmp_path / "own", "anna/happy/1.wav", "anna/sad/1.wav", "test/ben/happy/1.wav")
    table = scan(tmp_path / "own").table
    assert sorted(table["speaker"]) == ["own-anna", "own-anna", "own-ben"]
    put(tmp_path / "other", "recordings/happy/1.wav", "recordings/sad/1.wav")
    assert set(scan(tmp_path / "other").table["speaker"]) == {""}  # one folder for all is hardly a speaker


def test_what_cannot_be_scanned(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file or folder"):
        scan(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="it is empty") as caught:
        scan(tmp_path)
    assert caught.value.code == "empty"
    (tmp_path / "a.txt").touch()
    with pytest.raises(CorpusError, match="1 other files"):
        scan(tmp_path)
    with pytest.raises(CorpusError, match="neither a folder nor a table"):
        scan(tmp_path / "a.txt")
    put(tmp_path, "hello.wav")
    with pytest.raises(CorpusError, match=r"1 recordings, but none .* hello\.wav") as caught:
        scan(tmp_path)
    assert caught.value.code == "unrecognised"


def test_a_folder_without_rights_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "f1/dis-f1-b1.wav", "f2/dis-f2-b1.wav")
    scandir = os.scandir

    def guarded(path: str):  # type: ignore[no-untyped-def]
        if str(path).endswith("f2"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)  # the user who runs the tests may have every right
    result = scan(tmp_path)
    assert names_of(tmp_path, result.table) == {"f1/dis-f1-b1.wav"}
    assert [(problem.kind, problem.message) for problem in result.failures] == [("folder", "may not be read")]


def test_summary_says_what_is_missing(tmp_path: Path) -> None:
    put(tmp_path, *(f"DC/a{number:02}.wav" for number in range(1, 15)), *(f"JE/h{number:02}.wav" for number in (1, 2)))
    (summary,) = summarise(scan(tmp_path).table)
    assert (summary.clips, summary.official_clips, summary.missing_clips) == (16, 480, 464)
    assert summary.missing_speakers == ("JK", "KL")
    assert summary.missing_emotions["angry"] == 60 - 14
    assert summary.missing_emotions["neutral"] == 120
    assert summary.seconds == pytest.approx(8.0)
    assert summary.complete is False


def test_progress_counts_every_recording(tmp_path: Path) -> None:
    put(tmp_path, "f1/dis-f1-b1.wav", "f1/dis-f1-b2.wav", "f1/dis-f1-b3.wav")
    seen: list[tuple[int, int]] = []
    scan(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
