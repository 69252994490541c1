"""The two clients: one for programs that wait, one for programs with an event loop."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import urlsplit

from emovox.audio import Samples
from emovox.client import live, wire
from emovox.client.wire import ServiceError
from emovox.errors import AudioError, MissingExtraError, ParameterError
from emovox.inference.live import Update
from emovox.inference.recognizer import Failure, Prediction
from emovox.inference.stream import TimelineSegment
from emovox.inference.utterances import Utterance

try:
    import httpx2 as httpx
except ImportError as error:
    raise MissingExtraError.for_extra("client", "emovox.client") from error

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""A recording: a path, the bytes of a file, or a binary file object."""

DEFAULT_URL = "http://127.0.0.1:8000"
_Part: TypeAlias = tuple[str, tuple[str, bytes | BinaryIO, str]]


class Client:
    """Talks with a service. It may be used from several threads at a time.

    Args:
        url: where the service is.
        key: API key, where the service asks for one.
        timeout_s: how long an answer may take to begin.

    Raises (all methods):
        ServiceError: if the service refuses (with its code, such as ``queue_full`` and then `retry_after_s`) or
            cannot be reached (``unreachable``).
        AudioError: ``not_found``, if a file cannot be opened here.
    """

    def __init__(self, url: str = DEFAULT_URL, *, key: str | None = None, timeout_s: float = 60.0) -> None:
        self._url, self._key = _checked(url), key
        self._http = httpx.Client(base_url=self._url, headers=_headers(key), timeout=timeout_s)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, source: Source, *, model: str | None = None) -> Prediction:
        """Recognise the emotion of a recording."""
        return _only(self.predict_many([source], model=model))

    def predict_many(self, sources: Sequence[Source], *, model: str | None = None) -> list[Prediction | Failure]:
        """Recognise the emotions of several recordings in one request; those that cannot be used become failures."""
        return [wire.outcome(item) for item in self._results(sources, _query(model=model))]

    def utterances(self, source: Source, *, model: str | None = None) -> list[Utterance]:
        """Find the utterances of a recording and recognise the emotion of each."""
        (item,) = self._results([source], _query(model=model, utterances="true"))
        return [wire.utterance(utterance) for utterance in item["utterances"]]

    def timeline(
        self, source: Source, *, window_s: float = 3.0, hop_s: float = 1.0, model: str | None = None
    ) -> Iterator[TimelineSegment]:
        """Follow the emotion through a recording; windows come while the service computes the next ones."""
        query = _query(model=model, window_s=window_s, hop_s=hop_s)
        with (
            _translated(),
            _opened([source]) as parts,
            self._http.stream("POST", "/v1/timeline", files=parts, params=query) as response,
        ):
            if not response.is_success:
                raise _refused(response, response.read())
            for line in response.iter_lines():
                yield from _segments(line)

    def models(self) -> list[dict[str, Any]]:
        """Describe the models of the service."""
        with _translated():
            return list(_document(self._http.get("/v1/models"))["models"])

    def stream(
        self, blocks: Iterable[Samples | bytes], *, rate: int, model: str | None = None, adapt: bool = False
    ) -> Iterator[Update | Utterance]:
        """Send sound while it is made, and get what the service hears.

        A connection that breaks is opened again, and the stream goes on where it was.

        Args:
            blocks: float32 samples of shape (n,), full scale 1; or 16-bit samples, little-endian, as bytes. They are
                taken in a thread of its own, not faster than the service takes them.
            rate: of the sound, in Hz, 8000 to 192000.
            model: name of the model; None takes the service's default.
            adapt: measure each utterance from those before it. It takes a model that can adapt, else the service
                refuses (``cannot_adapt``).

        Yields:
            Updates, four for a second of sound, and utterances when they have ended.
        """
        return live.in_thread(lambda: live.stream(self._url, self._key, blocks, rate=rate, model=model, adapt=adapt))

    def _results(self, sources: Sequence[Source], query: dict[str, Any]) -> list[dict[str, Any]]:
        with _translated(), _opened(sources) as parts:
            response = self._http.post("/v1/predict", files=parts, params=query)
            return _all_results(response, len(sources))


