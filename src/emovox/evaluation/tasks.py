"""One cell: fit a model on the training rows, predict the others, take the time."""

from __future__ import annotations

import inspect
import logging
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from emovox.errors import EmovoxError, ModelError
from emovox.evaluation.cells import TEST, VALIDATION, Array, CellKey
from emovox.evaluation.hearing import heard, kind_under
from emovox.evaluation.metrics import accuracy, confusion, uar, weighted_f1
from emovox.evaluation.splitting import Indices
from emovox.models.catalog import create

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """A cell to be computed, small enough to be sent to another process.

    Attributes:
        key: of the cell.
        model, parameters: what to create from the catalogue.
        kind: which inputs it takes.
        fit, validation, test: row numbers.
        labels: order of the columns of the result.
        training_scores: predict the rows that were fitted, too.
        conditions: predict the rows of `sample` again as they sound under each of these.
        sample: row numbers, a part of `test`.
        folder: where the state of a training is kept while it lasts, and that it is computed; None keeps nothing.
        device: for networks.
    """

    key: CellKey
    model: str
    parameters: Mapping[str, object]
    kind: str
    fit: Indices
    validation: Indices
    test: Indices
    labels: tuple[str, ...]
    training_scores: bool = False
    conditions: tuple[str, ...] = ()
    sample: Indices = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    folder: Path | None = None
    device: str = "auto"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind of input that it reads."""
        return tuple(dict.fromkeys([self.kind, *(kind_under(self.kind, name) for name in self.conditions)]))


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What became of a task.

    Attributes:
        views: probabilities by name, each of shape (rows, labels): ``test``, ``validation`` where rows were put
            aside, and each condition. None if it failed.
        error: what went wrong, or None.
        seconds: wall time of ``train`` and ``test``, and of ``predict_train`` where training rows were predicted; with
            the ending ``_cpu`` processor time.
        threads: processors that the model could use.
        scores: of the training rows, where they were predicted.
        history: of a network's epochs.
        warnings: that were raised meanwhile.
        recipe: version of how the model learns, where its class has a ``recipe``: what changes when its code does, and
            its parameters do not.
    """

    views: Mapping[str, Array] | None = None
    error: Mapping[str, str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    threads: int = 1
    scores: Mapping[str, float] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    recipe: str = ""


@dataclass(frozen=True, eq=False)
class Data:
    """What models are shown: values of one kind, emotions, speakers and corpora, aligned."""

    values: Array
    truth: Array
    speakers: Array
    corpora: Array | None = None


def run_task(task: Task, values: Mapping[str, Array], columns: tuple[Array, ...], *, threads: int = 1) -> Outcome:
    """Compute one cell; whatever goes wrong in it is told in the outcome.

    Args:
        task: what to compute.
        values: inputs by kind, each aligned with the table.
        columns: emotions, speakers and corpora of all rows.
        threads: processors that the model can use, to be told in the outcome.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = _compute(task, values, columns)
        except Exception as error:  # a model may raise anything, and the other cells must go on
            logger.debug("%s failed", task.key.stem, exc_info=True)
            return Outcome(error=describe_error(error), threads=threads)
    told = [f"{item.category.__name__}: {str(item.message).splitlines()[0]}" for item in caught]
    return replace(outcome, threads=threads, warnings=list(dict.fromkeys(told)))


def describe_error(error: BaseException) -> dict[str, str]:
    """Give an error as data: ``code`` and ``message``."""
    code = error.code if isinstance(error, EmovoxError) else type(error).__name__
    return {"code": code, "message": str(error) or type(error).__name__}


def _compute(task: Task, values: Mapping[str, Array], columns: tuple[Array, ...]) -> Outcome:
    data = Data(values[task.kind], *columns)
    model = create(task.model, seed=task.key.seed, **task.parameters)
    checkpoint = None
    if "checkpoint_dir" in model.get_params() and task.folder is not None:
        checkpoint = task.folder / f"{task.key.stem}.training"
        model.set_params(checkpoint_dir=str(checkpoint), device=task.device)
    clock = _Clock()
    fit_model(model, data, task.fit, task.validation)
    clock.stop("train")

    def predict(shown: Array) -> Array:
        return align(model.predict_proba(shown), model.classes_, task.labels)

    views = {TEST: predict(data.values[task.test])}
    clock.stop("test")
    scores: dict[str, float] = {}
    if task.training_scores:
        scores = _scores(data.truth[task.fit], predict(data.values[task.fit]), task.labels)
        clock.stop("predict_train")
    if len(task.validation):
        views[VALIDATION] = predict(data.values[task.validation])
    for condition in task.conditions:
        if len(task.sample):
            views[condition] = predict(heard(values, task.kind, condition, task.sample, speakers=data.speakers))
    if checkpoint is not None:
        shutil.rmtree(checkpoint, ignore_errors=True)
    return Outcome(
        views=views,
        seconds=clock.seconds,
        scores=scores,
        history=_history(model),
        recipe=str(getattr(model, "recipe", "")),
    )


class _Clock:
    """Takes wall time and, under names ending in ``_cpu``, processor time, which other programs do not disturb."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = (time.perf_counter(), time.process_time())

    def stop(self, name: str) -> None:
        now = (time.perf_counter(), time.process_time())
        for key, end, start in zip((name, f"{name}_cpu"), now, self._last, strict=True):
            self.seconds[key] = round(end - start, 4)
        self._last = now


def _scores(truth: Array, probabilities: Array, labels: Sequence[str]) -> dict[str, float]:
    matrix = confusion(truth, np.asarray(labels)[probabilities.argmax(axis=1)], labels)
    measures = {"uar": uar, "accuracy": accuracy, "weighted_f1": weighted_f1}
    return {name: float(measure(matrix)) for name, measure in measures.items()}


def _history(model: Any) -> dict[str, Any]:
    """Take what a network tells of its epochs; empty for other models."""
    told: dict[str, Any] = {}
    curves = getattr(model, "history_", None)
    if curves is not None:
        told = {name: [float(f"{value:.5g}") for value in curve] for name, curve in curves.items()}
        told |= {"epochs": model.n_iter_, "best_epoch": model.best_epoch_}
    return told


def fit_model(model: Any, data: Data, fit: Indices, validation: Indices) -> None:
    """Fit a model of the catalogue.

    Args:
        model: unfitted.
        data: everything; only the rows `fit` and `validation` are shown to the model.
        fit: rows to learn from.
        validation: rows for early stopping and the like; a model that watches none is not shown them.
    """
    options: dict[str, Any] = {}
    takes = inspect.signature(model.fit).parameters
    if len(validation) and "validation" in takes:
        options["validation"] = (data.values[validation], data.truth[validation])
    elif "groups" in takes and "" not in data.speakers[fit] and len(set(data.speakers[fit])) > 1:
        # Where a speaker is unknown, who belongs to whom is unknown: better no groups than wrong ones.
        options["groups"] = data.speakers[fit]
    if "corpora" in takes and data.corpora is not None:
        options["corpora"] = data.corpora[fit]
    model.fit(data.values[fit], data.truth[fit], **options)


def align(given: Array, classes: Sequence[Any], labels: Sequence[str]) -> Array:
    """Put a model's columns into the order of `labels`; a label that it was not trained on gets probability 0.

    Raises:
        ModelError: if the model gave what are no probabilities.
    """
    probabilities = np.zeros((len(given), len(labels)))
    probabilities[:, [list(labels).index(str(name)) for name in classes]] = given
    if not np.isfinite(probabilities).all() or np.abs(probabilities.sum(axis=1) - 1).max(initial=0) > 1e-3:
        raise ModelError("the model gave what are no probabilities (not finite, or not adding up to 1)")
    return probabilities
