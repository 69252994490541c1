"""Computes for many callers at a time: a queue of clips, a few threads, and clips of one length in one call.

Padding is not exact: half a second of silence behind a clip of two seconds moves a probability of the packaged model
by up to 0.37. So only clips of the same length share a call, which changes probabilities by 1e-7 at most.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from emovox.inference.bundle import Bundle, Floats
from emovox.server.problems import QueueFullError

WAIT_OF_OPTIONAL_S = 0.25
"""How long an optional clip may wait: after that there is a newer one."""

TURN_OF_OPTIONAL = 4
"""Of so many calls one is for optional clips, if any wait, however much else there is to do."""

LARGEST_BATCH_VALUES = 60 * 16_000
"""Values that one call computes with at most: memory grows with them, by about 3 MB for a second of sound."""


@dataclass(frozen=True)
class _Job:
    compute: Callable[[Floats], Floats]
    values: Floats
    since: float = field(default_factory=time.monotonic)
    result: Future[Floats] = field(default_factory=Future)

    def goes_with(self, other: _Job) -> bool:
        return self.values.shape == other.values.shape and self.compute == other.compute


class Batcher:
    """Threads that take what waits, the oldest first and with it all that have its length.

    Nothing waits for a batch to fill: a lone clip is computed at once, and batches form while all threads work.
    Optional clips give way to the others, but for every fourth call, and are given up where that takes too long.

    Args:
        threads: calls at a time.
        max_batch: clips in one call.
        max_waiting: clips that may wait.
        observe: told the size and the seconds of every call.
    """

    def __init__(
        self, *, threads: int, max_batch: int, max_waiting: int, observe: Callable[[int, float], None] | None = None
    ) -> None:
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._observe = observe
        self._waiting: deque[_Job] = deque()
        self._optional: deque[_Job] = deque()
        self._calls = 0
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"emovox-model-{number}", daemon=True) for number in range(threads)
        ]
        self._started = False

    def submit(self, compute: Callable[[Floats], Floats], values: Floats, *, optional: bool = False) -> Future[Floats]:
        """Compute one clip some time soon.

        Args:
            compute: takes shape (n, ...), gives shape (n, labels).
            values: one row of it.
            optional: give way to others; the result is a `QueueFullError` if that takes too long.

        Returns:
            One row of what it gives.

        Raises:
            QueueFullError: if too many wait.
        """
        job = _Job(compute, np.ascontiguousarray(values, dtype=np.float32))
        with self._changed:
            queue = self._optional if optional else self._waiting
            if self._closed or len(queue) >= self._max_waiting:
                raise QueueFullError("the model has more to do than may wait")
            queue.append(job)
            self._start()
            self._changed.notify()
        return job.result

    def close(self) -> None:
        """Compute what waits, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._started:
            for thread in self._threads:
                thread.join()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        while batch := self._take():
            running = [job for job in batch if job.result.set_running_or_notify_cancel()]
            if running:
                self._compute(running)

    def _take(self) -> list[_Job]:
        """Wait for work; give an empty list when all is done and nothing more comes."""
        with self._changed:
            while True:
                self._give_up_late()
                if self._waiting or self._optional:
                    break
                if self._closed:
                    return []
                self._changed.wait()
            self._calls += 1
            turn = self._optional and self._calls % TURN_OF_OPTIONAL == 0
            queue = self._optional if turn or not self._waiting else self._waiting
            first = queue.popleft()
            # What waits is shared out, so that one thread does not take all while another has nothing to do.
            share = -(-(1 + len(queue)) // len(self._threads))
            size = min(share, self._max_batch, max(1, LARGEST_BATCH_VALUES // max(1, first.values.size)))
            batch, rest = [first], deque[_Job]()
            for job in queue:
                (batch if len(batch) < size and job.goes_with(first) else rest).append(job)
            queue.clear()
            queue.extend(rest)
            return batch

    def _give_up_late(self) -> None:
        begin = time.monotonic() - WAIT_OF_OPTIONAL_S
        while self._optional and self._optional[0].since < begin:
            late = self._optional.popleft().result
            if late.set_running_or_notify_cancel():
                late.set_exception(QueueFullError("the model had too much to do"))

    def _compute(self, batch: list[_Job]) -> None:
        begin = time.perf_counter()
        try:
            rows = batch[0].compute(np.stack([job.values for job in batch]))
        except Exception as error:
            if len(batch) > 1:  # one clip must not spoil the others
                for job in batch:
                    self._compute([job])
            else:
                batch[0].result.set_exception(error)
            return
        for job, row in zip(batch, rows, strict=True):
            job.result.set_result(row)
        if self._observe is not None:
            self._observe(len(batch), time.perf_counter() - begin)


class SharedBundle(Bundle):
    """A bundle whose calls from any thread go through a `Batcher`; every result of a model comes this way."""

    batcher: Batcher

    @classmethod
    def shared(cls, source: str | None, batcher: Batcher) -> SharedBundle:
        """Load a bundle; each call computes on one thread, because the batcher has one for each processor."""
        bundle = cls.load(source, threads=1)
        assert isinstance(bundle, cls)  # noqa: S101 - `load` makes what it is called on
        bundle.batcher = batcher
        return bundle

    def submit(self, values: Floats, *, optional: bool = False) -> Future[Floats]:
        """Compute one row some time soon; shape (samples,) or (180,) gives shape (labels,)."""
        return self.batcher.submit(self._compute, values, optional=optional)

    def run(self, values: Any, reference: Any = None) -> Floats:
        """Compute rows as `Bundle.run` does, beside those of other callers; with a reference they go alone."""
        if reference is not None:
            return super().run(values, reference)
        rows = [self.submit(row) for row in np.asarray(values, dtype=np.float32)]
        return np.stack([row.result() for row in rows]) if rows else super().run(values)

    def _compute(self, values: Floats) -> Floats:
        return super().run(values)
