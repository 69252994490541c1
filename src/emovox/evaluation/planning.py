"""From choices and protocols to cells: which rows each is fitted on, validated on and tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from emovox.evaluation.cells import Cell, CellKey
from emovox.evaluation.choices import ModelChoice
from emovox.evaluation.protocols import validation_split
from emovox.evaluation.provenance import provenance
from emovox.evaluation.splitting import EvaluationProtocol, Fold, Indices
from emovox.evaluation.tasks import Task

_IDENTITY = ("corpus", "start", "end", "speaker", "emotion")


@dataclass(frozen=True, eq=False)
class Planned:
    """A cell before it is computed: what to do, what will be told of it, and the protocol that it is a fold of."""

    task: Task
    cell: Cell
    protocol: EvaluationProtocol

    def joined(self, other: Planned) -> Planned:
        """Give the same cell with all that this plan and another one want to know of it."""
        training_scores = self.task.training_scores or other.task.training_scores
        conditions = tuple(dict.fromkeys([*self.task.conditions, *other.task.conditions]))
        sample = np.union1d(self.task.sample, other.task.sample)
        inputs = {**self.cell.inputs, "training_scores": training_scores, "conditions": list(conditions)}
        if conditions:
            inputs["sample"] = len(sample)
        return Planned(
            replace(self.task, training_scores=training_scores, conditions=conditions, sample=sample),
            replace(self.cell, inputs=inputs),
            self.protocol,
        )


def plan(
    choices: Sequence[ModelChoice],
    table: pd.DataFrame,
    versions: Mapping[str, str],
    protocol: EvaluationProtocol,
    *,
    seed: int,
    labels: tuple[str, ...],
    training_scores: bool = False,
    conditions: Sequence[str] = (),
) -> list[Planned]:
    """Describe the cells of some choices under one protocol.

    Args:
        choices: what is evaluated.
        table: the rows.
        versions: of each kind of input.
        protocol: how rows are divided, with its seed.
        seed: of the models, of validation rows and of samples of the training rows.
        labels: all classes.
        training_scores: predict the rows that were fitted, too.
        conditions: predict a sample of the test rows again as they sound under these
            (`emovox.evaluation.conditions`).
    """
    folds = protocol.folds(table)
    told = describe_protocol(protocol, table, folds)
    truth = table["emotion"].to_numpy(dtype=str)
    sample = listening_sample(table, seed=seed) if conditions else np.empty(0, dtype=np.intp)
    identities, speakers = _identities(table), table["speaker"].to_numpy(dtype=str)
    nobody = np.empty(0, dtype=np.intp)
    watched = any(choice.wants_validation for choice in choices)
    divided = [validation_split(table, fold.train, protocol, seed=seed) if watched else None for fold in folds]
    planned = []
    for choice in choices:
        for number, (fold, parted) in enumerate(zip(folds, divided, strict=True)):
            fit, validation = parted if parted is not None and choice.wants_validation else (fold.train, nobody)
            fit = take_share(truth, fit, choice.size, seed=seed)
            task = Task(
                key=CellKey(model=choice.title, protocol=protocol.key, fold=number, seed=seed),
                model=choice.name,
                parameters=choice.parameters,
                kind=choice.kind,
                fit=fit,
                validation=validation,
                test=fold.test,
                labels=labels,
                training_scores=training_scores,
                conditions=tuple(conditions),
                sample=np.intersect1d(sample, fold.test),
            )
            parts = {"train": fit, "validation": validation, "test": fold.test}
            cell = Cell(
                key=task.key,
                protocol={**told, "fold": fold.name},
                clips={name: len(rows) for name, rows in parts.items()},
                speakers={name: len(set(speakers[rows]) - {""}) for name, rows in parts.items()},
                inputs={
                    "kind": choice.kind,
                    "version": versions.get(choice.kind),
                    "parameters": choice.digest,
                    "rows": _digest(identities, *parts.values()),
                    "training_scores": training_scores,
                    "conditions": list(conditions),
                }
                | ({"sample": len(task.sample)} if conditions else {}),
                provenance=provenance(),
                details={
                    "family": choice.spec.family,
                    "summary": choice.spec.summary,
                    "choice": choice.as_dict(),
                    # Published for the study's parameters and input, so not for others.
                    "reference": {} if choice.title != choice.name else dict(choice.spec.reference),
                },
            )
            planned.append(Planned(task, cell, protocol))
    return planned


def describe_protocol(protocol: EvaluationProtocol, table: pd.DataFrame, folds: Sequence[Fold]) -> dict[str, Any]:
    """Give what a figure must say about its protocol, as data."""
    return {
        "name": protocol.name,
        "sentence": protocol.sentence,
        "description": protocol.describe(table),
        "separates_speakers": protocol.separates_speakers(table),
        "folds": len(folds),
    }


def take_share(truth: Any, rows: Indices, size: float, *, seed: int) -> Indices:
    """Take a share of some rows, the same share of every emotion and at least one row of each.

    A smaller share is part of every larger one of the same seed.

    Args:
        truth: emotions of all rows, shape (n,).
        rows: row numbers to choose from.
        size: 0 < size <= 1.
        seed: of the choice.

    Example:
        >>> truth = np.array(["sad"] * 50 + ["happy"] * 10)
        >>> len(take_share(truth, np.arange(60), 0.1, seed=7))
        6
    """
    if size == 1:
        return rows
    random = np.random.default_rng(seed)
    taken = []
    for emotion in sorted(set(truth[rows])):
        candidates = random.permutation(rows[truth[rows] == emotion])
        taken.append(candidates[: max(1, round(size * len(candidates)))])
    return np.sort(np.concatenate(taken))


SAMPLE_PER_SPEAKER = 21
"""Clips of each speaker that are heard again under other conditions: enough for three of each of seven emotions."""


def listening_sample(table: pd.DataFrame, *, seed: int) -> Indices:
    """Choose the clips that are heard under other conditions: of every speaker and emotion about equally many."""
    order = pd.Series(np.random.default_rng(seed).permutation(len(table)), index=table.index)
    shuffled = table.assign(row=np.arange(len(table))).loc[order.sort_values().index]
    share = SAMPLE_PER_SPEAKER // max(1, table["emotion"].nunique())
    chosen = shuffled.groupby(["corpus", "speaker", "emotion"], sort=False).head(share)["row"]
    return np.sort(chosen.to_numpy(dtype=np.intp))


def _identities(table: pd.DataFrame) -> list[str]:
    """Name each row without naming a folder."""
    names = [Path(path).name for path in table["path"]]
    columns = (table[column].tolist() for column in _IDENTITY)
    return ["|".join(map(str, parts)) for parts in zip(names, *columns, strict=True)]


def _digest(identities: Sequence[str], *parts: Indices) -> str:
    text = "\n\n".join("\n".join(identities[row] for row in rows) for rows in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
