"""Tasks for worker processes, in a module of their own because workers import them."""

from __future__ import annotations

import os
import signal
from typing import Any


def double(number: int) -> int:
    return 2 * number


def die_of_odd_numbers(number: int) -> int:
    """End the process as the kernel does when memory runs out."""
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def blas_threads(_: Any) -> list[int]:
    import numpy  # noqa: F401 - loads the library that is asked about
    from threadpoolctl import threadpool_info

    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
