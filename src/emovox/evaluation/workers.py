"""Computes cells, in this process or in several: fit on the training rows, predict the test rows, take the time."""

from __future__ import annotations

import inspect
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from emovox.errors import EmovoxError, ModelError
from emovox.evaluation.cells import CellKey
from emovox.evaluation.inputs import Inputs, spool, unspool
from emovox.evaluation.provenance import available_cores
from emovox.evaluation.splitting import Indices
from emovox.models.catalog import create

Array: TypeAlias = npt.NDArray[Any]

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
    """

    key: CellKey
    model: str
    parameters: Mapping[str, object]
    kind: str
    fit: Indices
    validation: Indices
    test: Indices
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcome:
    """What became of a task: probabilities of shape (test, labels) or an error, never both."""

    probabilities: Array | None = None
    error: Mapping[str, str] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    threads: int = 1
    warnings: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Data:
    """What models are shown: values of one kind, emotions and speakers, aligned."""

    values: Array
    truth: Array
    speakers: Array


def run_tasks(tasks: Sequence[Task], inputs: Inputs, *, jobs: int = 1) -> Iterator[tuple[Task, Outcome]]:
    """Compute tasks and yield each as it is finished; one that fails gives an outcome with an error.

    Args:
        tasks: in the order in which they are begun.
        inputs: what the models see.
        jobs: processes. One computes here, with all processors; several share the processors out among them.

    Yields:
        Every task once, with its outcome.
    """
    if min(jobs, len(tasks)) <= 1:
        for task in tasks:
            data = Data(inputs.values[task.kind], inputs.truth, inputs.speakers)
            yield task, run_task(task, data, threads=available_cores())
        return
    kinds = {task.kind for task in tasks}
    with tempfile.TemporaryDirectory(prefix="emovox-") as folder:
        spool({kind: inputs.values[kind] for kind in kinds}, Path(folder))
        yield from _run_in_processes(list(tasks), (inputs.truth, inputs.speakers), Path(folder), jobs)


def run_task(task: Task, data: Data, *, threads: int = 1) -> Outcome:
    """Compute one cell; whatever goes wrong in it is told in the outcome."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = _fit_and_predict(task, data)
        except Exception as error:  # a model may raise anything, and the other cells must go on
            logger.debug("%s failed", task.key.stem, exc_info=True)
            return Outcome(error=describe_error(error), threads=threads)
    told = [f"{item.category.__name__}: {str(item.message).splitlines()[0]}" for item in caught]
    return Outcome(
        probabilities=outcome[0],
        seconds={"train": round(outcome[1], 4), "test": round(outcome[2], 4)},
        threads=threads,
        warnings=list(dict.fromkeys(told)),
    )


def describe_error(error: BaseException) -> dict[str, str]:
    """Give an error as data: ``code`` and ``message``."""
    code = error.code if isinstance(error, EmovoxError) else type(error).__name__
    return {"code": code, "message": str(error) or type(error).__name__}


def _fit_and_predict(task: Task, data: Data) -> tuple[Array, float, float]:
    model = create(task.model, seed=task.key.seed, **task.parameters)
    started = time.perf_counter()
    fit_model(model, data, task.fit, task.validation)
    trained = time.perf_counter()
    given = model.predict_proba(data.values[task.test])
    tested = time.perf_counter()
    return align(given, model.classes_, task.labels), trained - started, tested - trained


def fit_model(model: Any, data: Data, fit: Indices, validation: Indices) -> None:
    """Fit a model of the catalogue.

    Args:
        model: unfitted.
        data: everything; only the rows `fit` and `validation` are shown to the model.
        fit: rows to learn from.
        validation: rows for early stopping and the like; empty for models that need none.
    """
    options: dict[str, Any] = {}
    if len(validation):
        options["validation"] = (data.values[validation], data.truth[validation])
    elif "groups" in inspect.signature(model.fit).parameters and "" not in data.speakers[fit]:
        # Where a speaker is unknown, who belongs to whom is unknown: better no groups than wrong ones.
        options["groups"] = data.speakers[fit]
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


def _run_in_processes(
    waiting: list[Task], columns: tuple[Array, Array], folder: Path, jobs: int
) -> Iterator[tuple[Task, Outcome]]:
    threads = max(1, available_cores() // jobs)
    while waiting:
        finished: set[CellKey] = set()
        try:
            for task, outcome in _run_pool(waiting, columns, folder, jobs, threads):
                finished.add(task.key)
                yield task, outcome
            return
        except BrokenProcessPool:
            waiting = [task for task in waiting if task.key not in finished]
        # A process died, out of memory perhaps. One of those that were begun last is to blame: each of them is tried
        # alone, and the rest goes on in parallel.
        suspects, waiting = waiting[: 2 * jobs + 1], waiting[2 * jobs + 1 :]
        for suspect in suspects:
            try:
                yield from _run_pool([suspect], columns, folder, 1, threads)
            except BrokenProcessPool:
                message = "the process that computed it died; the memory may have been too small"
                yield suspect, Outcome(error={"code": "worker_died", "message": message}, threads=threads)


def _run_pool(
    tasks: Sequence[Task], columns: tuple[Array, Array], folder: Path, jobs: int, threads: int
) -> Iterator[tuple[Task, Outcome]]:
    context = multiprocessing.get_context("spawn")
    # Nothing is ever sent: a worker that sees the pipe closed knows that nobody waits for it any more.
    lifeline, held_here = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), context, initializer=_start_worker, initargs=(folder, columns, threads, lifeline)
    )
    try:
        futures = {pool.submit(_work, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        held_here.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        held_here.close()
        lifeline.close()


_worker: dict[str, Any] = {}
"""What this process was given when it was started as a worker."""


def _start_worker(folder: Path, columns: tuple[Array, Array], threads: int, lifeline: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_when_alone, args=(lifeline,), daemon=True).start()
    # For libraries that are loaded later, and for those that are loaded already.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    _worker.update(values=unspool(folder), columns=columns, threads=threads, limits=threadpool_limits(threads))


def _leave_when_alone(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)


def _work(task: Task) -> Outcome:
    return run_task(task, Data(_worker["values"][task.kind], *_worker["columns"]), threads=_worker["threads"])
