"""Receives request bodies: counted while they come, in bounded time and in bounded memory, and never on a disk."""

from __future__ import annotations

import asyncio
import io
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from emovox.server.metrics import Metrics
from emovox.server.problems import QueueFullError, RequestError
from emovox.server.settings import MEGABYTE, ServerSettings

MULTIPART = "multipart/form-data"
RAW_TYPES = ("audio/", "video/", "application/ogg", "application/octet-stream")
"""Begins of content types of a raw body; browsers call webm and mp4 video even without a picture."""

FIELD = "file"


@dataclass(frozen=True)
class Upload:
    """A recording as it was sent.

    Attributes:
        name: the file's name, if it came with one; for the answer only.
        file: its bytes, in memory.
    """

    name: str | None
    file: BinaryIO


@dataclass
class UploadMemory:
    """How much all request bodies of the process hold together.

    Attributes:
        limit: bytes that they may hold.
        metrics: told how much they hold.
    """

    limit: int
    metrics: Metrics
    _held: int = field(default=0, init=False)

    def take(self, count: int) -> None:
        """Take room for `count` more bytes.

        Raises:
            QueueFullError: if there is none.
        """
        if self._held + count > self.limit:
            raise QueueFullError("other uploads hold all the memory there is for them", retry_after_s=5)
        self._held += count
        self.metrics.uploads.set(self._held)

    def give_back(self, count: int) -> None:
        """Give room back."""
        self._held -= count
        self.metrics.uploads.set(self._held)


class _InMemoryParser(MultiPartParser):
    """Starlette's parser, whose files never move to a disk: the body is bounded already."""

    spool_max_size = 2**62


class _Body:
    """The bytes of one request, counted against its own limit, the common one, and the clock."""

    def __init__(self, request: Request, settings: ServerSettings, memory: UploadMemory) -> None:
        self._request = request
        self._settings = settings
        self._memory = memory
        self.received = 0

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        self._check_claim()
        stream = self._request.stream()
        begin = time.monotonic()
        while True:
            allowed = self._settings.body_timeout_s + self.received / self._settings.body_rate
            try:
                async with asyncio.timeout(begin + allowed - time.monotonic()):
                    chunk = await anext(stream, None)
            except TimeoutError as error:
                message = f"the body came too slowly: {self.received} bytes in {allowed:.0f} s"
                raise RequestError(message, code="too_slow", remedy="Send faster.") from error
            if chunk is None:
                return
            if self.received + len(chunk) > self._settings.max_body_bytes:
                raise self._too_large()
            self._memory.take(len(chunk))
            self.received += len(chunk)
            yield chunk

    def _check_claim(self) -> None:
        claimed = self._request.headers.get("content-length", "0")
        if not claimed.isdecimal() or int(claimed) > self._settings.max_body_bytes:
            raise self._too_large()

    def _too_large(self) -> RequestError:
        limit = self._settings.max_body_bytes / MEGABYTE
        message = f"the body is larger than {limit:g} MB"
        return RequestError(message, code="too_large", remedy="Send fewer, or compress them (m4a, MP3, FLAC).")


@asynccontextmanager
async def received(request: Request, settings: ServerSettings, memory: UploadMemory) -> AsyncIterator[list[Upload]]:
    """Receive the recordings of a request; they are forgotten when the block ends.

    Raises:
        RequestError: ``bad_content_type``, ``too_large``, ``too_slow``, ``no_file``, ``too_many_files``,
            ``bad_request``.
        QueueFullError: if all memory for uploads is held.
    """
    body = _Body(request, settings, memory)
    uploads: list[Upload] = []
    try:
        uploads = await _uploads(request, body, settings)
        yield uploads
    except ClientDisconnect:
        raise RequestError("the body was cut off", remedy="Send it again.") from None
    finally:
        for upload in uploads:
            upload.file.close()
        memory.give_back(body.received)


async def _uploads(request: Request, body: _Body, settings: ServerSettings) -> list[Upload]:
    content_type, _ = parse_options_header(request.headers.get("content-type", ""))
    kind = content_type.decode("latin-1").lower()
    if kind == MULTIPART:
        return await _parts(request, body, settings)
    if kind.startswith(RAW_TYPES):
        return [await _raw(body)]
    raise RequestError(
        f"the content type {kind[:100]!r} is none of a recording",
        code="bad_content_type",
        remedy=f"Send {MULTIPART} with fields {FIELD!r}, or the bytes of a recording as audio/*.",
    )


async def _raw(body: _Body) -> Upload:
    file = io.BytesIO()
    async for chunk in body.chunks():
        file.write(chunk)
    file.seek(0)
    return Upload(None, file)


async def _parts(request: Request, body: _Body, settings: ServerSettings) -> list[Upload]:
    parser = _InMemoryParser(request.headers, body.chunks(), max_files=math.inf, max_fields=settings.max_files)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        message = f"the multipart body cannot be read ({error.message})"
        raise RequestError(message, remedy="See /docs for an example.") from error
    files = [item for item in form.getlist(FIELD) if isinstance(item, UploadFile)]
    if not files:
        remedy = f"Send multipart fields called {FIELD!r}, each with a file name."
        raise RequestError("the body holds no whole file", code="no_file", remedy=remedy)
    if len(files) > settings.max_files:
        message = f"{len(files)} files are more than {settings.max_files}"
        raise RequestError(message, code="too_many_files", remedy="Send several requests.")
    return [Upload(item.filename or None, item.file) for item in files]
