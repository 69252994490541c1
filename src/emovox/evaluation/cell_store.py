"""Cells on disk: each in files of its own while a study runs, all in a few Parquet files when it is kept.

A loose cell is a JSON file with what was done and measured and, if it succeeded, an ``.npz`` file beside it with three
arrays for each view, such as ``test``:

- ``test.rows`` (n,): row numbers in the study's table,
- ``test.predicted`` (n,): the predicted label's number,
- ``test.probabilities`` (n, k): in units of `emovox.evaluation.cells.STEP`.

`CellStore.pack` moves all of them into ``packed/``: ``cells.parquet`` with the JSON texts, and a file of predictions
for each protocol.
"""

from __future__ import annotations

import os
import zipfile
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox._files import replacing
from emovox.evaluation.cells import STEP, Array, Cell, CellKey, Predictions, Views, cell_text, parse_cell, write_text


class CellStore:
    """The cells in a study's folder: loose ones, and those that `pack` put together.

    Args:
        folder: of the study. Nothing is made before something is written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.loose = self.folder / "cells"
        self._packed: Archive | None = None

    def write(self, cell: Cell, views: Views | None) -> None:
        """Write a cell; the JSON file comes last, so that a killed run leaves no half cell that looks whole."""
        self.loose.mkdir(parents=True, exist_ok=True)
        stem = cell.key.stem
        if views is not None:
            arrays: dict[str, Array] = {}
            for name, view in views.items():
                arrays[f"{name}.rows"] = view.rows.astype(np.uint32)
                arrays[f"{name}.predicted"] = view.predicted.astype(np.uint8)
                arrays[f"{name}.probabilities"] = np.rint(view.probabilities / STEP).astype(np.uint16)
            with replacing(self.loose / f"{stem}.npz") as partial, partial.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
        write_text(self.loose / f"{stem}.json", cell_text(cell) + "\n")

    def cells(self) -> list[Cell]:
        """Read all cells, in the order of their file names; a loose one counts before a packed one of the same key."""
        found = {cell.key.stem: cell for cell in self._archive().cells.values()}
        loose = (_read(path) for path in self.loose.glob("*.json"))
        found |= {cell.key.stem: cell for cell in loose if cell is not None}
        return [found[stem] for stem in sorted(found)]

    def cell(self, key: CellKey) -> Cell | None:
        """Read a cell; None if there is none."""
        return _read(self.loose / f"{key.stem}.json") or self._archive().cells.get(key.stem)

    def views(self, key: CellKey) -> Views | None:
        """Read a cell's predictions; None if they are missing or damaged."""
        if not (self.loose / f"{key.stem}.json").exists():
            return self._archive().views(key)
        try:
            with np.load(self.loose / f"{key.stem}.npz", allow_pickle=False) as file:
                names = [name.removesuffix(".rows") for name in file.files if name.endswith(".rows")]
                return {
                    name: Predictions(
                        file[f"{name}.rows"].astype(np.intp),
                        file[f"{name}.predicted"],
                        file[f"{name}.probabilities"] * STEP,
                    )
                    for name in names
                }
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def pack(self) -> None:
        """Move all loose cells into the archive; a run that is killed meanwhile loses nothing.

        Nobody else may be at work in the folder: what a killed run was just writing is removed.
        """
        for folder in (self.loose, self.folder / "packed"):
            for half in folder.glob(".*.partial"):
                half.unlink(missing_ok=True)
        cells = self.cells()
        if not any(self.loose.glob("*.json")):
            return
        frames: dict[str, list[pd.DataFrame]] = defaultdict(list)
        for cell in cells:
            views = None if cell.error else self.views(cell.key)
            if views is not None:
                frames[cell.key.protocol].append(_frame(cell.key.stem, views))
        packed = self.folder / "packed"
        packed.mkdir(parents=True, exist_ok=True)
        for protocol, parts in frames.items():
            table = pd.concat(parts, ignore_index=True).astype({"stem": "category", "view": "category"})
            _write_table(table, packed / f"{protocol}.parquet")
        _write_table(pd.DataFrame({"document": [cell_text(cell) for cell in cells]}), packed / "cells.parquet")
        for path in [*self.loose.glob("*.json"), *self.loose.glob("*.npz")]:
            path.unlink()
        self._packed = None

    def _archive(self) -> Archive:
        if self._packed is None:
            self._packed = Archive(self.folder / "packed")
        return self._packed


class Archive:
    """The packed cells of a folder, read when they are asked for.

    Args:
        folder: with ``cells.parquet`` and the predictions; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / "cells.parquet"
        texts: list[str] = pd.read_parquet(path)["document"].tolist() if path.exists() else []
        cells = (parse_cell(text) for text in texts)
        self.cells = {cell.key.stem: cell for cell in cells if cell is not None}
        self._predictions = cache(self._read)

    def views(self, key: CellKey) -> Views | None:
        """Give a cell's predictions; None if there are none."""
        return self._predictions(key.protocol).get(key.stem)

    def _read(self, protocol: str) -> dict[str, Views]:
        path = self.folder / f"{protocol}.parquet"
        if not path.exists():
            return {}
        table = pd.read_parquet(path)
        columns = [column for column in table.columns if column.startswith("p_")]
        rows = table["row"].to_numpy(dtype=np.intp)
        predicted = table["predicted"].to_numpy()
        probabilities = table[columns].to_numpy()
        found: dict[str, dict[str, Predictions]] = defaultdict(dict)
        for stem, of_cell in table.groupby("stem", sort=False, observed=True).indices.items():
            views = table["view"].iloc[of_cell].to_numpy(dtype=str)
            for view in dict.fromkeys(views):
                places = of_cell[views == view]
                found[str(stem)][view] = Predictions(rows[places], predicted[places], probabilities[places] * STEP)
        return dict(found)


def _read(path: Path) -> Cell | None:
    try:
        return parse_cell(path.read_text(encoding="utf-8"))
    except OSError:
        return None


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with replacing(path) as partial:
        table.to_parquet(partial, index=False, compression="zstd")


def _frame(stem: str, views: Views) -> pd.DataFrame:
    parts = []
    for name, view in views.items():
        whole = np.rint(view.probabilities / STEP).astype(np.uint16)
        columns: dict[str, Any] = {"stem": stem, "view": name, "row": view.rows.astype(np.uint32)}
        columns["predicted"] = view.predicted.astype(np.uint8)
        columns |= {f"p_{number}": whole[:, number] for number in range(whole.shape[1])}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)
