"""The HTTP and WebSocket service; needs the extra ``serve``."""

from __future__ import annotations

from emovox.server.settings import ServerSettings

__all__ = ["ServerSettings"]
