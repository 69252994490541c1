"""Timelines: windows, speech, constant memory."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from bundles import LoudnessModel, waveform_meta, write_waveform_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emovox import audio
from emovox.errors import AudioError, ParameterError
from emovox.features.classic import classic
from emovox.inference.bundle import Bundle
from emovox.inference.recognizer import Recognizer
from emovox.inference.stream import TimelineSegment, timeline
from emovox.inference.voice import VAD_CHUNK, SpeechDetector
from emovox.models.export import bundle_bytes

RATE = 16_000
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(Bundle(bundle_bytes(LoudnessModel(), waveform_meta())))


@pytest.fixture(scope="module")
def noise() -> Floats:
    """Seven and a quarter seconds of noise that grows louder."""
    time = np.arange(round(7.25 * RATE))
    return (np.random.default_rng(3).normal(scale=0.02, size=time.size) * (1 + time / RATE)).astype(np.float32)


def wav(samples: Floats, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype="FLOAT", format="WAV")
    return file.getvalue()


def windows(segments: list[TimelineSegment]) -> list[tuple[float, float]]:
    return [(segment.start_s, segment.end_s) for segment in segments]


def test_windows_cover_the_recording(recognizer: Recognizer, noise: Floats) -> None:
    segments = list(timeline(wav(noise), recognizer, window_s=3, hop_s=2, vad=False))
    assert windows(segments) == [(0, 3), (2, 5), (4, 7), (6, 7.25)]


def test_each_window_gets_what_it_would_get_alone(recognizer: Recognizer, noise: Floats) -> None:
    for segment in timeline(wav(noise), recognizer, window_s=1.3, hop_s=0.7, vad=False):
        part = noise[round(segment.start_s * RATE) : round(segment.end_s * RATE)]
        wanted = LoudnessModel().expected(part)
        np.testing.assert_allclose(list(segment.probabilities.values()), wanted, atol=1e-4)
        assert segment.confidence == max(segment.probabilities.values())
        assert segment.emotion is not None
        assert segment.speech is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.integers(1_700, 120_000),
    window_s=st.floats(0.1, 5.0, allow_nan=False),
    overlap=st.floats(0.05, 1.0),
)
def test_windows_follow_the_grid_and_leave_at_most_a_tenth(
    recognizer: Recognizer, noise: Floats, length: int, window_s: float, overlap: float
) -> None:
    hop_s = window_s * overlap
    samples = np.resize(noise, length)
    segments = list(timeline(wav(samples), recognizer, window_s=window_s, hop_s=hop_s, vad=False))
    tolerance = 1 / RATE
    assert segments[0].start_s == 0
    for number, segment in enumerate(segments):
        assert segment.start_s == pytest.approx(number * hop_s, abs=tolerance)
        assert 0 < segment.end_s - segment.start_s <= window_s + tolerance
    for segment in segments[:-1]:
        assert segment.end_s - segment.start_s == pytest.approx(window_s, abs=2 * tolerance)
    assert length / RATE - 0.1 <= segments[-1].end_s <= length / RATE + tolerance


def test_a_short_recording_is_one_window(recognizer: Recognizer, noise: Floats) -> None:
    assert windows(list(timeline(wav(noise[:RATE]), recognizer, vad=False))) == [(0, 1)]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"window_s": 0.01}, "window"),
        ({"window_s": float("nan")}, "window"),
        ({"window_s": float("inf")}, "window"),
        ({"hop_s": 0}, "hop"),
        ({"hop_s": -1}, "hop"),
        ({"window_s": 1, "hop_s": 2}, "hop"),
        ({"min_speech": 1.5}, "min_speech"),
    ],
)
def test_impossible_windows_are_refused_at_once(recognizer: Recognizer, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ParameterError, match=word):
        timeline(b"never read", recognizer, **options)


def test_damage_is_told_after_what_was_found(recognizer: Recognizer, noise: Floats) -> None:
    samples = noise.copy()
    samples[100_000] = np.nan
    found: list[TimelineSegment] = []
    with pytest.raises(AudioError) as caught:
        found.extend(timeline(wav(samples), recognizer, vad=False))
    assert caught.value.code == "non_finite"
    assert windows(found) in (
        [],
        [(0, 3)],
        [(0, 3), (1, 4)],
        [(0, 3), (1, 4), (2, 5)],
        [(0, 3), (1, 4), (2, 5), (3, 6)],
    )


def test_too_short_and_missing(recognizer: Recognizer, tmp_path: Path, noise: Floats) -> None:
    for source, code in ((wav(noise[:800]), "too_short"), (tmp_path / "no.wav", "not_found"), (b"", "empty")):
        with pytest.raises(AudioError) as caught:
            list(timeline(source, recognizer))
        assert caught.value.code == code


def test_silence_has_no_emotion_even_without_detector(recognizer: Recognizer, noise: Floats) -> None:
    samples = np.concatenate([noise[: 3 * RATE], np.zeros(3 * RATE, np.float32)])
    first, second = timeline(wav(samples), recognizer, hop_s=3, vad=False)
    assert first.emotion is not None
    assert (second.emotion, second.confidence, second.probabilities) == (None, None, {})


def test_speech_is_found_where_it_is(recognizer: Recognizer, corpora_dir: Path) -> None:
    speech = audio.load(corpora_dir / "emodb" / "wav" / "03a01Fa.opus").samples
    pause = np.random.default_rng(0).normal(scale=1e-3, size=4 * RATE).astype(np.float32)
    recording = wav(np.concatenate([pause, speech, pause]))
    segments = list(timeline(recording, recognizer, window_s=1, hop_s=1))
    spoken = [segment.start_s for segment in segments if segment.emotion is not None]
    assert spoken == [4, 5]
    for segment in segments:
        assert segment.speech is not None
        assert (segment.speech >= 0.25) == (segment.start_s in spoken)
        assert (segment.confidence is None) == (segment.start_s not in spoken)
    everything = list(timeline(recording, recognizer, window_s=1, hop_s=1, min_speech=0))
    assert all(segment.emotion is not None for segment in everything)


def test_detector_does_not_care_how_sound_is_dealt_out(corpora_dir: Path) -> None:
    speech = audio.load(corpora_dir / "emodb" / "wav" / "03a01Fa.opus").samples
    detector = SpeechDetector()
    whole = detector(speech)
    assert len(whole) == len(speech) // VAD_CHUNK
    assert whole.max() > 0.9
    detector.reset()
    pieces = [detector(part) for part in np.array_split(speech, 37)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_feature_models_hear_the_files_own_rate(corpora_dir: Path) -> None:
    """The detector hears 16 kHz and the model the file's own rate, of the same seconds."""
    from test_recognizer import classic_recognizer

    clip = audio.load(corpora_dir / "emodb" / "wav" / "03a01Fa.opus", rate=22_050)
    recognizer = classic_recognizer()
    segments = list(timeline(wav(clip.samples, clip.rate), recognizer, window_s=0.5, hop_s=0.5))
    assert [segment.start_s for segment in segments] == [0, 0.5, 1, 1.5]
    for segment in segments:
        part = clip.samples[round(segment.start_s * 22_050) : round(segment.end_s * 22_050)]
        wanted = recognizer.bundle.run(classic(part, 22_050)[None])[0]
        np.testing.assert_allclose(list(segment.probabilities.values()), wanted, atol=1e-6)
        assert segment.speech is not None
        assert segment.speech > 0.5


