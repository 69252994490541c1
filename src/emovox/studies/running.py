"""Carries a study out: reads the corpora, plans the cells, computes those that are missing."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import platformdirs

from emovox import manifest
from emovox._files import replacing
from emovox.errors import ManifestError, ProtocolError
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import CellKey, read_json, write_text
from emovox.evaluation.hearing import WAVEFORM, add_conditions
from emovox.evaluation.inputs import Inputs, read_inputs
from emovox.evaluation.planning import Planned, listening_sample, plan
from emovox.evaluation.provenance import available_cores, provenance
from emovox.evaluation.results import FORMAT, describe_corpora
from emovox.evaluation.splitting import EvaluationProtocol
from emovox.evaluation.study import Progress, is_done, run_cells
from emovox.features.sets import FEATURE_SETS
from emovox.manifest import Selection
from emovox.models.catalog import find
from emovox.studies.config import Block, Part, StudyConfig
from emovox.studies.copies import keep_copies
from emovox.studies.rows import write_rows

STUDY_FILE = "study.json"
_LOCK = "running.json"


@dataclass(frozen=True, eq=False)
class PartPlan:
    """The cells of one part.

    Attributes:
        name, part: which.
        cells: in the order in which they are computed.
    """

    name: str
    part: Part
    cells: Sequence[Planned]


def plan_study(
    config: StudyConfig,
    table: pd.DataFrame,
    *,
    parts: Sequence[str] = (),
    weights: Path | None = None,
    device: str = "auto",
) -> list[PartPlan]:
    """Describe the cells of a study for a table.

    A cell that several parts share stands in each of them, and is the same whichever parts are asked for.

    Args:
        config: the study.
        table: its rows; for the plan alone, names, corpora, speakers and emotions suffice.
        parts: names of the parts that are wanted; none for all.
        weights: pretrained encoder of `speechnet`; it is no part of a cell's identity.
        device: for networks.
    """
    corpora = sorted(set(table["corpus"]))
    versions = _feature_versions(config)
    shared: dict[CellKey, Planned] = {}
    keys: dict[str, list[CellKey]] = {}
    for name, part in config.parts.items():
        for block, protocol, seed in _combinations(part, corpora, config.seeds):
            for one in plan(
                block.choices(),
                table,
                versions,
                protocol,
                seed=seed,
                labels=config.emotions,
                training_scores=block.training_scores,
                conditions=block.conditions,
            ):
                key = one.task.key
                shared[key] = shared[key].joined(one) if key in shared else one
                keys.setdefault(name, []).append(key)
    ready = {key: _made_ready(one, weights, device) for key, one in shared.items()}
    wanted = parts or list(config.parts)
    return [
        PartPlan(name, config.parts[name], [ready[key] for key in dict.fromkeys(keys.get(name, ()))]) for name in wanted
    ]


def _combinations(
    part: Part, corpora: list[str], seeds: Sequence[int]
) -> Iterator[tuple[Block, EvaluationProtocol, int]]:
    for block in part.blocks:
        for seed in seeds:
            for protocol in block.evaluated(corpora):
                yield block, protocol.with_seed(seed), seed


def _made_ready(planned: Planned, weights: Path | None, device: str) -> Planned:
    """Give a task what only this machine knows."""
    task = dataclasses.replace(planned.task, device=device)
    if find(task.model).family == "speechnet" and weights is not None:
        task = dataclasses.replace(task, parameters={**task.parameters, "weights": str(weights)})
    return dataclasses.replace(planned, task=task)


def run_study(
    config: StudyConfig,
    selection: Selection,
    out: Path,
    *,
    parts: Sequence[str] = (),
    weights: Path | None = None,
    device: str = "auto",
    jobs: int | None = None,
    reading: Callable[[int, int], None] | None = None,
    hearing: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Compute what is missing of a study; a run that is killed goes on where it stood.

    Each cell is computed by a process of its own with one thread, so that its numbers depend neither on `jobs` nor on
    what else is computed.

    Args:
        config: the study.
        selection: the rows at hand, and what was left out of them.
        out: folder of the results.
        parts: names of the parts to carry out; none for all.
        weights: pretrained encoder, for `speechnet`.
        device: for networks.
        jobs: processes; None for all processors.
        reading, hearing: called with (done, in all) while recordings are read and while they are changed.
        progress: called with (cells done, cells in all, title of the last one).

    Raises:
        ProtocolError: if another run is at work in `out`, or a protocol cannot be carried out.
        ManifestError: if no row is there.
    """
    table = selection.table[selection.table["corpus"].isin(config.corpora)].reset_index(drop=True)
    if table.empty:
        raise ManifestError(f"no recording of {', '.join(config.corpora)} is at hand")
    jobs = jobs or available_cores()
    with _alone(out):
        store = CellStore(out)
        inputs = read_inputs(table, _wanted_kinds(config, table, parts, store), jobs=jobs, progress=reading)
        rows = write_rows(out, inputs.table)
        _write_study(config, inputs, selection, out)
        keep_copies(out, inputs.table, rows.numbers, jobs=jobs, progress=reading)
        plans = plan_study(config, inputs.table, parts=parts, weights=weights, device=device)
        planned = list({one.task.key: one for part in plans for one in part.cells}.values())
        waiting = [one for one in planned if not is_done(store, one.cell)]
        inputs = _with_conditions(inputs, waiting, config.seeds, jobs, hearing)
        store.loose.mkdir(parents=True, exist_ok=True)
        for mark in store.loose.glob("*.running"):  # of a run that was killed
            mark.unlink()
        placed = [dataclasses.replace(one, task=dataclasses.replace(one.task, folder=store.loose)) for one in planned]
        run_cells(placed, inputs, store, jobs=jobs, threads=1, numbers=rows.numbers, progress=progress)
        store.pack()


