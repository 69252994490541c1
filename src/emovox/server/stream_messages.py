"""What a client of a live stream may say, checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from emovox.inference.bundle import Bundle
from emovox.inference.running import Voice
from emovox.server.problems import RequestError

VERSION = 1
"""Of the protocol in docs/stream.md."""

MIN_RATE, MAX_RATE = 8_000, 192_000
"""Rates that a stream may have, in Hz."""

_LONGEST_TEXT = 4_096
_Model = TypeVar("_Model", bound=BaseModel)


class KnownVoice(BaseModel):
    """What an earlier stream knew of a voice: the `reference` of its last utterance."""

    seconds: float = Field(ge=0, allow_inf_nan=False)
    weight_s: float = Field(ge=0, allow_inf_nan=False)
    log_ratios: dict[str, Annotated[float, Field(ge=-100, le=100)]]


class Hello(BaseModel):
    """The first message of a client."""

    type: Literal["hello"]
    version: int
    rate: int
    key: str | None = None
    model: str | None = None
    adapt: bool | KnownVoice = False
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


def known_voice(hello: Hello, bundle: Bundle) -> Voice | None:
    """Give what a new session knows of the voice, if it is to adapt to it.

    Raises:
        BundleError: ``cannot_adapt``.
        RequestError: ``other_model``.
    """
    if not hello.adapt:
        return None
    voice = Voice(bundle)
    if isinstance(hello.adapt, KnownVoice):
        try:
            voice.resume(**hello.adapt.model_dump())
        except KeyError as error:
            raise RequestError(
                "the reference is of a model with other labels", code="other_model", remedy="Begin with adapt: true."
            ) from error
    return voice


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
