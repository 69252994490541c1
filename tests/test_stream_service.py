"""Live streams through a real service: results, refusals, broken connections, load."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
from fastapi import FastAPI
from live_server import serving
from scenes import RATE, Floats, real_clips, scene
from streaming import HELLO, Json, assert_equal, everything, limit, of_type, opened, talked, wanted
from websockets.asyncio.client import connect

from emovox import audio
from emovox.inference.pcm import to_pcm16
from emovox.inference.recognizer import Recognizer
from emovox.server.app import create_app
from emovox.server.problems import QueueFullError
from emovox.server.settings import ServerSettings
from emovox.server.stream import _Connection


@pytest.mark.parametrize(
    ("rate", "sizes"), [(RATE, [640]), (RATE, [2, 100_000, 30]), (44_100, [8_820]), (8_000, [0, 99_998])]
)
def test_a_stream_gives_what_the_file_gives(
    live_port: int, loudness_bundle: Path, spoken: Floats, rate: int, sizes: list[int]
) -> None:
    samples = spoken if rate == RATE else audio.from_array(spoken, source_rate=RATE, rate=rate).samples
    messages, code = asyncio.run(talked(live_port, to_pcm16(samples), sizes, rate=rate))
    assert code == 1000
    ready, bye = messages[0], messages[-1]
    assert (ready["type"], ready["version"], ready["received"], ready["resumed"]) == ("ready", 1, 0, False)
    assert ready["model"]["labels"] == list(Recognizer(loudness_bundle).meta.labels)
    expected = wanted(loudness_bundle, samples, rate)
    assert len(expected) >= 3
    assert_equal(of_type(messages, "utterance"), expected)
    assert bye == {
        "type": "bye",
        "utterances": len(expected),
        "received": len(samples),
        "duration_s": pytest.approx(len(samples) / rate, abs=1e-6),
    }
    updates = of_type(messages, "update")
    assert [item["time_s"] for item in updates] == [(n + 1) / 4 for n in range(int(len(samples) / rate * 4))]
    for item in updates:
        assert item["received"] == pytest.approx(item["time_s"] * rate, abs=1)
        assert item["speech"] == (item["start_s"] is not None)
        assert item["speech"] or item["probabilities"] is None


@pytest.mark.slow
def test_the_packaged_model_gives_the_same_everywhere(corpora_dir: Path, tmp_path: Path) -> None:
    """A stereo recording at 44.1 kHz: as a live stream, as an upload, and on the command line."""
    from typer.testing import CliRunner

    from emovox.cli.main import app as command
    from emovox.client import Client, Utterance
    from emovox.inference.utterances import pieces

    sound = audio.from_array(
        scene(real_clips(corpora_dir, "ravdess", 4, seed=1))[0], source_rate=RATE, rate=44_100
    ).samples
    path = tmp_path / "talk.flac"
    soundfile.write(path, np.stack([sound, 0.5 * sound], axis=1), 44_100, subtype="PCM_24")
    printed = CliRunner().invoke(command, ["predict", str(path), "--utterances", "--format", "json"]).stdout
    (expected,) = json.loads(printed)["results"]
    rate, blocks = pieces(path)
    with serving(create_app(ServerSettings())) as port, Client(f"http://127.0.0.1:{port}") as client:
        streamed = [event for event in client.stream(blocks, rate=rate) if isinstance(event, Utterance)]
        uploaded = client.utterances(path)
    assert len(expected["utterances"]) >= 4
    for found in (streamed, uploaded):
        assert_equal(
            [item.to_dict() for item in found],
            expected["utterances"],
        )


def test_running_results_while_somebody_speaks(live_port: int, loudness_bundle: Path, spoken: Floats) -> None:
    messages, _ = asyncio.run(talked(live_port, to_pcm16(spoken[: 5 * RATE]), [3_200], pause_s=0.02))
    recognizer = Recognizer(loudness_bundle)
    told = [item for item in of_type(messages, "update") if item["probabilities"]]
    assert len(told) >= 5
    for item in told:
        length = int(min(item["time_s"] - item["start_s"], 3) / 0.5) * RATE // 2
        stop = item["received"]
        row = recognizer.probabilities(spoken[stop - length : stop], RATE)
        assert list(item["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
        assert item["confidence"] == max(item["probabilities"].values())
        assert item["emotion"] == max(item["probabilities"], key=item["probabilities"].get)


def test_no_speech_and_no_sound(live_port: int) -> None:
    messages, code = asyncio.run(talked(live_port, bytes(2 * RATE), [3_200]))
    assert (code, [item["level_db"] for item in of_type(messages, "update")]) == (1000, [-100] * 4)
    messages, code = asyncio.run(talked(live_port, b"", [3_200]))
    assert (code, messages[1:]) == (1000, [{"type": "bye", "utterances": 0, "received": 0, "duration_s": 0}])


NOBODY_SPEAKS = {
    "silence": np.zeros(2 * RATE, np.float32),
    "noise": np.random.default_rng(0).normal(scale=1e-3, size=2 * RATE).astype(np.float32),
    "too short for an emotion": np.full(RATE // 20, 0.1, np.float32),
}


@pytest.mark.parametrize("kind", NOBODY_SPEAKS)
def test_where_nobody_speaks_all_say_so(live_port: int, loudness_bundle: Path, tmp_path: Path, kind: str) -> None:
    from typer.testing import CliRunner

    from emovox.cli.main import app as command
    from emovox.client import Client

    path, samples = tmp_path / "quiet.wav", NOBODY_SPEAKS[kind]
    soundfile.write(path, samples, RATE, "PCM_16")
    options = ["predict", str(path), "--utterances", "--format", "json", "-m", str(loudness_bundle)]
    printed = CliRunner().invoke(command, options)
    assert printed.exit_code == 0
    (expected,) = json.loads(printed.stdout)["results"]
    assert expected == {"path": str(path), "utterances": [], "duration_s": len(samples) / RATE}
    with Client(f"http://127.0.0.1:{live_port}") as client:
        answer = client._http.post("/v1/predict?utterances=true", files={"file": ("quiet.wav", path.read_bytes())})
        assert answer.json()["results"] == [expected | {"path": "quiet.wav"}]
        assert client.utterances(path) == []
    messages, code = asyncio.run(talked(live_port, to_pcm16(samples), [3_200]))
    assert (code, of_type(messages, "utterance")) == (1000, [])
    assert (messages[-1]["type"], messages[-1]["utterances"]) == ("bye", 0)


async def refused(port: int, *messages: str | bytes) -> tuple[Json, int | None]:
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", max_size=None) as socket:
        for message in messages:
            await socket.send(message)
        replies = [message async for message in everything(socket)]
    return replies[-1], socket.close_code


HELLO_TEXT = json.dumps(HELLO)


@pytest.mark.parametrize(
    ("messages", "code", "close"),
    [
        (["hello"], "bad_message", 4400),
        (["[" * 4_000], "bad_message", 4400),
        (['{"type": "hello"}'], "bad_message", 4400),
        ([b"\x00\x00"], "bad_message", 4400),
        ([json.dumps(HELLO | {"rate": "16000"})], "bad_message", 4400),
        ([json.dumps(HELLO | {"utterances": -1})], "bad_message", 4400),
        ([json.dumps(HELLO | {"key": "k" * 5_000})], "bad_message", 4400),
        ([json.dumps(HELLO | {"version": 2})], "bad_version", 4400),
        ([json.dumps(HELLO | {"rate": 7_999})], "bad_rate", 4422),
        ([json.dumps(HELLO | {"rate": 10**30})], "bad_rate", 4422),
        ([json.dumps(HELLO | {"model": "none"})], "not_found", 4404),
        ([HELLO_TEXT, HELLO_TEXT], "bad_message", 4400),
        ([HELLO_TEXT, b"\x00"], "bad_message", 4400),
        ([HELLO_TEXT, bytes(256 * 1024 + 2)], "too_large", 4413),
        ([HELLO_TEXT, '{"type": "sing"}'], "bad_message", 4400),
    ],
)
def test_wrong_messages_are_refused_with_a_reason(live_port: int, messages: list[Any], code: str, close: int) -> None:
    reply, closed = asyncio.run(refused(live_port, *messages))
    assert (reply["type"], reply["code"], reply["status"] + 4000, closed) == ("error", code, close, close)
    assert reply["detail"]
    assert len(json.dumps(reply)) < 1_000


def test_fields_that_are_not_known_are_passed_over(live_port: int) -> None:
    messages, code = asyncio.run(talked(live_port, b"", [2], later="x"))
    assert (messages[0]["type"], code) == ("ready", 1000)


def test_keys(loudness_bundle: Path, tmp_path: Path) -> None:
    from emovox.server.keys import KeyRing

    key = KeyRing(tmp_path / "keys.json").create("me")
    settings = ServerSettings(models=(str(loudness_bundle),), require_keys=True, keys_file=tmp_path / "keys.json")
    with serving(create_app(settings)) as port:
        for wrong in ({}, {"key": "wrong"}):
            reply, closed = asyncio.run(refused(port, json.dumps(HELLO | wrong)))
            assert (reply["code"], closed) == ("unauthorized", 4401)
        assert asyncio.run(talked(port, b"", [2], key=key))[1] == 1000

        async def with_header() -> Json:
            headers = {"Authorization": f"Bearer {key}"}
            async with connect(f"ws://127.0.0.1:{port}/v1/stream", additional_headers=headers) as socket:
                await socket.send(HELLO_TEXT)
                return json.loads(await socket.recv())  # type: ignore[no-any-return]

        ready = asyncio.run(with_header())
        assert ready["type"] == "ready"
        # Without the key nobody resumes what was begun with it.
        reply, _ = asyncio.run(refused(port, json.dumps(HELLO | {"resume": ready["session"]})))
        assert reply["code"] == "unauthorized"


def test_pages_of_other_origins_are_kept_out(live_port: int) -> None:
    async def visit(origin: str) -> int:
        try:
            async with connect(f"ws://127.0.0.1:{live_port}/v1/stream", origin=origin):  # type: ignore[arg-type]
                return 101
        except Exception as error:
            return error.response.status_code  # type: ignore[attr-defined, no-any-return]

    assert asyncio.run(visit("https://evil.example")) == 403
    assert asyncio.run(visit(f"http://127.0.0.1:{live_port}")) == 101


def test_time_is_limited(live_app: FastAPI, live_port: int) -> None:
    limit(live_app, hello_s=0.1, idle_s=0.1, max_duration_s=1.0)
    for messages in ([], [HELLO_TEXT]):
        reply, closed = asyncio.run(refused(live_port, *messages))
        assert (reply["code"], closed) == ("timeout", 4408)
    messages, closed = asyncio.run(talked(live_port, bytes(3 * RATE), [3_200]))
    assert (messages[-1]["code"], closed) == ("too_long", 4413)


def test_the_number_of_streams_is_limited(live_app: FastAPI, live_port: int) -> None:
    async def crowd() -> tuple[Json, Json]:
        async with opened(live_port), opened(live_port), opened(live_port), opened(live_port) as (last, _):
            reply, _ = await refused(live_port, HELLO_TEXT)
            await last.send('{"type": "end"}')
            await last.wait_closed()
            async with opened(live_port) as (_, ready):
                return reply, ready

    reply, ready = asyncio.run(crowd())
    assert (reply["code"], reply["status"]) == ("too_many_streams", 429)
    assert reply["retry_after_s"] > 0
    assert ready["type"] == "ready"
    begin = time.monotonic()
    while live_app.state.metrics.streams._value.get() and time.monotonic() < begin + 5:
        time.sleep(0.01)  # the others have only just left
    assert live_app.state.metrics.streams._value.get() == 0


class FullEngine:
    """An engine that has no room now and then."""

    def __init__(self, engine: Any, refusals: float) -> None:
        self._engine = engine
        self._left = refusals

    def model(self, name: str | None = None) -> Any:
        return self._engine.model(name)

    async def parts(self, samples: Floats, *, model: str | None = None, optional: bool = False) -> Any:
        self._left -= 1
        if self._left >= 0:
            raise QueueFullError
        return await self._engine.parts(samples, model=model, optional=optional)


def test_under_load_updates_are_skipped_and_utterances_wait(
    live_app: FastAPI, live_port: int, loudness_bundle: Path, spoken: Floats
) -> None:
    streams = limit(live_app, busy_s=5.0)
    streams.engine = FullEngine(live_app.state.engine, 12)
    messages, code = asyncio.run(talked(live_port, to_pcm16(spoken), [8_000]))
    assert code == 1000
    assert_equal(of_type(messages, "utterance"), wanted(loudness_bundle, spoken))
    streams.engine = FullEngine(live_app.state.engine, float("inf"))
    limit(live_app, busy_s=0.2)
    messages, code = asyncio.run(talked(live_port, to_pcm16(spoken), [8_000]))
    assert (code, messages[-1]["code"]) == (4503, "busy")


class DeafSocket:
    """A client that says hello, speaks without end, and reads nothing but the first answer."""

    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, hello: str = HELLO_TEXT) -> None:
        self._incoming = [{"type": "websocket.receive", "text": hello}]
        self.closed: int | None = None
        self.sent = 0

    async def accept(self) -> None:
        pass

    async def receive(self) -> Json:
        await asyncio.sleep(0)
        return self._incoming.pop() if self._incoming else {"type": "websocket.receive", "bytes": bytes(8_000)}

    async def send_text(self, text: str) -> None:
        self.sent += 1
        if self.sent > 1:
            await asyncio.Event().wait()

    async def close(self, code: int, reason: str) -> None:
        self.closed = code


def test_who_does_not_read_is_dropped_but_may_resume(live_app: FastAPI) -> None:
    streams = limit(live_app, send_s=0.1)
    socket = DeafSocket()
    asyncio.run(asyncio.wait_for(_Connection(socket, streams).run(), 5))  # type: ignore[arg-type]
    assert socket.closed == 4408
    (kept,) = streams._kept.values()
    assert kept.connection is None
    assert 0 < kept.session.received <= 3 * 4_000  # no more was heard than could be told
