"""Compute something of each of many clips in threads, one clip a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    compute: Callable[[Item], Result], clips: Sequence[Item], *, done: Callable[[int], None] | None = None
) -> list[Result]:
    """Compute something of each clip, in as many threads as torch may use.

    Clips are too short for several threads to share one well, so each thread has one of its own.

    Args:
        compute: what to compute.
        clips: what it is called with, one after the other.
        done: called with the number of finished clips after each.

    Returns:
        The results in the order of the clips.
    """
    found = []
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for result in pool.map(compute, clips):
            found.append(result)
            if done is not None:
                done(len(found))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
    return found
