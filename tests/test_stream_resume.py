"""Live streams whose connections break."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from live_server import door_to
from scenes import RATE, Floats
from streaming import Json, assert_equal, everything, limit, of_type, opened, wanted
from websockets.asyncio.client import ClientConnection

from emovox.audio import Waveform
from emovox.inference.pcm import to_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.server.stream import Streams

Breaking = Callable[[ClientConnection], Awaitable[None]]


async def abort(socket: ClientConnection) -> None:
    socket.transport.abort()


async def close_politely(socket: ClientConnection) -> None:
    await socket.close()


@pytest.mark.parametrize("breaking", [abort, close_politely])
@pytest.mark.parametrize("seed", range(3))
def test_a_broken_stream_goes_on_as_if_nothing_had_happened(
    live_port: int, loudness_bundle: Path, spoken: Floats, breaking: Breaking, seed: int
) -> None:
    data = to_pcm16(spoken)
    generator = np.random.default_rng(seed)

    async def go_on() -> list[Json]:
        heard: list[Json] = []
        resume: Json = {}
        while True:
            async with opened(live_port, **resume) as (socket, ready):
                assert ready["resumed"] == bool(resume)
                place = 2 * ready["received"]
                resume = {"resume": ready["session"], "utterances": len(of_type(heard, "utterance"))}
                stop = place + 2 * int(generator.integers(1, 4 * RATE))
                while place < min(stop, len(data)):
                    await socket.send(data[place : place + 1_234])
                    place += 1_234
                if place >= len(data):
                    await socket.send('{"type": "end"}')
                else:  # leave with an unknown part of it heard and answered
                    await asyncio.sleep(float(generator.choice([0, 0.05, 0.3])))
                    await breaking(socket)
                heard += [message async for message in everything(socket)]
                resume["utterances"] = len(of_type(heard, "utterance"))
                if heard and heard[-1]["type"] == "bye":
                    return heard

    heard = asyncio.run(go_on())
    assert_equal(of_type(heard, "utterance"), wanted(loudness_bundle, spoken))
    assert heard[-1]["duration_s"] == pytest.approx(len(spoken) / RATE, abs=1e-6)
    times = [item["time_s"] for item in of_type(heard, "update")]
    assert times == sorted(set(times))  # none twice


def test_another_connection_takes_over(live_port: int) -> None:
    async def move() -> tuple[list[Json], int | None, Json]:
        async with opened(live_port) as (first, ready):
            await first.send(bytes(2 * 4_000))
            assert json.loads(await first.recv())["type"] == "update"
            async with opened(live_port, resume=ready["session"]) as (_, again):
                left = [message async for message in everything(first)]
                return left, first.close_code, again

    left, code, again = asyncio.run(move())
    assert (code, left[-1]["code"]) == (4409, "taken_over")
    assert (again["resumed"], again["received"]) == (True, 4_000)


def test_what_is_not_known_begins_anew(live_app: FastAPI, live_port: int) -> None:
    streams = limit(live_app, resume_s=0.2)

    async def resume(wait_s: float, **changes: Any) -> bool:
        async with opened(live_port) as (socket, ready):
            await socket.send(bytes(100))
            await abort(socket)
        await asyncio.sleep(wait_s)
        async with opened(live_port, **{"resume": ready["session"], **changes}) as (socket, again):
            await socket.send('{"type": "end"}')
            await socket.wait_closed()
            return bool(again["resumed"])

    assert asyncio.run(resume(0.05))
    assert not asyncio.run(resume(0.6))
    assert not asyncio.run(resume(0.05, resume="never heard of"))
    assert not asyncio.run(resume(0.05, rate=8_000))
    asyncio.run(asyncio.sleep(0.5))
    assert not streams._kept


def test_few_broken_streams_are_kept(live_app: FastAPI, live_port: int) -> None:
    async def leave(count: int) -> None:
        for _ in range(count):
            async with opened(live_port) as (socket, _):
                await abort(socket)
        await asyncio.sleep(0.2)

    asyncio.run(leave(10))
    assert len(Streams.of(live_app)._kept) == 4


def test_a_door_that_slams(live_port: int, loudness_bundle: Path, spoken: Floats) -> None:
    """The Python client notices nothing of connections that break."""
    from emovox.client import AsyncClient, Update, Utterance

    async def listen() -> tuple[list[Utterance], list[float], int]:
        async with door_to(live_port) as door:
            seen = 0

            def slam_sometimes() -> None:
                nonlocal seen
                if door.passed - seen > 90_000:
                    seen = door.passed
                    door.slam()

            door.on_bytes = slam_sometimes
            client = AsyncClient(f"http://127.0.0.1:{door.port}")
            blocks = [spoken[start : start + 1_600] for start in range(0, len(spoken), 1_600)]
            events = [event async for event in client.stream(blocks, rate=RATE)]
            await client.close()
            times = [event.time_s for event in events if isinstance(event, Update)]
            return [event for event in events if isinstance(event, Utterance)], times, door.opened

    found, times, opened_doors = asyncio.run(listen())
    assert opened_doors >= 3
    expected = list(Recognizer(loudness_bundle).utterances(Waveform(spoken, RATE)))
    assert [item.start_s for item in found] == [round(item.start_s, 3) for item in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-5)
    assert times == sorted(set(times))
