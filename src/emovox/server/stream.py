"""Live streams: `/v1/stream`, the protocol of docs/stream.md."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

from emovox.errors import EmovoxError
from emovox.inference.pcm import BYTES_PER_SAMPLE
from emovox.inference.utterances import INTERVAL_S
from emovox.server.problems import QueueFullError, RequestError, problem
from emovox.server.protocol import STOPPING
from emovox.server.session import Message, Session
from emovox.server.stream_messages import VERSION, End, Hello, known_voice, read, read_hello

_RESUMABLE = frozenset({"timeout", "slow_client", "busy"})

logger = logging.getLogger(__name__)
router = APIRouter()


@dataclass(frozen=True, kw_only=True)
class StreamLimits:
    """What a stream may do; times in seconds, sizes in bytes.

    Attributes:
        max_streams: at a time; as many may wait for their greeting, and as many are kept after their connection broke.
        hello_s: until the greeting must have come.
        idle_s: without anything from the client.
        send_s: how long a client may leave unread what is sent to it.
        busy_s: how long an utterance may wait for a place in the queue.
        resume_s: how long a session is kept after its connection broke.
        max_duration_s: of the sound.
        max_message: length of a binary message.
        ahead: messages that are read before they are worked on.
    """

    max_streams: int = 100
    hello_s: float = 10.0
    idle_s: float = 60.0
    send_s: float = 10.0
    busy_s: float = 10.0
    resume_s: float = 30.0
    max_duration_s: float = 4 * 3600.0
    max_message: int = 256 * 1024
    ahead: int = 8


@dataclass(eq=False)
class _Kept:
    """A session, who may resume it, and the connection that it has or the timer that will end it."""

    session: Session
    owner: bytes
    connection: _Connection | None = None
    timer: asyncio.TimerHandle | None = None


class Streams:
    """All streams of a process.

    Args:
        app: its `state` gives `engine`, `keys` and `metrics`.
        limits: what each may do.
    """

    def __init__(self, app: FastAPI, limits: StreamLimits) -> None:
        self.limits = limits
        self.engine = app.state.engine
        self.keys = app.state.keys
        self.metrics = app.state.metrics
        self.waiting = 0  # for their greeting
        self._kept: dict[str, _Kept] = {}

    @classmethod
    def of(cls, app: FastAPI) -> Streams:
        """Give the streams of an application."""
        if not hasattr(app.state, "streams"):
            app.state.streams = cls(app, replace(StreamLimits(), max_streams=app.state.settings.max_streams))
        streams: Streams = app.state.streams
        return streams

    @property
    def open(self) -> int:
        """Number of streams that have a connection."""
        return sum(kept.connection is not None for kept in self._kept.values())

    async def attach(self, hello: Hello, key: str | None, connection: _Connection) -> tuple[str, Session, bool]:
        """Find the session that a client wants to resume, or begin one.

        Returns:
            Its name, the session, and whether it was resumed.

        Raises:
            RequestError: ``too_many_streams``, ``other_model``.
            BundleError: ``cannot_adapt``.
        """
        owner = hashlib.sha256((key or "").encode("utf-8", "surrogatepass")).digest()
        kept = self._kept.get(hello.resume or "")
        if kept is not None and hmac.compare_digest(kept.owner, owner) and kept.session.rate == hello.rate:
            old = kept.connection
            if old is None and self.open >= self.limits.max_streams:
                raise self._full()
            kept.connection = connection
            if kept.timer is not None:
                kept.timer.cancel()
                kept.timer = None
            if old is not None:
                await old.take_over()
            return hello.resume or "", kept.session, True
        if self.open >= self.limits.max_streams:
            raise self._full()
        recognizer = self.engine.model(hello.model).recognizer
        session = Session(
            rate=hello.rate,
            predictor=self.engine,
            recognizer=recognizer,
            model=hello.model,
            voice=known_voice(hello, recognizer.bundle),
            patience_s=self.limits.busy_s,
        )
        name = secrets.token_urlsafe(16)
        self._kept[name] = _Kept(session, owner, connection)
        return name, session, False

    def park(self, name: str, connection: _Connection) -> None:
        """Keep a session whose connection broke, for a while."""
        kept = self._kept.get(name)
        if kept is None or kept.connection is not connection:  # another connection has it
            return
        kept.connection = None
        kept.timer = asyncio.get_running_loop().call_later(self.limits.resume_s, self._kept.pop, name, None)
        parked = [other for other, item in self._kept.items() if item.connection is None]
        for oldest in parked[: max(0, len(parked) - self.limits.max_streams)]:
            self._forget(oldest)

    def end(self, name: str, connection: _Connection) -> None:
        """Forget a session that is over."""
        kept = self._kept.get(name)
        if kept is not None and kept.connection is connection:
            self._forget(name)

    def _forget(self, name: str) -> None:
        kept = self._kept.pop(name)
        if kept.timer is not None:
            kept.timer.cancel()

    def _full(self) -> RequestError:
        return RequestError(
            f"{self.limits.max_streams} streams are open, which is the most",
            code="too_many_streams",
            remedy="Try again later.",
        )


@router.websocket("/v1/stream")
async def stream(websocket: WebSocket) -> None:
    """Sound in, emotions out; see docs/stream.md."""
    await _Connection(websocket, Streams.of(websocket.app)).run()


class _Gone(Exception):  # noqa: N818 - not an error
    """The client has gone."""


class _Stopping(Exception):  # noqa: N818 - not an error
    """The service stops, and the client still hears."""


class _Connection:
    def __init__(self, websocket: WebSocket, streams: Streams) -> None:
        self._socket = websocket
        self._streams = streams
        self._limits = streams.limits
        self._queue: asyncio.Queue[bytes | End | Exception] = asyncio.Queue(self._limits.ahead)
        self._held: End | Exception | None = None  # came behind sound that was taken
        self._broken: Exception | None = None  # why nothing more can be sent
        self._finished = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the client until one of both ends it."""
        await self._socket.accept()
        try:
            hello, key = await self._welcome()
            name, session, resumed = await self._streams.attach(hello, key, self)
        except (EmovoxError, _Gone, _Stopping) as error:
            await self._refuse(error)
            return
        self._streams.metrics.streams.inc()
        ended: Exception | None = _Gone()
        try:
            ended = await self._serve(name, session, hello, resumed=resumed)
        finally:
            self._streams.metrics.streams.dec()
            if _is_resumable(ended):
                self._streams.park(name, self)
            else:
                self._streams.end(name, self)
            self._finished.set()
        await self._refuse(ended)

    async def take_over(self) -> None:
        """Finish what is being heard and let another connection go on."""
        await self._stop_reading()
        self._broken = self._broken or RequestError("the session goes on in another connection", code="taken_over")
        with suppress(asyncio.QueueFull):
            self._queue.put_nowait(self._broken)  # a full queue wakes the worker by itself
        await self._finished.wait()

    async def _welcome(self) -> tuple[Hello, str | None]:
        streams = self._streams
        if streams.waiting >= self._limits.max_streams:
            raise RequestError("too many connections wait", code="too_many_streams", remedy="Try again later.")
        streams.waiting += 1
        try:
            message = await self._receive(self._limits.hello_s, "no hello came")
        finally:
            streams.waiting -= 1
        hello = read_hello(message)
        key = hello.key or _bearer(self._socket)
        if streams.keys is not None and not streams.keys.allows(key):
            raise RequestError("a valid API key is needed", code="unauthorized", remedy="Send it as key in hello.")
        streams.engine.model(hello.model)  # refuse an unknown one now
        return hello, key

    async def _serve(self, name: str, session: Session, hello: Hello, *, resumed: bool) -> Exception | None:
        """Talk with a client that was let in; give the reason of the end, None if all was said."""
        meta = self._streams.engine.model(session.model).recognizer.meta
        await self._send(
            {
                "type": "ready",
                "version": VERSION,
                "session": name,
                "resumed": resumed,
                "received": session.received,
                "resume_s": self._limits.resume_s,
                "interval_ms": round(1000 * INTERVAL_S),
                "model": {"name": meta.name, "version": meta.version, "labels": list(meta.labels)},
            }
        )
        for message in session.missed(hello.utterances) if resumed else []:
            await self._send(message)
        self._reader = asyncio.create_task(self._read())
        try:
            return await self._work(session)
        except EmovoxError as error:
            return error
        except Exception as error:
            logger.exception("unexpected error in a stream")
            return RequestError(f"something went wrong here ({type(error).__name__})", code="unexpected")
        finally:
            await self._stop_reading()

    async def _work(self, session: Session) -> Exception | None:
        while self._broken is None:
            item = await self._next()
            if isinstance(item, End | _Stopping):
                await session.finish(self._send)
                return self._broken or (item if isinstance(item, _Stopping) else None)
            if isinstance(item, Exception):
                return item
            if session.duration_s + len(item) / BYTES_PER_SAMPLE / session.rate > self._limits.max_duration_s:
                return RequestError(f"the stream is longer than {self._limits.max_duration_s:g} s", code="too_long")
            await session.hear(item, self._send, behind=lambda: not self._queue.empty())
        return self._broken

    async def _next(self) -> bytes | End | Exception:
        """Wait for what comes next; sound that has piled up is taken at once, which costs less than bit by bit."""
        item, self._held = self._held or await self._queue.get(), None
        if not isinstance(item, bytes):
            return item
        parts = [item]
        while self._held is None and not self._queue.empty():
            following = self._queue.get_nowait()
            if isinstance(following, bytes):
                parts.append(following)
            else:
                self._held = following
        return b"".join(parts)

    async def _read(self) -> None:
        """Put what comes into the queue; while it is full nothing is read, and TCP slows the sender down."""
        try:
            while True:
                message = await self._receive(self._limits.idle_s, "nothing came")
                item = self._sound(message) if message.get("text") is None else read(End, message)
                await self._queue.put(item)
                if isinstance(item, End):
                    return
        except (EmovoxError, _Gone, _Stopping) as error:
            await self._queue.put(error)

    async def _receive(self, timeout_s: float, what: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout_s):
                message = dict(await self._socket.receive())
        except TimeoutError:
            raise RequestError(f"{what} for {timeout_s:g} s", code="timeout") from None
        if message["type"] == "websocket.disconnect":
            raise _Stopping if message.get("code") == STOPPING else _Gone
        return message

    def _sound(self, message: dict[str, Any]) -> bytes:
        data: bytes = message["bytes"]
        if len(data) > self._limits.max_message:
            raise RequestError(
                f"a message of {len(data)} bytes; {self._limits.max_message} are the most",
                code="too_large",
                remedy="Send 20 to 100 ms of sound at a time.",
            )
        if len(data) % BYTES_PER_SAMPLE:
            raise RequestError("an odd number of bytes is no 16-bit sound", code="bad_message")
        return data

    async def _send(self, message: Message) -> None:
        if self._broken is not None:
            return
        try:
            async with asyncio.timeout(self._limits.send_s):
                await self._socket.send_text(json.dumps(message))
        except TimeoutError:
            self._broken = RequestError(
                f"the client read nothing for {self._limits.send_s:g} s", code="slow_client", remedy="Resume."
            )
        except (RuntimeError, WebSocketDisconnect, OSError):  # starlette's words for a closed connection
            self._broken = _Gone()

    async def _refuse(self, error: Exception | None) -> None:
        """Close the connection and say why; whether the client still hears it is another matter."""
        if isinstance(error, _Gone):
            return
        code = STOPPING if isinstance(error, _Stopping) else 1000
        if isinstance(error, EmovoxError):
            self._streams.metrics.refused(error.code)
            more = {"retry_after_s": 5} if error.code == "too_many_streams" else {}
            if isinstance(error, QueueFullError):
                more = {"retry_after_s": error.retry_after_s}
            members = problem(error, **more) | {"type": "error"}
            code = 4000 + members["status"]
            self._broken = None
            if error.code != "slow_client":
                await self._send(members)
        with suppress(TimeoutError, RuntimeError, WebSocketDisconnect, OSError):
            async with asyncio.timeout(1.0):
                await self._socket.close(code, reason=getattr(error, "code", ""))

    async def _stop_reading(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader


def _is_resumable(ended: Exception | None) -> bool:
    return isinstance(ended, _Gone) or (isinstance(ended, EmovoxError) and ended.code in _RESUMABLE)


def _bearer(socket: WebSocket) -> str | None:
    scheme, _, key = socket.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
