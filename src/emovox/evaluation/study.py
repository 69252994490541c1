"""A study: models x protocols x folds x seeds over one table, as cells that are computed once and kept.

Example:
    A comparison in Python::

        inputs = read_inputs(manifest.select_labels(manifest.read("manifest.csv")).table)
        results = evaluate(["random-forest", "svc-scaled"], inputs, [RandomSplit(), SpeakerFolds()], out="results")
        for summary in results.summaries:
            print(summary.model, summary.protocol["name"], summary.scores.uar)

    With ``jobs`` above 1, a script must guard this by ``if __name__ == "__main__":``, as always with processes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError
from emovox.evaluation.cells import Cell, CellKey, Predictions, read_cell, read_predictions, write_cell
from emovox.evaluation.inputs import Inputs
from emovox.evaluation.protocols import STUDY_SEED, EvaluationProtocol, validation_split
from emovox.evaluation.provenance import provenance
from emovox.evaluation.results import Results, load_results, open_study
from emovox.evaluation.splitting import Fold, Indices
from emovox.evaluation.workers import Outcome, Task, run_tasks
from emovox.models.catalog import find

Progress: TypeAlias = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ModelChoice:
    """A model of the catalogue with parameters over the catalogue's own.

    Example:
        >>> ModelChoice("k-neighbors", {"n_neighbors": 3}).title
        'k-neighbors(n_neighbors=3)'
    """

    name: str
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name that tells it apart from the same model with other parameters; of files it says the name only."""
        given = ",".join(f"{key}={plain_value(value)}" for key, value in sorted(self.parameters.items()))
        return f"{self.name}({given})" if given else self.name

    @property
    def digest(self) -> str:
        """Short hash of all parameters, with whole paths; empty without any."""
        text = repr(sorted((key, str(value)) for key, value in self.parameters.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:8] if self.parameters else ""

    @property
    def wants_validation(self) -> bool:
        """Whether its training watches rows that it does not learn from."""
        return any(self.parameters.get(option) for option in ("early_stopping", "reduce_lr")) and (
            find(self.name).family == "network"
        )


def plain_value(value: object) -> object:
    """Shorten a path to the file's name, so that results do not tell how somebody's disk is laid out.

    Example:
        >>> plain_value("/home/somebody/weights.safetensors"), plain_value(3)
        ('weights.safetensors', 3)
    """
    return Path(value).name if isinstance(value, os.PathLike) or (isinstance(value, str) and "/" in value) else value


def evaluate(
    models: Sequence[str | ModelChoice],
    inputs: Inputs,
    protocols: Sequence[EvaluationProtocol],
    *,
    out: str | os.PathLike[str],
    labels: Sequence[str] = EMOTIONS,
    seeds: Sequence[int] = (STUDY_SEED,),
    jobs: int = 1,
    notes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Results:
    """Evaluate models under protocols; what stands in `out` already is not computed again.

    A cell that fails is recorded with its error and tried again by the next run; the others go on. A run that is
    killed loses only the cells that were being computed. Scaling, early stopping and whatever else a model learns
    see the fold's training rows only: validation rows are taken from these (`validation_split`).

    Args:
        models: names of the catalogue, or choices with parameters.
        inputs: the rows and what models take of them, with every kind that the models need.
        protocols: how rows are divided.
        out: folder of the study; it holds one table, so other rows or labels need another folder.
        labels: all classes, in the order of the probabilities; every row's emotion is one of them.
        seeds: each gives a division (where the protocol draws) and a model (where the model draws) of its own.
        jobs: processes.
        notes: anything about the rows that results should tell, such as what was dropped; JSON.
        progress: called with (cells done, cells in all, title of the last one).

    Returns:
        All results in `out`, those of earlier runs included.

    Raises:
        ParameterError: if `inputs` lack what a model takes.
        ModelError: if a model is not in the catalogue.
        ProtocolError: if a protocol cannot be carried out on these rows, or `out` holds results for other rows.
    """
    choices = [ModelChoice(model) if isinstance(model, str) else model for model in models]
    for choice in choices:
        if find(choice.name).input not in inputs.values:
            raise ParameterError(f"{choice.name} takes {find(choice.name).input} input, which was not read")
    folder = open_study(Path(out), inputs, labels, notes or {})
    planned = [
        cell
        for seed in seeds
        for protocol in protocols
        for cell in _plan(choices, inputs, protocol.with_seed(seed), seed, tuple(labels))
    ]
    cells = {task.key: cell for task, cell in planned}
    waiting = [task for task, cell in planned if not _is_done(folder, cell)]
    done = len(planned) - len(waiting)
    if progress is not None:
        progress(done, len(planned), "")
    for task, outcome in run_tasks(waiting, inputs, jobs=jobs):
        _keep(folder, cells[task.key], task, outcome)
        done += 1
        if progress is not None:
            progress(done, len(planned), task.key.model)
    return load_results(out)


def _plan(
    choices: Sequence[ModelChoice],
    inputs: Inputs,
    protocol: EvaluationProtocol,
    seed: int,
    labels: tuple[str, ...],
) -> list[tuple[Task, Cell]]:
    """Describe the cells of one protocol and seed."""
    folds = protocol.folds(inputs.table)
    told = describe_protocol(protocol, inputs.table, folds)
    planned = []
    for choice in choices:
        for number, fold in enumerate(folds):
            fit, validation = fold.train, np.empty(0, dtype=np.intp)
            if choice.wants_validation:
                fit, validation = validation_split(inputs.table, fold.train, protocol, seed=seed)
            spec = find(choice.name)
            task = Task(
                key=CellKey(model=choice.title, protocol=protocol.key, fold=number, seed=seed),
                model=choice.name,
                parameters=choice.parameters,
                kind=spec.input,
                fit=fit,
                validation=validation,
                test=fold.test,
                labels=labels,
            )
            parts = {"train": fold.train, "validation": validation, "test": fold.test}
            cell = Cell(
                key=task.key,
                protocol={**told, "fold": fold.name},
                clips={name: len(rows) for name, rows in parts.items()},
                speakers={name: _count_speakers(inputs.table, rows) for name, rows in parts.items()},
                inputs={
                    "kind": spec.input,
                    "version": inputs.versions.get(spec.input),
                    "parameters": choice.digest,
                },
                provenance=provenance(),
                details={
                    "family": spec.family,
                    "summary": spec.summary,
                    # Published for the study's parameters, so not for others.
                    "reference": {} if choice.parameters else dict(spec.reference),
                },
            )
            planned.append((task, cell))
    return planned


def describe_protocol(protocol: EvaluationProtocol, table: pd.DataFrame, folds: Sequence[Fold]) -> dict[str, Any]:
    """Give what a figure must say about its protocol, as data."""
    return {
        "name": protocol.name,
        "sentence": protocol.sentence,
        "description": protocol.describe(table),
        "separates_speakers": protocol.separates_speakers(table),
        "folds": len(folds),
    }


def _count_speakers(table: pd.DataFrame, rows: Indices) -> int:
    return len(set(table["speaker"].iloc[rows]) - {""})


def _is_done(folder: Path, planned: Cell) -> bool:
    """Whether a cell was computed from the same inputs and can be read again."""
    cell = read_cell(folder / f"{planned.key.stem}.json")
    if cell is None or cell.error is not None or cell.key != planned.key:
        return False
    same = cell.inputs == planned.inputs and cell.clips == planned.clips
    return same and read_predictions(folder, cell.key) is not None


def _keep(folder: Path, planned: Cell, task: Task, outcome: Outcome) -> None:
    details = {**planned.details, "warnings": list(outcome.warnings)} if outcome.warnings else planned.details
    cell = dataclasses.replace(
        planned, seconds=outcome.seconds, threads=outcome.threads, error=outcome.error, details=details
    )
    predictions = None
    if outcome.probabilities is not None:
        predictions = Predictions(task.test, outcome.probabilities.argmax(axis=1), outcome.probabilities)
    write_cell(folder, cell, predictions)
