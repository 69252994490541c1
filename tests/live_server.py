"""A real service for tests, and a door in front of it that can be slammed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI


@contextmanager
def serving(app: FastAPI) -> Iterator[int]:
    """Serve an application in a thread; gives the port."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws_ping_interval=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)


class Door:
    """Passes bytes on between a client and a service."""

    def __init__(self) -> None:
        self.port = 0
        self.opened = 0
        self.passed = 0  # bytes to the service
        self.on_bytes: Callable[[], None] = lambda: None
        self._writers: list[asyncio.StreamWriter] = []

    def slam(self) -> None:
        """Break all connections without a word."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, inward: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4_096):
                writer.write(data)
                await writer.drain()
                if inward:
                    self.passed += len(data)
                    self.on_bytes()
        writer.transport.abort()

    def entrance(self, target: int) -> Callable[..., Coroutine[Any, Any, None]]:
        async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.opened += 1
            theirs, ours = await asyncio.open_connection("127.0.0.1", target)
            self._writers += [writer, ours]
            await asyncio.gather(self._pass(reader, ours, inward=True), self._pass(theirs, writer, inward=False))

        return enter


@asynccontextmanager
async def door_to(target: int) -> AsyncIterator[Door]:
    """Open a door to the service at port `target`."""
    door = Door()
    server = await asyncio.start_server(door.entrance(target), "127.0.0.1", 0)
    door.port = server.sockets[0].getsockname()[1]
    try:
        yield door
    finally:
        door.slam()
        server.close()
