"""The synthetic corpus: the same bytes again, voices that move as their emotion asks, and honesty about what it is."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from emovox import corpora, manifest
from emovox.cli import common
from emovox.cli.main import app
from emovox.corpora import synthetic, voices
from emovox.emotions import EMOTIONS
from emovox.errors import CorpusError, ParameterError


def digests(paths: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "corpus"
    synthetic.synthesize(path, speakers=4, sentences=2)
    return path


def test_same_arguments_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = synthetic.synthesize(tmp_path / "again", speakers=4, sentences=2)
    assert len(again) == 4 * 2 * len(EMOTIONS)
    assert digests(again) == digests(sorted(folder.rglob("*.wav")))
    fewer = digests(synthetic.synthesize(tmp_path / "fewer", speakers=1, sentences=1))
    assert fewer.items() <= digests(again).items(), "a clip does not depend on what else is made"
    other = digests(synthetic.synthesize(tmp_path / "other", speakers=1, sentences=1, seed=1))
    assert not set(other.values()) & set(fewer.values())
    assert len(set(digests(again).values())) == len(again), "no two clips are equal"


def test_its_reader_knows_it(folder: Path) -> None:
    result = corpora.scan(folder)
    table = result.table
    assert len(table) == 56
    assert not result.problems
    assert set(table["corpus"]) == {"synthetic"}
    assert set(table["speaker"]) == {f"synthetic-s0{number}{'fm'[number % 2 == 0]}" for number in range(1, 5)}
    assert table.groupby("gender").size().to_dict() == {"female": 28, "male": 28}
    assert table.groupby("emotion").size().to_dict() == dict.fromkeys(EMOTIONS, 8)
    assert set(table["sentence"]) == {"t01", "t02"}
    assert manifest.validate(table)["duration"].between(0.8, 4.0).all()


def test_it_says_what_it_is(folder: Path) -> None:
    assert "SYNTHETIC" in (folder / "README.txt").read_text()
    assert all(path.name.startswith("synthetic-") for path in folder.rglob("*.wav"))
    assert "not people" in corpora.CORPORA["synthetic"].title


def test_sound_is_plain(folder: Path) -> None:
    for path in folder.rglob("*.wav"):
        samples, rate = soundfile.read(path)
        assert rate == 16_000
        assert samples.ndim == 1
        assert 0.02 < np.abs(samples).max() < 1.0
        assert abs(samples.mean()) < 1e-2


def test_pitch_is_what_was_asked_for() -> None:
    for female, emotion in [(True, "neutral"), (False, "neutral"), (True, "surprise"), (False, "sad")]:
        rng = np.random.default_rng(5)
        voice = voices.speaker(rng, female=female)
        manner = voices.MANNERS[emotion]
        sound = voices.say(("ma", "no", "li", "na", "mu"), voice, manner, rng)
        track = librosa.yin(sound[4_000:-6_000], fmin=60, fmax=600, sr=voices.RATE)
        assert np.median(track) == pytest.approx(voice.pitch_hz * manner.pitch, rel=0.12)


def test_formants_are_where_they_were_put() -> None:
    """A held vowel has its two strongest regions at its first two formants."""
    rng = np.random.default_rng(6)
    voice = voices.Voice(pitch_hz=100, tract=1.0, tempo=0.4, level_db=0, breath=0.01)
    for vowel, (first, second, _) in {"a": (730, 1_250, 0), "i": (290, 2_250, 0)}.items():
        manner = voices.Manner(range_st=0, slope_st=0, tilt_hz=8_000, open_quotient=0.4)
        sound = voices.say((f"m{vowel}",), voice, manner, rng)
        middle = sound[len(sound) // 2 :][:4_000]
        coefficients = librosa.lpc(librosa.effects.preemphasis(middle), order=18)
        poles = [pole for pole in np.roots(coefficients) if pole.imag > 0 and abs(pole) > 0.9]
        resonances = np.sort([np.angle(pole) * voices.RATE / (2 * np.pi) for pole in poles])
        assert np.abs(resonances - first).min() < 90
        assert np.abs(resonances - second).min() < 120


def test_emotions_differ_as_the_literature_says(folder: Path) -> None:
    table = corpora.scan(folder).table
    table["level"] = [float(np.sqrt(np.mean(soundfile.read(path)[0] ** 2))) for path in table["path"]]
    table["bright"] = [
        float(librosa.feature.spectral_centroid(y=soundfile.read(path)[0], sr=16_000).mean()) for path in table["path"]
    ]
    mean = table.groupby("emotion")[["level", "duration", "bright"]].mean()
    assert mean["level"].idxmax() == "angry"
    assert mean["level"].idxmin() == "sad"
    assert mean["duration"].idxmax() in ("sad", "disgust")
    assert mean["duration"].idxmin() == "fear"
    assert mean.loc["angry", "duration"] < mean.loc["neutral", "duration"]


@pytest.mark.parametrize(
    "wrong", [{"speakers": 0}, {"speakers": 100}, {"sentences": 9}, {"takes": 0}, {"emotions": ["calm"]}, {"seed": -1}]
)
def test_wrong_numbers(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        synthetic.synthesize(tmp_path / "x", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "x").exists()


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CorpusError, match="cannot be written"):
        synthetic.synthesize(tmp_path / "file" / "corpus", speakers=1)


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def emovox(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["emovox", "corpora", "synthesize", *map(str, arguments)])
        return common.run(app)

    assert emovox("-o", tmp_path / "made", "--speakers", 1, "--sentences", 1) == 0
    assert "7 SYNTHETIC clips (computed voices, not people)" in capsys.readouterr().out
    assert len(list((tmp_path / "made").rglob("*.wav"))) == 7
    assert emovox("-o", tmp_path / "made", "--sentences", 50) == common.WRONG_USE
    assert "1 to 8 are possible" in capsys.readouterr().err
    assert emovox() == common.WRONG_USE
