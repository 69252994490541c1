"""The audit on real recordings that were re-encoded, trimmed and renamed, and on takes that only sound alike."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from emovox import audio, manifest
from emovox.cli import common
from emovox.cli.main import app
from emovox.corpora import synthetic
from emovox.corpora.audit import AuditReport, audit, check_split
from emovox.corpora.duplicates import Pair, connected
from emovox.corpora.prints import fingerprints
from emovox.errors import ParameterError
from emovox.evaluation.protocols import RandomSplit, SpeakerFolds

RATE = 16_000
FEW = 6
"""Clips of each corpus that are changed in every way."""


def through(container: str, subtype: str) -> Callable[[np.ndarray], tuple[np.ndarray, int]]:
    def change(samples: np.ndarray) -> tuple[np.ndarray, int]:
        buffer = io.BytesIO()
        soundfile.write(buffer, np.clip(samples, -1, 1), RATE, format=container, subtype=subtype)
        buffer.seek(0)
        return soundfile.read(buffer, dtype="float32")

    return change


def cut(begin: float, end: float) -> Callable[[np.ndarray], tuple[np.ndarray, int]]:
    return lambda samples: (samples[int(begin * len(samples)) + 37 : int((1 - end) * len(samples))], RATE)


CHANGES: dict[str, Callable[[np.ndarray], tuple[np.ndarray, int]]] = {
    "opus": through("OGG", "OPUS"),
    "mp3": through("MP3", "MPEG_LAYER_III"),
    "vorbis": through("OGG", "VORBIS"),
    "8kHz": lambda samples: (soxr.resample(samples, RATE, 8_000), 8_000),
    "48kHz": lambda samples: (soxr.resample(samples, RATE, 48_000), 48_000),
    "louder": lambda samples: (np.clip(samples * 4, -1, 1), RATE),
    "softer": lambda samples: (samples / 4, RATE),
    "upside-down": lambda samples: (-samples, RATE),
    "no-begin": cut(0.3, 0.0),
    "no-end": cut(0.0, 0.3),
    "no-ends": cut(0.3, 0.3),
    "no-begin-mp3": lambda samples: through("MP3", "MPEG_LAYER_III")(cut(0.3, 0.0)(samples)[0]),
}


def clips(corpora_dir: Path, pattern: str, count: int) -> list[Path]:
    found = sorted(corpora_dir.glob(pattern))
    return [found[index] for index in np.random.default_rng(0).choice(len(found), count, replace=False)]


def run(table: pd.DataFrame, tmp_path: Path, **options: object) -> AuditReport:
    return audit(table, jobs=1, cache=tmp_path / "cache", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("pattern", ["emodb/wav/*.opus", "ravdess/*/*.opus", "tess/*/*.opus"])
def test_every_change_is_seen_through(corpora_dir: Path, tmp_path: Path, pattern: str) -> None:
    rows, origins = [], []
    for original in clips(corpora_dir, pattern, FEW):
        samples = audio.load(original, rate=RATE).samples
        rows.append({"path": str(original)})
        origins.append(original.stem)
        for name, change in CHANGES.items():
            changed, rate = change(samples)
            path = tmp_path / f"{original.stem}.{name}.wav"
            soundfile.write(path, changed, rate, subtype="PCM_16")
            rows.append({"path": str(path)})
            origins.append(original.stem)
    report = run(manifest.build(rows), tmp_path)
    assert {frozenset(origins[row] for row in group.rows) for group in report.groups} == {
        frozenset([origin]) for origin in origins
    }
    missing = [rows[row] for row in range(len(rows)) if not any(row in group.rows for group in report.groups)]
    assert not missing
    assert all(len(group.rows) == 1 + len(CHANGES) for group in report.groups)


def test_takes_that_sound_alike_are_not_copies(corpora_dir: Path, tmp_path: Path) -> None:
    """The most alike recordings of all three corpora: one speaker, one emotion, "Say the word ..."."""
    alike = sorted(corpora_dir.glob("tess/YAF_happy/*.opus"))
    assert len(alike) == 200
    report = run(manifest.build([{"path": str(path)} for path in alike]), tmp_path)
    assert report.groups == ()
    assert report.candidates > 100, "they share words, so that the comparison itself is put to the test"


def test_the_one_known_copy_in_ravdess(corpora_dir: Path, tmp_path: Path) -> None:
    repeated = sorted(corpora_dir.glob("ravdess/Actor_07/03-01-*.opus"))
    report = run(manifest.build([{"path": str(path)} for path in repeated]), tmp_path)
    assert [[Path(path).stem for path in group.paths] for group in report.groups] == [
        ["03-01-03-01-02-01-07", "03-01-03-01-02-02-07"]
    ]
    assert not report.clean


@pytest.mark.slow
def test_nothing_else_in_a_third_of_ravdess(corpora_dir: Path, tmp_path: Path) -> None:
    """Eight actors say each of two sentences 30 times, in pairs of repetitions."""
    several = sorted(corpora_dir.glob("ravdess/Actor_0[1-8]/*.opus"))
    report = audit(manifest.build([{"path": str(path)} for path in several]), cache=tmp_path / "cache")
    assert report.clips == 480
    assert len(report.pairs) == 1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not at hand")
def test_a_copy_made_by_another_program(corpora_dir: Path, tmp_path: Path) -> None:
    original = clips(corpora_dir, "emodb/wav/*.opus", 1)[0]
    copy = tmp_path / "holiday.m4a"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-ss", "0.4", "-i", original, "-b:a", "48k", "-ar", "22050", copy], check=True
    )
    report = run(manifest.build([{"path": str(original)}, {"path": str(copy)}]), tmp_path)
    assert report.groups[0].kind == "near"
    assert report.pairs[0].offset_s == pytest.approx(0.4, abs=0.1)


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return synthetic.synthesize(tmp_path_factory.mktemp("voices"), speakers=3, sentences=2, emotions=("sad", "happy"))


def described(paths: list[Path]) -> pd.DataFrame:
    rows = []
    for path in paths:
        _, speaker, sentence, emotion, _ = path.stem.split("-")
        rows.append({"path": str(path), "corpus": "c", "speaker": speaker, "sentence": sentence, "emotion": emotion})
    return manifest.build(rows)


def test_synthetic_voices_are_different_recordings(voices: list[Path], tmp_path: Path) -> None:
    report = run(described(voices), tmp_path)
    assert report.groups == ()
    assert report.clean


def test_renamed_copy_with_another_label_and_speaker(voices: list[Path], tmp_path: Path) -> None:
    samples, rate = soundfile.read(voices[0])
    copy = tmp_path / "c-zoe-t01-angry-01.flac"
    soundfile.write(copy, samples, rate, subtype="PCM_16")
    table = described([*voices, copy])
    report = run(table, tmp_path, splits={"random": RandomSplit().split(table)})
    (group,) = report.groups
    assert group.kind == "identical", "what is decoded counts, not the container"
    assert group.rows == (0, len(voices))
    assert group.emotions == ("angry", "sad")
    assert group.label_conflict
    assert group.speaker_conflict
    assert {line.code for line in report.findings} >= {"duplicates", "label_conflict", "speaker_conflict"}


def test_the_same_sound_at_another_rate_is_another_content(voices: list[Path], tmp_path: Path) -> None:
    samples, _ = soundfile.read(voices[0])
    path = tmp_path / "slow.wav"
    soundfile.write(path, samples, 8_000, subtype="PCM_16")
    assert run(manifest.build([{"path": str(voices[0])}, {"path": str(path)}]), tmp_path).groups == ()


def test_parts_of_one_file(voices: list[Path], tmp_path: Path) -> None:
    signals = [soundfile.read(path)[0] for path in voices[:2]]
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([*signals, signals[0]]), RATE, subtype="PCM_16")
    ends = np.cumsum([0, *(len(signal) / RATE for signal in (*signals, signals[0]))])
    rows = [{"path": str(path), "start": start, "end": end} for start, end in itertools.pairwise(ends)]
    report = run(manifest.build([*rows, {"path": str(voices[1])}]), tmp_path)
    assert [group.rows for group in report.groups] == [(0, 2), (1, 3)]


def test_bad_files_are_named_and_the_others_done(voices: list[Path], tmp_path: Path) -> None:
    broken, silent, short = tmp_path / "broken.wav", tmp_path / "silent.wav", tmp_path / "short.wav"
    broken.write_bytes(b"RIFF no")
    soundfile.write(silent, np.zeros(RATE), RATE)
    soundfile.write(short, soundfile.read(voices[0])[0][8_000:12_000], RATE)
    paths = [broken, voices[0], silent, tmp_path / "missing.wav", short, voices[0]]
    table = manifest.build([{"path": str(path), "start": number / 1e6} for number, path in enumerate(paths)])
    report = run(table, tmp_path)
    assert [(failure.row, failure.error.code) for failure in report.failures] == [
        (0, "not_audio"),
        (2, "silent"),
        (3, "not_found"),
    ]
    assert report.too_short == (4,)
    assert [group.rows for group in report.groups] == [(1, 5)]
    json.dumps(report.to_json(), allow_nan=False)


def test_fingerprints_are_kept_and_a_changed_file_is_read_again(voices: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    shutil.copy(voices[0], path)
    table = manifest.build([{"path": str(path)}])
    first = fingerprints(table, jobs=1, cache=tmp_path / "cache").values[0]
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    written = kept.stat().st_mtime_ns
    again = fingerprints(table, jobs=1, cache=tmp_path / "cache").values[0]
    assert kept.stat().st_mtime_ns == written
    assert first is not None
    assert again is not None
    assert again.content == first.content
    np.testing.assert_array_equal(again.words, first.words)
    np.testing.assert_array_equal(again.weak, first.weak)
    assert again.duration_s == pytest.approx(first.duration_s, abs=1e-3)
    shutil.copy(voices[1], path)
    changed = fingerprints(table, jobs=1, cache=tmp_path / "cache").values[0]
    assert changed is not None
    assert changed.content != first.content


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"no array at all"])
def test_a_damaged_cache_is_made_again(voices: list[Path], tmp_path: Path, damage: bytes) -> None:
    table = manifest.build([{"path": str(voices[0])}])
    first = fingerprints(table, jobs=1, cache=tmp_path).values[0]
    (kept,) = tmp_path.rglob("*.npy")
    kept.write_bytes(damage)
    again = fingerprints(table, jobs=1, cache=tmp_path).values[0]
    assert first is not None
    assert again is not None
    assert again.content == first.content
    assert kept.stat().st_size > 100


def test_processes_find_what_one_finds(voices: list[Path], tmp_path: Path) -> None:
    table = manifest.build([{"path": str(path), "start": shift} for path in voices for shift in (0.0, 0.1)])
    steps: list[int] = []
    two = fingerprints(table, jobs=2, cache=tmp_path / "two", progress=lambda done, total: steps.append(done))
    one = fingerprints(table, jobs=1, cache=tmp_path / "one")
    assert [value.content for value in two.values if value] == [value.content for value in one.values if value]
    assert steps == sorted(steps)
    assert steps[-1] == len(table)


def test_split_with_everything_wrong(voices: list[Path], tmp_path: Path) -> None:
    table = described(voices)
    table.loc[0, "speaker"] = ""
    train, test = list(range(0, 12, 2)), list(range(1, 12, 2))
    found = check_split(table, train, test)
    assert found.speakers == ("s01f", "s02m", "s03f")
    assert found.sentences == ("c/t01", "c/t02")
    assert found.unknown_speakers == 1
    assert found.leaked == 0
    assert check_split(table, [0, 1], [1, 2]).leaked == 1, "a row on both sides is a leak, too"
    with pytest.raises(ParameterError, match=r"outside 0 \.\. 11"):
        check_split(table, [0], [12])
    with pytest.raises(ParameterError):
        run(table, tmp_path, splits={"x": [([0], [99])]})


def test_leak_across_a_speaker_split(voices: list[Path], tmp_path: Path) -> None:
    """The fault of the reference study: recordings that come again under another speaker's name."""
    copies = []
    for path in voices[:4]:
        _, _, sentence, emotion, _ = path.stem.split("-")
        copies.append(tmp_path / f"actor25-s25f-{sentence}-{emotion}-01.wav")
        samples, rate = soundfile.read(path)
        soundfile.write(copies[-1], 0.5 * samples, rate, subtype="PCM_16")
    table = described([*voices, *copies])
    report = run(table, tmp_path, splits={"speaker": SpeakerFolds(n_splits=4).split(table)})
    assert len(report.groups) == 4
    assert len(report.splits) == 4
    assert all(fold.speakers == () for fold in report.splits)
    codes = {line.code: line for line in report.findings}
    assert codes["duplicates_on_both_sides"].count == 8
    assert codes["duplicates_on_both_sides"].severity == "fault"
    assert codes["sentences_on_both_sides"].severity == "note"


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda pair: pair[0] != pair[1]), max_size=40))
def test_groups_are_the_connected_parts(edges: list[tuple[int, int]]) -> None:
    groups = connected([Pair(min(edge), max(edge), "near", 0.1, None, 0.0) for edge in edges])
    members = [row for group in groups for row in group]
    assert len(members) == len(set(members))
    assert set(members) == {row for edge in edges for row in edge}
    home = {row: number for number, group in enumerate(groups) for row in group}
    assert all(home[one] == home[two] for one, two in edges)
    for group in groups:
        reached = {group[0]}
        for _ in group:
            reached |= {two for one, two in (*edges, *(edge[::-1] for edge in edges)) if one in reached}
        assert reached == set(group)


