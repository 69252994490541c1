"""What every request passes: host, origin and key are checked, the answer gets its headers, the outcome is counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emovox.errors import EmovoxError
from emovox.server.keys import KeyRing
from emovox.server.metrics import Metrics
from emovox.server.page import HEADERS
from emovox.server.problems import RequestError, problem_response
from emovox.server.settings import ServerSettings, is_loopback

logger = logging.getLogger(__name__)

PROTECTED = ("/v1/", "/metrics")
"""Begins of paths that need a key, where keys are needed. The page, its documentation and the probes do not."""

SECURITY_HEADERS = {
    **HEADERS,
    "X-Frame-Options": "DENY",
    # Together these two let the page compute with several threads in WebAssembly.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: the application.
        settings: host and origins.
        keys: keys, one of which a request must carry; None where none is needed.
        metrics: told of every answer.
    """

    def __init__(self, app: ASGIApp, *, settings: ServerSettings, keys: KeyRing | None, metrics: Metrics) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.origins)
        self._keys = keys
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Browsers let any page open a WebSocket to any host, so only this check keeps other pages out.
        try:
            self._check_place(Headers(scope=scope))
        except EmovoxError as error:
            self._metrics.refused(error.code)
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: answered with 403
            return
        await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith(PROTECTED):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._checked(scope, receive, send_with_headers)
        except Exception as error:
            logger.exception("unexpected error in %s %s", scope["method"], _route(scope))
            if status:
                raise
            failure = RequestError(f"something went wrong here ({type(error).__name__})", code="unexpected")
            await problem_response(failure)(scope, receive, send_with_headers)
        finally:
            self._metrics.answered(_method(scope), _route(scope), status, time.perf_counter() - begin)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self._check_place(headers)
            if scope["path"].startswith(PROTECTED):
                self._check_key(headers)
        except EmovoxError as error:
            self._metrics.refused(error.code)
            await problem_response(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_place(self, headers: Headers) -> None:
        """Refuse pages of other origins, and names that somebody made point to this machine (DNS rebinding)."""
        host = headers.get("host", "")
        if self._keys is None and not is_loopback(_name_of(host)):
            raise RequestError(
                "without keys the service answers to localhost only",
                code="bad_host",
                remedy="Behind a reverse proxy start it with --behind-proxy, which asks for keys.",
            )
        origin = headers.get("origin")
        if origin is None or origin.lower() in self._origins or urlsplit(origin).netloc.lower() == host.lower():
            return
        raise RequestError(
            "pages of other origins may not use this service",
            code="bad_origin",
            remedy=f"Allow it when the service starts: --origin {origin[:100]}.",
        )

    def _check_key(self, headers: Headers) -> None:
        if self._keys is None:
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._keys.allows(key.strip()):
            raise RequestError(
                "a valid API key is needed", code="unauthorized", remedy="Send the header Authorization: Bearer KEY."
            )


def _name_of(host: str) -> str:
    """Cut the port off a Host header.

    Example:
        >>> _name_of("localhost:8000"), _name_of("[::1]:8000"), _name_of("127.0.0.1")
        ('localhost', '::1', '127.0.0.1')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _route(scope: Scope) -> str:
    """The pattern of the route that answered: few values, whatever paths are asked for."""
    return str(getattr(scope.get("route"), "path", "other"))


_METHODS: Iterable[str] = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"})


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "other"
