"""Freed memory stays in the process while a network is trained."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BLOCKS = """
import resource
import sys

import numpy as np

from emovox.models.memory import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
    keep_freed_memory()
np.ones(2_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Asks twenty times for a block of 16 MB; prints how many pages the system had to clear for that."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_blocks_are_taken_again() -> None:
    def pages(how: str) -> int:
        run = subprocess.run([sys.executable, "-c", BLOCKS, how], check=True, capture_output=True, text=True)
        return int(run.stdout)

    kept, given_back = pages("kept"), pages("given back")
    assert kept < given_back / 10, (kept, given_back)
