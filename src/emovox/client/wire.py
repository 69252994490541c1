"""What the service says, as emovox's own types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emovox.errors import EmovoxError
from emovox.inference.live import Update
from emovox.inference.recognizer import Failure, Prediction
from emovox.inference.stream import TimelineSegment
from emovox.inference.utterances import Utterance


class ServiceError(EmovoxError):
    """The service refused, failed, or cannot be reached.

    Args:
        message: what it says.
        status: HTTP status; None if there was no answer.
        retry_after_s: when to try again, if it says so.
        code, path, remedy: as of `EmovoxError`.
    """

    default_code = "service"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        path: str | None = None,
        remedy: str | None = None,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, path=path, remedy=remedy)
        self.status = status
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        more = {"status": self.status, "retry_after_s": self.retry_after_s}
        return (_rebuild, (self.message, {"code": self.code, "path": self.path, "remedy": self.remedy, **more}))


def _rebuild(message: str, more: dict[str, Any]) -> ServiceError:
    return ServiceError(message, **more)


def error_of(problem: Mapping[str, Any], *, retry_after: str | None = None) -> ServiceError:
    """Read problem details."""
    wait = problem.get("retry_after_s", retry_after)
    try:
        seconds = None if wait is None else float(wait)
    except ValueError:
        seconds = None
    return ServiceError(
        str(problem.get("detail") or problem.get("title") or "the service refused"),
        code=problem.get("code"),
        remedy=problem.get("remedy"),
        status=problem.get("status"),
        retry_after_s=seconds,
    )


def error_of_body(status: int, body: bytes, *, retry_after: str | None = None) -> ServiceError:
    """Read the answer of a request that failed, whoever gave it: a proxy does not speak in problem details."""
    try:
        document = json.loads(body)
        if isinstance(document, dict) and "detail" in document:
            return error_of({"status": status, **document}, retry_after=retry_after)
    except ValueError:
        pass
    return ServiceError(f"the service answered with status {status}", status=status)


def prediction(item: Mapping[str, Any]) -> Prediction:
    """Read a prediction."""
    return Prediction(**{key: item[key] for key in ("path", "emotion", "confidence", "probabilities", "duration_s")})


def outcome(item: Mapping[str, Any]) -> Prediction | Failure:
    """Read a prediction or a failure."""
    if "error" not in item:
        return prediction(item)
    error = item["error"]
    return Failure(item["path"], ServiceError(error["message"], code=error["code"], path=item["path"]))


def utterance(item: Mapping[str, Any], *, shift_s: float = 0.0) -> Utterance:
    """Read an utterance; `shift_s` is added to its times."""
    return Utterance(
        start_s=item["start_s"] + shift_s,
        end_s=item["end_s"] + shift_s,
        adapted_s=item.get("adapted_s", 0.0),
        **{key: item[key] for key in ("emotion", "confidence", "probabilities")},
    )


def segment(item: Mapping[str, Any]) -> TimelineSegment:
    """Read a window of a timeline."""
    keys = ("start_s", "end_s", "emotion", "confidence", "probabilities")
    return TimelineSegment(**{key: item[key] for key in keys}, speech=item.get("speech"))


def update(item: Mapping[str, Any], *, shift_s: float = 0.0) -> Update:
    """Read an update of a stream; `shift_s` is added to its times."""
    start_s = item.get("start_s")
    return Update(
        time_s=item["time_s"] + shift_s,
        start_s=None if start_s is None else start_s + shift_s,
        adapted_s=item.get("adapted_s", 0.0),
        **{key: item[key] for key in ("level_db", "speech", "emotion", "confidence", "probabilities")},
    )
