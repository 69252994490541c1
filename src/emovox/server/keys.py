"""API keys: shown once when they are made, kept only as hashes."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from emovox._files import replacing
from emovox.errors import EmovoxError

PREFIX = "emovox_"
_FORMAT = 1


class KeyFileError(EmovoxError):
    """The file of API keys cannot be used."""

    default_code = "bad_keys"


@dataclass(frozen=True)
class KeyRecord:
    """What is kept of a key.

    Attributes:
        name: what its owner calls it.
        sha256: hash of the key, hexadecimal. A key is 256 random bits, which nobody can guess: a slow hash, as
            passwords need it, would protect nothing and cost every request.
        created: ISO 8601, UTC.
    """

    name: str
    sha256: str
    created: str


class KeyRing:
    """The keys of a file, read again when the file changes, so that a revoked key is refused at once.

    Args:
        path: the file; it need not exist.

    Example:
        >>> import tempfile
        >>> ring = KeyRing(Path(tempfile.mkdtemp(), "keys.json"))
        >>> key = ring.create("laptop")
        >>> ring.allows(key), ring.allows("guess"), ring.allows(None)
        (True, False, False)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._records: Mapping[str, KeyRecord] = {}

    @property
    def records(self) -> list[KeyRecord]:
        """All keys, in the order in which they were made.

        Raises:
            KeyFileError: if the file is damaged.
        """
        return list(self._current().values())

    def allows(self, key: str | None) -> bool:
        """Is it one of the keys? Takes the same time whichever and however much of it is right."""
        given = _hash(key or "")
        found = False
        for record in self._current().values():
            found |= hmac.compare_digest(record.sha256, given)
        return found

    def create(self, name: str) -> str:
        """Make a key and give it; it cannot be read again.

        Raises:
            KeyFileError: if there is a key of that name.
        """
        records = dict(self._current())
        if not name or name in records:
            raise KeyFileError(f"there is a key called {name!r} already" if name else "a key needs a name")
        key = PREFIX + secrets.token_urlsafe(32)
        records[name] = KeyRecord(name, _hash(key), datetime.now(UTC).isoformat(timespec="seconds"))
        self._write(records)
        return key

    def revoke(self, name: str) -> None:
        """Remove a key.

        Raises:
            KeyFileError: if there is none of that name.
        """
        records = dict(self._current())
        if records.pop(name, None) is None:
            known = ", ".join(records) or "none"
            raise KeyFileError(f"there is no key called {name!r}", remedy=f"Keys: {known}.")
        self._write(records)

    def _write(self, records: Mapping[str, KeyRecord]) -> None:
        document = {"format": _FORMAT, "keys": [asdict(record) for record in records.values()]}
        with replacing(self.path) as partial:
            partial.touch(mode=0o600)
            partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    def _current(self) -> Mapping[str, KeyRecord]:
        with self._lock:
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                self._records = {} if stamp is None else _read(self.path)
                self._stamp = stamp
            return self._records


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - once for every request
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyFileError(f"cannot be read ({error.strerror})", path=path) from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> dict[str, KeyRecord]:
    try:
        items = json.loads(path.read_text(encoding="utf-8"))["keys"]
        records = [KeyRecord(str(item["name"]), str(item["sha256"]), str(item["created"])) for item in items]
        if not all(len(record.sha256) == 64 and record.sha256.isascii() for record in records):
            raise ValueError("a hash is no SHA-256")
    except (OSError, ValueError, TypeError, KeyError) as error:
        remedy = "Remove it and make new keys: emovox serve keys new NAME."
        raise KeyFileError(f"is no file of API keys ({error})", path=path, remedy=remedy) from error
    return {record.name: record for record in records}
