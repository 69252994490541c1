"""Recordings that occur twice in a study, found once by the audit and kept beside the results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from emovox import manifest
from emovox.corpora.audit import audit
from emovox.errors import ProtocolError
from emovox.evaluation.cells import write_text
from emovox.evaluation.splitting import Indices

FILE = "copies.json"
Groups: TypeAlias = tuple[tuple[int, ...], ...]
"""Rows of a study's present table that hold the same recording, a tuple a recording."""


def keep_copies(
    out: Path,
    table: pd.DataFrame,
    numbers: Indices,
    *,
    jobs: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Look for recordings that occur twice and write them to ``copies.json``; once for each table.

    Args:
        out: folder of the study.
        table: its present rows, with paths that can be read.
        numbers: the row number of each, shape (n,): copies are kept by number, so that they stay valid.
        jobs: processes; None for all processors.
        progress: called with (clips read, clips in all).
    """
    identity = manifest.fingerprint(table)
    try:
        if json.loads((out / FILE).read_text(encoding="utf-8"))["manifest"] == identity:
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is none yet, or it is damaged

    def show(stage: str, done: int, total: int) -> None:
        if progress is not None and stage == "reading":
            progress(done, total)

    report = audit(table, jobs=jobs, progress=show)
    document = {
        "manifest": identity,
        "clips": report.clips,
        "groups": [{"rows": [int(numbers[row]) for row in group.rows], "kind": group.kind} for group in report.groups],
        "unreadable": len(report.failures),
        "too_short": len(report.too_short),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / FILE, json.dumps(document) + "\n")


def read_copies(folder: Path, numbers: Indices) -> Groups | None:
    """Read which rows of the present table are copies of each other; None if nobody has looked yet.

    Args:
        folder: of the study.
        numbers: the row number of each present row, shape (n,).

    Raises:
        ProtocolError: if the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    place = {int(number): row for row, number in enumerate(numbers)}
    try:
        named = [group["rows"] for group in json.loads(path.read_text(encoding="utf-8"))["groups"]]
        present = (tuple(place[number] for number in rows if number in place) for rows in named)
        return tuple(rows for rows in present if len(rows) > 1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProtocolError(
            f"cannot be read ({error})", path=path, remedy="Remove it: the next run makes it."
        ) from error
