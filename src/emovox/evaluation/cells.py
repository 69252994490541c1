"""The cells of a study on disk: one (model, protocol, fold, seed) each, written in one step and read back for reports.

A cell is a JSON file with what was done and measured and, if it succeeded, an ``.npz`` file beside it with

- ``rows`` (n,): row numbers in the study's table,
- ``predicted`` (n,): the predicted label's number,
- ``probabilities`` (n, k): in units of `STEP`.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from emovox._files import replacing
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
        seconds: wall time of ``train`` and ``test`` (prediction without feature extraction).
        threads: processors that the model could use.
        provenance: see `emovox.evaluation.provenance`.
        error: None, or ``code`` and ``message`` of what went wrong.
        details: anything else about the model: published figures, training corpora of a bundle.
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
    """Predictions of a cell.

    Attributes:
        rows: row numbers in the study's table, shape (n,).
        predicted: the predicted labels' numbers, shape (n,).
        probabilities: float64 of shape (n, k), as stored (see `STEP`).
    """

    rows: Array
    predicted: Array
    probabilities: Array


def write_cell(folder: Path, cell: Cell, predictions: Predictions | None) -> None:
    """Write a cell; the JSON file comes last, so that a killed run leaves no half cell that looks whole."""
    stem = cell.key.stem
    if predictions is not None:
        with replacing(folder / f"{stem}.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(
                file,
                rows=predictions.rows.astype(np.uint32),
                predicted=predictions.predicted.astype(np.uint8),
                probabilities=np.rint(predictions.probabilities / STEP).astype(np.uint16),
            )
    write_text(folder / f"{stem}.json", json.dumps(asdict(cell), ensure_ascii=False) + "\n")


def read_cell(path: Path) -> Cell | None:
    """Read a cell's JSON file; None if there is none, or it is no cell of this format."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return Cell(**{**document, "key": CellKey(**document["key"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def read_predictions(folder: Path, key: CellKey) -> Predictions | None:
    """Read a cell's predictions; None if they are missing or damaged."""
    try:
        with np.load(folder / f"{key.stem}.npz", allow_pickle=False) as file:
            return Predictions(file["rows"].astype(np.intp), file["predicted"], file["probabilities"] * STEP)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def write_text(path: Path, text: str) -> None:
    """Write a file in one step."""
    with replacing(path) as file:
        file.write_text(text, encoding="utf-8")
