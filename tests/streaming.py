"""What tests of live streams share: talking with a service, and what it should say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from scenes import RATE, Floats
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from emovox.audio import Waveform
from emovox.inference.recognizer import Recognizer
from emovox.server.stream import Streams

Json = dict[str, Any]
HELLO = {"type": "hello", "version": 1, "rate": RATE}


def limit(app: FastAPI, **changes: Any) -> Streams:
    streams = Streams.of(app)
    streams.limits = replace(streams.limits, **changes)
    return streams


@asynccontextmanager
async def opened(port: int, **hello: Any) -> AsyncIterator[tuple[ClientConnection, Json]]:
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", max_size=None) as socket:
        await socket.send(json.dumps(HELLO | hello))
        yield socket, json.loads(await socket.recv())


async def talked(
    port: int, data: bytes, sizes: list[int], *, pause_s: float = 0.0, **hello: Any
) -> tuple[list[Json], int | None]:
    """Send sound in pieces of these sizes, over and over; give all messages and the code of the close."""
    async with opened(port, **hello) as (socket, ready):
        messages = [ready]

        async def speak() -> None:
            place, number = 0, 0
            while place < len(data):
                size = sizes[number % len(sizes)]
                await socket.send(data[place : place + size])
                place, number = place + size, number + 1
                await asyncio.sleep(pause_s)
            await socket.send('{"type": "end"}')

        speaking = asyncio.create_task(speak())
        messages += [message async for message in everything(socket)]
        with suppress(ConnectionClosed):
            await speaking
    return messages, socket.close_code


async def everything(socket: ClientConnection) -> AsyncIterator[Json]:
    """All messages until the connection ends, however that is."""
    with suppress(ConnectionClosed):
        while True:
            yield json.loads(await socket.recv())


def of_type(messages: list[Json], kind: str) -> list[Json]:
    return [message for message in messages if message["type"] == kind]


def wanted(bundle: Path, samples: Floats, rate: int = RATE) -> list[Json]:
    found = Recognizer(bundle).utterances(Waveform(samples, rate))
    return [{"type": "utterance", "index": index, **item.to_dict()} for index, item in enumerate(found)]


def assert_equal(found: list[Json], expected: list[Json]) -> None:
    assert [item | {"probabilities": 0, "confidence": 0} for item in found] == [
        item | {"probabilities": 0, "confidence": 0} for item in expected
    ]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)
