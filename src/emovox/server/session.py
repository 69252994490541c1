"""A live stream without its network: sound in, messages out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from emovox.audio import Samples
from emovox.inference.adaptation import Parts
from emovox.inference.live import Update
from emovox.inference.pcm import BYTES_PER_SAMPLE, from_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.inference.running import Voice
from emovox.inference.utterances import INTERVAL_S, Event, Listener, Moment, Spoken, describe
from emovox.server.problems import QueueFullError, RequestError

Message = dict[str, Any]

KEPT_RESULTS = 256
"""Utterances whose results are kept for a client that missed them."""

_RETRY_S = 0.1


class Predictor(Protocol):
    """Gives the probabilities of sound at 16 kHz; raises `QueueFullError` where there is too much to do."""

    async def parts(self, samples: Samples, *, model: str | None = None, optional: bool = False) -> Parts:
        """Hear float32 samples, shape (n,); what is optional gives way to other work."""


class Session:
    """What is known of one stream; it outlives the connection.

    Args:
        rate: of the sound, in Hz.
        predictor: computes.
        recognizer: the model, which says what results mean.
        model: its name; None stands for the default one.
        voice: what is known of the voice, if results are to be adapted to it.
        patience_s: how long an utterance may wait for a place in the queue.

    Attributes:
        utterances: number of utterances so far.
    """

    def __init__(
        self,
        *,
        rate: int,
        predictor: Predictor,
        recognizer: Recognizer,
        model: str | None = None,
        voice: Voice | None = None,
        patience_s: float = 10.0,
    ) -> None:
        self.rate = rate
        self.model = model
        self.utterances = 0
        self._predictor = predictor
        self._recognizer = recognizer
        self._voice = voice
        self._patience_s = patience_s
        self._listener = Listener(rate=rate)
        self._results: deque[Message] = deque(maxlen=KEPT_RESULTS)

    @property
    def received(self) -> int:
        """Number of samples that were heard."""
        return self._listener.received

    @property
    def duration_s(self) -> float:
        """Length of the sound so far, in seconds."""
        return self._listener.duration_s

    def missed(self, known: int) -> list[Message]:
        """Give the results of utterances from number `known` on, as far as they are kept."""
        return [message for message in self._results if message["index"] >= known]

    async def hear(
        self, data: bytes, emit: Callable[[Message], Awaitable[None]], *, behind: Callable[[], bool]
    ) -> None:
        """Hear the next sound.

        It is always heard to its end, so that `received` is a place from which a client can go on.

        Args:
            data: 16-bit samples, little-endian.
            emit: takes a message to the client; must not raise.
            behind: is there more sound already? Then nobody waits for a running result.

        Raises:
            EmovoxError: ``busy`` or ``failed``.
        """
        step = round(INTERVAL_S * self.rate) * BYTES_PER_SAMPLE  # the detector holds the event loop so long at most
        for start in range(0, len(data), step):
            more = start + step < len(data)
            for event in self._listener.hear(from_pcm16(data[start : start + step])):
                await emit(await self._message(event, newest=not more and not behind()))
            await asyncio.sleep(0)

    async def finish(self, emit: Callable[[Message], Awaitable[None]]) -> None:
        """End the sound: give the last utterance, and say good bye."""
        for event in self._listener.finish():
            await emit(await self._message(event, newest=False))
        figures = {"utterances": self.utterances, "received": self.received, "duration_s": round(self.duration_s, 6)}
        await emit({"type": "bye", **figures})

    async def _message(self, event: Event, *, newest: bool) -> Message:
        return await self._utterance(event) if isinstance(event, Spoken) else await self._update(event, newest=newest)

    async def _update(self, moment: Moment, *, newest: bool) -> Message:
        parts = None
        if moment.samples is not None and newest:
            with suppress(QueueFullError):  # the next one may find room
                parts = await self._predictor.parts(moment.samples, model=self.model, optional=True)
        update = Update.of(moment, self._recognizer, parts, self._voice)
        return {"type": "update", "received": moment.received, **update.to_dict()}

    async def _utterance(self, spoken: Spoken) -> Message:
        utterance = describe(self._recognizer, spoken, await self._patiently(spoken.samples), self._voice)
        message = {"type": "utterance", "index": self.utterances, **utterance.to_dict()}
        if self._voice is not None:
            message["reference"] = self._voice.to_dict()
        self.utterances += 1
        self._results.append(message)
        return message

    async def _patiently(self, samples: Samples) -> Parts:
        give_up = time.monotonic() + self._patience_s
        while True:
            try:
                return await self._predictor.parts(samples, model=self.model)
            except QueueFullError as error:
                if time.monotonic() > give_up:
                    raise RequestError(
                        f"the queue stayed full for {self._patience_s:g} s", code="busy", remedy="Resume later."
                    ) from error
            await asyncio.sleep(_RETRY_S)
