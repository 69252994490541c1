"""Reads a study's cells back and puts folds together: the figures that tables and reports show.

A study's folder holds ``study.json`` (what the rows are), ``rows.parquet`` (name, corpus, speaker, gender and emotion
of each), ``cells/`` (see `emovox.evaluation.cells`) and ``results.json`` (all pooled figures, for other programs).
Nothing in it names a folder of the machine that it was made on.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox import manifest
from emovox._files import replacing
from emovox.errors import ProtocolError
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import TEST, Cell, Predictions, read_json, write_text
from emovox.evaluation.inputs import Inputs
from emovox.evaluation.metrics import Scores, score

FORMAT = 2
ROW_COLUMNS = ("corpus", "speaker", "gender", "emotion")


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One model under one protocol and seed, all folds together.

    Attributes:
        model: title. seed: of division and model.
        protocol: ``name``, ``key``, ``sentence``, ``description``, ``separates_speakers``, ``folds``.
        scores: over the test clips of all finished folds, put together; None if none is finished.
        fold_scores: name and scores of each finished fold.
        corpus_scores: the same clips by corpus: name and scores of each.
        train_s, test_s: mean wall time of a fold, in seconds.
        failures: name of the fold and error, for each fold that failed.
        details: of the model: family, published figures, warnings.
        provenance: of the first finished fold, or of the first one.
    """

    model: str
    seed: int
    protocol: Mapping[str, Any]
    scores: Scores | None
    fold_scores: Sequence[tuple[str, Scores]]
    corpus_scores: Sequence[tuple[str, Scores]]
    train_s: float
    test_s: float
    failures: Sequence[tuple[str, Mapping[str, str]]]
    details: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every fold is finished."""
        return len(self.fold_scores) == int(self.protocol["folds"])

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data, for JSON."""
        return {
            "model": self.model,
            "seed": self.seed,
            "protocol": dict(self.protocol),
            "complete": self.complete,
            "scores": None if self.scores is None else _scores_dict(self.scores),
            "folds": [{"fold": name, **_brief(scores)} for name, scores in self.fold_scores],
            "corpora": [{"corpus": name, **_brief(scores)} for name, scores in self.corpus_scores],
            "train_s": self.train_s,
            "test_s": self.test_s,
            "failures": [{"fold": name, **error} for name, error in self.failures],
            "details": dict(self.details),
            "provenance": dict(self.provenance),
        }


_BRIEF = ("clips", "speakers", "uar", "accuracy", "weighted_f1", "ece", "brier")


