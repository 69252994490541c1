"""Test clips heard under other conditions: as waveforms, or as features computed of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from emovox._files import replacing
from emovox.audio import MODEL_RATE
from emovox.evaluation.cells import Array
from emovox.evaluation.conditions import babble_for, degrade
from emovox.evaluation.inputs import Inputs

WAVEFORM = "waveform"
VERSION = 1
"""Raised whenever a clip sounds otherwise under some condition, so that features are computed again."""
_CHUNK = 32


def kind_under(kind: str, condition: str) -> str:
    """Name the input that holds a feature set under a condition; waveforms are changed when they are needed.

    Example:
        >>> kind_under("classic", "white-20db"), kind_under("waveform", "white-20db")
        ('classic~white-20db', 'waveform')
    """
    return kind if kind == WAVEFORM else f"{kind}~{condition}"


def heard(values: Mapping[str, Array], kind: str, condition: str, rows: Array, *, speakers: Array) -> Array:
    """Give some rows as a model hears them under a condition.

    Args:
        values: inputs by kind; for features, `add_conditions` has put what is needed there.
        kind: that the model takes.
        condition: a name of `emovox.evaluation.conditions.CONDITIONS`.
        rows: row numbers, shape (n,).
        speakers: of all rows.
    """
    if kind != WAVEFORM:
        return values[kind_under(kind, condition)][rows]
    found = np.empty(len(rows), dtype=object)
    for place, row in enumerate(rows):
        found[place] = hear(values[WAVEFORM], int(row), condition, speakers=speakers)
    return found


def hear(waveforms: Array, row: int, condition: str, *, speakers: Array) -> Array:
    """Give one clip under a condition; the row's number is the seed of what is drawn."""
    return degrade(np.asarray(waveforms[row]), condition, seed=row, babble=_others(waveforms, row, condition, speakers))


def _others(waveforms: Array, row: int, condition: str, speakers: Array) -> list[Array]:
    """Give the clips that talk into this one, where the condition wants that."""
    if not condition.startswith("babble"):
        return []
    return [np.asarray(waveforms[other]) for other in babble_for(speakers, row, seed=row)]


def add_conditions(
    inputs: Inputs,
    kinds: Iterable[str],
    conditions: Sequence[str],
    rows: Array,
    *,
    cache: Path,
    jobs: int,
    progress: Callable[[int, int], None] | None = None,
) -> Inputs:
    """Compute features of the clips under each condition, or read those that were computed before.

    Args:
        inputs: with waveforms.
        kinds: feature sets.
        conditions: names.
        rows: the clips; other rows become NaN.
        cache: folder where the features are kept.
        jobs: processes.
        progress: called with (conditions done, conditions in all).

    Returns:
        The inputs, with a kind more for each feature set and condition (`kind_under`).
    """
    wanted = [(kind, condition) for kind in kinds if kind != WAVEFORM for condition in conditions]
    added: dict[str, Array] = {}
    for done, (kind, condition) in enumerate(wanted):
        name = kind_under(kind, condition)
        path = cache / f"{_digest(inputs, name, rows)}.npy"
        computed = _read(path, len(rows))
        if computed is None:
            computed = _compute(inputs, kind, condition, rows, jobs)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial, partial.open("wb") as file:
                np.save(file, computed)
        added[name] = np.full((len(inputs.table), computed.shape[1]), np.nan, dtype=np.float32)
        added[name][rows] = computed
        if progress is not None:
            progress(done + 1, len(wanted))
    return replace(inputs, values={**inputs.values, **added})


def _compute(inputs: Inputs, kind: str, condition: str, rows: Array, jobs: int) -> Array:
    from joblib import Parallel, delayed  # comes with scikit-learn

    waveforms, speakers = inputs.values[WAVEFORM], inputs.speakers
    tasks = (
        delayed(_features)(kind, condition, waveforms[row], row, _others(waveforms, row, condition, speakers))
        for row in map(int, rows)
    )
    return np.stack(Parallel(n_jobs=jobs, batch_size=_CHUNK)(tasks))


def _features(kind: str, condition: str, samples: Array, row: int, others: Sequence[Array]) -> Array:
    from emovox.features.sets import feature_set

    changed = degrade(np.asarray(samples), condition, seed=row, babble=others)
    return feature_set(kind).function(changed, MODEL_RATE)


def _digest(inputs: Inputs, name: str, rows: Array) -> str:
    kind = name.partition("~")[0]
    names = [Path(path).name for path in inputs.table["path"]]
    identity = (name, VERSION, inputs.versions.get(kind), rows.tolist(), names)
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:24]


def _read(path: Path, count: int) -> Array | None:
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return array if len(array) == count else None
