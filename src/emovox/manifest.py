"""The one table: a row an utterance. Every stage takes rows of it and gives arrays aligned with them."""

from __future__ import annotations

import hashlib
import logging
import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
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

- ``path``: the recording. Relative paths are relative to the working directory; in a file, to the file's own folder.
- ``speaker``: unique over corpora: ``ravdess-07``, ``tess-OAF``. Empty where it cannot be known.
- ``gender``: ``female``, ``male`` or empty. ``language``: ISO 639-1.
- ``emotion``: one of `emovox.emotions.EMOTIONS` or `BEYOND_SEVEN`; empty if the table knows no name for it.
- ``native_label``: what the corpus itself calls it. ``sentence``: the corpus's own name of the text.
- ``start``, ``end``: part of the recording in seconds; NaN for all of it. ``duration``: seconds, NaN if not known.
"""

GENDERS = ("female", "male", "")

_log = logging.getLogger(__name__)


def build(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Make a validated manifest from mappings; columns that are left out become empty.

    Example:
        >>> build([{"path": "a.wav", "emotion": "sad"}])[["path", "emotion", "gender", "duration"]].values.tolist()
        [['a.wav', 'sad', '', nan]]
    """
    return validate(pd.DataFrame([dict(row) for row in rows], columns=None if rows else list(COLUMNS), dtype=object))


