"""Keep what a frozen trunk says of each clip, so that it is computed once and not once a fold."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import platformdirs

logger = logging.getLogger(__name__)
Embedding: TypeAlias = npt.NDArray[np.float32]

UNUSED_DAYS = 30
"""Embeddings of a network that nobody has used for so many days are removed: a later version asks for others."""


class EmbeddingCache:
    """Embeddings by the content of a clip, in an SQLite file for each network that several processes may share.

    Every embedding is written as soon as it is computed: a killed run loses none. Where the file cannot be used, a
    warning is logged and everything is computed. What nobody has used for `UNUSED_DAYS` is removed.

    Args:
        folder: where the files lie; ``default`` for the user's cache, None to keep nothing.
        key: names the network and its pooling.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, *, key: str) -> None:
        self._file: Path | None = None
        if folder is not None:
            root = Path(platformdirs.user_cache_dir("emovox")) if folder == "default" else Path(folder)
            self._file = root / f"embeddings-{hashlib.sha256(key.encode()).hexdigest()[:16]}.sqlite"
            _clear(root, kept=self._file)

    def get(self, clip: bytes, compute: Callable[[], Embedding]) -> Embedding:
        """Give the stored embedding of a clip, or compute and store it.

        Args:
            clip: its name, see `emovox.models.versions.Versions.name`.
            compute: gives its embedding.
        """
        found = self._read(clip)
        if found is None:
            found = np.ascontiguousarray(compute(), dtype=np.float32)
            self._write(clip, found)
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


def _clear(folder: Path, *, kept: Path) -> None:
    """Remove what nobody has used for long, and note that `kept` is used."""
    oldest = time.time() - UNUSED_DAYS * 24 * 3600
    try:
        if kept.exists():
            kept.touch()
        for file in folder.glob(f"embeddings-{'[0-9a-f]' * 16}.sqlite"):
            if file.stat().st_mtime < oldest:
                for part in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
                    part.unlink(missing_ok=True)
    except OSError as error:  # another process was first, or may write there; this one needs none of these files
        logger.debug("old embeddings stay: %s", error)
