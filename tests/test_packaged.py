"""Bundles that come with emovox are found by their names, everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from serving import served
from typer.testing import CliRunner

from emovox import audio
from emovox.audio import Waveform
from emovox.cli.main import app
from emovox.errors import BundleError
from emovox.inference.bundle import DEFAULT_BUNDLE, Bundle, packaged_bundles, resolve
from emovox.inference.recognizer import Prediction, Recognizer


@pytest.fixture
def recording(voice: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "voice.wav"
    soundfile.write(path, voice, 16_000)
    return path


def emovox(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(("name", "most"), [("emovox-base", 12_000_000), ("emovox-small", 1_500_000)])
def test_each_is_as_small_as_it_promises(name: str, most: int) -> None:
    assert packaged_bundles()[name].stat().st_size <= most


@pytest.mark.parametrize("name", packaged_bundles())
def test_each_is_called_as_its_file_is(name: str) -> None:
    bundle = Bundle.load(name, threads=1)
    assert bundle.meta.name == name
    assert bundle.can_adapt
    assert bundle.meta.scores
    assert bundle.meta.card


def _siren(time: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * (600 * time + 80 * np.sin(2 * np.pi * 0.5 * time)))


def _piano(time: np.ndarray) -> np.ndarray:
    """Four chords, each dying away."""
    beat = time % 0.75
    roots = np.array([262.0, 220.0, 175.0, 196.0])[(time // 0.75).astype(int) % 4]
    notes = (np.sin(2 * np.pi * roots * step * k * beat) / k**1.5 for step in (1, 1.25, 1.5) for k in (1, 2, 3))
    return np.exp(-3 * beat) * sum(notes)


def _rain(time: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(size=time.size) * (1 + np.sin(2 * np.pi * 0.7 * time))


@pytest.mark.parametrize("name", packaged_bundles())
@pytest.mark.parametrize("sound", [_siren, _piano, _rain])
def test_they_are_not_sure_of_what_is_no_voice(name: str, sound: Callable[[np.ndarray], np.ndarray]) -> None:
    samples = sound(np.arange(3 * 16_000) / 16_000)
    heard = Waveform((0.3 * samples / np.abs(samples).max()).astype(np.float32), 16_000)
    result = Recognizer(name, threads=1, min_confidence=0.25).predict(heard)
    assert result.confidence < 0.25
    assert result.emotion is None


@pytest.mark.parametrize("name", packaged_bundles())
def test_they_are_not_unsure_of_every_voice(name: str, corpora_dir: Path) -> None:
    recognizer = Recognizer(name, threads=1)
    files = sorted(audio.find_audio([corpora_dir]))[::400]
    assert np.mean([recognizer.predict(path).confidence > 0.4 for path in files]) > 0.8


@pytest.mark.parametrize("name", packaged_bundles())
def test_they_adapt_to_voices_among_other_sounds(name: str, corpora_dir: Path) -> None:
    plain = Recognizer(name, threads=1)
    clips = [audio.load(path, rate=16_000) for path in sorted((corpora_dir / "ravdess").rglob("*.opus"))[:4]]
    time = np.arange(3 * 16_000) / 16_000
    others = [Waveform((0.2 * sound(time)).astype(np.float32), 16_000) for sound in (_siren, _rain)]
    reference = plain.adapt([*clips, *others])
    assert reference.clips == 4
    wanted = list(Recognizer(name, threads=1, adapt=reference).predict_many(clips))
    found = list(plain.predict_adapted([*clips, *others]))
    assert all(isinstance(one, Prediction) for one in (*wanted, *found))
    for one, other in zip(found, wanted, strict=False):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)  # type: ignore[union-attr]
    assert all(one.confidence < 0.25 for one in found[4:])  # type: ignore[union-attr]


def test_python_finds_them(recording: Path) -> None:
    assert DEFAULT_BUNDLE in packaged_bundles()
    named, default = (Recognizer(name, threads=1).predict(recording) for name in (DEFAULT_BUNDLE, None))
    assert named.probabilities == default.probabilities


def test_commands_find_them(recording: Path) -> None:
    for options in (("predict", recording), ("predict", recording, "--adapt", "auto")):
        document = json.loads(emovox(*options, "--model", DEFAULT_BUNDLE, "--format", "json"))
        assert document["model"]["name"] == DEFAULT_BUNDLE
    lines = emovox("listen", "--input", recording, "--at-once", "--model", DEFAULT_BUNDLE, "--format", "json")
    assert json.loads(lines.splitlines()[0])["model"]["name"] == DEFAULT_BUNDLE
    listed = json.loads(emovox("models", "list", "--format", "json"))["bundles"]
    assert {bundle["name"] for bundle in listed} == set(packaged_bundles())
    assert "--model NAME" in emovox("models", "list")


def test_the_service_finds_them(recording: Path) -> None:
    with served(models=(DEFAULT_BUNDLE,), threads=1) as service:
        answer = service.client.post(
            "/v1/predict", params={"model": DEFAULT_BUNDLE}, files=[("file", ("a.wav", recording.read_bytes()))]
        )
    assert answer.json()["model"]["name"] == DEFAULT_BUNDLE


def test_a_name_that_is_none_is_told_which_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match=DEFAULT_BUNDLE) as caught:
        Bundle.load("emovox-huge")
    assert caught.value.code == "not_found"
    result = CliRunner().invoke(app, ["predict", "a.wav", "--model", "emovox-huge"])
    assert result.exit_code != 0
    assert DEFAULT_BUNDLE in str(result.exception)


def test_a_folder_hides_no_name_and_a_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT_BUNDLE).mkdir()
    assert resolve(DEFAULT_BUNDLE) == packaged_bundles()[DEFAULT_BUNDLE]
    (tmp_path / DEFAULT_BUNDLE).rmdir()
    (tmp_path / DEFAULT_BUNDLE).touch()
    assert resolve(DEFAULT_BUNDLE) == Path(DEFAULT_BUNDLE)
