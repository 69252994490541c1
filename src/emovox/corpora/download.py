"""Download a corpus from its official source: resumable, verified, unpacked safely.

Nothing here touches the network unless `download` is called.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pooch

from emovox.corpora.fetch import disk_error, retrieve
from emovox.corpora.sources import SOURCES, RemoteFile, Source
from emovox.corpora.unpack import unpack
from emovox.errors import CorpusError

Progress = Callable[[str, int, int | None], None]
"""Called with the stage (``listing``, ``fetching``, ``unpacking``), what is done and what there is: bytes or files."""

WORKING_FOLDER = ".downloads"
"""Where archives and unfinished files are kept, below the folder that was given."""
CONNECTIONS = 4
"""Files that are fetched at a time where a corpus has many."""


@dataclass(frozen=True)
class Recorded:
    """A file that its publisher gives no checksum for: the first download is trusted, later ones must equal it.

    Attributes:
        file: the file.
        sha256: in hexadecimal; also stored beside the file as ``NAME.sha256``.
        first: whether this was the first download.
    """

    file: Path
    sha256: str
    first: bool


@dataclass(frozen=True)
class Download:
    """What `download` has done.

    Attributes:
        name: of the corpus.
        folder: where it lies.
        files: how many files were asked for; all are there.
        verified: how many of them agree with a checksum that their publisher gives.
        recorded: the others.
        archives: packed files that are no longer needed.
    """

    name: str
    folder: Path
    files: int
    verified: int
    recorded: tuple[Recorded, ...]
    archives: tuple[Path, ...]


def source(name: str) -> Source:
    """Look a source up by name.

    Raises:
        CorpusError: ``no_open_source`` if there is none of that name.
    """
    if name not in SOURCES:
        raise CorpusError(
            f"no open source for {name!r} is known",
            code="no_open_source",
            remedy=f"Known are {', '.join(SOURCES)}; other corpora come from their publishers, on request.",
        )
    return SOURCES[name]


def download(
    corpus: str | Source,
    folder: str | os.PathLike[str],
    *,
    accept_licence: bool,
    progress: Progress | None = None,
    patience_s: float = 1.0,
) -> Download:
    """Fetch a corpus into ``folder/NAME``.

    What has arrived stays: after an interruption, the next call goes on from there. Files that are there and agree
    with their checksum are not fetched again.

    Args:
        corpus: name of a corpus in `emovox.corpora.sources.SOURCES`, or a source of your own.
        folder: where to.
        accept_licence: that you have read the corpus's licence and accept it.
        progress: see `Progress`; called from several threads, one at a time.
        patience_s: wait before a second attempt, in seconds.

    Raises:
        CorpusError: with code ``licence``, ``no_open_source``, ``not_found``, ``refused``, ``unreachable``,
            ``bad_checksum``, ``bad_listing``, ``bad_archive``, ``unsafe_archive`` or ``disk``.
    """
    origin = source(corpus) if isinstance(corpus, str) else corpus
    if not accept_licence:
        raise CorpusError(
            f"{origin.title} is under {origin.licence}, which is not accepted yet",
            code="licence",
            remedy=f"Read {origin.licence_url} and say that you accept it.",
        )
    return _Job(origin, Path(folder).absolute(), progress, patience_s).run()


class _Job:
    def __init__(self, origin: Source, folder: Path, progress: Progress | None, patience_s: float) -> None:
        self.source = origin
        self.target = folder / origin.name
        self.working = folder / WORKING_FOLDER / origin.name
        self.progress = progress
        self.patience_s = patience_s
        self._lock = threading.Lock()
        self._bytes: dict[str, int] = {}
        self._total: int | None = None
        self._stop = threading.Event()

    def run(self) -> Download:
        try:
            files = self.source.origin.files(self._fetch_listing)
        except CorpusError as error:
            if error.code in ("bad_listing", "bad_archive"):
                shutil.rmtree(self.working, ignore_errors=True)  # a bad answer must not be kept for the next run
            raise
        self._check_room(files)
        sizes = [file.size for file in files]
        self._total = None if None in sizes else sum(size or 0 for size in sizes)
        recorded = self._fetch_all(files)
        archives = [file for file in files if file.folder is not None]
        for file in archives:
            self._unpack(file)
        try:
            self.source.origin.extract(self._fetch_listing, self.target)
        except OSError as error:
            raise disk_error(error, self.target) from error
        verified = sum(file.checksum is not None for file in files)
        paths = tuple(path for path in map(self._place, archives) if path.exists())
        return Download(self.source.name, self.target, len(files), verified, recorded, paths)

    def _fetch_listing(self, url: str, name: str) -> Path:
        path = self.working / name
        if not path.exists():
            retrieve(
                url,
                path,
                checksum=None,
                progress=lambda done, total: self._tell("listing", done, total),
                patience_s=self.patience_s,
            )
        return path

    def _fetch_all(self, files: list[RemoteFile]) -> tuple[Recorded, ...]:
        if len(files) <= CONNECTIONS:
            return tuple(record for record in map(self._fetch, files) if record is not None)
        pool = ThreadPoolExecutor(CONNECTIONS)
        try:
            return tuple(record for record in pool.map(self._fetch, files) if record is not None)
        finally:
            self._stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _fetch(self, file: RemoteFile) -> Recorded | None:
        path = self._place(file)
        note = _note(path)
        expected = file.checksum
        first = expected is None and not note.exists()
        if self._is_unpacked(file) and not path.exists():
            return (
                None if first or file.checksum else Recorded(path, note.read_text(encoding="ascii").split()[0], False)
            )
        if expected is None and not first:
            expected = f"sha256:{note.read_text(encoding='ascii').split()[0]}"
        self._retrieve(file, path, expected)
        if file.checksum is not None:
            return None
        digest = pooch.file_hash(str(path), alg="sha256")
        if first:
            try:
                note.write_text(f"{digest}  {path.name}\n", encoding="ascii")
            except OSError as error:
                raise disk_error(error, note) from error
        return Recorded(path, digest, first)

    def _retrieve(self, file: RemoteFile, path: Path, expected: str | None) -> None:
        def on_bytes(done: int, total: int | None) -> None:
            with self._lock:
                self._bytes[file.path] = done
                known = self._total if self._total is not None else total if len(self._bytes) == 1 else None
                if self.progress is not None:
                    self.progress("fetching", sum(self._bytes.values()), known)

        for number, url in enumerate(file.urls, start=1):
            try:
                retrieve(url, path, checksum=expected, progress=on_bytes, patience_s=self.patience_s, stop=self._stop)
            except CorpusError as error:
                if error.code in ("disk", "stopped") or number == len(file.urls):
                    raise
            else:
                on_bytes(path.stat().st_size, file.size)
                return

    def _place(self, file: RemoteFile) -> Path:
        return (self.target if file.folder is None else self.working) / file.path

    def _unpack(self, file: RemoteFile) -> None:
        if not self._is_unpacked(file):
            folder = self.target / str(file.folder)
            try:
                unpack(self._place(file), folder, progress=lambda done, total: self._tell("unpacking", done, total))
            except CorpusError as error:
                if file.checksum is None and error.code != "disk":
                    self._place(file).unlink(missing_ok=True)
                    _note(self._place(file)).unlink(missing_ok=True)
                raise

    def _is_unpacked(self, file: RemoteFile) -> bool:
        if file.folder is None:
            return False
        folder = self.target / file.folder
        return folder.is_dir() and any(folder.iterdir())  # it appears only when all is there

    def _check_room(self, files: list[RemoteFile]) -> None:
        missing = sum(file.size or 0 for file in files if not (self._place(file).exists() or self._is_unpacked(file)))
        try:
            self.working.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.working).free
        except OSError as error:
            raise disk_error(error, self.working) from error
        if missing > free:
            raise CorpusError(
                f"needs {missing / 1e6:,.0f} MB; {free / 1e6:,.0f} MB are free",
                code="disk",
                path=self.working,
                remedy="Choose another folder or make room.",
            )

    def _tell(self, stage: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)


def _note(path: Path) -> Path:
    """Where the checksum of a first download is remembered, in the form that ``sha256sum --check`` reads."""
    return path.with_name(f"{path.name}.sha256")
