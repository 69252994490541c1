"""What is evaluated: a model with parameters, the features that it sees, and how much of the training data it gets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emovox.errors import ParameterError
from emovox.models.catalog import ModelSpec, find


@dataclass(frozen=True)
class ModelChoice:
    """A model of the catalogue with parameters over the catalogue's own, and what it is trained on.

    Attributes:
        name: in the catalogue.
        parameters: of the model.
        features: feature set that it sees instead of its own input; empty for its own.
        size: share of a fold's training rows that it is fitted on, 0 < size <= 1.
        held_out: put a fifth of a fold's training rows aside (`validation_split`): networks watch them, nobody is
            fitted on them, and their probabilities are kept for calibration.

    Example:
        >>> ModelChoice("k-neighbors", {"n_neighbors": 3}, size=0.1).title
        'k-neighbors(n_neighbors=3,size=0.1)'
    """

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    features: str = ""
    size: float = 1.0
    held_out: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.size <= 1:
            raise ParameterError(f"size must lie above 0 and not above 1, got {self.size}")

    @property
    def spec(self) -> ModelSpec:
        """The catalogue's entry."""
        return find(self.name)

    @property
    def kind(self) -> str:
        """Which inputs it takes: a feature set, or ``waveform``."""
        return self.features or self.spec.input

    @property
    def title(self) -> str:
        """Name that tells it apart from the same model used otherwise; of files it says the name only."""
        given = [f"{key}={plain_value(value)}" for key, value in sorted(self.parameters.items())]
        given += [f"features={self.features}"] if self.features else []
        given += [f"size={self.size:g}"] if self.size < 1 else []
        given += ["held_out=True"] if self.held_out else []
        return f"{self.name}({','.join(given)})" if given else self.name

    @property
    def digest(self) -> str:
        """Short hash of all parameters, with whole paths; empty without any."""
        text = repr(sorted((key, str(value)) for key, value in self.parameters.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:8] if self.parameters else ""

    @property
    def wants_validation(self) -> bool:
        """Whether rows are put aside that it does not learn from."""
        watches = any(self.parameters.get(option) for option in ("early_stopping", "reduce_lr"))
        return self.held_out or (watches and self.spec.family == "network")

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data, for JSON."""
        return {
            "name": self.name,
            "parameters": {key: _json_value(plain_value(value)) for key, value in self.parameters.items()},
            "features": self.kind,
            "size": self.size,
            "held_out": self.held_out,
        }


def plain_value(value: object) -> object:
    """Shorten a path to the file's name, so that results do not tell how somebody's disk is laid out.

    Example:
        >>> plain_value("/home/somebody/weights.safetensors"), plain_value(3)
        ('weights.safetensors', 3)
    """
    return Path(value).name if isinstance(value, os.PathLike) or (isinstance(value, str) and "/" in value) else value


def _json_value(value: object) -> object:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
