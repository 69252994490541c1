"""People's own recordings in a table: a CSV or Parquet file with a row a recording, or an audformat database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from emovox.corpora.folders import slug
from emovox.emotions import normalise
from emovox.errors import CorpusError, ManifestError

if TYPE_CHECKING:
    import pandas as pd

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
AUDFORMAT_HEADER = "db.yaml"
_ALIASES = {
    "path": ("file", "filename", "filepath"),
    "emotion": ("label",),
    "speaker": ("speaker_id",),
    "gender": ("sex",),
}
_GENDERS = {"f": "female", "female": "female", "m": "male", "male": "male"}


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of recordings as a manifest.

    Besides manifests as emovox writes them this takes the column names ``file``, ``filename`` or ``filepath`` for
    ``path``, ``label`` for ``emotion``, ``speaker_id``, ``sex``; emotions in every spelling that
    `emovox.emotions.normalise` knows; genders as ``f`` and ``m``; and ``start`` and ``end`` as audformat writes them
    (``0 days 00:00:01.5``). Relative paths begin at the table's folder.

    Raises:
        ManifestError: if it cannot be read or a value is impossible.
    """
    import pandas as pd

    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
            if any(name is not None for name in frame.index.names):
                frame = frame.reset_index()
        else:
            # As text: speakers such as "03" are names, not numbers.
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, sep=_separator(path), encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ManifestError("no such file", code="not_found", path=path, remedy="Check the path.") from error
    except UnicodeError as error:
        raise ManifestError("is not UTF-8 text", path=path, remedy="Save it as CSV in UTF-8.") from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"cannot be read as a table ({error})", path=path, remedy="Save it again.") from error
    return _as_manifest(frame, path, path.parent, slug(path.stem))


def read_audformat(folder: Path) -> pd.DataFrame:
    """Read the emotions of an audformat database: the folder with ``db.yaml``.

    The scheme called ``emotion`` is taken, with ``speaker``, ``gender`` and ``language`` where the database has them;
    otherwise the language of the whole database, if it has a single one.

    Raises:
        CorpusError: if the package audformat is missing, or the database cannot be read or has no such scheme.
    """
    try:
        import audformat
    except ModuleNotFoundError as error:
        raise CorpusError(
            "is an audformat database; reading it needs the package audformat",
            code="missing_extra",
            path=folder / AUDFORMAT_HEADER,
            remedy="pip install audformat, or scan the CSV file of its table.",
        ) from error
    try:
        database = audformat.Database.load(str(folder))
    except Exception as error:  # audformat passes on what its parsers raise
        raise CorpusError(f"cannot be read as an audformat database ({error})", path=folder) from error
    if "emotion" not in database.schemes:
        raise CorpusError(
            f"has no scheme 'emotion' (schemes: {', '.join(database.schemes) or 'none'})",
            path=folder / AUDFORMAT_HEADER,
            remedy="Scan a CSV file with the columns path and emotion instead.",
        )
    frame = database.get("emotion", ["speaker", "gender", "language"])
    if len(database.languages) == 1 and frame["language"].isna().all():
        frame["language"] = database.languages[0]
    return _as_manifest(frame.reset_index(), folder / AUDFORMAT_HEADER, folder, slug(database.name))


def _separator(path: Path) -> str:
    """Find what stands between the fields: the mark that leaves a column of paths in the first line."""
    with path.open(encoding="utf-8-sig") as file:
        header = file.readline()
    names = {"path", *_ALIASES["path"]}
    fields = {mark: {field.strip().strip('"') for field in header.split(mark)} for mark in ",;\t"}
    return next((mark for mark in fields if names & fields[mark]), ",")


def _as_manifest(frame: pd.DataFrame, source: Path, folder: Path, corpus: str) -> pd.DataFrame:
    from emovox import manifest

    frame = frame.rename(columns=lambda name: str(name).strip())
    for column, others in _ALIASES.items():
        other = next((name for name in others if name in frame.columns), None)
        if column not in frame.columns and other is not None:
            frame = frame.rename(columns={other: column})
    if "path" not in frame.columns:
        raise ManifestError(
            f"has no column that names the recordings (columns: {', '.join(frame.columns) or 'none'})",
            path=source,
            remedy=f"Call it path, {', '.join(_ALIASES['path'])}.",
        )
    for column in ("start", "end"):
        if column in frame.columns:
            frame[column] = _seconds(frame[column], source)
    for column in ("emotion", "speaker", "gender", "language", "native_label", "path"):
        if column in frame.columns:
            frame[column] = frame[column].astype(object).where(frame[column].notna(), "").map(str).str.strip()
    if "emotion" in frame.columns:
        words = frame["emotion"]
        native = frame["native_label"] if "native_label" in frame.columns else words
        frame["native_label"] = native.where(native != "", words)
        frame["emotion"] = words.map(lambda word: normalise(word) or "")
    if "gender" in frame.columns:
        frame["gender"] = frame["gender"].map(lambda word: _GENDERS.get(word.lower(), word))
    if "language" in frame.columns:
        frame["language"] = frame["language"].map(_two_letters)
    if "corpus" not in frame.columns:
        frame["corpus"] = corpus
        if "speaker" in frame.columns:
            frame["speaker"] = frame["speaker"].map(lambda name: f"{corpus}-{name}" if name else "")
    table = manifest.validate(frame, source=source)
    table["path"] = [os.path.abspath(folder / item) for item in table["path"]]  # noqa: PTH100 - keeps links
    return table


def _seconds(values: pd.Series, source: Path) -> pd.Series:
    """Read numbers of seconds or durations such as ``0 days 00:00:01.5``; what is missing becomes NaN."""
    import pandas as pd

    if pd.api.types.is_timedelta64_dtype(values):
        return pd.Series(values.dt.total_seconds())
    texts = values.where(values.astype(str).str.strip() != "")
    numbers = pd.to_numeric(texts, errors="coerce").astype(float)
    try:
        # A bare number would count as nanoseconds.
        return numbers.fillna(pd.to_timedelta(texts.where(numbers.isna())).dt.total_seconds())
    except ValueError as error:
        raise ManifestError(
            f"has times that are neither seconds nor durations ({error})", path=source, remedy="Write seconds."
        ) from error


def _two_letters(language: str) -> str:
    """Turn the three letters that audformat uses (ISO 639-3) into the two of emovox where there are such."""
    return {"deu": "de", "eng": "en", "ita": "it", "cmn": "zh", "zho": "zh", "fra": "fr", "spa": "es"}.get(
        language.lower(), language
    )