class AsyncClient:
    """As `Client`, for programs with an event loop."""

    def __init__(self, url: str = DEFAULT_URL, *, key: str | None = None, timeout_s: float = 60.0) -> None:
        self._url, self._key = _checked(url), key
        self._http = httpx.AsyncClient(base_url=self._url, headers=_headers(key), timeout=timeout_s)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(self, source: Source, *, model: str | None = None) -> Prediction:
        """As `Client.predict`."""
        return _only(await self.predict_many([source], model=model))

    async def predict_many(self, sources: Sequence[Source], *, model: str | None = None) -> list[Prediction | Failure]:
        """As `Client.predict_many`."""
        return [wire.outcome(item) for item in await self._results(sources, _query(model=model))]

    async def utterances(self, source: Source, *, model: str | None = None) -> list[Utterance]:
        """As `Client.utterances`."""
        (item,) = await self._results([source], _query(model=model, utterances="true"))
        return [wire.utterance(utterance) for utterance in item["utterances"]]

    async def timeline(
        self, source: Source, *, window_s: float = 3.0, hop_s: float = 1.0, model: str | None = None
    ) -> AsyncIterator[TimelineSegment]:
        """As `Client.timeline`."""
        query = _query(model=model, window_s=window_s, hop_s=hop_s)
        with _translated(), _opened([source]) as parts:
            async with self._http.stream("POST", "/v1/timeline", files=parts, params=query) as response:
                if not response.is_success:
                    raise _refused(response, await response.aread())
                async for line in response.aiter_lines():
                    for item in _segments(line):
                        yield item

    async def models(self) -> list[dict[str, Any]]:
        """As `Client.models`."""
        with _translated():
            return list(_document(await self._http.get("/v1/models"))["models"])

    def stream(
        self,
        blocks: AsyncIterable[Samples | bytes] | Iterable[Samples | bytes],
        *,
        rate: int,
        model: str | None = None,
        adapt: bool = False,
    ) -> AsyncIterator[Update | Utterance]:
        """As `Client.stream`; blocks may come from an asynchronous iterator, too."""
        return live.stream(self._url, self._key, blocks, rate=rate, model=model, adapt=adapt)

    async def _results(self, sources: Sequence[Source], query: dict[str, Any]) -> list[dict[str, Any]]:
        with _translated(), _opened(sources) as parts:
            response = await self._http.post("/v1/predict", files=parts, params=query)
            return _all_results(response, len(sources))


def _checked(url: str) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ParameterError(f"{url!r} is no address of a service", remedy=f"Give one such as {DEFAULT_URL}.")
    return url.rstrip("/")


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _query(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def _opened(sources: Sequence[Source]) -> Iterator[list[_Part]]:
    """Make the parts of an upload; files are closed again."""
    parts: list[_Part] = []
    ours: list[BinaryIO] = []
    try:
        for source in sources:
            name, content = _content(source)
            if isinstance(source, str | os.PathLike) and not isinstance(content, bytes):
                ours.append(content)
            parts.append(("file", (name, content, "application/octet-stream")))
        yield parts
    finally:
        for file in ours:
            file.close()


def _content(source: Source) -> tuple[str, bytes | BinaryIO]:
    if isinstance(source, bytes):
        return "recording", source
    if isinstance(source, str | os.PathLike):
        try:
            return Path(source).name, Path(source).open("rb")
        except OSError as error:
            raise AudioError(f"cannot be opened ({error.strerror})", code="not_found", path=source) from error
    return Path(str(getattr(source, "name", "recording"))).name, source


@contextmanager
def _translated() -> Iterator[None]:
    """Say in our words that the service cannot be reached."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise ServiceError("the service does not answer", code="timeout", remedy="Try again later.") from error
    except httpx.TransportError as error:
        raise ServiceError(
            f"the service cannot be reached ({error})", code="unreachable", remedy="Is `emovox serve` running there?"
        ) from error


def _refused(response: httpx.Response, body: bytes) -> ServiceError:
    return wire.error_of_body(response.status_code, body, retry_after=response.headers.get("retry-after"))


def _document(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise _refused(response, response.content)
    document: dict[str, Any] = response.json()
    return document


def _all_results(response: httpx.Response, count: int) -> list[dict[str, Any]]:
    """Give the results; where all of several files failed the service answers with a problem that holds them."""
    if not response.is_success and count > 1:
        with_results = json.loads(response.content or b"{}").get("results")
        if with_results:
            return list(with_results)
    return list(_document(response)["results"])


def _only(outcomes: list[Prediction | Failure]) -> Prediction:
    (result,) = outcomes
    if isinstance(result, Failure):
        raise result.error
    return result


def _segments(line: str) -> Iterator[TimelineSegment]:
    if not line.strip():
        return
    item = json.loads(line)
    if item.get("error"):
        raise wire.error_of(item["error"])
    if "done" not in item:
        yield wire.segment(item)
