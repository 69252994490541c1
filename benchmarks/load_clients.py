"""Clients of the load test: requests that arrive when they are planned, and people who speak all the time.

Latency counts from the moment at which something was planned, not from when a busy client got to it; else a service
that stalls would slow its own clients down, and hide what it made them wait ("coordinated omission").
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from emovox.audio import Samples
from emovox.inference.pcm import BYTES_PER_SAMPLE, from_pcm16, to_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.inference.utterances import RUNNING_S, RUNNING_STEP_S, Listener, Spoken, describe

RATE = 16_000
BLOCK = RATE // 10
"""Samples in a message of a stream: 100 ms."""
TOLERANCE = 1e-4
"""Largest difference between a probability and the one that was computed beforehand."""
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Clip:
    """A body to send, and the probabilities that must come back."""

    body: bytes
    probabilities: Mapping[str, float]


@dataclass
class Told:
    """What became of requests, utterances or running results.

    Attributes:
        latencies_s: of each answer.
        refused: answers that say "too much to do" (429).
        lost: no answer, or one that is no result.
        why: what became of those that are lost, and how often.
        mixed_up: results that are not those of the sound that was sent.
        worst: largest difference of a probability.
    """

    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0
    lost: int = 0
    why: Counter[str] = field(default_factory=Counter)
    mixed_up: int = 0
    worst: float = 0.0

    def compare(self, found: Mapping[str, float], expected: Mapping[str, float]) -> None:
        """Count a result that differs."""
        far = max((abs(found.get(label, 9.0) - value) for label, value in expected.items()), default=9.0)
        self.worst = max(self.worst, far)
        self.mixed_up += far > TOLERANCE

    def lose(self, why: str) -> None:
        """Count one that got no result."""
        self.lost += 1
        self.why[why] += 1

    def summary(self) -> dict[str, Any]:
        """Give counts, and percentiles in milliseconds."""
        points = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "max_ms": 100} if self.latencies_s else {}
        return {
            "answers": len(self.latencies_s),
            **{name: round(1000 * float(np.percentile(self.latencies_s, at)), 1) for name, at in points.items()},
            "refused": self.refused,
            "lost": self.lost,
            "why_lost": dict(self.why),
            "mixed_up": self.mixed_up,
            "largest_difference": round(self.worst, 7),
        }


class Requests:
    """Posts clips to `/v1/predict` at random moments (a Poisson process), over as many connections as that takes.

    It speaks bare HTTP/1.1, because a library would take more of the processors than it leaves to the service.
    """

    def __init__(self, port: int, clips: Sequence[Clip]) -> None:
        self._port = port
        self._clips = clips
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.connections = 0

    async def run(self, rate: float, seconds: float, *, seed: int = 0) -> Told:
        """Post `rate` clips a second for some seconds, and wait for all answers."""
        told = Told()
        random = np.random.default_rng(seed)
        times = np.cumsum(random.exponential(1 / rate, round(2 * rate * seconds) + 10))
        begin = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        for number, planned in enumerate(begin + times[times < seconds]):
            await asyncio.sleep(planned - time.monotonic())
            task = asyncio.create_task(self._one(self._clips[number % len(self._clips)], float(planned), told))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        return told

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop()[1].close()

    async def _one(self, clip: Clip, planned: float, told: Told) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, answer = await self._post(clip.body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            told.lose(type(error).__name__)
            return
        if status == 429:
            told.refused += 1
        elif status != 200:
            told.lose(f"status {status}")
        else:
            told.latencies_s.append(time.monotonic() - planned)
            told.compare(json.loads(answer)["results"][0]["probabilities"], clip.probabilities)

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        while self._idle and self._idle[-1][0].at_eof():  # the service closes what is idle for long, as it may
            self._idle.pop()[1].close()
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            self.connections += 1
        head = "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: audio/wav\r\nContent-Length: "
        try:
            writer.write(f"{head}{len(body)}\r\n\r\n".encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            answer = await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(lines[0].split()[1]), answer


@dataclass(frozen=True)
class Talk:
    """What somebody says, and what must be heard.

    Attributes:
        samples: 16-bit sound at 16 kHz.
        utterances: each with the number of samples after which it can be known.
    """

    samples: Samples
    utterances: Sequence[tuple[int, Mapping[str, Any]]]

    @classmethod
    def of(cls, clips: Sequence[Samples], recognizer: Recognizer, seconds: float, *, seed: int) -> Talk:
        """Say clips one after the other, with pauses of 0.8 s and the noise of a room."""
        random = np.random.default_rng(seed)
        parts: list[Samples] = []
        while sum(map(len, parts)) < seconds * RATE:
            parts += [np.zeros(round(0.8 * RATE), np.float32), clips[int(random.integers(len(clips)))]]
        sound = np.concatenate(parts)[: round(seconds * RATE)]
        sound = from_pcm16(to_pcm16((sound + random.normal(scale=1e-3, size=len(sound))).astype(np.float32)))
        listener, found = Listener(rate=RATE, moments=False), []
        for start in range(0, len(sound), BLOCK):
            events = listener.hear(sound[start : start + BLOCK])
            found += [(listener.received, event) for event in events]
        found += [(listener.received, event) for event in listener.finish()]
        utterances = [
            (position, describe(recognizer, event).to_dict()) for position, event in found if isinstance(event, Spoken)
        ]
        return cls(sound, utterances)


class Speakers:
    """People who each say a talk in real time, end, and begin again in a new stream.

    Attributes:
        utterances, updates: what they were told; `updates` are running results with probabilities.
        sessions: streams that were said to their end.
        silent_updates: updates while somebody spoke that came without probabilities, because the service is busy.
    """

    def __init__(self, port: int, talks: Sequence[Talk]) -> None:
        self._port = port
        self._talks = talks
        self.utterances = Told()
        self.updates = Told()
        self.sessions = 0
        self.speaking_updates = 0
        self._samples: list[tuple[int, dict[str, Any]]] = []
        self._random = np.random.default_rng(0)

    async def run(self, stop: asyncio.Event) -> None:
        """Speak until `stop` is set; talks that are under way are then left."""
        speakers = [asyncio.create_task(self._speak_on(number)) for number in range(len(self._talks))]
        await stop.wait()
        for speaker in speakers:
            speaker.cancel()
        for outcome in await asyncio.gather(*speakers, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    def check_updates(self, recognizer: Recognizer) -> int:
        """Compare running results that were kept at random with the model's; give their number."""
        for number, update in self._samples:
            sound = self._talks[number].samples
            steps = int(min(update["time_s"] - update["start_s"], RUNNING_S) / RUNNING_STEP_S)
            stop = update["received"]
            heard = sound[stop - round(steps * RUNNING_STEP_S * RATE) : stop]
            row = map(float, recognizer.probabilities(heard, RATE))
            self.updates.compare(update["probabilities"], dict(zip(recognizer.meta.labels, row, strict=True)))
        return len(self._samples)

    async def _speak_on(self, number: int) -> None:
        await asyncio.sleep(float(self._random.uniform(0, 1.0)))  # not all in step
        while True:
            try:
                await self._speak(number)
                self.sessions += 1
            except (OSError, ConnectionClosed, TimeoutError) as error:
                self.utterances.lose(type(error).__name__)
                await asyncio.sleep(1)

    async def _speak(self, number: int) -> None:
        talk = self._talks[number]
        async with connect(f"ws://127.0.0.1:{self._port}/v1/stream", compression=None, ping_interval=None) as socket:
            await socket.send(json.dumps({"type": "hello", "version": 1, "rate": RATE}))
            await socket.recv()
            begin = time.monotonic()
            sending = asyncio.create_task(self._send(socket, talk, begin))
            try:
                await self._hear(socket, number, begin)
                await sending
            finally:
                sending.cancel()

    async def _send(self, socket: ClientConnection, talk: Talk, begin: float) -> None:
        data = to_pcm16(talk.samples)
        for start in range(0, len(talk.samples), BLOCK):
            await asyncio.sleep(begin + (start + BLOCK) / RATE - time.monotonic())
            await socket.send(data[start * BYTES_PER_SAMPLE : (start + BLOCK) * BYTES_PER_SAMPLE])
        await socket.send('{"type": "end"}')

    async def _hear(self, socket: ClientConnection, number: int, begin: float) -> None:
        expected = self._talks[number].utterances
        heard = 0
        while True:
            async with asyncio.timeout(TIMEOUT_S):
                message = json.loads(await socket.recv())
            now = time.monotonic()
            if message["type"] == "update":
                self._hear_update(number, message, now - begin)
            elif message["type"] == "utterance":
                position, wanted = expected[heard] if heard < len(expected) else (0, {"probabilities": {}})
                self.utterances.latencies_s.append(now - begin - position / RATE)
                if (message["index"], message["start_s"], message["end_s"]) == (
                    *(heard, wanted.get("start_s"), wanted.get("end_s")),
                ):
                    self.utterances.compare(message["probabilities"], wanted["probabilities"])
                else:
                    self.utterances.mixed_up += 1
                heard += 1
            elif message["type"] == "bye":
                for _ in range(heard, len(expected)):
                    self.utterances.lose("not told")
                return
            else:
                self.utterances.lose(str(message.get("code")))
                return

    def _hear_update(self, number: int, update: dict[str, Any], at_s: float) -> None:
        self.speaking_updates += update["speech"]
        if update["probabilities"] is None:
            return
        self.updates.latencies_s.append(at_s - -(-update["received"] // BLOCK) * BLOCK / RATE)
        if self._random.random() < 0.02 and len(self._samples) < 300:
            self._samples.append((number, update))
