"""A live stream to the service that survives broken connections; the protocol is docs/stream.md."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from emovox.audio import Samples
from emovox.client import wire
from emovox.client.wire import ServiceError
from emovox.errors import MissingExtraError
from emovox.inference.live import Update
from emovox.inference.pcm import BYTES_PER_SAMPLE, to_pcm16
from emovox.inference.utterances import Utterance

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
except ImportError as error:
    raise MissingExtraError.for_extra("client", "emovox.client") from error

KEPT_S = 30.0
"""At most so much sound waits to be sent or confirmed; then no more is taken."""

AHEAD_S = 5.0
"""At most so much sound is sent before it is confirmed, so that pings are not stuck behind minutes of it."""

PATIENCE_S = 30.0
"""How long a broken connection is tried again."""

_MESSAGE_S = 0.1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 3.0
_RESUMABLE = frozenset({"timeout", "slow_client", "busy"})


async def stream(
    url: str,
    key: str | None,
    blocks: AsyncIterable[Samples | bytes] | Iterable[Samples | bytes],
    *,
    rate: int,
    model: str | None = None,
    adapt: bool = False,
) -> AsyncGenerator[Update | Utterance, None]:
    """Send blocks of sound, give what the service says; see `emovox.client.Client.stream`."""
    hello = {"type": "hello", "version": 1, "rate": rate, "key": key, "model": model, "adapt": adapt or None}
    talk = _Talk(f"ws{url.removeprefix('http')}/v1/stream", hello, rate)
    filling = asyncio.create_task(talk.outbox.fill(blocks))
    try:
        async for event in talk.events():
            yield event
    finally:
        filling.cancel()
        with suppress(asyncio.CancelledError):
            await filling


class _Outbox:
    """Sound that the service has not confirmed, by its position in bytes from the begin."""

    def __init__(self, limit: int, ahead: int) -> None:
        self._limit = limit
        self._ahead = ahead
        self._data = bytearray()
        self._changed = asyncio.Condition()
        self.start = 0
        self.ended = False
        self.error: BaseException | None = None

    async def fill(self, blocks: AsyncIterable[Samples | bytes] | Iterable[Samples | bytes]) -> None:
        """Take all blocks, as room allows."""
        try:
            async for block in _asynchronous(blocks):
                data = block if isinstance(block, bytes) else to_pcm16(block)
                async with self._changed:
                    await self._changed.wait_for(lambda: len(self._data) < self._limit)
                    self._data += data
                    self._changed.notify_all()
        except Exception as error:
            self.error = error
        async with self._changed:
            self.ended = True
            self._changed.notify_all()

    async def after(self, position: int, size: int) -> bytes:
        """Wait for sound behind `position`, and until little enough before it is unconfirmed; nothing is the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_due(position))
            if self.error is not None:
                raise self.error
            place = position - self.start
            return bytes(self._data[place : place + size])

    def _is_due(self, position: int) -> bool:
        known = self.ended or position < self.start + len(self._data)
        return known and position < self.start + self._ahead

    def is_whole(self, position: int) -> bool:
        """Does nothing come behind `position`?"""
        return self.ended and position >= self.start + len(self._data)

    async def forget_before(self, position: int) -> None:
        """What lies before is confirmed."""
        async with self._changed:
            del self._data[: max(0, position - self.start)]
            self.start = max(self.start, position)
            self._changed.notify_all()


