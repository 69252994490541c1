"""What a client of a live stream may say, checked."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from emovox.server.problems import RequestError

VERSION = 1
"""Of the protocol in docs/stream.md."""

MIN_RATE, MAX_RATE = 8_000, 192_000
"""Rates that a stream may have, in Hz."""

_LONGEST_TEXT = 4_096
_Model = TypeVar("_Model", bound=BaseModel)


class Hello(BaseModel):
    """The first message of a client."""

    type: Literal["hello"]
    version: int
    rate: int
    key: str | None = None
    model: str | None = None
    resume: str | None = None
    utterances: int = Field(default=0, ge=0)


class End(BaseModel):
    """No more sound comes."""

    type: Literal["end"]


def read_hello(message: dict[str, Any]) -> Hello:
    """Read the first message.

    Raises:
        RequestError: ``bad_message``, ``bad_version``, ``bad_rate``.
    """
    hello = read(Hello, message)
    if hello.version != VERSION:
        raise RequestError(
            f"version {hello.version} is not spoken here, only {VERSION}", code="bad_version", remedy="Update one side."
        )
    if not MIN_RATE <= hello.rate <= MAX_RATE:
        raise RequestError(
            f"a rate of {hello.rate} Hz; {MIN_RATE} to {MAX_RATE} Hz are accepted", code="bad_rate", remedy="Resample."
        )
    return hello


def read(kind: type[_Model], message: dict[str, Any]) -> _Model:
    """Read a text message as it came from the WebSocket.

    Raises:
        RequestError: ``bad_message``.
    """
    text = message.get("text")
    if text is None or len(text) > _LONGEST_TEXT:
        raise RequestError(f"a short text message was expected: {kind.__name__.lower()}", code="bad_message")
    try:
        return kind.model_validate_json(text, strict=True)
    except (ValidationError, ValueError) as error:
        raise RequestError(f"no message of this protocol ({_first_fault(error)})", code="bad_message") from error


def _first_fault(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc'])) or 'JSON'}: {fault['msg']}"
