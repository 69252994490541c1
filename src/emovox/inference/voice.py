"""Where somebody speaks: Silero's detector on a stream, and the spans of speech that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from emovox.audio import Samples

VAD_RATE, VAD_CHUNK = 16_000, 512
"""Rate in Hz and number of samples that the speech detector takes at a time (32 ms)."""

SPEECH_PROBABILITY = 0.5
"""A chunk is speech from this probability on (silero-vad's default threshold)."""

_SILENCE_PROBABILITY = 0.35
"""A chunk is silence below this probability; in between, what was goes on (silero-vad's ``neg_threshold``)."""

MIN_SPEECH_S = 0.25
"""Shorter sounds are clicks and coughs (silero-vad's ``min_speech_duration_ms``)."""

MIN_SILENCE_S = 0.5
"""Shorter pauses belong to the utterance. Pauses within read sentences rarely last longer."""

PAD_BEFORE_S, PAD_AFTER_S = 0.15, 0.05
"""Added before and after, because the detector hears soft consonants late, at the begin above all ("say")."""

MAX_SPEECH_S = 30.0
"""Longer speech is cut."""

_CUT_FROM_S, _CUT_UNTIL_S = 15.0, 29.0
_CUT_CHUNKS = 5

_CONTEXT, _STATE = 64, 128
"""Samples before a chunk that the detector hears with it, and the size of what it remembers."""

_CHUNKS_AT_ONCE = 256


class SpeechDetector:
    """Silero's voice activity detector (version 6.2) on a stream of 16 kHz samples.

    It keeps a state from chunk to chunk: use one for each recording, or `reset` it. The network is the one that the
    package silero-vad calls ``silero_vad_16k_sequence.onnx``: it takes any number of chunks in a call, and its results
    are the same to the last bit whatever that number is.
    """

    def __init__(self) -> None:
        self._network = _network()
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._heard: Samples = np.zeros(_CONTEXT, np.float32)  # the context of the next chunk, and what there is of it
        self._h = self._c = np.zeros((1, 1, _STATE), np.float32)

    def __call__(self, samples: Samples) -> Samples:
        """Hear the next samples, shape (n,).

        Returns:
            Probability of speech in each chunk of 512 samples that is complete now, shape (chunks,).
        """
        return np.array([probability for probability, _ in self.chunks(samples)], dtype=np.float32)

    def chunks(self, samples: Samples) -> Iterator[tuple[float, float]]:
        """Hear the next samples; give probability of speech and power (mean square) of each chunk that is complete."""
        self._heard = np.concatenate([self._heard, samples])
        while len(self._heard) >= _CONTEXT + VAD_CHUNK:
            count = min((len(self._heard) - _CONTEXT) // VAD_CHUNK, _CHUNKS_AT_ONCE)
            windows = sliding_window_view(self._heard, _CONTEXT + VAD_CHUNK)[: count * VAD_CHUNK : VAD_CHUNK]
            given = {"input": np.ascontiguousarray(windows), "h": self._h, "c": self._c}
            probabilities, self._h, self._c = self._network.run(None, given)
            self._heard = self._heard[count * VAD_CHUNK :]
            powers = np.square(windows[:, _CONTEXT:]).mean(axis=1)
            yield from zip(probabilities.tolist(), powers.tolist(), strict=True)

    @property
    def pending(self) -> int:
        """Number of samples that wait for their chunk to become complete."""
        return len(self._heard) - _CONTEXT


@cache
def _network() -> Any:
    """Silero's network; it keeps nothing, so one is enough for all streams and threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = Path(__file__).parents[1] / "data" / "voice" / "silero-vad.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Span:
    """A span of speech: first sample, and the one after the last, at 16 kHz."""

    start: int
    end: int


class Segmenter:
    """Finds spans of speech in a stream of 16 kHz samples; how the stream is cut into calls changes nothing.

    Speech begins with a chunk of at least 0.5 probability, and ends where the chunks fall below 0.35 for half a second
    (the rules of silero-vad's ``get_speech_timestamps``). Speech below a quarter of a second is dropped; 0.15 s are
    added before and 0.05 s after. What reaches 30 seconds is cut: at the middle of the quietest 160 ms (smallest mean
    power, the first of equals) between its seconds 15 and 29; what follows is a span of its own.

    Example:
        >>> segmenter = Segmenter()
        >>> segmenter(np.zeros(16_000, np.float32)), segmenter.finish()
        ([], [])
    """

    def __init__(self) -> None:
        self._detector = SpeechDetector()
        self._begin()

    def reset(self) -> None:
        """Forget what was heard; positions count from 0 again."""
        self._detector.reset()
        self._begin()

    def __call__(self, samples: Samples) -> list[Span]:
        """Hear the next samples, shape (n,); give the spans that ended with them."""
        found = [self._hear(probability, power) for probability, power in self._detector.chunks(samples)]
        return [span for span in found if span is not None]

    def finish(self) -> list[Span]:
        """Give the span that the stream's end ends. Nothing may follow but `reset`."""
        rest = self._detector.pending
        end = self._chunk * VAD_CHUNK + rest
        spans = self(np.zeros(VAD_CHUNK - rest, np.float32)) if rest else []
        if self._onset is not None:
            last = self._end_of_speech(min(end, self._silent_from if self._silent_from is not None else end))
            spans += [] if last is None else [last]
        return [Span(span.start, min(span.end, end)) for span in spans]

    @property
    def start(self) -> int | None:
        """Where the speech under way began; None if there is none, or not yet enough."""
        if self._onset is None or self._reached() - self._onset < MIN_SPEECH_S * VAD_RATE:
            return None
        return self._start

    @property
    def pausing(self) -> bool:
        """Whether the speech under way may have ended."""
        return self._silent_from is not None

    @property
    def needed_from(self) -> int:
        """No span to come begins before this sample."""
        return self._start if self._onset is not None else self._padded(self._chunk * VAD_CHUNK)

    def _begin(self) -> None:
        self._chunk = 0  # chunks heard
        self._floor = 0  # where the last span ended
        self._start = 0
        self._onset: int | None = None  # the start without what is added
        self._silent_from: int | None = None
        self._powers: list[float] = []  # of the chunks from `_first_chunk` on
        self._first_chunk = 0

    def _hear(self, probability: float, power: float) -> Span | None:
        position = self._chunk * VAD_CHUNK
        self._chunk += 1
        if probability >= SPEECH_PROBABILITY:
            if self._onset is None:
                self._onset, self._start = position, self._padded(position)
                self._powers, self._first_chunk = [], self._chunk - 1
            self._silent_from = None
        elif self._onset is not None and self._silent_from is None and probability < _SILENCE_PROBABILITY:
            self._silent_from = position
        if self._onset is None:
            return None
        self._powers.append(power)
        end = self._chunk * VAD_CHUNK
        if self._silent_from is not None and end - self._silent_from >= MIN_SILENCE_S * VAD_RATE:
            return self._end_of_speech(self._silent_from)
        return self._cut() if end - self._start >= MAX_SPEECH_S * VAD_RATE else None

    def _end_of_speech(self, end: int) -> Span | None:
        onset, start = self._onset, self._start
        self._onset = self._silent_from = None
        if onset is None or end - onset < MIN_SPEECH_S * VAD_RATE:
            return None
        self._floor = end + round(PAD_AFTER_S * VAD_RATE)
        return Span(start, self._floor)

    def _cut(self) -> Span:
        means = np.convolve(self._powers, np.full(_CUT_CHUNKS, 1 / _CUT_CHUNKS), mode="valid")
        first, stop = (
            round((self._start + seconds * VAD_RATE) / VAD_CHUNK) - self._first_chunk
            for seconds in (_CUT_FROM_S, _CUT_UNTIL_S)
        )
        quietest = first + int(np.argmin(means[first : stop - _CUT_CHUNKS + 1]))
        place = (2 * (self._first_chunk + quietest) + _CUT_CHUNKS) * VAD_CHUNK // 2
        span = Span(self._start, place)
        self._start = self._onset = self._floor = place
        self._powers = self._powers[place // VAD_CHUNK - self._first_chunk :]
        self._first_chunk = place // VAD_CHUNK
        return span

    def _padded(self, position: int) -> int:
        return max(self._floor, position - round(PAD_BEFORE_S * VAD_RATE))

    def _reached(self) -> int:
        return self._chunk * VAD_CHUNK if self._silent_from is None else self._silent_from
