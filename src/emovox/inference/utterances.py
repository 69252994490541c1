"""Utterances in sound that arrives piece by piece, and in recordings: the same code for both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import soxr

from emovox import audio
from emovox.audio import MODEL_RATE, STREAM_LIMITS, Limits, Samples, Source, Waveform
from emovox.inference.pcm import from_pcm16, to_pcm16
from emovox.inference.results import significant
from emovox.inference.tail import Tail
from emovox.inference.voice import VAD_RATE, Segmenter, Span

if TYPE_CHECKING:
    from emovox.inference.adaptation import Parts
    from emovox.inference.recognizer import Recognizer
    from emovox.inference.running import Voice

INTERVAL_S = 0.25
"""Distance between two moments."""

RUNNING_S, RUNNING_STEP_S = 3.0, 0.5
"""A running result hears at most this much of the end of an utterance, and a multiple of the step: models compute
clips of one length together."""

LOWEST_DB = -100.0
_BLOCK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What a model says about an utterance of a recording.

    Attributes:
        start_s, end_s: where it lies, in seconds.
        emotion: the most probable label; None if its probability is below the wanted confidence.
        confidence: the largest probability, 0..1.
        probabilities: of all labels, in the bundle's order; they sum to 1.
        adapted_s: seconds of speech in the reference that it was measured from; 0 if it is unadapted.
    """

    start_s: float
    end_s: float
    emotion: str | None
    confidence: float
    probabilities: dict[str, float]
    adapted_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON: times with three decimals, probabilities with six significant digits."""
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "emotion": self.emotion,
            "confidence": significant(self.confidence),
            "probabilities": {label: significant(value) for label, value in self.probabilities.items()},
            "adapted_s": round(self.adapted_s, 3),
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class Moment:
    """What is known at a point of the sound.

    Attributes:
        time_s: the point: 0.25, 0.5, ...
        received: number of samples that lie before it, at the rate of the sound.
        level_db: root mean square since the last moment, in dB of full scale, at least -100.
        start_s: where the utterance under way began; None without.
        samples: the end of that utterance at the model's rate, shape (n,): 0.5, 1, ... 3 s of it; None without an
            utterance, at its very begin and in pauses, when there is nothing new to be said about it.
    """

    time_s: float
    received: int
    level_db: float
    start_s: float | None
    samples: Samples | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Spoken:
    """An utterance that has ended: where it lies, and its samples of shape (n,) at the model's rate in Hz."""

    start_s: float
    end_s: float
    samples: Samples
    rate: int


Event: TypeAlias = Moment | Spoken


class Listener:
    """Turns sound into utterances, piece by piece; how it is cut into pieces changes no utterance.

    It holds the utterance under way and little more: 4 MB at most for models at 16 kHz.

    Args:
        rate: of the sound, in Hz.
        model_rate: that the model wants, in Hz.
        moments: whether to give moments every 250 ms.
    """

    def __init__(self, *, rate: int, model_rate: int = MODEL_RATE, moments: bool = True) -> None:
        self.rate = rate
        self.model_rate = model_rate
        self.received = 0
        self._moments = moments
        self._segmenter = Segmenter()
        self._samples = Tail()  # at the model's rate
        self._to_detector = _Resampler(rate, VAD_RATE)
        self._to_model = self._to_detector if self.model_rate == VAD_RATE else _Resampler(rate, self.model_rate)
        self._ticks = 0
        self._energy = 0.0
        self._energy_of = 0

    @property
    def duration_s(self) -> float:
        """Length of the sound so far, in seconds."""
        return self.received / self.rate

    def hear(self, samples: Samples) -> list[Event]:
        """Hear the next samples, float32 of shape (n,); give what happened, in order."""
        events: list[Event] = []
        while self._moments and self.received + len(samples) >= (tick := self._next_tick()):
            head, samples = np.split(samples, [tick - self.received])
            events += self._hear(head)
            self._ticks += 1
            events.append(self._moment())
        if len(samples):
            events += self._hear(samples)
        return events

    def finish(self) -> list[Event]:
        """End the sound; give the last utterance if it was not over. Nothing may follow."""
        spans = self._take(np.empty(0, np.float32), last=True)
        spans += self._segmenter.finish()
        return [self._spoken(span) for span in spans]

    def _next_tick(self) -> int:
        return round((self._ticks + 1) * INTERVAL_S * self.rate)

    def _hear(self, samples: Samples) -> list[Event]:
        self.received += len(samples)
        self._energy += float(np.dot(samples, samples))
        self._energy_of += len(samples)
        events: list[Event] = [self._spoken(span) for span in self._take(samples)]
        self._samples.forget_before(self._at_model_rate(self._segmenter.needed_from))
        return events

    def _take(self, samples: Samples, *, last: bool = False) -> list[Span]:
        heard = self._to_detector(samples, last=last)
        self._samples.append(heard if self._to_model is self._to_detector else self._to_model(samples, last=last))
        return self._segmenter(heard)

    def _moment(self) -> Moment:
        mean = self._energy / max(self._energy_of, 1)
        self._energy, self._energy_of = 0.0, 0
        start = self._segmenter.start
        samples = None
        if start is not None and not self._segmenter.pausing:
            so_far_s = (self._samples.end - self._at_model_rate(start)) / self.model_rate
            steps = int(min(so_far_s, RUNNING_S) / RUNNING_STEP_S)
            first = self._samples.end - round(steps * RUNNING_STEP_S * self.model_rate)
            samples = self._samples.between(first, self._samples.end) if steps else None
        return Moment(
            time_s=self._ticks * INTERVAL_S,
            received=self.received,
            level_db=max(LOWEST_DB, 10 * math.log10(mean)) if mean > 0 else LOWEST_DB,
            start_s=None if start is None else start / VAD_RATE,
            samples=samples,
        )

    def _spoken(self, span: Span) -> Spoken:
        samples = self._samples.between(self._at_model_rate(span.start), self._at_model_rate(span.end))
        return Spoken(start_s=span.start / VAD_RATE, end_s=span.end / VAD_RATE, samples=samples, rate=self.model_rate)

    def _at_model_rate(self, position: int) -> int:
        return round(position * self.model_rate / VAD_RATE)


