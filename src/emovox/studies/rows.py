"""The rows of a study: numbered once and for all, so that results stay readable when rows are added."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from emovox import manifest
from emovox._files import replacing
from emovox.errors import ProtocolError
from emovox.evaluation.splitting import Indices

FILE = "rows.parquet"
_COLUMNS = ("path", "corpus", "speaker", "gender", "language", "emotion", "sentence", "intensity", "start", "end")


@dataclass(frozen=True, eq=False)
class Rows:
    """Every row that a study ever had.

    Attributes:
        known: all rows by number: the columns of a manifest, with file names instead of paths, and ``place``: the
            row's place in the study's present table, -1 if it is not in it any more.
    """

    known: pd.DataFrame

    @property
    def table(self) -> pd.DataFrame:
        """The present rows, in the order in which they were evaluated."""
        present = self.known[self.known["place"] >= 0].sort_values("place")
        return manifest.validate(present.drop(columns="place").reset_index(drop=True))

    @property
    def numbers(self) -> Indices:
        """The number of each row of `table`."""
        places = self.known["place"].to_numpy()
        present = np.flatnonzero(places >= 0)
        return present[np.argsort(places[present])]


def read_rows(folder: Path) -> Rows | None:
    """Read a study's rows; None if it has none yet.

    Raises:
        ProtocolError: if the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return Rows(pd.read_parquet(path))
    except (OSError, ValueError) as error:
        raise ProtocolError(f"cannot be read ({error})", path=path) from error


def write_rows(folder: Path, table: pd.DataFrame) -> Rows:
    """Make a table the study's present one: rows that are known keep their numbers, new ones get the next."""
    named = table[list(_COLUMNS)].assign(path=[Path(path).name for path in table["path"]])
    before = read_rows(folder)
    keys = _keys(named)
    old_keys = [] if before is None else _keys(before.known[list(_COLUMNS)])
    number_of = {key: number for number, key in enumerate(old_keys)}
    new = [place for place, key in enumerate(keys) if key not in number_of]
    number_of |= {keys[place]: len(old_keys) + count for count, place in enumerate(new)}
    old = named.iloc[:0] if before is None else before.known[list(_COLUMNS)]
    known = pd.concat([old, named.iloc[new]], ignore_index=True)
    places = np.full(len(known), -1, dtype=np.int32)
    places[[number_of[key] for key in keys]] = np.arange(len(keys))
    known["place"] = places
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / FILE) as partial:
        known.to_parquet(partial, index=False, compression="zstd")
    return Rows(known)


def _keys(table: pd.DataFrame) -> list[str]:
    """Give every row a text of its own; of equal rows the second, third, ... count as such."""
    texts = ["|".join(map(str, row)) for row in table.itertuples(index=False, name=None)]
    copies = pd.Series(texts, dtype=object).groupby(texts).cumcount()
    return [f"{text}|{copy}" for text, copy in zip(texts, copies, strict=True)]
