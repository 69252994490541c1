"""Where a figure comes from: versions, revision, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import emovox

_LIBRARIES = ("numpy", "scikit-learn", "torch", "lightning", "onnxruntime")


@cache
def provenance() -> dict[str, Any]:
    """Describe the software and the machine, without anything that names a person or a folder.

    Returns:
        ``emovox`` (version), ``revision`` (of its Git checkout; None outside of one), ``python``, ``libraries``,
        ``machine``.
    """
    return {
        "emovox": emovox.__version__,
        "revision": revision(),
        "python": platform.python_version(),
        "libraries": {name: version for name in _LIBRARIES if (version := _version(name))},
        "machine": machine(),
    }


def revision() -> str | None:
    """Give the Git revision of the checkout that emovox runs from, with ``+changes`` if files differ from it."""
    folder = Path(emovox.__file__).parent
    head = _git(folder, "rev-parse", "--short=12", "HEAD")
    if head is None or _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    return f"{head}+changes" if changed else head


def machine() -> dict[str, Any]:
    """Describe processor, cores, memory and, if torch is loaded and finds one, the graphics processor."""
    text: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": available_cores(),
        "memory_gb": _memory_gb(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text["gpu"] = torch.cuda.get_device_name(0)
    return text


def available_cores() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or "unknown"


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None  # Windows


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
