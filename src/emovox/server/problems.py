"""Errors as RFC 9457 problem details, with the codes of `emovox.errors`."""

from __future__ import annotations

import http
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from emovox.errors import EmovoxError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:emovox:problem:"

_STATUS = {
    "bad_request": 400,
    "bad_message": 400,
    "bad_version": 400,
    "no_file": 400,
    "unauthorized": 401,
    "bad_origin": 403,
    "bad_host": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "timeout": 408,
    "slow_client": 408,
    "taken_over": 409,
    "too_large": 413,
    "too_long": 413,
    "too_many_files": 413,
    "bad_content_type": 415,
    "not_audio": 415,
    "queue_full": 429,
    "too_many_streams": 429,
    "failed": 500,
    "unexpected": 500,
    "shutting_down": 503,
    "busy": 503,
}
"""Status of each code; all others are faults of what was sent: 422."""

_CODE_OF_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 422: "bad_parameter"}


class RequestError(EmovoxError):
    """A request that cannot be answered as it is."""

    default_code = "bad_request"


class QueueFullError(EmovoxError):
    """There is more to do than may wait.

    Args:
        message: what is full.
        retry_after_s: when there may be room again, in seconds.
    """

    default_code = "queue_full"

    def __init__(self, message: str = "the queue is full", *, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = max(1, math.ceil(retry_after_s))
        super().__init__(message, remedy=f"Try again in {self.retry_after_s} s.")

    def __reduce__(self) -> tuple[object, ...]:
        return (_full, (self.message, self.retry_after_s))


def _full(message: str, retry_after_s: float) -> QueueFullError:
    return QueueFullError(message, retry_after_s=retry_after_s)


def status_of(code: str) -> int:
    """HTTP status of an error's code."""
    return _STATUS.get(code, 422)


def problem(error: EmovoxError, **more: Any) -> dict[str, Any]:
    """Describe an error as the members of a problem document; `more` are further members."""
    status = status_of(error.code)
    members: dict[str, Any] = {
        "type": TYPE_PREFIX + error.code,
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    if error.remedy:
        members["remedy"] = error.remedy
    return members | more


def problem_response(error: EmovoxError, **more: Any) -> JSONResponse:
    """Answer with an error."""
    members = problem(error, **more)
    headers: dict[str, str] = {}
    if isinstance(error, QueueFullError):
        headers["Retry-After"] = str(error.retry_after_s)
    if members["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="emovox"'
    return JSONResponse(members, members["status"], headers, MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(EmovoxError, _on_emovox_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_bad_parameter)


async def _on_emovox_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EmovoxError)  # noqa: S101 - what it is registered for
    return problem_response(error)


async def _on_http_exception(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    code = _CODE_OF_STATUS.get(error.status_code, "bad_request")
    members = problem(RequestError(str(error.detail), code=code), status=error.status_code)
    members["title"] = http.HTTPStatus(error.status_code).phrase
    return JSONResponse(members, error.status_code, _kept(error.headers), MEDIA_TYPE)


async def _on_bad_parameter(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = [f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in error.errors()]
    return problem_response(RequestError("; ".join(faults), code="bad_parameter", remedy="See /docs."))


def _kept(headers: Mapping[str, str] | None) -> dict[str, str]:
    return dict(headers or {})
