"""HTTP/1.1 as uvicorn speaks it, with deadlines for clients that send or read too slowly, and a limit on connections.

uvicorn bounds only how long a connection is idle between two requests; a client that sends a byte now and then, or
never reads, would keep its connection for ever.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from emovox.server.settings import ServerSettings

STOPPING = 1012
"""Code with which streams are closed because the service stops or starts again (RFC 6455's registry)."""

LINGER_S = 1.0
"""How long what is still being sent is thrown away after the answer, so that the client gets to read the answer."""


class ServiceConfig(uvicorn.Config):
    """uvicorn's configuration with the protocols of this module.

    Attributes:
        limits: the service's settings.
    """

    def __init__(self, app: Any, *, limits: ServerSettings, **options: Any) -> None:
        self.limits = limits
        super().__init__(
            app,
            host=limits.host,
            port=limits.port,
            http=DeadlineProtocol,
            ws=StreamProtocol,
            timeout_keep_alive=limits.keep_alive_s,
            timeout_graceful_shutdown=limits.shutdown_s,
            server_header=False,
            **options,
        )


class DeadlineProtocol(H11Protocol):
    """One connection."""

    config: ServiceConfig

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or end at once what is one connection too many."""
        super().connection_made(transport)
        # asyncio does this itself only for sockets that it has opened itself. Without it every answer, which is written
        # in two pieces, waits 40 ms for the client's acknowledgement of the first one.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.config.limits.max_connections:
            transport.abort()
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._cancel_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that has begun must be whole in time, however its bytes trickle in."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop(head=True)
        elif self._head_timer is None and not self.transport.is_closing():
            self._expect_head()

    def on_response_complete(self) -> None:
        """Go on to the next request; a client that is still sending for this one is cut off."""
        unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if unread:
            self.loop.call_later(LINGER_S, self.transport.abort)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over; a stream keeps its own deadlines."""
        self._cancel_timers()
        super().handle_websocket_upgrade(event)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self._stop(write=True)
        self._write_timer = self.loop.call_later(self.config.limits.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        self._stop(write=True)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.config.limits.head_timeout_s, self.transport.abort)

    def _cancel_timers(self) -> None:
        self._stop(head=True, write=True)

    def _stop(self, *, head: bool = False, write: bool = False) -> None:
        if head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if write and self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None


class StreamProtocol(WebSocketsSansIOProtocol):
    """A live stream; when the service stops it is told so and closes itself, where uvicorn would cut it off."""

    def shutdown(self) -> None:
        """Tell the application that nothing more is read; it may still send, and then closes."""
        if not self.handshake_complete or self.close_sent or self.disconnected:
            super().shutdown()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": STOPPING})
