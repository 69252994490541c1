"""The cells of a study: one (model, protocol, fold, seed) each, with what was done, measured and predicted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy.typing as npt

from emovox._files import replacing
from emovox.errors import ProtocolError
from emovox.evaluation.splitting import slug

STEP = 1e-4
"""Probabilities are kept to four decimals, which makes the file of a fold a few kilobytes."""

_LONGEST_NAME = 100

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class CellKey:
    """What identifies a cell within a study.

    Attributes:
        model: name with parameters, or a bundle's name with a part of its checksum.
        protocol: `EvaluationProtocol.key`.
        fold: number of the fold.
        seed: of the division and of the model.
    """

    model: str
    protocol: str
    fold: int
    seed: int

    @property
    def stem(self) -> str:
        """File name without its ending; a title with many parameters is cut, and told apart by a hash."""
        model = slug(self.model)
        if len(model) > _LONGEST_NAME:
            model = f"{model[:_LONGEST_NAME]}-{hashlib.sha256(self.model.encode()).hexdigest()[:8]}"
        return f"{model}.{self.protocol}.seed{self.seed}.fold{self.fold}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What was done in a cell, and what came out.

    Attributes:
        key: identity.
        protocol: name, sentence, whether speakers are separated, number of folds, name of this fold.
        clips, speakers: numbers of each part: ``train`` (all), ``validation`` (of these), ``test``.
        inputs: kind and version of what the model saw.
        seconds: wall time of ``train`` and ``test`` (prediction without feature extraction), and processor time with
            the ending ``_cpu``.
        threads: processors that the model could use.
        provenance: see `emovox.evaluation.provenance`.
        error: None, or ``code`` and ``message`` of what went wrong.
        details: anything else about the model: published figures, training corpora of a bundle, ``recipe`` (see
            `emovox.evaluation.tasks.Outcome`).
    """

    key: CellKey
    protocol: Mapping[str, Any]
    clips: Mapping[str, int]
    speakers: Mapping[str, int]
    inputs: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    threads: int = 1
    provenance: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, str] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for some rows.

    Attributes:
        rows: row numbers in the study's table, shape (n,).
        predicted: the predicted labels' numbers, shape (n,).
        probabilities: float64 of shape (n, k), as stored (see `STEP`).
    """

    rows: Array
    predicted: Array
    probabilities: Array

    @classmethod
    def of(cls, rows: Array, probabilities: Array) -> Self:
        """Take the most probable label of each row."""
        return cls(rows, probabilities.argmax(axis=1), probabilities)


Views: TypeAlias = Mapping[str, Predictions]
"""What a cell predicted: `TEST`, and by name whatever else was asked for."""

TEST, VALIDATION = "test", "validation"


def parse_cell(text: str) -> Cell | None:
    """Read a cell from JSON; None if it is no cell of this format."""
    try:
        document = json.loads(text)
        return Cell(**{**document, "key": CellKey(**document["key"])})
    except (ValueError, TypeError, KeyError):
        return None


def cell_text(cell: Cell) -> str:
    """Give a cell as a line of JSON."""
    return json.dumps(asdict(cell), ensure_ascii=False)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a file that describes a study; None where there is none.

    Raises:
        ProtocolError: if it is damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ProtocolError(
            f"cannot be read ({error})", path=path, remedy="Remove the file and give the command that made it again."
        ) from error
    return document if isinstance(document, dict) else None


def write_text(path: Path, text: str) -> None:
    """Write a file in one step."""
    with replacing(path) as file:
        file.write_text(text, encoding="utf-8")
