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
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import TEST, VALIDATION, Cell, Predictions
from emovox.evaluation.choices import ModelChoice
from emovox.evaluation.inputs import Inputs
from emovox.evaluation.planning import Planned, plan
from emovox.evaluation.protocols import STUDY_SEED, EvaluationProtocol
from emovox.evaluation.results import Results, load_results, open_study
from emovox.evaluation.splitting import Indices
from emovox.evaluation.tasks import Outcome, Task
from emovox.evaluation.workers import run_tasks

Progress: TypeAlias = Callable[[int, int, str], None]


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
        if choice.kind not in inputs.values:
            raise ParameterError(f"{choice.name} takes {choice.kind} input, which was not read")
    store = open_study(Path(out), inputs, labels, notes or {})
    planned = [
        one
        for seed in seeds
        for protocol in protocols
        for one in plan(
            choices, inputs.table, inputs.versions, protocol.with_seed(seed), seed=seed, labels=tuple(labels)
        )
    ]
    run_cells(planned, inputs, store, jobs=jobs, progress=progress)
    return load_results(out)


def run_cells(
    planned: Sequence[Planned],
    inputs: Inputs,
    store: CellStore,
    *,
    jobs: int = 1,
    threads: int | None = None,
    numbers: Indices | None = None,
    progress: Progress | None = None,
) -> None:
    """Compute the cells that are not in the store yet.

    Args:
        planned: cells, in the order in which they are begun.
        inputs: what the models see.
        store: where they are kept.
        jobs, threads: as for `run_tasks`.
        numbers: row number in the store's table of each row of `inputs`, shape (n,); None if they are the same.
        progress: called with (cells done, cells in all, title of the last one).
    """
    cells = {one.task.key: one.cell for one in planned}
    waiting = [one.task for one in planned if not is_done(store, one.cell)]
    done = len(planned) - len(waiting)
    if progress is not None:
        progress(done, len(planned), "")
    for task, outcome in run_tasks(waiting, inputs, jobs=jobs, threads=threads):
        _keep(store, cells[task.key], task, outcome, np.arange(len(inputs.table)) if numbers is None else numbers)
        done += 1
        if progress is not None:
            progress(done, len(planned), task.key.model)


def is_done(store: CellStore, planned: Cell) -> bool:
    """Whether a cell was computed from the same inputs and can be read again."""
    cell = store.cell(planned.key)
    if cell is None or cell.error is not None or cell.key != planned.key:
        return False
    return cell.inputs == planned.inputs and store.views(cell.key) is not None


def _keep(store: CellStore, planned: Cell, task: Task, outcome: Outcome, numbers: Indices) -> None:
    details = dict(planned.details)
    for name in ("warnings", "history", "scores", "recipe"):
        if getattr(outcome, name):
            details["training_scores" if name == "scores" else name] = getattr(outcome, name)
    cell = dataclasses.replace(
        planned, seconds=outcome.seconds, threads=outcome.threads, error=outcome.error, details=details
    )
    views = None
    if outcome.views is not None:
        rows = {TEST: task.test, VALIDATION: task.validation} | dict.fromkeys(task.conditions, task.sample)
        views = {name: Predictions.of(numbers[rows[name]], given) for name, given in outcome.views.items()}
    store.write(cell, views)
