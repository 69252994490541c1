"""Keeps freed memory in the process while a network is trained."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -3, -1, -2
"""Parameters of mallopt(3), from glibc's malloc.h."""


@cache
def keep_freed_memory() -> None:
    """Let the C library keep large blocks that are freed, instead of giving them back to the system at once.

    Every step of a training asks for the same blocks of some megabytes again. By default glibc maps and unmaps each of
    them, and the system then has to clear every page: a fifth to a quarter of the time of a small network. On systems
    without glibc nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return
    for parameter, value in ((_MMAP_THRESHOLD, 2**25), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26)):
        mallopt(parameter, value)
