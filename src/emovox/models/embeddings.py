"""Keep what a frozen trunk says of each clip, so that it is computed once and not once a fold."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import platformdirs

logger = logging.getLogger(__name__)
Embedding: TypeAlias = npt.NDArray[np.float32]


class EmbeddingCache:
    """Embeddings by the content of a clip, in one SQLite file that several processes may share.

    Every embedding is written as soon as it is computed: a killed run loses none. Where the file cannot be used, a
    warning is logged and everything is computed.

    Args:
        folder: where the file lies; ``default`` for the user's cache, None to keep nothing.
        key: names the network and its pooling.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, *, key: str) -> None:
        self.key = key
        self._file: Path | None = None
        if folder is not None:
            root = Path(platformdirs.user_cache_dir("emovox")) if folder == "default" else Path(folder)
            self._file = root / "embeddings.sqlite"

    def get(self, clip: bytes, compute: Callable[[], Embedding]) -> Embedding:
        """Give the stored embedding of a clip, or compute and store it.

        Args:
            clip: its name, see `emovox.models.versions.Versions.name`.
            compute: gives its embedding.
        """
        name = hashlib.sha256(self.key.encode() + clip).digest()
        found = self._read(name)
        if found is None:
            found = np.ascontiguousarray(compute(), dtype=np.float32)
            self._write(name, found)
        return found

    def _read(self, name: bytes) -> Embedding | None:
        if self._file is None or not self._file.is_file():
            return None
        try:
            with closing(self._connect()) as connection:
                row = connection.execute("SELECT value FROM embeddings WHERE name = ?", (name,)).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return None if row is None else np.frombuffer(row[0], dtype=np.float32)

    def _write(self, name: bytes, value: Embedding) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS embeddings (name BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
                )
                connection.execute("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", (name, value.tobytes()))
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(str(self._file), timeout=60)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _give_up(self, error: Exception) -> None:
        logger.warning("embeddings are not kept: %s: %s", self._file, error)
        self._file = None
