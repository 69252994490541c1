"""Live streams of a service that is told to stop: nothing that was said is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from scenes import RATE, Floats
from serving import Process, process
from streaming import Json, assert_equal, everything, of_type, opened, wanted

from emovox.client import AsyncClient, Update, Utterance
from emovox.inference.pcm import to_pcm16

STEP = RATE // 10


def stop(service: Process) -> None:
    service.process.send_signal(signal.SIGTERM)


def test_the_utterance_under_way_is_finished(tmp_path: Path, loudness_bundle: Path, spoken: Floats) -> None:
    data = to_pcm16(spoken)

    async def until_stopped(service: Process) -> tuple[list[Json], int | None]:
        messages: list[Json] = []
        async with opened(service.port) as (socket, _):
            place = 0
            while not (messages and messages[-1].get("speech") and messages[-1]["time_s"] > 4):
                await socket.send(data[place : place + 2 * STEP])
                place += 2 * STEP
                while True:
                    try:
                        messages.append(json.loads(await asyncio.wait_for(socket.recv(), 0.02)))
                    except TimeoutError:
                        break
            stop(service)
            messages += [message async for message in everything(socket)]
            return messages, socket.close_code

    with process(tmp_path / "log", "--model", str(loudness_bundle)) as service:
        messages, code = asyncio.run(until_stopped(service))
        begin = time.monotonic()
        assert service.process.wait(10) == -signal.SIGTERM
        assert time.monotonic() - begin < 5
    assert "Traceback" not in service.log.read_text()
    assert code == 1012
    bye = messages[-1]
    assert bye["type"] == "bye"
    assert messages[-2]["type"] == "utterance"
    assert messages[-2]["end_s"] == pytest.approx(bye["duration_s"], abs=0.6)
    assert_equal(of_type(messages, "utterance"), wanted(loudness_bundle, spoken[: bye["received"]]))


def test_a_client_that_waits_for_its_turn_is_told(tmp_path: Path, loudness_bundle: Path) -> None:
    from websockets.asyncio.client import connect

    async def wait(service: Process) -> int | None:
        async with connect(f"ws://127.0.0.1:{service.port}/v1/stream") as socket:
            stop(service)
            await socket.wait_closed()
            return socket.close_code

    with process(tmp_path / "log", "--model", str(loudness_bundle)) as service:
        assert asyncio.run(wait(service)) == 1012
        assert service.process.wait(10) == -signal.SIGTERM


@pytest.mark.slow
def test_the_client_goes_on_when_the_service_is_back(tmp_path: Path, loudness_bundle: Path, spoken: Floats) -> None:
    """A restart in mid-speech: all is heard once, and times go on."""
    first = process(tmp_path / "log", "--model", str(loudness_bundle))

    async def listen(port: int) -> list[Update | Utterance]:
        async def speak() -> AsyncIterator[Floats]:
            for start in range(0, len(spoken), STEP):
                yield spoken[start : start + STEP]
                await asyncio.sleep(0.05)

        async with AsyncClient(f"http://127.0.0.1:{port}") as client:
            return [event async for event in client.stream(speak(), rate=RATE)]

    async def restart(service: Process) -> list[Update | Utterance]:
        listening = asyncio.create_task(listen(service.port))
        await asyncio.sleep(1.5)
        stop(service)
        await asyncio.to_thread(service.process.wait, 10)
        again = process(tmp_path / "again", "--model", str(loudness_bundle), "--port", str(service.port))
        await asyncio.to_thread(again.__enter__)
        try:
            return await asyncio.wait_for(listening, 60)
        finally:
            await asyncio.to_thread(again.__exit__, None, None, None)

    with first as service:
        events = asyncio.run(restart(service))
    times = [event.time_s for event in events if isinstance(event, Update)]
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(len(spoken) / RATE, abs=0.5)
    heard = [event for event in events if isinstance(event, Utterance)]
    assert np.all(np.diff([event.start_s for event in heard]) > 0)
    expected = wanted(loudness_bundle, spoken)
    assert len(expected) <= len(heard) <= len(expected) + 1  # the one that was cut in two
    covered = sum(event.end_s - event.start_s for event in heard)
    assert covered == pytest.approx(sum(item["end_s"] - item["start_s"] for item in expected), abs=0.5)