class Command:
    """Runs `emovox` in this process; its cache lies in a folder of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cache: Path) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        monkeypatch.setenv("COLUMNS", "200")

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["emovox", *map(str, arguments)])
        code = common.run(app)
        return (code, *self.capsys.readouterr())


@pytest.fixture
def emovox(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    return Command(monkeypatch, capsys, tmp_path / "cache")


def test_command(emovox: Command, voices: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "all"
    shutil.copytree(voices[0].parents[1], folder)
    samples, rate = soundfile.read(voices[0])
    soundfile.write(folder / "unknown.flac", samples[3_000:], rate)
    code, out, error = emovox("corpora", "audit", voices[0].parents[1], "--strict", "--jobs", 1)
    assert code == 0, error
    assert "12 clips (synthetic)" in out
    assert "Nothing was found" in out
    code, out, error = emovox("corpora", "audit", folder, "-p", "random", "--format", "json", "--jobs", 1)
    assert code == 0, error
    document = json.loads(out)
    assert document["clips"] == 13
    assert [group["kind"] for group in document["groups"]] == ["near"]
    assert [split["name"] for split in document["splits"]] == ["random"]
    code, out, _ = emovox("corpora", "audit", folder, "--strict", "--jobs", 1)
    assert code == 1
    assert "The same recording (near):" in out
    assert str(folder / "unknown.flac") in out
    (folder / "bad.wav").write_bytes(b"nothing")
    code, out, _ = emovox("corpora", "audit", folder, "--format", "csv", "--jobs", 1)
    assert code == 1
    assert [line["kind"] for line in csv.DictReader(io.StringIO(out))] == ["near", "near"]
    code, out, error = emovox("corpora", "audit", folder, "--jobs", 1)
    assert code == 1
    assert "bad.wav: " in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.csv"], "nowhere.csv: no such file"),
        (["README.md"], "README.md"),
        ([".", "--protocol", "nonsense"], "unknown protocol 'nonsense'"),
        ([".", "--protocol", "file"], "--folds"),
        ([".", "--jobs", "0"], "jobs"),
    ],
)
def test_wrong_use(emovox: Command, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, out, error = emovox("corpora", "audit", *arguments)
    assert code == 2
    assert out == ""
    assert message in error


def test_interrupted_audit_keeps_what_is_done(
    emovox: Command, voices: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, seen = audio.load, []

    def interrupt(*arguments: object, **options: object) -> audio.Waveform:
        if len(seen) == 5:
            raise KeyboardInterrupt
        seen.append(arguments)
        return load(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(audio, "load", interrupt)
    code, _, error = emovox("corpora", "audit", voices[0].parents[1], "--jobs", 1)
    assert code == common.INTERRUPTED
    assert "Interrupted" in error
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 5
    seen.clear()
    monkeypatch.setattr(audio, "load", lambda *a, **o: seen.append(a) or load(*a, **o))
    assert emovox("corpora", "audit", voices[0].parents[1], "--jobs", 1)[0] == 0
    assert len(seen) == len(voices) - 5
