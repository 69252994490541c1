"""The web page's files, with the headers that keep everything foreign out of it.

No file needs a build step. WebAssembly lies compressed beside the page and is sent so to browsers that take gzip
(all do); what asks for it otherwise gets it unpacked.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parent / "page"
"""Folder of the page's files."""

VOICE = Path(__file__).parents[1] / "data" / "voice"
"""Folder of the speech detector, which private mode runs too."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",  # WebAssembly may be compiled, JavaScript's eval stays forbidden
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",  # replay of what was chosen or said
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content security policy of the page: nothing but this server, no script or style inside the HTML."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every file; a worker is bound by the headers of its own script."""

_MEDIA_TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
# A new version of emovox shows at once; what is unchanged costs one short answer (304).
_ALWAYS_ASK = "no-cache"


def include_page(app: Starlette) -> None:
    """Give an application the page at ``/`` and its files under ``/page/``.

    Routes that the application has already come first.
    """
    files = PageFiles(PAGE)

    async def index(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    app.router.routes.append(Route("/", index, name="page", include_in_schema=False))
    app.router.routes.append(Mount("/page/voice", app=PageFiles(VOICE), name="page-voice"))
    app.router.routes.append(Mount("/page", app=files, name="page-files"))


class PageFiles(StaticFiles):
    """Files of a folder, with the page's headers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder)
        self._folder = folder

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Give a file, or its compressed form where only that lies here."""
        packed = path.endswith(".wasm")
        response = await super().get_response(f"{path}.gz" if packed else path, scope)
        response.headers.update(HEADERS)
        response.headers["Cache-Control"] = _ALWAYS_ASK
        suffix = os.path.splitext(path)[1]  # noqa: PTH122 - part of an address, not a path here
        if suffix in _MEDIA_TYPES:
            response.headers["Content-Type"] = _MEDIA_TYPES[suffix]
        if packed and response.status_code == 200:
            return _unpacked(response, self._folder / f"{path}.gz", scope)
        return response


def _unpacked(response: Response, packed: Path, scope: Scope) -> Response:
    """Mark a compressed file as such, or unpack it for a client that does not take gzip."""
    size = _unpacked_size(packed)
    response.headers["Vary"] = "Accept-Encoding"
    if "gzip" in Headers(scope=scope).get("accept-encoding", ""):
        response.headers["Content-Encoding"] = "gzip"
        response.headers["X-Unpacked-Length"] = str(size)  # what a progress bar runs to
        return response
    headers = {name: value for name, value in response.headers.items() if name not in ("content-length", "etag")}
    data = b"" if scope["method"] == "HEAD" else gzip.decompress(packed.read_bytes())
    return Response(data, headers=headers | {"content-length": str(size)})


def _unpacked_size(path: Path) -> int:
    """Read the size of what is inside from the last four bytes (RFC 1952)."""
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")