@dataclass(frozen=True)
class Results:
    """A study: what its rows are, and a summary for each model, protocol and seed, the best UAR first."""

    study: Mapping[str, Any]
    summaries: Sequence[Summary]

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data, for JSON."""
        return {"study": dict(self.study), "results": [summary.as_dict() for summary in self.summaries]}


def open_study(out: Path, inputs: Inputs, labels: Sequence[str], notes: Mapping[str, Any]) -> CellStore:
    """Begin a study in a folder, or go on with the one that is there.

    Returns:
        Its cells.

    Raises:
        ProtocolError: if the folder holds a study of other rows or labels.
    """
    table = inputs.table
    identity = {"format": FORMAT, "manifest": manifest.fingerprint(table), "labels": list(labels)}
    there = read_json(out / "study.json")
    if there is not None and {key: there.get(key) for key in identity} != identity:
        raise ProtocolError(
            f"holds a study of other rows or labels ({there.get('clips')} clips, {', '.join(there.get('labels', ()))})",
            path=out,
            remedy="Choose another folder with -o.",
        )
    strange = sorted(set(table["emotion"]) - set(labels))
    if strange:
        raise ProtocolError(f"rows have the emotions {', '.join(map(repr, strange))}, which are not among the labels")
    out.mkdir(parents=True, exist_ok=True)
    document = {
        **identity,
        "clips": len(table),
        "speakers": table.loc[table["speaker"] != "", "speaker"].nunique(),
        "corpora": describe_corpora(table),
        "emotions": {label: int((table["emotion"] == label).sum()) for label in labels},
        "unreadable": [{"name": Path(error.path or "").name, "code": error.code} for error in inputs.failures],
        "read_s": dict(inputs.seconds),
        **notes,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if there is None:
        rows = table[list(ROW_COLUMNS)].astype("category")
        rows.insert(0, "name", [Path(item).name for item in table["path"]])
        with replacing(out / "rows.parquet") as file:
            rows.to_parquet(file, index=False, compression="zstd")
        write_text(out / "study.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return CellStore(out)


def load_results(out: str | os.PathLike[str]) -> Results:
    """Read all results of a study and write them to its ``results.json``.

    Raises:
        ProtocolError: if the folder holds no study, or one of another format.
    """
    folder = Path(out)
    study = read_json(folder / "study.json")
    if study is None or study.get("format") != FORMAT or not (folder / "rows.parquet").exists():
        raise ProtocolError(
            "holds no results that this emovox can read", path=out, remedy="Make some: emovox evaluate MODEL... -o DIR"
        )
    rows = pd.read_parquet(folder / "rows.parquet")
    store = CellStore(folder)

    def identity(cell: Cell) -> tuple[str, str, int]:
        return cell.key.model, cell.key.protocol, cell.key.seed

    groups = groupby(sorted(store.cells(), key=lambda cell: (*identity(cell), cell.key.fold)), key=identity)
    summaries = [_summarise(store, list(group), rows, study["labels"]) for _, group in groups]
    summaries.sort(key=lambda one: (one.protocol["name"], -(one.scores.uar if one.scores else -1.0)))
    results = Results(study, summaries)
    # A line a result: small, and a change of one result changes one line.
    lines = ",\n".join(json.dumps(summary.as_dict(), ensure_ascii=False) for summary in summaries)
    text = f'{{"study": {json.dumps(study, ensure_ascii=False)},\n"results": [\n{lines}\n]}}\n'
    write_text(folder / "results.json", text)
    return results


def _summarise(store: CellStore, cells: Sequence[Cell], rows: pd.DataFrame, labels: Sequence[str]) -> Summary:
    finished: list[tuple[Cell, Predictions]] = []
    failures: list[tuple[str, Mapping[str, str]]] = []
    for cell in cells:
        views = None if cell.error else store.views(cell.key)
        if views is not None and TEST in views:
            finished.append((cell, views[TEST]))
        else:
            lost = {"code": "lost", "message": "the file with its predictions is missing or damaged"}
            failures.append((cell.protocol["fold"], cell.error or lost))
    first = finished[0][0] if finished else cells[0]
    seconds = {key: [cell.seconds.get(key, 0.0) for cell, _ in finished] for key in ("train", "test")}
    parts = [predictions for _, predictions in finished]
    corpora = sorted(set(rows["corpus"].iloc[np.concatenate([part.rows for part in parts])])) if parts else []
    return Summary(
        model=first.key.model,
        seed=first.key.seed,
        protocol={"key": first.key.protocol, **{key: first.protocol[key] for key in first.protocol if key != "fold"}},
        scores=_measure(parts, rows, labels) if parts else None,
        fold_scores=[(cell.protocol["fold"], _measure([part], rows, labels)) for cell, part in finished],
        corpus_scores=[(name, _measure(parts, rows, labels, corpus=name)) for name in corpora],
        train_s=round(float(np.mean(seconds["train"])), 4) if parts else 0.0,
        test_s=round(float(np.mean(seconds["test"])), 4) if parts else 0.0,
        failures=failures,
        details=first.details,
        provenance={**first.provenance, "threads": first.threads},
    )


def _measure(
    parts: Sequence[Predictions], rows: pd.DataFrame, labels: Sequence[str], *, corpus: str | None = None
) -> Scores:
    indices = np.concatenate([part.rows for part in parts])
    chosen = np.full(len(indices), True) if corpus is None else (rows["corpus"].iloc[indices] == corpus).to_numpy()
    return score(
        rows["emotion"].to_numpy(dtype=str)[indices][chosen],
        np.concatenate([part.probabilities for part in parts])[chosen],
        labels,
        predicted=np.asarray(labels)[np.concatenate([part.predicted for part in parts])][chosen],
        speakers=rows["speaker"].to_numpy(dtype=str)[indices][chosen],
    )


def _brief(scores: Scores) -> dict[str, Any]:
    return {key: getattr(scores, key) for key in _BRIEF}


def _scores_dict(scores: Scores) -> dict[str, Any]:
    return {
        **_brief(scores),
        "interval_over": scores.interval.over,
        "interval": {
            key: [getattr(scores.interval, key).low, getattr(scores.interval, key).high]
            for key in ("uar", "accuracy", "weighted_f1")
        },
        "confusion": scores.matrix.tolist(),
        "report": [dataclasses.asdict(row) for row in scores.report],
    }


def describe_corpora(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Name, size and licence of each corpus in a table; one that emovox does not know has an empty licence."""
    from emovox.corpora import CORPORA

    described = []
    for name, rows in table.groupby("corpus", sort=True):
        corpus = CORPORA.get(str(name))
        described.append(
            {
                "name": str(name),
                "clips": len(rows),
                "speakers": int(rows.loc[rows["speaker"] != "", "speaker"].nunique()),
                "licence": "" if corpus is None else corpus.licence,
                "synthetic": name == "synthetic",
            }
        )
    return described
