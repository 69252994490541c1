"""Worker processes for many small tasks: one that dies takes only its own task with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait as wait_for_any
from multiprocessing.synchronize import Event
from typing import TypeVar

from emovox.errors import FeatureError

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_AT_A_TIME = 8
"""Tasks sent to a worker together: less talk between processes, yet little to repeat when one dies."""
SPAWN = multiprocessing.get_context("spawn")
"""Not fork: this process may have threads (PyTorch's, a server's), and their locks would be copied locked."""
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

_stop: Event | None = None
"""In a worker: set when the main process was interrupted."""


def processors() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_unordered(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int
) -> Iterator[tuple[int, Result | None]]:
    """Apply a function in worker processes.

    Args:
        function: a function at the top level of a module. It handles its own exceptions: one that escapes ends all.
        tasks: its arguments, one a call.
        jobs: number of processes, >= 1.

    Yields:
        (number of the task, result) in the order in which they finish; the result is None if the process died with
        that task, for example because memory ran out or a decoder crashed.

    Raises:
        FeatureError: if no worker process can be started.
    """
    pending = deque(range(len(tasks)))
    with _single_threaded_blas():
        while pending:
            suspects = yield from _until_one_dies(function, tasks, pending, jobs)
            # One of these killed its worker. Alone, it can harm no other.
            for number in suspects:
                yield number, _alone(function, tasks[number])


def _until_one_dies(
    function: Callable[[Task], Result], tasks: Sequence[Task], pending: deque[int], jobs: int
) -> Generator[tuple[int, Result], None, list[int]]:
    """Work on `pending`; return the tasks that were under way when a worker died, none if all went well."""
    at_a_time = max(1, min(TASKS_AT_A_TIME, len(pending) // (2 * jobs)))
    running: dict[Future[list[Result]], list[int]] = {}
    stop = SPAWN.Event()
    pool = _new_pool(min(jobs, len(pending)), stop)
    try:
        while pending or running:
            while pending and len(running) < 2 * jobs:
                numbers = [pending[place] for place in range(min(at_a_time, len(pending)))]
                with _interrupts_held_back():
                    future = pool.submit(_run_all, function, [tasks[number] for number in numbers])
                running[future] = numbers
                for _ in numbers:
                    pending.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                results = future.result()
                yield from zip(running.pop(future), results, strict=True)
    except BrokenProcessPool:
        # Nothing under way at all: the worker died before its first task; _alone finds out whether any can live.
        return [number for numbers in running.values() for number in numbers] or [pending.popleft()]
    finally:
        # When interrupted, what was not begun is dropped; each worker ends after the task that it is at.
        stop.set()
        pool.shutdown(cancel_futures=True)
    return []


def _alone(function: Callable[[Task], Result], task: Task) -> Result | None:
    with _new_pool(1, SPAWN.Event()) as pool:
        try:
            with _interrupts_held_back():
                started = pool.submit(os.getpid)
            started.result()
        except BrokenProcessPool as error:
            raise FeatureError(
                "worker processes cannot be started",
                code="no_workers",
                remedy="Use jobs=1, or put your script's own calls under `if __name__ == '__main__':`.",
            ) from error
        try:
            return pool.submit(function, task).result()
        except BrokenProcessPool:
            return None


def _new_pool(jobs: int, stop: Event) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, SPAWN, initializer=_begin_worker, initargs=(stop,))


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start processes that are deaf to Ctrl-C from their first moment; here it counts once they have started.

    Ctrl-C reaches every process of the terminal, but only the main one shall answer it. What is blocked stays blocked
    in a child.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_worker(stop: Event) -> None:
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Should the main process be killed, the worker goes too: it holds both ends of its queue and would wait for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_die_with, args=(parent.sentinel,), daemon=True).start()


def _die_with(sentinel: int) -> None:
    wait_for_any([sentinel])
    os._exit(1)


def _run_all(function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    results = []
    for task in tasks:
        if _stop is not None and _stop.is_set():
            break  # nobody waits for the results any more
        results.append(function(task))
    return results


@contextmanager
def _single_threaded_blas() -> Iterator[None]:
    """Let workers that start now use one thread each; BLAS reads the environment only when it is loaded."""
    before = {name: os.environ.get(name) for name in BLAS_THREADS}
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
