"""Unpack a zip archive that somebody else made: all of it or nothing, and nothing outside its folder."""

from __future__ import annotations

import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from emovox.corpora.fetch import disk_error
from emovox.errors import CorpusError

MAX_BYTES = 32 * 1024**3
"""Most bytes that an archive may unpack to."""
MAX_FILES = 200_000
MAX_RATIO = 200
"""Most bytes that a packed byte may become, for archives beyond `RATIO_FREE_BYTES`: more is a zip bomb, not sound."""
RATIO_FREE_BYTES = 64 * 1024**2
_BLOCK = 1 << 18
_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:")


def unpack(
    archive: Path, folder: Path, *, progress: Callable[[int, int], None] | None = None, max_bytes: int = MAX_BYTES
) -> int:
    """Unpack `archive` into `folder`, which appears in one step once all is there.

    Args:
        archive: a zip file.
        folder: must not exist yet, or be empty.
        progress: called with files done and all files.
        max_bytes: most bytes that are written.

    Returns:
        The number of files.

    Raises:
        CorpusError: ``bad_archive`` for a damaged file, ``unsafe_archive`` for one that names places outside the
            folder, holds links or grows beyond measure, ``disk`` if it cannot be written. Nothing is left then.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=f".{folder.name}.unpacking-", dir=folder.parent))
    except OSError as error:
        raise disk_error(error, folder) from error
    try:
        workplace.chmod(0o755)
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            _check(archive, members, max_bytes, shutil.disk_usage(workplace).free)
            for number, member in enumerate(members, start=1):
                _extract(archive, file, member, workplace.joinpath(*safe_path(member.filename, archive).parts))
                if progress is not None:
                    progress(number, len(members))
        workplace.replace(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise CorpusError(
            f"is not a whole zip archive ({error})", code="bad_archive", path=archive, remedy="Delete it and try again."
        ) from error
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return len(members)


def safe_path(name: str, source: str | Path) -> PurePosixPath:
    """Give a name that others chose as a relative path that stays below the folder it is joined to.

    Raises:
        CorpusError: ``unsafe_archive`` if it does not.

    Example:
        >>> str(safe_path("Actor_01/03-01-01-01-01-01-01.wav", "a.zip"))
        'Actor_01/03-01-01-01-01-01-01.wav'
    """
    path = PurePosixPath(name.replace("\\", "/"))
    bad = path.is_absolute() or ".." in path.parts or not path.parts
    if bad or _WINDOWS_DRIVE.match(name) or any(ord(character) < 32 for character in name):
        raise _unsafe(source, f"names {name!r}, a place outside its folder")
    return path


def _check(archive: Path, members: list[zipfile.ZipInfo], max_bytes: int, free: int) -> None:
    total = sum(member.file_size for member in members)
    packed = max(1, archive.stat().st_size)
    if total > max_bytes or len(members) > MAX_FILES:
        raise _unsafe(archive, f"would unpack to {len(members):,} files of {total:,} bytes")
    if total > RATIO_FREE_BYTES and total / packed > MAX_RATIO:
        raise _unsafe(archive, f"would grow {total / packed:,.0f} times")
    for member in members:
        safe_path(member.filename, archive)
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _unsafe(archive, f"holds {member.filename!r}, which is not a plain file")
    if total > free:
        raise CorpusError(
            f"needs {total / 1e6:,.0f} MB to unpack; {free / 1e6:,.0f} MB are free",
            code="disk",
            path=archive,
            remedy="Make room and run it again.",
        )


def _extract(archive: Path, file: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with file.open(member) as source, target.open("xb") as sink:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > member.file_size:
                raise _unsafe(archive, f"holds {member.filename!r}, which is larger than it claims")
            sink.write(block)


def _unsafe(source: str | Path, what: str) -> CorpusError:
    return CorpusError(what, code="unsafe_archive", path=source, remedy="Nothing was unpacked; do not trust the file.")
