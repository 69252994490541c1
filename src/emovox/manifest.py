"""The one table: a row an utterance. Every stage takes rows of it and gives arrays aligned with them."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emovox.emotions import BEYOND_SEVEN, EMOTIONS
from emovox.errors import ManifestError

TEXT_COLUMNS = (
    "path",
    "corpus",
    "speaker",
    "gender",
    "language",
    "emotion",
    "native_label",
    "sentence",
    "intensity",
)
NUMBER_COLUMNS = ("start", "end", "duration")
COLUMNS = TEXT_COLUMNS + NUMBER_COLUMNS
"""Columns of a manifest, in order. What is unknown is an empty text or NaN.

- ``path``: the recording. Relative paths in a file are relative to the file's own folder.
- ``speaker``: unique over corpora: ``ravdess-07``, ``tess-OAF``. Empty where it cannot be known.
- ``gender``: ``female``, ``male`` or empty. ``language``: ISO 639-1.
- ``emotion``: one of `emovox.emotions.EMOTIONS` or `BEYOND_SEVEN`; empty if the table knows no name for it.
- ``native_label``: what the corpus itself calls it. ``sentence``: the corpus's own name of the text.
- ``start``, ``end``: part of the recording in seconds; NaN for all of it. ``duration``: seconds, NaN if not known.
"""

GENDERS = ("female", "male", "")


def build(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Make a validated manifest from mappings; columns that are left out become empty.

    Example:
        >>> build([{"path": "a.wav", "emotion": "sad"}])[["path", "emotion", "gender", "duration"]].values.tolist()
        [['a.wav', 'sad', '', nan]]
    """
    return validate(pd.DataFrame([dict(row) for row in rows], columns=None if rows else list(COLUMNS)))


def validate(table: pd.DataFrame, *, source: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Check a table and give it back with all columns, in order and of the right type.

    Raises:
        ManifestError: if ``path`` is missing or empty, a value is impossible, or a row stands twice. The message
            names the first faulty row.
    """
    if "path" not in table.columns:
        raise ManifestError(
            f"has no column 'path' (columns: {', '.join(map(str, table.columns)) or 'none'})",
            path=source,
            remedy=f"A manifest has the columns {', '.join(COLUMNS)}; only path is required.",
        )
    clean = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for column in TEXT_COLUMNS:
        values = table[column] if column in table.columns else pd.Series("", index=table.index)
        text = values.astype(object).where(values.notna(), "").map(str)
        clean[column] = text.str.strip().to_numpy(dtype=object)
    for column in NUMBER_COLUMNS:
        values = table[column] if column in table.columns else pd.Series(np.nan, index=table.index)
        numbers = pd.to_numeric(values, errors="coerce")
        _refuse(source, column, (numbers.isna() & values.notna() & (values.astype(str) != "")).to_numpy(), table)
        clean[column] = numbers.to_numpy(dtype=float)
    _refuse(source, "path", (clean["path"] == "").to_numpy(), clean)
    _refuse(source, "emotion", ~clean["emotion"].isin([*EMOTIONS, *BEYOND_SEVEN, ""]).to_numpy(), clean)
    _refuse(source, "gender", ~clean["gender"].isin(GENDERS).to_numpy(), clean)
    _refuse(source, "start", (clean["start"] < 0).to_numpy(), clean)
    _refuse(source, "end", (clean["end"] <= clean["start"].fillna(0.0)).to_numpy(), clean)
    _refuse(source, "duration", (clean["duration"] < 0).to_numpy(), clean)
    twice = clean.duplicated(subset=["path", "start", "end"]).to_numpy()
    if twice.any():
        row = int(np.flatnonzero(twice)[0])
        raise ManifestError(f"row {row + 1} repeats {clean['path'][row]!r}", path=source, remedy="Remove one.")
    return clean


def read(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a manifest from CSV (``.csv``, ``.tsv``) or Parquet (``.parquet``); paths become absolute.

    Raises:
        ManifestError: if it cannot be read or is not a valid manifest.
    """
    file = Path(path)
    try:
        if file.suffix.lower() == ".parquet":
            table = pd.read_parquet(file)
        else:
            # Speakers such as "03" are names, not numbers.
            separator = "\t" if file.suffix.lower() == ".tsv" else ","
            table = pd.read_csv(file, dtype=str, keep_default_na=False, sep=separator)
    except FileNotFoundError as error:
        raise ManifestError("no such file", code="not_found", path=path, remedy="Check the path.") from error
    except (OSError, ValueError) as error:
        raise ManifestError(
            f"cannot be read as a manifest ({error})", path=path, remedy="Give a .csv or .parquet."
        ) from error
    clean = validate(table, source=path)
    folder = file.absolute().parent
    clean["path"] = [os.path.normpath(folder / item) for item in clean["path"]]
    return clean


def write(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a manifest as CSV or Parquet, by the file's ending, in one step: a reader never sees half of it.

    Recordings that lie below the file's folder are written with relative paths, so that the folder can be moved.
    """
    file = Path(path).absolute()
    portable = validate(table)
    portable["path"] = [_relative(item, file.parent) for item in portable["path"]]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        if file.suffix.lower() == ".parquet":
            portable.to_parquet(partial, index=False)
        else:
            portable.to_csv(partial, index=False)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@dataclass(frozen=True)
class Selection:
    """Rows that belong to a label set, and what was left out.

    Attributes:
        table: the rows that remain, renumbered from 0.
        dropped: how many rows of each emotion were left out; a label without a name of ours counts by its own.
        mapped: how many rows of each emotion were counted as another one.
    """

    table: pd.DataFrame
    dropped: Mapping[str, int]
    mapped: Mapping[str, int]


def select_labels(
    table: pd.DataFrame, labels: Sequence[str] = EMOTIONS, *, mapping: Mapping[str, str] | None = None
) -> Selection:
    """Keep the rows whose emotion is in `labels`, after renaming by `mapping`; count what falls away.

    Example:
        >>> table = build([{"path": label, "emotion": label} for label in ("calm", "sad", "boredom")])
        >>> chosen = select_labels(table, mapping={"calm": "neutral"})
        >>> list(chosen.table["emotion"]), chosen.dropped, chosen.mapped
        (['neutral', 'sad'], {'boredom': 1}, {'calm': 1})
    """
    renamed = table["emotion"].replace(dict(mapping or {}))
    mapped = Counter(table["emotion"][renamed != table["emotion"]])
    keep = renamed.isin(list(labels))
    named = table["emotion"].where(table["emotion"] != "", table["native_label"])
    dropped = Counter(named[~keep])
    chosen = table.assign(emotion=renamed)[keep].reset_index(drop=True)
    return Selection(chosen, dict(dropped), dict(mapped))


def fingerprint(table: pd.DataFrame) -> str:
    """Hash what a result depends on: names, speakers, emotions and sentences of all rows (SHA-256, 16 hex digits)."""
    columns = table[["corpus", "speaker", "emotion", "sentence"]].copy()
    columns.insert(0, "name", [Path(item).stem for item in table["path"]])
    return hashlib.sha256(columns.to_csv(index=False).encode()).hexdigest()[:16]


def _relative(item: str, folder: Path) -> str:
    path = Path(item)
    return path.relative_to(folder).as_posix() if path.is_absolute() and path.is_relative_to(folder) else item


def _refuse(source: str | os.PathLike[str] | None, column: str, wrong: np.ndarray, table: pd.DataFrame) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ManifestError(
            f"row {row + 1} has {column} = {str(table[column].iloc[row])!r}, which cannot be",
            path=source,
            remedy=f"{int(wrong.sum())} such row(s); correct or remove them.",
        )