def _wanted_kinds(config: StudyConfig, table: pd.DataFrame, parts: Sequence[str], store: CellStore) -> list[str]:
    """Name every input that the missing cells need; where none is missing, the cheapest one."""
    waiting = [
        one.task
        for part in plan_study(config, table, parts=parts)
        for one in part.cells
        if not is_done(store, one.cell)
    ]
    found = [kind for task in waiting for kind in ([task.kind, WAVEFORM] if task.conditions else [task.kind])]
    return list(dict.fromkeys(found)) or ["classic"]


def _feature_versions(config: StudyConfig) -> dict[str, str]:
    blocks = (block for part in config.parts.values() for block in part.blocks)
    used = {choice.kind for block in blocks for choice in block.choices()}
    return {kind: str(FEATURE_SETS[kind].version) for kind in sorted(used) if kind in FEATURE_SETS}


def _with_conditions(
    inputs: Inputs,
    waiting: Sequence[Planned],
    seeds: Sequence[int],
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> Inputs:
    features = sorted({one.task.kind for one in waiting if one.task.conditions} - {WAVEFORM})
    conditions = list(dict.fromkeys(name for one in waiting for name in one.task.conditions))
    if not features:
        return inputs
    # Each seed hears a sample of its own.
    sample = np.unique(np.concatenate([listening_sample(inputs.table, seed=seed) for seed in seeds]))
    cache = platformdirs.user_cache_path("emovox") / "conditions"
    return add_conditions(inputs, features, conditions, sample, cache=cache, jobs=jobs, progress=progress)


def _write_study(config: StudyConfig, inputs: Inputs, selection: Selection, out: Path) -> None:
    """Describe the rows; a file that describes the same ones already stays as it is."""
    table = inputs.table
    present = sorted(set(table["corpus"]))
    document: dict[str, Any] = {
        "format": FORMAT,
        "title": config.title,
        "labels": list(config.emotions),
        "manifest": manifest.fingerprint(table),
        "clips": len(table),
        "speakers": int(table.loc[table["speaker"] != "", "speaker"].nunique()),
        "corpora": describe_corpora(table),
        "absent": [name for name in config.corpora if name not in present],
        "emotions": {label: int((table["emotion"] == label).sum()) for label in config.emotions},
        "dropped": dict(selection.dropped),
        "mapped": dict(selection.mapped),
        "unreadable": [{"name": Path(error.path or "").name, "code": error.code} for error in inputs.failures],
    }
    known = read_json(out / STUDY_FILE) or {}
    same = known.items() >= document.items()
    if same and inputs.seconds.keys() <= known["read_s"].keys():
        return
    document |= {
        "read_s": (known["read_s"] if same else {}) | dict(inputs.seconds),
        "provenance": provenance(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_text(out / STUDY_FILE, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Refuse to work beside another run in the same folder."""
    out.mkdir(parents=True, exist_ok=True)
    other = at_work(out)
    if other is not None:
        raise ProtocolError(
            f"another run (process {other}) is at work there", path=out, remedy="Wait for it, or choose another --out."
        )
    lock = out / _LOCK
    with replacing(lock) as partial:
        partial.write_text(json.dumps({"process": os.getpid()}), encoding="ascii")
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def at_work(out: Path) -> int | None:
    """Give the process that computes a study's cells just now; None if there is none."""
    try:
        process = int(json.loads((out / _LOCK).read_text(encoding="ascii"))["process"])
        os.kill(process, 0)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return process if process != os.getpid() else None