def test_unsure_windows_keep_their_confidence(noise: Floats) -> None:
    unsure = Recognizer(Bundle(bundle_bytes(LoudnessModel(), waveform_meta())), min_confidence=1.0)
    (segment,) = timeline(wav(noise[:RATE]), unsure, vad=False)
    assert segment.emotion is None
    assert segment.confidence is not None
    assert segment.to_dict()["emotion"] is None


_MEASURE = """
import resource, sys
from emovox.inference.recognizer import Recognizer
from emovox.inference.stream import timeline
recognizer = Recognizer(sys.argv[1])
vad = sys.argv[3] == "vad"
count = 0
early = 0
for count, segment in enumerate(timeline(sys.argv[2], recognizer, hop_s=3.0, vad=vad), start=1):
    if count == 20:
        early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, round(segment.end_s), early, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("minutes", "vad"), [(60, "none"), (4, "vad")])
def test_memory_does_not_grow_with_the_recording(tmp_path: Path, minutes: int, vad: str) -> None:
    """Measured in a process of its own: peak memory after a minute and after all of it (KiB)."""
    bundle = write_waveform_bundle(tmp_path / "model.onnx")
    path = tmp_path / "long.flac"
    minute = np.random.default_rng(0).normal(scale=0.05, size=60 * 8_000)
    with soundfile.SoundFile(path, "w", samplerate=8_000, channels=1, format="FLAC") as file:
        for _ in range(minutes):
            file.write(minute)
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(bundle), str(path), vad], capture_output=True, text=True, check=True
    )
    count, end_s, early, late = map(int, run.stdout.split())
    assert (count, end_s) == (minutes * 20, minutes * 60)
    # An hour at 16 kHz in float32 would be 230 MB.
    assert late - early < 8_000
