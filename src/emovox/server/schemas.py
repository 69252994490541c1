"""The documents of the service, for its OpenAPI description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="`urn:emovox:problem:` and the code.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong.")
    code: str = Field(description="A stable word for programs.", examples=["too_short"])
    remedy: str | None = Field(None, description="What to do.")
    results: list[Result] | None = Field(None, description="The results, where several files were sent and all failed.")


class ModelSummary(BaseModel):
    """The model that gave the results."""

    name: str
    version: str
    labels: list[str]
    input: str
    sample_rate: int | None
    licence: str
    permits: str
    created: str


class ServedModel(ModelSummary):
    """A model at hand."""

    training: dict[str, Any] = Field(description="What it was trained on.")
    scores: list[dict[str, Any]] = Field(description="Measured figures, each with its protocol.")
    max_seconds: float | None
    neutral: list[float] | None = Field(
        description="Probabilities that its default reference has; null where streams cannot adapt it."
    )
    spread: float | None = Field(
        description="Variance of a voice's log ratios: how far few clips are trusted; null where it is not known."
    )
    size_bytes: int
    sha256: str
    url: str = Field(description="The bundle itself.")
    default: bool


class Models(BaseModel):
    """All models at hand."""

    models: list[ServedModel]


class Fault(BaseModel):
    """Why one recording could not be used."""

    code: str
    message: str


class Result(BaseModel):
    """Of one recording: an emotion, its utterances, or an error."""

    path: str | None = Field(description="Name of the file, if it was sent with one.")
    emotion: str | None = None
    confidence: float | None = Field(None, description="The largest probability.")
    probabilities: dict[str, float] | None = Field(None, description="Of all labels; they sum to 1.")
    duration_s: float | None = None
    parts: list[dict[str, Any]] | None = Field(
        None, description="With `parts=true`: `seconds` and `probabilities` of what the model took at once."
    )
    utterances: list[dict[str, Any]] | None = Field(
        None, description="With `utterances=true`, instead of an emotion; empty where nobody speaks."
    )
    error: Fault | None = None


class Answer(BaseModel):
    """Results in the order of the files."""

    model: ModelSummary
    results: list[Result]


class Status(BaseModel):
    """How the service is."""

    status: str


Problem.model_rebuild()
