"""What is said of one recording: a prediction, or why there is none."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from emovox.errors import EmovoxError
from emovox.inference.adaptation import Parts

logger = logging.getLogger(__name__)


def significant(probability: float) -> float:
    """Round to six significant digits: small probabilities count as much as large ones when a voice is adapted to.

    Example:
        >>> significant(0.123456789), significant(0.0000123456789)
        (0.123457, 1.23457e-05)
    """
    return float(f"{probability:.6g}")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about a recording.

    Attributes:
        path: the recording; None if it has no name.
        emotion: the most probable label; None if its probability is below the wanted confidence.
        confidence: the largest probability, 0..1.
        probabilities: of all labels, in the bundle's order; they sum to 1.
        duration_s: length of the recording in seconds.
        adapted_clips: unlabelled clips that the model was adapted with; 0 if it was not.
        parts: of what the model took at once; None where nobody kept them.
    """

    path: str | None
    emotion: str | None
    confidence: float
    probabilities: dict[str, float]
    duration_s: float
    adapted_clips: int = 0
    parts: Parts | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON, probabilities with six significant digits."""
        return {
            "path": self.path,
            "emotion": self.emotion,
            "confidence": significant(self.confidence),
            "probabilities": {label: significant(value) for label, value in self.probabilities.items()},
            "duration_s": round(self.duration_s, 6),
            "adapted_clips": self.adapted_clips,
        }


@dataclass(frozen=True)
class Failure:
    """A recording that could not be used, and why."""

    path: str | None
    error: EmovoxError

    def to_dict(self) -> dict[str, Any]:
        """Give it as plain data for JSON."""
        message = f"{self.error.message.rstrip('.')}. {self.error.remedy}" if self.error.remedy else self.error.message
        return {"path": self.path, "error": {"code": self.error.code, "message": message}}


def failure(name: str | None, error: Exception) -> Failure:
    """Report an error instead of raising it, so that one recording cannot end the work on all others."""
    if isinstance(error, EmovoxError):
        return Failure(name, error)
    logger.debug("unexpected error with %s", name, exc_info=error)
    message = f"cannot be processed ({type(error).__name__}: {error})"
    return Failure(name, EmovoxError(message, code="unexpected", path=name))
