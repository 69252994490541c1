"""Emotions over time in a recording of any length, in constant memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from emovox import audio
from emovox.audio import STREAM_LIMITS, Limits, Samples, Source
from emovox.errors import AudioError, ParameterError
from emovox.inference.recognizer import Recognizer
from emovox.inference.results import significant
from emovox.inference.tail import Tail
from emovox.inference.voice import SPEECH_PROBABILITY, VAD_CHUNK, VAD_RATE, SpeechDetector

BLOCK_S = 1.0
SHORTEST_S = 0.1
"""A rest shorter than this, in seconds, gets no window of its own."""


@dataclass(frozen=True, kw_only=True)
class TimelineSegment:
    """What a model says about a window of a recording.

    Attributes:
        start_s, end_s: the window, in seconds.
        emotion: the most probable label; None without enough speech, or below the recognizer's confidence.
        confidence: the largest probability; None without enough speech.
        probabilities: of all labels, in the bundle's order; empty without enough speech.
        speech: share of the window that is speech, 0..1; None if nobody looked.
    """

    start_s: float
    end_s: float
    emotion: str | None
    confidence: float | None
    probabilities: dict[str, float]
    speech: float | None

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON: times with three decimals, probabilities with six significant digits."""
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "emotion": self.emotion,
            "confidence": None if self.confidence is None else significant(self.confidence),
            "probabilities": {label: significant(value) for label, value in self.probabilities.items()},
            "speech": None if self.speech is None else round(self.speech, 3),
        }


def timeline(
    source: Source,
    recognizer: Recognizer,
    *,
    window_s: float = 3.0,
    hop_s: float = 1.0,
    vad: bool = True,
    min_speech: float = 0.25,
    limits: Limits = STREAM_LIMITS,
) -> Iterator[TimelineSegment]:
    """Follow the emotion through a recording, window by window.

    A window in which too little is said (or which is silent) is given without an emotion. The last window ends where
    the recording ends and may be shorter; a rest below 0.1 s that no window covers is left out.

    Args:
        source: a path, the bytes of a file, or a binary file object. Paths are read piece by piece; bytes and file
            objects are held in memory in their encoded form.
        recognizer: the model.
        window_s: length of a window in seconds, at least 0.1.
        hop_s: distance between two starts in seconds, 0 < hop_s <= window_s.
        vad: look for speech; without, every window that is not silent is recognised.
        min_speech: share of a window, 0..1, that must be speech.
        limits: what to accept; any length by default.

    Yields:
        Segments in time order, as soon as they are known.

    Raises:
        ParameterError: if a length or share is impossible.
        AudioError: with a code of `emovox.audio`; what was found before stays valid.
    """
    if not (math.isfinite(window_s) and window_s >= SHORTEST_S):
        raise ParameterError(f"a window must be at least {SHORTEST_S} s long, got {window_s} s")
    if not 0 < hop_s <= window_s:
        raise ParameterError(f"hop_s must lie between 0 and the window's length {window_s} s, got {hop_s} s")
    if not 0 <= min_speech <= 1:
        raise ParameterError(f"min_speech must lie in 0..1, got {min_speech}")
    return _Timeline(recognizer, window_s, hop_s, min_speech if vad else None, limits).follow(source)


class _Timeline:
    def __init__(
        self, recognizer: Recognizer, window_s: float, hop_s: float, min_speech: float | None, limits: Limits
    ) -> None:
        self._recognizer = recognizer
        self._window_s = window_s
        self._hop_s = hop_s
        self._min_speech = min_speech
        self._limits = limits
        self._samples = Tail()
        self._speech = Tail()

    def follow(self, source: Source) -> Iterator[TimelineSegment]:
        if hasattr(source, "read"):
            source = source.read()  # it may be read twice: for the model and for the detector
        rate = self._recognizer.meta.sample_rate or audio.native_rate(source, limits=self._limits)
        detector = None if self._min_speech is None else SpeechDetector()
        index = 0
        covered = 0
        for block, heard in self._blocks(source, rate):
            self._samples.append(block)
            if detector is not None:
                self._speech.append(detector(heard))
            while (stop := round((index * self._hop_s + self._window_s) * rate)) <= self._samples.end:
                first = round(index * self._hop_s * rate)
                yield self._segment(first, stop, rate)
                index, covered = index + 1, stop
                self._forget_before(index * self._hop_s, rate)
        first = round(index * self._hop_s * rate)
        if self._samples.end - covered >= SHORTEST_S * rate:
            yield self._segment(first, self._samples.end, rate)
        elif not covered:
            seconds = self._samples.end / rate
            raise AudioError(
                f"is {seconds:.3f} s long; at least {SHORTEST_S} s are needed",
                code="too_short",
                path=audio.source_name(source),
            )

    def _blocks(self, source: Source, rate: int) -> Iterator[tuple[Samples, Samples]]:
        """Pairs of blocks of the same seconds: for the model, at `rate`, and for the detector, at 16 kHz."""
        blocks = audio.stream(source, rate=rate, block_s=BLOCK_S, limits=self._limits)
        if rate == VAD_RATE or self._min_speech is None:
            for block in blocks:
                yield block, block
            return
        heard = audio.stream(source, rate=VAD_RATE, block_s=BLOCK_S, limits=self._limits)
        yield from zip_longest(blocks, heard, fillvalue=np.empty(0, np.float32))

    def _segment(self, first: int, stop: int, rate: int) -> TimelineSegment:
        samples = self._samples.between(first, stop)
        speech = self._speech_share(first / rate, stop / rate)
        silent = float(np.abs(samples).max()) <= audio.DEFAULT_LIMITS.silence_peak
        if silent or (speech is not None and speech < (self._min_speech or 0)):
            return self._described(first / rate, stop / rate, speech, None)
        return self._described(first / rate, stop / rate, speech, self._recognizer.probabilities(samples, rate))

    def _described(
        self, start_s: float, end_s: float, speech: float | None, probabilities: Samples | None
    ) -> TimelineSegment:
        emotion, confidence, by_label = None, None, {}
        if probabilities is not None:
            emotion, confidence = self._recognizer.decide(probabilities)
            by_label = dict(zip(self._recognizer.meta.labels, map(float, probabilities), strict=True))
        return TimelineSegment(
            start_s=start_s,
            end_s=end_s,
            emotion=emotion,
            confidence=confidence,
            probabilities=by_label,
            speech=speech,
        )

    def _speech_share(self, start_s: float, end_s: float) -> float | None:
        if self._min_speech is None:
            return None
        chunk_s = VAD_CHUNK / VAD_RATE
        chunks = self._speech.between(math.floor(start_s / chunk_s), math.ceil(end_s / chunk_s))
        return float((chunks >= SPEECH_PROBABILITY).mean()) if len(chunks) else 0.0

    def _forget_before(self, start_s: float, rate: int) -> None:
        self._samples.forget_before(round(start_s * rate))
        self._speech.forget_before(math.floor(start_s * VAD_RATE / VAD_CHUNK))
