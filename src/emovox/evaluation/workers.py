"""Computes the cells of a study, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from emovox.evaluation.cells import CellKey
from emovox.evaluation.inputs import Inputs, spool, unspool
from emovox.evaluation.provenance import available_cores
from emovox.evaluation.tasks import Outcome, Task, run_task

COLUMNS = "columns.npz"
"""Emotions, speakers and corpora of all rows, in the folder that holds what the models see."""


def run_tasks(
    tasks: Sequence[Task], inputs: Inputs, *, jobs: int = 1, threads: int | None = None
) -> Iterator[tuple[Task, Outcome]]:
    """Compute tasks and yield each as it is finished; one that fails gives an outcome with an error.

    Args:
        tasks: in the order in which they are begun.
        inputs: what the models see.
        jobs: processes.
        threads: processors for each process, which then is always one of its own, so that numbers do not depend on
            `jobs`. None: one job computes here, with all processors; several share the processors out among them.

    Yields:
        Every task once, with its outcome.
    """
    columns = (inputs.truth, inputs.speakers, inputs.corpora)
    if threads is None and min(jobs, len(tasks)) <= 1:
        for task in tasks:
            yield task, run_task(task, inputs.values, columns, threads=available_cores())
        return
    if not tasks:
        return
    kinds = {kind for task in tasks for kind in task.kinds}
    with tempfile.TemporaryDirectory(prefix="emovox-") as folder:
        spool({kind: inputs.values[kind] for kind in sorted(kinds)}, Path(folder))
        np.savez(Path(folder) / COLUMNS, *columns)
        yield from _run_in_processes(list(tasks), Path(folder), jobs, threads)


def _run_in_processes(
    waiting: list[Task], folder: Path, jobs: int, threads: int | None
) -> Iterator[tuple[Task, Outcome]]:
    threads = threads or max(1, available_cores() // jobs)
    while waiting:
        finished: set[CellKey] = set()
        try:
            for task, outcome in _run_pool(waiting, folder, jobs, threads):
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
                yield from _run_pool([suspect], folder, 1, threads)
            except BrokenProcessPool:
                message = "the process that computed it died; the memory may have been too small"
                yield suspect, Outcome(error={"code": "worker_died", "message": message}, threads=threads)


def _run_pool(tasks: Sequence[Task], folder: Path, jobs: int, threads: int) -> Iterator[tuple[Task, Outcome]]:
    context = multiprocessing.get_context("spawn")
    # Nothing is ever sent: a worker that sees the pipe closed knows that nobody waits for it any more.
    lifeline, held_here = context.Pipe(duplex=False)
    # So little is handed over that a pipe takes it at once: with more, a worker that dies before it has read all would
    # leave this process waiting for ever.
    pool = ProcessPoolExecutor(
        min(jobs, len(tasks)), context, initializer=_start_worker, initargs=(folder, threads, lifeline)
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


def _start_worker(folder: Path, threads: int, lifeline: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_when_alone, args=(lifeline,), daemon=True).start()
    # For libraries that are loaded later, and for those that are loaded already.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with np.load(folder / COLUMNS, allow_pickle=False) as saved:
        columns = tuple(saved.values())
    _worker.update(values=unspool(folder), columns=columns, threads=threads, limits=threadpool_limits(threads))


def _leave_when_alone(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)


def _work(task: Task) -> Outcome:
    with _marked(task):
        return run_task(task, _worker["values"], _worker["columns"], threads=_worker["threads"])


@contextmanager
def _marked(task: Task) -> Iterator[None]:
    """Leave a file with this process' number while a cell is computed, so that others can tell."""
    if task.folder is None:
        yield
        return
    mark = running_mark(task.folder, task.key)
    mark.write_text(str(os.getpid()), encoding="ascii")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def running_mark(folder: Path, key: CellKey) -> Path:
    """Name the file that says which process computes a cell."""
    return folder / f"{key.stem}.running"
