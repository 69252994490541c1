"""Whole corpora: the real ones against what was written down of them, the others with all their official names."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest

from emovox.corpora import recognise, scan, summarise


def ravdess(channel: str) -> list[str]:
    """All names that the description of RAVDESS allows: no strong neutral, no disgust and surprise in song."""
    codes = ("01", "02", "03", "04", "05", "06", "07", "08")[: 8 if channel == "01" else 6]
    actors = [f"{n:02}" for n in range(1, 25) if channel == "01" or n != 18]
    parts = itertools.product(actors, codes, ("01", "02"), ("01", "02"), ("01", "02"))
    return [
        f"Actor_{actor}/03-{channel}-{code}-{level}-{text}-{take}-{actor}"
        for actor, code, level, text, take in parts
        if (code, level) != ("01", "02")
    ]


def tess() -> list[str]:
    emotions = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
    words = [f"{chr(97 + n // 20)}{chr(97 + n % 20)}" for n in range(200)]
    return [f"{w}_{e}/{w}_{word}_{e}" for w, e, word in itertools.product(("OAF", "YAF"), emotions, words)]


def esd() -> list[str]:
    emotions = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
    return [f"{s:04}/{emotions[n // 350]}/{s:04}_{n + 1:06}" for s in range(1, 21) for n in range(1750)]


def savee() -> list[str]:
    counts = {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}
    return [
        f"{who}/{code}{n:02}"
        for who in ("DC", "JE", "JK", "KL")
        for code, last in counts.items()
        for n in range(1, last + 1)
    ]


def emovo() -> list[str]:
    codes = ("dis", "gio", "neu", "pau", "rab", "sor", "tri")
    texts = ("b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2")
    people = ("f1", "f2", "f3", "m1", "m2", "m3")
    return [f"{who}/{code}-{who}-{text}" for who, code, text in itertools.product(people, codes, texts)]


def casia() -> list[str]:
    emotions = ("angry", "fear", "happy", "neutral", "sad", "surprise")
    people = ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang")
    return [f"{who}/{emotion}/{n}" for who, emotion, n in itertools.product(people, emotions, range(201, 251))]


@pytest.mark.parametrize(
    ("name", "stems", "clips", "speakers"),
    [
        ("ravdess", ravdess("01"), 1_440, 24),
        ("ravdess-song", ravdess("02"), 1_012, 23),
        ("tess", tess(), 2_800, 2),
        pytest.param("esd", esd(), 35_000, 20, marks=pytest.mark.slow),
        ("savee", savee(), 480, 4),
        ("emovo", emovo(), 588, 6),
        ("casia", casia(), 1_200, 4),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_all_official_names_make_a_complete_corpus(
    name: str, stems: list[str], clips: int, speakers: int, tmp_path: Path
) -> None:
    assert len(stems) == clips
    files = [tmp_path / f"{stem}.wav" for stem in stems]
    for folder in {file.parent for file in files}:
        folder.mkdir(parents=True)
    for file in files:
        file.touch()
    result = scan(tmp_path, durations=False)
    [summary] = summarise(result.table)
    assert (summary.name, summary.clips, summary.speakers, summary.complete) == (name, clips, speakers, True)
    assert not result.problems

    for file in files[:3]:
        file.unlink()
    [summary] = summarise(scan(tmp_path, durations=False).table)
    assert (summary.complete, summary.missing_clips, sum(summary.missing_emotions.values())) == (False, 3, 3)


def test_real_corpora_are_told_apart(corpora_dir: Path) -> None:
    found = [(found.corpus.name, found.clips) for found in recognise(corpora_dir)]
    assert found == [("tess", 2800), ("ravdess", 1440), ("emodb", 535)]
    result = scan(corpora_dir, durations=False)
    assert not result.problems
    assert {summary.name: summary.complete for summary in summarise(result.table)} == {
        "emodb": True,
        "ravdess": True,
        "tess": True,
    }


def test_lengths_are_those_of_the_originals(corpora_dir: Path) -> None:
    with (corpora_dir / "manifest.csv").open(newline="", encoding="utf-8") as file:
        seconds = {row["path"]: float(row["duration_s"]) for row in csv.DictReader(file)}
    table = scan(corpora_dir).table
    names = [Path(path).relative_to(corpora_dir.absolute()).with_suffix("").as_posix() for path in table["path"]]
    assert sorted(names) == sorted(seconds)
    assert list(table["duration"]) == pytest.approx([seconds[name] for name in names], abs=0.002)
