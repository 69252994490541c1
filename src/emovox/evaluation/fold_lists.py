"""Folds that somebody else defined: the `file` protocol, and the lists that come with emovox."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pandas as pd

from emovox.errors import ProtocolError
from emovox.evaluation.splitting import EvaluationProtocol, Fold, rotate, slug

Lists: TypeAlias = Mapping[str, Collection[str]]

_RAVDESS_ACTORS = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))

FOLD_LISTS: Mapping[str, Lists] = MappingProxyType(
    {
        "ravdess-6": {
            str(number): tuple(f"ravdess-{actor:02d}" for actor in actors)
            for number, actors in enumerate(_RAVDESS_ACTORS)
        },
    }
)
"""Named lists: fold -> speakers. ``ravdess-6``: six folds of four actors, two women and two men in each."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileFolds(EvaluationProtocol):
    """Folds from a list: each is tested once and trained on all the others; rows in no list are put aside.

    Args:
        source: one of
            a name in `FOLD_LISTS`;
            a CSV file with the columns ``fold`` and ``speaker``, or ``fold`` and ``path`` (relative to the file);
            a JSON file, ``{"fold": [speaker or path, ...]}`` or ``[[...], [...]]``;
            the same as a mapping or a sequence.

    Example:
        >>> table = pd.DataFrame({"path": "", "corpus": "c", "speaker": ["a", "b", "c", "d"], "emotion": "sad"})
        >>> [(fold.train.tolist(), fold.test.tolist()) for fold in FileFolds([["a", "b"], ["c"]]).folds(table)]
        [([2], [0, 1]), ([0, 1], [2])]
    """

    name: ClassVar[str] = "file"
    source: str | os.PathLike[str] | Lists | Sequence[Collection[str]]

    @property
    def key(self) -> str:
        """``file-`` and the list's name, with a hash of what it says."""
        text = json.dumps({fold: sorted(entries) for fold, entries in self.lists().items()}, sort_keys=True)
        return slug(f"file-{self._title}-{hashlib.sha256(text.encode()).hexdigest()[:8]}")

    @property
    def sentence(self) -> str:
        """Number of folds, and the name of the list."""
        return f"{len(self.lists())} folds of the list '{self._title}'"

    @property
    def _title(self) -> str:
        return Path(self.source).stem if isinstance(self.source, str | os.PathLike) else "given"

    def lists(self) -> dict[str, tuple[str, ...]]:
        """Read the list: fold -> speakers and paths, as they are written.

        Raises:
            ProtocolError: if the file is missing or cannot be understood.
        """
        if isinstance(self.source, Mapping):
            return {str(fold): tuple(entries) for fold, entries in self.source.items()}
        if isinstance(self.source, str) and self.source in FOLD_LISTS:
            return {fold: tuple(entries) for fold, entries in FOLD_LISTS[self.source].items()}
        if isinstance(self.source, str | os.PathLike):
            return _read(Path(self.source))
        return {str(number): tuple(entries) for number, entries in enumerate(self.source)}

    def folds(self, table: pd.DataFrame) -> list[Fold]:
        """Find the rows of each fold by speaker or by path."""
        owner = np.full(len(table), -1)
        lists = self.lists()
        for number, (name, entries) in enumerate(lists.items()):
            rows = self._rows(table, entries)
            if (owner[rows] >= 0).any():
                first = int(np.flatnonzero(rows & (owner >= 0))[0])
                raise ProtocolError(
                    f"{table['path'].iloc[first]!r} stands in the folds {list(lists)[owner[first]]!r} and {name!r}",
                    path=self._path,
                    remedy="A clip belongs to one fold.",
                )
            if not rows.any():
                logger.warning("fold %r of the list '%s' has no clip among the rows; it is left out", name, self._title)
            owner[rows] = number
        parts = {name: np.flatnonzero(owner == number) for number, name in enumerate(lists)}
        return rotate({name: part for name, part in parts.items() if len(part)})

    def separates_speakers(self, table: pd.DataFrame) -> bool:
        """Whether the lists do; a clip of an unknown speaker counts as a doubt, so as a no."""
        speakers = table["speaker"].to_numpy()
        return all(
            "" not in speakers[fold.test] and not set(speakers[fold.train]) & set(speakers[fold.test])
            for fold in self.folds(table)
        )

    def _rows(self, table: pd.DataFrame, entries: Collection[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        folder = Path(self._path).absolute().parent if self._path else Path.cwd()
        paths = {os.path.normpath(folder / entry): entry for entry in entries}
        by_speaker = table["speaker"].isin(list(entries)) & (table["speaker"] != "")
        by_path = table["path"].isin(list(paths))
        found = {*table["speaker"][by_speaker], *(paths[path] for path in table["path"][by_path])}
        missing = [entry for entry in entries if entry not in found]
        if missing:
            logger.info("%d entries of the list '%s' match no row (%s, ...)", len(missing), self._title, missing[0])
        return (by_speaker | by_path).to_numpy(dtype=bool)

    @property
    def _path(self) -> str | None:
        return str(self.source) if isinstance(self.source, str | os.PathLike) else None


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ProtocolError(
            "no such list of folds", path=path, remedy=f"Give a .csv or .json file, or one of {', '.join(FOLD_LISTS)}."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ProtocolError(f"cannot be read ({error})", path=path) from error
    return _from_json(text, path) if path.suffix.lower() == ".json" else _from_csv(text, path)


def _from_csv(text: str, source: Path) -> dict[str, tuple[str, ...]]:
    reader = csv.DictReader(text.splitlines())
    columns = set(reader.fieldnames or ())
    if "fold" not in columns or not columns & {"speaker", "path"}:
        raise ProtocolError(
            f"has the columns {', '.join(sorted(columns)) or 'none'}",
            path=source,
            remedy="A list of folds has the columns fold and speaker, or fold and path.",
        )
    lists: dict[str, list[str]] = {}
    for line, row in enumerate(reader, start=2):
        entry = row.get("speaker") or row.get("path")
        if not row["fold"] or not entry:
            raise ProtocolError(f"line {line} names no fold or no clip", path=source)
        lists.setdefault(row["fold"], []).append(entry)
    return {fold: tuple(entries) for fold, entries in lists.items()}


def _from_json(text: str, source: Path) -> dict[str, tuple[str, ...]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ProtocolError(f"is not JSON ({error})", path=source) from error
    lists = (
        {str(number): entries for number, entries in enumerate(document)} if isinstance(document, list) else document
    )
    if not isinstance(lists, dict) or not all(
        isinstance(entries, list) and all(isinstance(entry, str) for entry in entries) for entries in lists.values()
    ):
        raise ProtocolError(
            "is not a list of folds", path=source, remedy='Write {"fold": ["speaker or path", ...], ...}.'
        )
    return {fold: tuple(entries) for fold, entries in lists.items()}
