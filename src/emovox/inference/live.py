"""Emotions while somebody speaks: running results, and one for each utterance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from emovox.audio import MODEL_RATE, Samples
from emovox.inference.recognizer import Recognizer
from emovox.inference.utterances import Event, Listener, Moment, Spoken, Utterance, describe


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
    """

    time_s: float
    level_db: float
    speech: bool
    start_s: float | None = None
    emotion: str | None = None
    confidence: float | None = None
    probabilities: dict[str, float] | None = None

    @classmethod
    def of(cls, moment: Moment, probabilities: dict[str, float] | None = None, emotion: str | None = None) -> Update:
        """Join a moment and what the model says of it, if it was asked."""
        return cls(
            time_s=moment.time_s,
            level_db=moment.level_db,
            speech=moment.start_s is not None,
            start_s=moment.start_s,
            emotion=emotion,
            confidence=None if probabilities is None else max(probabilities.values()),
            probabilities=probabilities,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON, times with three, the level with one and numbers with six decimals."""
        by_label = self.probabilities
        return {
            "time_s": round(self.time_s, 3),
            "level_db": round(self.level_db, 1),
            "speech": self.speech,
            "start_s": None if self.start_s is None else round(self.start_s, 3),
            "emotion": self.emotion,
            "confidence": None if self.confidence is None else round(self.confidence, 6),
            "probabilities": by_label and {label: round(value, 6) for label, value in by_label.items()},
        }


class LiveRecognizer:
    """Recognises emotions in sound that arrives piece by piece, on this machine.

    Args:
        recognizer: the model.
        rate: of the sound, in Hz.

    Example:
        >>> live = LiveRecognizer(Recognizer(), rate=16_000)            # doctest: +SKIP
        >>> for block in microphone:                                    # doctest: +SKIP
        ...     for event in live.hear(block):
        ...         print(event)
    """

    def __init__(self, recognizer: Recognizer, *, rate: int) -> None:
        self._recognizer = recognizer
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
        for event in events:
            if isinstance(event, Spoken):
                yield describe(self._recognizer, event)
            elif event is newest and event.samples is not None:
                row = self._recognizer.probabilities(event.samples, self._listener.model_rate)
                emotion, _ = self._recognizer.decide(row)
                by_label = dict(zip(self._recognizer.meta.labels, map(float, row), strict=True))
                yield Update.of(event, by_label, emotion)
            else:
                yield Update.of(event)


def _last_moment(events: Sequence[Event]) -> Moment | None:
    return next((event for event in reversed(events) if isinstance(event, Moment)), None)