class _Talk:
    """One stream, over as many connections as it takes."""

    def __init__(self, url: str, hello: dict[str, Any], rate: int) -> None:
        self._url = url
        self._hello = {name: value for name, value in hello.items() if value is not None}
        self._rate = rate
        self.outbox = _Outbox(*(round(seconds * rate) * BYTES_PER_SAMPLE for seconds in (KEPT_S, AHEAD_S)))
        self._session: str | None = None
        self._origin = 0  # where the session began, in bytes
        self._utterances = 0  # of the session
        self._over = False

    async def events(self) -> AsyncIterator[Update | Utterance]:
        """Give all events; connect again where that helps."""
        while not self._over:
            async with await self._connected() as socket:
                try:
                    async for event in self._conversation(socket):
                        yield event
                except ConnectionClosed as error:
                    if self._session is None:
                        raise ServiceError(f"the connection broke ({error})", code="unreachable") from error

    async def _connected(self) -> ClientConnection:
        give_up, pause = time.monotonic() + PATIENCE_S, _FIRST_PAUSE_S
        while True:
            try:
                return await connect(self._url, compression=None, max_size=2**20)
            except InvalidStatus as error:
                status = error.response.status_code
                raise wire.error_of_body(status, bytes(error.response.body or b"")) from error
            except (OSError, TimeoutError, InvalidHandshake) as error:
                if self._session is None or time.monotonic() > give_up:
                    raise ServiceError(
                        f"the service cannot be reached ({error or type(error).__name__})",
                        code="unreachable",
                        remedy="Is `emovox serve` running there?",
                    ) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _conversation(self, socket: ClientConnection) -> AsyncIterator[Update | Utterance]:
        resuming = {} if self._session is None else {"resume": self._session, "utterances": self._utterances}
        await socket.send(json.dumps(self._hello | resuming))
        sender: asyncio.Task[None] | None = None
        try:
            async for text in socket:
                message = json.loads(text)
                if message["type"] == "ready":
                    await self._begin(message)
                    sender = asyncio.create_task(self._send(socket, self._position(message["received"])))
                elif message["type"] == "error":
                    error = wire.error_of(message)
                    if error.code not in _RESUMABLE or self._session is None:
                        raise error
                    return
                elif message["type"] == "bye":
                    heard = self._position(message["received"])
                    self._over = self.outbox.is_whole(heard)  # if not, the service stops: on with a new session
                    await self.outbox.forget_before(heard)
                    break
                else:
                    for event in await self._event(message):
                        yield event
            if sender is not None and sender.done() and sender.exception() is not None:
                await sender  # what the source of sound raised
            if not self._over:
                await asyncio.sleep(_FIRST_PAUSE_S)
        finally:
            if sender is not None:
                sender.cancel()
                with suppress(asyncio.CancelledError, ConnectionClosed):
                    await sender

    async def _begin(self, ready: dict[str, Any]) -> None:
        if not ready["resumed"]:  # a new session, at the first sample that was not confirmed
            self._origin = self.outbox.start
            self._utterances = 0
        self._session = ready["session"]
        await self.outbox.forget_before(self._position(ready["received"]))

    async def _event(self, message: dict[str, Any]) -> list[Update | Utterance]:
        shift_s = self._origin / BYTES_PER_SAMPLE / self._rate
        if message["type"] == "update":
            await self.outbox.forget_before(self._position(message["received"]))
            return [wire.update(message, shift_s=shift_s)]
        if message["type"] == "utterance":
            self._utterances = message["index"] + 1
            if "reference" in message:  # where a new session begins, should this one be lost
                self._hello["adapt"] = message["reference"]
            return [wire.utterance(message, shift_s=shift_s)]
        return []

    async def _send(self, socket: ClientConnection, position: int) -> None:
        size = round(_MESSAGE_S * self._rate) * BYTES_PER_SAMPLE
        try:
            while data := await self.outbox.after(position, size):
                await socket.send(data)
                position += len(data)
            await socket.send(json.dumps({"type": "end"}))
        except ConnectionClosed:
            return  # the other side of the conversation sees it, too
        except Exception:
            await socket.close()  # wakes it
            raise

    def _position(self, received: int) -> int:
        return self._origin + received * BYTES_PER_SAMPLE


async def _asynchronous(
    blocks: AsyncIterable[Samples | bytes] | Iterable[Samples | bytes],
) -> AsyncIterator[Samples | bytes]:
    if isinstance(blocks, AsyncIterable):
        async for block in blocks:
            yield block
        return
    iterator = iter(blocks)
    while (item := await asyncio.to_thread(next, iterator, None)) is not None:
        yield item


def in_thread(
    begin: Callable[[], AsyncGenerator[Update | Utterance, None]],
) -> Iterator[Update | Utterance]:
    """Run an asynchronous stream in a thread with an event loop of its own, which works in notebooks, too."""
    events: queue.Queue[Update | Utterance | BaseException | None] = queue.Queue(maxsize=64)
    stopped = threading.Event()

    def put(item: Update | Utterance | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                events.put(item, timeout=0.2)
                return

    async def pump() -> None:
        source = begin()
        try:
            async for event in source:
                await asyncio.to_thread(put, event)
                if stopped.is_set():
                    return
        finally:
            await source.aclose()

    def work() -> None:
        try:
            asyncio.run(pump())
        except BaseException as error:
            put(error)
        put(None)

    thread = threading.Thread(target=work, name="emovox-stream", daemon=True)
    thread.start()
    try:
        while (item := events.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
