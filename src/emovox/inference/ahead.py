"""Work that is done ahead of who needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def ahead(function: Callable[[Any], _Result], items: Iterable[Any], jobs: int) -> Generator[_Result, None, None]:
    """Map in threads, in order, at most `jobs` + 1 items ahead of the consumer."""
    executor = ThreadPoolExecutor(jobs, thread_name_prefix="emovox-decode")
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
