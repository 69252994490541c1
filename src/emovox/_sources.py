"""How `emovox.audio` opens what it is given: a path, bytes, or a binary file object. Nothing else uses this file."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from emovox.errors import AudioError, ParameterError

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, the bytes of a file, or a binary file object. Files that can seek are read from their beginning."""

_CHUNK_BYTES = 1 << 20
_IN_MEMORY_BYTES = 16 << 20
"""What comes through a pipe is kept in memory up to this size, and in a temporary file beyond it."""


class SourceFile:
    """A file that the decoding libraries call back from C, where an exception would be printed and then lost.

    Attributes:
        size: length in bytes.
        name: for messages; None where there is none.
        path: what may be opened again to read the same bytes; None where that cannot be.
    """

    def __init__(self, file: Any, size: int, name: str | None, path: Path | None = None) -> None:
        self.path = path
        self._file = file
        self._error: Exception | None = None
        self.size = size
        self.name = name

    def read(self, size: int = -1) -> bytes:
        """Read like any file; after a failure there is nothing more to read."""
        if self._error is not None:
            return b""
        try:
            data: bytes = self._file.read(size)
        except Exception as error:
            self._error = error
            return b""
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move like any file; a place that cannot be, as a damaged header may name it, leaves the position."""
        with suppress(OSError, ValueError, OverflowError):
            self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """Give the position in bytes."""
        return int(self._file.tell())

    def try_reading(self) -> None:
        """Read to the end, so that `raise_failure` knows of failures that a library met on its own."""
        self.seek(0)
        while self.read(_CHUNK_BYTES):
            pass

    def raise_failure(self) -> None:
        """Raise what went wrong in `read`, if anything did."""
        if self._error is not None:
            raise _unreadable(self._error, self.name) from self._error


def source_name(source: Source) -> str | None:
    """Name of a source for messages: its path, or None for bytes and nameless file objects."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else None


@contextmanager
def open_source(source: Source, *, max_bytes: int) -> Iterator[SourceFile]:
    """Open any source; what cannot seek is copied first, to memory or to a temporary file.

    Raises:
        AudioError: ``not_found``, ``is_directory``, ``no_permission``, ``unreadable``, ``empty`` or ``too_large``.
        ParameterError: if it is no source at all.
    """
    name = source_name(source)
    if isinstance(source, bytes | bytearray | memoryview):
        _check_size(memoryview(source).nbytes, max_bytes, name)
        yield SourceFile(io.BytesIO(source), memoryview(source).nbytes, name)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        with _open_path(path, name) as file, _seekable(file, max_bytes, name) as opened:
            opened.path = path if path.is_file() else None
            yield opened
    elif hasattr(source, "read") and not isinstance(source, io.TextIOBase):
        with _seekable(source, max_bytes, name) as opened:
            yield opened
    else:
        raise ParameterError(
            f"cannot read sound from {type(source).__name__}",
            remedy="Give a path, bytes or a file opened with 'rb'; emovox.audio.from_array takes arrays.",
        )


def _open_path(path: Path, name: str | None) -> BinaryIO:
    try:
        if path.is_dir():
            raise IsADirectoryError
        return path.open("rb")
    except FileNotFoundError as error:
        raise AudioError("no such file", code="not_found", path=name, remedy="Check the path.") from error
    except IsADirectoryError as error:
        remedy = "Name the recordings in it."
        raise AudioError("is a folder, not a recording", code="is_directory", path=name, remedy=remedy) from error
    except PermissionError as error:
        raise AudioError("may not be read", code="no_permission", path=name, remedy="Check its rights.") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"cannot be opened ({error})", code="not_found", path=name) from error


@contextmanager
def _seekable(file: Any, max_bytes: int, name: str | None) -> Iterator[SourceFile]:
    with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as copy:
        try:
            seekable = getattr(file, "seekable", None)
            if seekable is None or not seekable():
                _copy(file, copy, max_bytes, name)
                file = copy
            file.seek(0, os.SEEK_END)
            size = file.tell()
            file.seek(0)
        except (OSError, ValueError) as error:
            raise _unreadable(error, name) from error
        _check_size(size, max_bytes, name)
        yield SourceFile(file, size, name)


def _copy(file: Any, copy: Any, max_bytes: int, name: str | None) -> None:
    total = 0
    while chunk := file.read(_CHUNK_BYTES):
        if not isinstance(chunk, bytes):
            raise ParameterError(f"a file that gives {type(chunk).__name__} is not sound", remedy="Open it with 'rb'.")
        total += len(chunk)
        _check_size(total, max_bytes, name)
        copy.write(chunk)


def _check_size(size: int, max_bytes: int, name: str | None) -> None:
    if size == 0:
        raise AudioError("has no content (0 bytes)", code="empty", path=name, remedy="Record it again.")
    if size > max_bytes:
        raise AudioError(
            f"is larger than {max_bytes / 1e6:,.0f} MB", code="too_large", path=name, remedy="Split it into parts."
        )


def _unreadable(error: Exception, name: str | None) -> AudioError:
    return AudioError(
        f"cannot be read to its end ({error})",
        code="unreadable",
        path=name,
        remedy="Check the disk or the connection that it comes from.",
    )
