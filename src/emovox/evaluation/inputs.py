"""What models see of a manifest: features or waveforms, read once and shared between worker processes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from emovox import audio
from emovox.errors import EmovoxError, ManifestError, ParameterError

if TYPE_CHECKING:
    from emovox.features.store import FeatureStore

Kind: TypeAlias = str
"""``waveform``, or the name of a feature set that gives a vector a clip; `check_kind` says whether it is one."""
Progress: TypeAlias = Callable[[int, int], None]
Array: TypeAlias = npt.NDArray[Any]

WAVEFORM = "waveform"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Rows that can be used, and what models take of them.

    Attributes:
        table: the manifest's usable rows, numbered from 0.
        values: for each kind asked for, an array aligned with `table`: float32 of shape (n, size) for a feature set
            (``classic`` has the size 180), for ``waveform`` an object array of n waveforms at 16 kHz, each float32 of
            shape (samples,).
        failures: recordings that could not be used, with the reason.
        seconds: wall time of reading each kind.
        versions: of each kind's feature set; empty for waveforms.
    """

    table: pd.DataFrame
    values: Mapping[str, Array]
    failures: Sequence[EmovoxError]
    seconds: Mapping[str, float]
    versions: Mapping[str, str]

    @property
    def truth(self) -> Array:
        """Emotions, shape (n,)."""
        return self.table["emotion"].to_numpy(dtype=str)

    @property
    def speakers(self) -> Array:
        """Speakers, shape (n,); empty text where unknown."""
        return self.table["speaker"].to_numpy(dtype=str)

    @property
    def corpora(self) -> Array:
        """Names of the corpora, shape (n,)."""
        return self.table["corpus"].to_numpy(dtype=str)


def read_inputs(
    table: pd.DataFrame,
    kinds: Iterable[Kind] = ("classic",),
    *,
    store: FeatureStore | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Inputs:
    """Read what models take; a recording that cannot be read is left out, named, and the others are read.

    Args:
        table: a manifest.
        kinds: which inputs are wanted: ``waveform``, or names of feature sets that give a vector a clip.
        store: where features are kept; None for the user's own.
        jobs: processes that compute features; None for all processors.
        progress: called with (recordings done, recordings in all), for each kind anew.

    Raises:
        ManifestError: if no recording can be used.
        MissingExtraError: if the package that computes a set is not installed.
        ParameterError: if there is no such kind.
    """
    chosen = list(dict.fromkeys(kinds))
    for kind in chosen:
        check_kind(kind)
    columns: dict[str, Array] = {}
    seconds: dict[str, float] = {}
    failures: dict[int, EmovoxError] = {}
    for kind in chosen:
        started = time.perf_counter()
        if kind == WAVEFORM:
            columns[kind], failed = _waveforms(table, jobs, progress)
        else:
            columns[kind], failed = _features(table, kind, store, jobs, progress)
        seconds[kind] = round(time.perf_counter() - started, 3)
        failures.update(failed)
    usable = np.array([row not in failures for row in range(len(table))], dtype=bool)
    if not usable.any():
        first = next(iter(failures.values()), None)
        raise ManifestError(
            f"none of the {len(table):,} recordings can be used" + (f"; the first: {first}" if first else ""),
            remedy="Check the paths in the manifest.",
        )
    return Inputs(
        table[usable].reset_index(drop=True),
        {kind: values[usable] for kind, values in columns.items()},
        [failures[row] for row in sorted(failures)],
        seconds,
        {kind: _version(kind) for kind in columns},
    )


def check_kind(kind: Kind) -> None:
    """Check that models can be given this kind of input.

    Raises:
        ParameterError: if there is none of this name; the message lists those that exist.
    """
    from emovox.features.sets import FEATURE_SETS

    known = [*(name for name, wanted in FEATURE_SETS.items() if wanted.per_clip), WAVEFORM]
    if kind not in known:
        raise ParameterError(f"models take no input {kind!r}", remedy=f"There are: {', '.join(known)}.")


def _features(
    table: pd.DataFrame, kind: Kind, store: FeatureStore | None, jobs: int | None, progress: Progress | None
) -> tuple[Array, dict[int, EmovoxError]]:
    from emovox.features.store import FeatureStore

    extraction = (store or FeatureStore()).extract(table, kind, jobs=jobs, progress=progress)
    return np.asarray(extraction.values), dict(extraction.failures)


def _version(kind: Kind) -> str:
    from emovox.features.sets import feature_set

    return "" if kind == WAVEFORM else feature_set(kind).version


def _waveforms(
    table: pd.DataFrame, jobs: int | None, progress: Progress | None
) -> tuple[Array, dict[int, EmovoxError]]:
    def read(row: tuple[str, float, float]) -> Array | EmovoxError:
        path, start, end = row
        try:
            return audio.load(
                path, start_s=0.0 if np.isnan(start) else start, end_s=None if np.isnan(end) else end
            ).samples
        except EmovoxError as error:
            return error

    rows = list(table[["path", "start", "end"]].itertuples(index=False, name=None))
    values = np.empty(len(rows), dtype=object)
    failures: dict[int, EmovoxError] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for number, result in enumerate(pool.map(read, rows)):
            if isinstance(result, EmovoxError):
                failures[number] = result
            else:
                values[number] = result
            if progress is not None:
                progress(number + 1, len(rows))
    return values, failures


def spool(values: Mapping[str, Array], folder: Path) -> None:
    """Write inputs where worker processes can map them into memory, so that they are held once and not once each."""
    for kind, array in values.items():
        if array.dtype == object:
            lengths = np.array([len(item) for item in array], dtype=np.int64)
            np.save(folder / f"{kind}.lengths.npy", lengths)
            flat = np.lib.format.open_memmap(
                folder / f"{kind}.npy", mode="w+", dtype=np.float32, shape=(int(lengths.sum()),)
            )
            ends = np.cumsum(lengths)
            for item, end in zip(array, ends, strict=True):
                flat[end - len(item) : end] = item
            flat.flush()
        else:
            np.save(folder / f"{kind}.npy", array)


def unspool(folder: Path) -> dict[str, Array]:
    """Map what `spool` wrote into memory, read-only."""
    values: dict[str, Array] = {}
    for path in sorted(folder.glob("*.npy")):
        kind = path.name.removesuffix(".npy")
        if kind.endswith(".lengths"):
            continue
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        lengths = folder / f"{kind}.lengths.npy"
        if lengths.exists():
            bounds = np.cumsum(np.load(lengths, allow_pickle=False))[:-1]
            pieces = np.empty(len(bounds) + 1, dtype=object)
            for number, piece in enumerate(np.split(array, bounds)):
                pieces[number] = piece
            values[kind] = pieces
        else:
            values[kind] = array
    return values
