"""Emotions while somebody speaks: running results, and one for each utterance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from emovox.audio import MODEL_RATE, Samples
from emovox.inference.adaptation import Parts
from emovox.inference.recognizer import Recognizer
from emovox.inference.results import significant
from emovox.inference.running import Voice
from emovox.inference.utterances import Event, Listener, Moment, Spoken, Utterance, adapted_to, describe


@dataclass(frozen=True, kw_only=True)
class Update:
    """What is known at a point of the sound; there is one for every 250 ms.

    Attributes:
        time_s: the point, in seconds.
        level_db: level of the sound since the last update, in dB of full scale, -100..0.
        speech: whether an utterance is under way.
        start_s: where it began; None without.
        emotion: the most probable label; None if nothing new is known, or if it is too uncertain.
        confidence: the largest probability; None if nothing new is known.
        probabilities: over the last seconds of the utterance; None if nothing new is known. What was known before
            stays valid while `speech` is true.
        adapted_s: seconds of speech in the reference that results are measured from; 0 where they are unadapted.
    """

    time_s: float
    level_db: float
    speech: bool
    start_s: float | None = None
    emotion: str | None = None
    confidence: float | None = None
    probabilities: dict[str, float] | None = None
    adapted_s: float = 0.0

    @classmethod
    def of(
        cls, moment: Moment, recognizer: Recognizer, parts: Parts | None = None, voice: Voice | None = None
    ) -> Update:
        """Join a moment and what the model says of it, if it was asked; measured from a voice, if there is one."""
        probabilities = emotion = None
        if parts is not None:
            row = parts.mean if voice is None else voice.measure(parts)
            emotion, _ = recognizer.decide(row)
            probabilities = dict(zip(recognizer.meta.labels, map(float, row), strict=True))
        return cls(
            time_s=moment.time_s,
            level_db=moment.level_db,
            speech=moment.start_s is not None,
            start_s=moment.start_s,
            emotion=emotion,
            confidence=None if probabilities is None else max(probabilities.values()),
            probabilities=probabilities,
            adapted_s=adapted_to(recognizer, voice),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON: times with three decimals, probabilities with six significant digits."""
        by_label = self.probabilities
        return {
            "time_s": round(self.time_s, 3),
            "level_db": round(self.level_db, 1),
            "speech": self.speech,
            "start_s": None if self.start_s is None else round(self.start_s, 3),
            "emotion": self.emotion,
            "confidence": None if self.confidence is None else significant(self.confidence),
            "probabilities": by_label and {label: significant(value) for label, value in by_label.items()},
            "adapted_s": round(self.adapted_s, 3),
        }


class LiveRecognizer:
    """Recognises emotions in sound that arrives piece by piece, on this machine.

    Args:
        recognizer: the model.
        rate: of the sound, in Hz.
        adapt: measure each utterance from those before it. An adapted recognizer starts from its reference.

    Raises:
        BundleError: ``cannot_adapt``.

    Example:
        >>> live = LiveRecognizer(Recognizer(), rate=16_000)            # doctest: +SKIP
        >>> for block in microphone:                                    # doctest: +SKIP
        ...     for event in live.hear(block):
        ...         print(event)
    """

    def __init__(self, recognizer: Recognizer, *, rate: int, adapt: bool = False) -> None:
        self._recognizer = recognizer
        self._voice = Voice(recognizer.bundle, start=recognizer.reference) if adapt else None
        self._listener = Listener(rate=rate, model_rate=recognizer.meta.sample_rate or MODEL_RATE)

    @property
    def duration_s(self) -> float:
        """Length of the sound so far, in seconds."""
        return self._listener.duration_s

    def hear(self, samples: Samples, *, behind: bool = False) -> Iterator[Update | Utterance]:
        """Hear the next samples, float32 of shape (n,).

        Args:
            samples: the sound.
            behind: there is more sound already, so that nobody waits for a running result.

        Yields:
            Updates and utterances, in order. Only the last update has a running result: the others are history.
        """
        events = self._listener.hear(samples)
        yield from self._told(events, None if behind else _last_moment(events))

    def finish(self) -> Iterator[Update | Utterance]:
        """End the sound; give the last utterance if it was not over."""
        yield from self._told(self._listener.finish(), None)

    def _told(self, events: Sequence[Event], newest: Moment | None) -> Iterator[Update | Utterance]:
        model = self._recognizer
        for event in events:
            if isinstance(event, Spoken):
                yield describe(model, event, voice=self._voice)
            elif event is newest and event.samples is not None:
                yield Update.of(event, model, model.parts(event.samples, self._listener.model_rate), self._voice)
            else:
                yield Update.of(event, model, voice=self._voice)


def _last_moment(events: Sequence[Event]) -> Moment | None:
    return next((event for event in reversed(events) if isinstance(event, Moment)), None)
