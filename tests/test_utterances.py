"""Utterances: the same however the sound comes, from files and from Python, and on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from bundles import LoudnessModel, waveform_meta, write_waveform_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import RATE, Floats, real_clips, scene

from emovox import audio
from emovox.audio import Waveform
from emovox.cli.main import app
from emovox.errors import AudioError
from emovox.inference.bundle import Bundle
from emovox.inference.pcm import from_pcm16, to_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.inference.utterances import Listener, Moment, Spoken, utterances
from emovox.models.export import bundle_bytes


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(Bundle(bundle_bytes(LoudnessModel(), waveform_meta())))


@pytest.fixture(scope="module")
def talk(corpora_dir: Path) -> Floats:
    """Three real utterances with pauses and noise."""
    return scene(real_clips(corpora_dir, "emodb", 3, seed=2))[0]


def listen(samples: Floats, pieces: list[int], *, rate: int = RATE, moments: bool = True) -> list[Moment | Spoken]:
    listener = Listener(rate=rate, moments=moments)
    events, place = [], 0
    for size in pieces:
        events += listener.hear(samples[place : place + size])
        place += size
    events += listener.hear(samples[place:]) + listener.finish()
    assert listener.duration_s == len(samples) / rate
    return events


def spoken(events: list[Moment | Spoken]) -> list[tuple[float, float, bytes]]:
    return [(e.start_s, e.end_s, e.samples.tobytes()) for e in events if isinstance(e, Spoken)]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.one_of(st.integers(0, 700), st.integers(0, 40_000)), max_size=40),
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
    moments=st.booleans(),
)
def test_how_the_sound_is_cut_changes_nothing(talk: Floats, pieces: list[int], rate: int, moments: bool) -> None:
    samples = talk if rate == RATE else audio.from_array(talk, source_rate=RATE, rate=rate).samples
    whole = spoken(listen(samples, [], rate=rate, moments=False))
    assert len(whole) >= 3
    assert spoken(listen(samples, pieces, rate=rate, moments=moments)) == whole


def test_moments_come_every_quarter_of_a_second(talk: Floats) -> None:
    events = listen(talk, [160] * (len(talk) // 160))
    moments = [event for event in events if isinstance(event, Moment)]
    assert [moment.time_s for moment in moments] == [(n + 1) / 4 for n in range(len(talk) * 4 // RATE)]
    assert [moment.received for moment in moments] == [(n + 1) * 4_000 for n in range(len(moments))]
    level = 10 * np.log10(np.square(talk[4_000:8_000]).mean())
    assert moments[1].level_db == pytest.approx(level, abs=1e-3)
    for event in events:
        if isinstance(event, Spoken):
            inside = [m for m in moments if event.start_s + 0.5 < m.time_s < event.end_s - 0.3]
            assert inside
            assert all(m.start_s == event.start_s for m in inside)
    for moment in moments:
        if moment.samples is not None:
            assert moment.start_s is not None
            length = min(moment.time_s - moment.start_s, 3)
            assert len(moment.samples) == int(length / 0.5) * RATE // 2
            np.testing.assert_array_equal(moment.samples, talk[moment.received - len(moment.samples) : moment.received])
    assert moments[0].start_s is None
    assert moments[0].samples is None


def test_silence_has_a_level(recognizer: Recognizer) -> None:
    (moment,) = Listener(rate=RATE).hear(np.zeros(4_000, np.float32))
    assert isinstance(moment, Moment)
    assert moment.level_db == -100


def test_memory_is_bounded(talk: Floats) -> None:
    listener = Listener(rate=RATE)
    for _ in range(8):
        for start in range(0, len(talk), 1_600):
            listener.hear(talk[start : start + 1_600])
            kept = listener._samples
            assert kept.end - kept.start <= 31 * RATE
            assert len(kept._buffer) <= 2**21


def test_each_utterance_gets_what_it_would_get_alone(recognizer: Recognizer, talk: Floats) -> None:
    found = list(recognizer.utterances(Waveform(talk, RATE)))
    assert len(found) >= 3
    for utterance in found:
        part = talk[round(utterance.start_s * RATE) : round(utterance.end_s * RATE)]
        alone = recognizer.predict(Waveform(part, RATE))
        assert utterance.emotion == alone.emotion
        np.testing.assert_allclose(
            list(utterance.probabilities.values()), list(alone.probabilities.values()), atol=2e-4
        )
        assert utterance.confidence == max(utterance.probabilities.values())


def test_a_file_gives_what_its_samples_give(recognizer: Recognizer, talk: Floats, tmp_path: Path) -> None:
    stereo = np.stack([np.frombuffer(to_pcm16(talk), "<i2")] * 2, axis=1)
    soundfile.write(tmp_path / "talk.wav", stereo, RATE)
    wanted = list(recognizer.utterances(Waveform(talk, RATE)))
    heard: list[float] = []
    assert list(utterances(tmp_path / "talk.wav", recognizer, progress=heard.append)) == wanted
    assert heard[-1] == len(talk) / RATE
    with (tmp_path / "talk.wav").open("rb") as file:
        assert list(recognizer.utterances(file)) == wanted
    with pytest.raises(AudioError, match="no such file"):
        list(recognizer.utterances(tmp_path / "missing.wav"))


def test_models_at_another_rate_hear_the_same_utterances(talk: Floats) -> None:
    listener = Listener(rate=RATE, model_rate=24_000, moments=False)
    found = [event for event in listener.hear(talk) + listener.finish() if isinstance(event, Spoken)]
    wanted = [event for event in listen(talk, []) if isinstance(event, Spoken)]
    assert [(e.start_s, e.end_s) for e in found] == [(e.start_s, e.end_s) for e in wanted]
    for event in found:
        assert (event.rate, len(event.samples)) == (24_000, round((event.end_s - event.start_s) * 24_000))


def test_samples_of_16_bits() -> None:
    data = np.random.default_rng(0).integers(-32_768, 32_768, 5_000).astype("<i2").tobytes()
    assert to_pcm16(from_pcm16(data)) == data
    assert from_pcm16(to_pcm16(np.array([-2, 2], np.float32))).tolist() == [-1, 32_767 / 32_768]


@pytest.fixture
def files(tmp_path: Path, talk: Floats) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    soundfile.write(folder / "a.wav", talk, RATE)
    soundfile.write(folder / "b.wav", np.random.default_rng(0).normal(scale=1e-3, size=2 * RATE), RATE)
    (folder / "c.wav").write_bytes(b"no sound")
    return folder


def test_command_line(files: Path, tmp_path: Path, recognizer: Recognizer) -> None:
    from typer.testing import CliRunner

    bundle = write_waveform_bundle(tmp_path / "m.onnx")
    wanted = [utterance.to_dict() for utterance in Recognizer(bundle).utterances(files / "a.wav")]

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["predict", str(files), "--utterances", "-m", str(bundle), *arguments])

    result = run("--format", "json")
    talk, quiet, broken = json.loads(result.stdout)["results"]
    assert result.exit_code == 1
    assert talk == {"path": str(files / "a.wav"), "utterances": wanted, "duration_s": talk["duration_s"]}
    assert quiet == {"path": str(files / "b.wav"), "utterances": [], "duration_s": 2.0}
    assert broken["error"]["code"] == "not_audio"
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv").stdout)))
    assert [row["start_s"] for row in rows] == [*(str(item["start_s"]) for item in wanted), "", ""]
    assert [row["error_code"] for row in rows[-2:]] == ["", "not_audio"]
    title, *lines = run().stdout.splitlines()
    assert title == "loudness 1, unadapted"
    assert lines[0] == str(files / "a.wav")
    assert lines[len(wanted) + 2] == "  no speech"
    assert run("--timeline").exit_code != 0