def validate(table: pd.DataFrame, *, source: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Check a table and give it back with all columns, in order and of the right type; other columns are left out.

    Raises:
        ManifestError: if ``path`` is missing or empty, a value is impossible, or a row stands twice. The message
            names the first faulty row.
    """
    twice_named = sorted({str(name) for name in table.columns[table.columns.duplicated()]} & set(COLUMNS))
    if twice_named:
        raise ManifestError(f"has the column {twice_named[0]!r} twice", path=source, remedy="Remove one.")
    if "path" not in table.columns:
        raise ManifestError(
            f"has no column 'path' (columns: {', '.join(map(str, table.columns)) or 'none'})",
            path=source,
            remedy=f"A manifest has the columns {', '.join(COLUMNS)}; only path is required.",
        )
    clean = pd.DataFrame(index=pd.RangeIndex(len(table)))
    for column in TEXT_COLUMNS:
        clean[column] = _text_column(table, column, source)
    for column in NUMBER_COLUMNS:
        clean[column] = _numbers(table, column, source)
    _refuse(source, "path", np.array([not item.strip() for item in clean["path"]], dtype=bool), clean)
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
    """Read a manifest from Parquet (``.parquet``) or CSV; paths become absolute.

    CSV is UTF-8 with commas, semicolons (then with decimal commas, as spreadsheets in much of Europe write it) or
    tabs. Columns that a manifest does not have are left out, with a warning in the log.

    Raises:
        ManifestError: if it cannot be read or is not a valid manifest.
    """
    file = Path(path)
    try:
        table = pd.read_parquet(file).astype(object) if file.suffix.lower() == ".parquet" else _read_csv(file)
    except FileNotFoundError as error:
        raise ManifestError("no such file", code="not_found", path=path, remedy="Check the path.") from error
    except UnicodeError as error:
        raise ManifestError("is not UTF-8 text", path=path, remedy="Save it as CSV in UTF-8.") from error
    except Exception as error:  # pandas and pyarrow have no common base for what damaged files raise
        raise ManifestError(
            f"cannot be read as a manifest ({error})", path=path, remedy="Give a .csv, .tsv or .parquet."
        ) from error
    unknown = [str(column) for column in table.columns if column not in COLUMNS]
    if unknown and "path" in table.columns:
        _log.warning("%s: left out the columns %s, which a manifest does not have", path, ", ".join(unknown))
    if list(table.columns).count("path") == 1:
        folder = str(file.absolute().parent)
        paths = _texts(table, "path")
        table = table.assign(path=[os.path.normpath(os.path.join(folder, item)) if item else "" for item in paths])  # noqa: PTH118
    return validate(table, source=path)


def write(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a manifest as ``.csv``, ``.tsv`` or ``.parquet`` in one step: a reader never sees half of it.

    Relative paths in the table are relative to the working directory. Recordings that lie below the file's folder
    are written relative to that, so that the folder can be moved; all others are written as absolute.

    Raises:
        ManifestError: if the table is not valid or the file cannot be written; what stood there before remains.
    """
    file = Path(path).absolute()
    kind = file.suffix.lower()
    if kind not in (".csv", ".tsv", ".parquet"):
        raise ManifestError("is not named as a manifest", path=path, remedy="End it in .csv, .tsv or .parquet.")
    portable = validate(table, source=path)
    below = os.path.join(file.parent, "")  # noqa: PTH118 - pathlib takes seconds for 50,000 rows
    portable["path"] = [os.path.abspath(item).removeprefix(below) for item in portable["path"]]  # noqa: PTH100
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if kind == ".parquet":
            portable.to_parquet(partial, index=False)
        else:
            portable.to_csv(partial, index=False, sep="\t" if kind == ".tsv" else ",")
        partial.replace(file)
    except OSError as error:
        raise ManifestError(
            f"cannot be written ({error.strerror or error})",
            code="not_written",
            path=path,
            remedy="Check the disk's free space and the folder's rights.",
        ) from error
    except UnicodeEncodeError as error:
        raise ManifestError(
            f"cannot hold {error.object[:200]!r}, which is not text", path=path, remedy="Rename that recording."
        ) from error
    finally:
        with suppress(OSError):
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
    columns.insert(0, "name", [os.path.splitext(os.path.basename(item))[0] for item in table["path"]])  # noqa: PTH119, PTH122
    return hashlib.sha256(columns.to_csv(index=False).encode()).hexdigest()[:16]


def _read_csv(file: Path) -> pd.DataFrame:
    with file.open(encoding="utf-8-sig") as lines:
        header = lines.readline()
    separator = next((mark for mark in ",;\t" if "path" in _fields(header, mark)), ",")
    counts = Counter(_fields(header, separator))
    for column in COLUMNS:
        if counts[column] > 1:
            raise ValueError(f"the column {column!r} stands twice")
    with warnings.catch_warnings():
        # Rows with more fields than the header would lose some.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        # As text: speakers such as "03" are names, not numbers.
        table = pd.read_csv(
            file,
            dtype=str,
            keep_default_na=False,
            sep=separator,
            encoding="utf-8-sig",
            index_col=False,
            skipinitialspace=f"{separator} " in header,
        )
    table.columns = pd.Index([str(column).strip() for column in table.columns])
    if separator == ";":
        for column in table.columns.intersection(list(NUMBER_COLUMNS)):
            table[column] = table[column].str.replace(",", ".")
    return table


def _fields(header: str, separator: str) -> list[str]:
    return [field.strip().strip('"') for field in header.split(separator)]


def _text_column(table: pd.DataFrame, column: str, source: str | os.PathLike[str] | None) -> pd.Series[str]:
    try:
        return pd.Series(_texts(table, column), dtype=str)
    except UnicodeEncodeError as error:
        raise ManifestError(
            f"has {column} = {error.object[:200]!r}, which is not text",
            path=source,
            remedy="Rename that recording." if column == "path" else "Correct it.",
        ) from error


def _texts(table: pd.DataFrame, column: str) -> list[str]:
    """One text a row; paths as they are, all others without surrounding blanks."""
    if column not in table.columns:
        return [""] * len(table)
    values = table[column].astype(object)
    texts = [_text(value) for value in values.where(values.notna(), "")]
    return texts if column == "path" else [text.strip() for text in texts]


def _text(value: object) -> str:
    # Number columns with gaps are floating point in pandas: speaker 3 must not become "3.0".
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _numbers(table: pd.DataFrame, column: str, source: str | os.PathLike[str] | None) -> npt.NDArray[np.float64]:
    if column not in table.columns:
        return np.full(len(table), np.nan)
    texts = table[column].astype(object).where(table[column].notna(), "nan").map(str).str.strip()
    texts = texts.where(texts != "", "nan")
    try:
        numbers = texts.to_numpy(dtype=object).astype(np.float64)
    except ValueError:  # name the row; to_numeric is less exact in the last digit
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64)
    _refuse(source, column, ~np.isfinite(numbers) & (texts != "nan").to_numpy(), table)
    return numbers


def _refuse(
    source: str | os.PathLike[str] | None, column: str, wrong: npt.NDArray[np.bool_], table: pd.DataFrame
) -> None:
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ManifestError(
            f"row {row + 1} has {column} = {str(table[column].iloc[row])!r}, which cannot be",
            path=source,
            remedy=f"{int(wrong.sum())} such row(s); correct or remove them.",
        )
