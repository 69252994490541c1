"""How far a study has come: cells done, running, left and failed, and how long the rest may take."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import Cell
from emovox.evaluation.planning import Planned
from emovox.evaluation.study import is_done
from emovox.evaluation.workers import running_mark
from emovox.studies.running import PartPlan

STUDY_EPOCHS = 100
"""What networks are trained for unless their parameters say otherwise."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Cells of a part or of a whole study.

    Attributes:
        name: of the part; empty for the whole.
        done, running, left, failed: numbers of cells. A failed one is tried again by the next run and is not counted
            as left.
        seconds_left: what the running, left and failed ones may still take with one process, guessed from the cells
            that are done; None where nothing is known of some model.
    """

    name: str
    done: int
    running: int
    left: int
    failed: int
    seconds_left: float | None

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data, for JSON."""
        return {
            "name": self.name,
            "done": self.done,
            "running": self.running,
            "left": self.left,
            "failed": self.failed,
            "seconds_left": self.seconds_left,
        }


def status(plans: Sequence[PartPlan], out: Path) -> tuple[Progress, list[Progress], list[Cell]]:
    """Count the cells of a study.

    Returns:
        The whole, in which a cell that parts share counts once; each part; and the failed cells.
    """
    store = CellStore(out)
    known = {cell.key: cell for cell in store.cells()}
    planned = {one.task.key: one for plan in plans for one in plan.cells}
    states = {key: _state(store, one, known.get(key)) for key, one in planned.items()}
    guess = _Guess([known[key] for key, state in states.items() if state == "done"])

    def count(name: str, cells: Sequence[Planned]) -> Progress:
        of = [states[one.task.key] for one in cells]
        ahead = [guess.seconds(one.cell) for one, state in zip(cells, of, strict=True) if state != "done"]
        total = None if None in ahead else round(sum(one for one in ahead if one is not None), 1)
        numbers = {state: of.count(state) for state in ("done", "running", "left", "failed")}
        return Progress(name=name, seconds_left=total, **numbers)

    parts = [count(plan.name, list({one.task.key: one for one in plan.cells}.values())) for plan in plans]
    failed = [known[key] for key, state in states.items() if state == "failed"]
    return count("", list(planned.values())), parts, failed


def _state(store: CellStore, planned: Planned, known: Cell | None) -> str:
    if is_done(store, planned.cell):
        return "done"
    try:
        process = int(running_mark(store.loose, planned.task.key).read_text(encoding="ascii"))
        os.kill(process, 0)
    except (OSError, ValueError):
        return "failed" if known is not None and known.error is not None else "left"
    return "running"


class _Guess:
    """Guesses a cell's time from those that are done: seconds for each training clip and epoch, by model or family."""

    def __init__(self, done: Sequence[Cell]) -> None:
        rates: dict[tuple[str, ...], list[float]] = {}
        for cell in done:
            seconds = sum(value for name, value in cell.seconds.items() if name.endswith("_cpu"))
            for key in _keys(cell):
                rates.setdefault(key, []).append(seconds / _work(cell))
        self._rates: Mapping[tuple[str, ...], float] = {key: float(np.mean(found)) for key, found in rates.items()}

    def seconds(self, cell: Cell) -> float | None:
        for key in _keys(cell):
            if key in self._rates:
                return self._rates[key] * _work(cell)
        return None


def _work(cell: Cell) -> float:
    """Count clips times epochs; of a network that is not trained yet, all epochs that it may take."""
    default = STUDY_EPOCHS if cell.details["family"] == "network" else 1
    wanted = cell.details["choice"]["parameters"].get("epochs", default)
    return float(max(1, cell.clips["train"]) * cell.details.get("history", {}).get("epochs", wanted))


def _keys(cell: Cell) -> tuple[tuple[str, ...], ...]:
    choice = cell.details["choice"]
    return (cell.key.model,), (choice["name"], choice["features"]), (cell.details["family"],)