class _Resampler:
    """From one rate to another, as `audio.load` does it; nothing if they are equal."""

    def __init__(self, rate: int, wanted: int) -> None:
        same = rate == wanted
        self._stream = None if same else soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")

    def __call__(self, samples: Samples, *, last: bool) -> Samples:
        if self._stream is None:
            return samples
        resampled: Samples = self._stream.resample_chunk(samples, last=last)
        return resampled


def describe(
    recognizer: Recognizer, spoken: Spoken, parts: Parts | None = None, voice: Voice | None = None
) -> Utterance:
    """Say what the model makes of an utterance.

    Args:
        recognizer: the model.
        spoken: the utterance.
        parts: what the recognizer's `parts` gave of its samples; None lets it compute them now.
        voice: what the stream knows of the voice so far: the utterance is measured from it, and then taken in.
    """
    parts = parts or recognizer.parts(spoken.samples, spoken.rate)
    adapted_s = adapted_to(recognizer, voice)
    probabilities = parts.mean if voice is None else voice.measure(parts)
    if voice is not None:
        voice.hear(parts, spoken.end_s - spoken.start_s)
    emotion, confidence = recognizer.decide(probabilities)
    return Utterance(
        start_s=spoken.start_s,
        end_s=spoken.end_s,
        emotion=emotion,
        confidence=confidence,
        probabilities=dict(zip(recognizer.meta.labels, map(float, probabilities), strict=True)),
        adapted_s=adapted_s,
    )


def adapted_to(recognizer: Recognizer, voice: Voice | None) -> float:
    """Seconds of speech that a result is measured from."""
    if voice is not None:
        return voice.seconds
    return 0.0 if recognizer.reference is None else recognizer.reference.seconds


def pieces(source: Source | Waveform, *, limits: Limits = STREAM_LIMITS) -> tuple[int, Iterator[Samples]]:
    """Open a recording of any length at its own rate, as 16-bit samples, which is how sound travels to a service.

    Returns:
        Rate in Hz, and blocks of a second, float32 of shape (n,).

    Raises:
        AudioError: with a code of `emovox.audio`, now or from the iterator.
    """
    if isinstance(source, Waveform):
        checked = audio.from_array(source.samples, source_rate=source.rate, rate=None, limits=limits)
        rate, blocks = checked.rate, iter([checked.samples])
    else:
        if hasattr(source, "read"):
            source = source.read()  # its header is read first, and then all of it
        rate = audio.native_rate(source, limits=limits)
        blocks = audio.stream(source, rate=rate, block_s=_BLOCK_S, limits=limits)
    return rate, (from_pcm16(to_pcm16(block)) for block in blocks)


def utterances(
    source: Source | Waveform,
    recognizer: Recognizer,
    *,
    limits: Limits = STREAM_LIMITS,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Utterance]:
    """Find the utterances of a recording and recognise the emotion of each.

    Memory does not grow with the recording's length. A recording in which nobody speaks has no utterances. Models
    that take any rate get 16 kHz here, as they do in a service.

    Args:
        source: a path, the bytes of a file, a binary file object, or a waveform.
        recognizer: the model.
        limits: what to accept; any length by default.
        progress: called with the seconds heard so far, at last with the recording's length.

    Yields:
        Utterances in time order, as soon as they are known.

    Raises:
        AudioError: with a code of `emovox.audio`; what was found before stays valid.
        BundleError: ``failed``, if the model cannot process it.
    """
    rate, blocks = pieces(source, limits=limits)
    listener = Listener(rate=rate, model_rate=recognizer.meta.sample_rate or MODEL_RATE, moments=False)
    for spoken in _spoken(listener, blocks):
        yield describe(recognizer, spoken)
        if progress is not None:
            progress(listener.duration_s)
    if progress is not None:
        progress(listener.duration_s)


def _spoken(listener: Listener, blocks: Iterable[Samples]) -> Iterator[Spoken]:
    for block in blocks:
        yield from (event for event in listener.hear(block) if isinstance(event, Spoken))
    yield from (event for event in listener.finish() if isinstance(event, Spoken))
