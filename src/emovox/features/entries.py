"""One folder of computed arrays: a file each, written in one step, checked when read."""

from __future__ import annotations

import hashlib
import io
import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

logger = logging.getLogger(__name__)

DIGEST_BYTES = 16
ABANDONED_AFTER_S = 3600.0
"""A half-written file that is older than this was left by a process that was killed."""


class EntryFolder:
    """Arrays by key on disk; any number of processes may read and write at the same time.

    An entry is a `.npy` file with the BLAKE2b digest of its bytes behind it, which `numpy.load` passes over. It is
    written under another name and then renamed, so nobody sees half of it; one that is damaged all the same (a bad
    disk, a power cut) does not match its digest and counts as absent. The first two characters of the key name a
    folder, so that 50,000 entries make folders of some 200.

    Args:
        path: the folder; made when the first entry is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, key: str) -> Path:
        """Where the entry of `key` lies."""
        return self.path / key[:2] / f"{key[2:]}.npy"

    def read(self, key: str) -> npt.NDArray[np.generic] | None:
        """Give the array, or None if there is none that is whole."""
        file = self.file(key)
        try:
            data = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            logger.warning("%s cannot be read (%s); it is computed again", file, error.strerror)
            return None
        body, digest = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
        if _digest(body) != digest:
            logger.info("%s is damaged; it is computed again", file)
            return None
        try:
            array: npt.NDArray[np.generic] = np.load(io.BytesIO(body), allow_pickle=False)
        except ValueError:
            logger.info("%s is not an array; it is computed again", file)
            return None
        return array

    def write(self, key: str, array: npt.NDArray[np.generic]) -> None:
        """Write an entry, or replace it.

        Raises:
            OSError: if the disk is full, read-only or closed to this user; nothing half-written stays under the key.
        """
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        body = buffer.getvalue()
        file = self.file(key)
        partial = self._partial_folder / f"{key}.{secrets.token_hex(8)}"
        partial.parent.mkdir(parents=True, exist_ok=True)
        file.parent.mkdir(exist_ok=True)
        try:
            partial.write_bytes(body + _digest(body))
            partial.replace(file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def remove_abandoned(self) -> None:
        """Remove what killed processes left half-written."""
        oldest = time.time() - ABANDONED_AFTER_S
        with suppress(OSError):  # there is no folder yet, or it is not ours to tidy
            for partial in self._partial_folder.iterdir():
                with suppress(FileNotFoundError):  # its writer has just finished it
                    if partial.stat().st_mtime < oldest:
                        partial.unlink()

    @property
    def _partial_folder(self) -> Path:
        return self.path / "partial"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
