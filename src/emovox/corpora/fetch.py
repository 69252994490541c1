"""Fetch one file over HTTP, in as many attempts as it takes: what has arrived is kept and never fetched again.

pooch checks sums and moves files into place but begins at zero after every interruption; `ResumableDownloader` is the
downloader that it is given here.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pooch
import requests

from emovox.errors import CorpusError

Progress = Callable[[int, int | None], None]
"""Called with the bytes at hand and the size of the file, None where the server does not tell it."""

ATTEMPTS = 4
"""How often a connection is tried; one that brought new bytes does not count."""
TIMEOUT_S = (15.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""
_BLOCK = 1 << 16
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_logger = logging.getLogger(__name__)


class _BusyError(Exception):
    """The server asks to come back later."""

    def __init__(self, message: str, pause_s: float) -> None:
        super().__init__(message)
        self.pause_s = min(60.0, pause_s)


class ResumableDownloader:
    """A downloader for `pooch.retrieve` that goes on where an earlier attempt, or an earlier run, has stopped.

    Args:
        partial: where the bytes are kept until they are complete; lies on the disk of the file itself.
        progress: see `Progress`.
        patience_s: wait before the second attempt; doubles with each further one.
        stop: ends the attempts from another thread.
    """

    def __init__(
        self,
        partial: Path,
        *,
        progress: Progress | None = None,
        patience_s: float = 1.0,
        stop: threading.Event | None = None,
    ) -> None:
        self.partial = partial
        self.progress = progress
        self.patience_s = patience_s
        self.stop = stop or threading.Event()

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Fetch `url` to `output_file`.

        Raises:
            CorpusError: ``not_found``, ``refused``, ``unreachable``, ``disk`` or ``stopped``; what has arrived is kept.
        """
        del pooch, check_only
        failures = 0
        while True:
            before, pause = self._have(), 0.0
            try:
                if self._attempt(url):
                    break
                reason = "the connection ended early"
            except _BusyError as error:
                reason, pause = str(error), error.pause_s
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                reason = _plainly(error)
            except requests.RequestException as error:
                raise CorpusError(f"cannot be fetched ({_plainly(error)})", code="unreachable", path=url) from error
            except OSError as error:
                raise disk_error(error, self.partial) from error
            failures = 0 if self._have() > before else failures + 1
            if failures >= ATTEMPTS:
                kept = self._have()
                raise CorpusError(
                    f"cannot be fetched ({reason}){f'; {kept:,} bytes are kept' if kept else ''}",
                    code="unreachable",
                    path=url,
                    remedy="Check the network and run it again: it goes on from where it stopped.",
                )
            _logger.info("%s: %s; trying again", url, reason)
            if self.stop.wait(max(pause, min(30.0, self.patience_s * 2**failures))):
                raise _stopped(url)
        try:
            self.partial.replace(output_file)
            self._state.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, output_file) from error

    @property
    def _state(self) -> Path:
        """Which version of the file the kept bytes belong to, as the server named it."""
        return self.partial.with_name(f"{self.partial.name}.version")

    def _have(self) -> int:
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _attempt(self, url: str) -> bool:
        """Fetch what is missing; True once the file is complete."""
        have = self._have()
        headers = {"Accept-Encoding": "identity", "User-Agent": "emovox (speech emotion recognition)"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self._state.exists():
                headers["If-Range"] = self._state.read_text(encoding="latin-1")
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == 416:
                return self._beyond_end(response, have)
            _check(response, url)
            goes_on = response.status_code == 206 and _range_start(response) == have
            if have and not goes_on:
                _logger.info("%s: the server begins again at zero", url)
            start = have if goes_on else 0
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdigit() else None
            self._remember(response)
            have = self._receive(response, start, total)
        return total is None or have >= total

    def _receive(self, response: requests.Response, start: int, total: int | None) -> int:
        have = start
        with self.partial.open("ab" if start else "wb") as file:
            try:
                for block in response.iter_content(_BLOCK):
                    if self.stop.is_set():
                        raise _stopped(response.url)
                    file.write(block)
                    have += len(block)
                    if self.progress is not None:
                        self.progress(have, total)
            finally:
                file.flush()
        return have

    def _beyond_end(self, response: requests.Response, have: int) -> bool:
        """Whether the server refuses the range because all is there already; otherwise begin again."""
        size = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
        if size and int(size[1]) == have:
            return True
        self.partial.unlink(missing_ok=True)
        self._state.unlink(missing_ok=True)
        return False

    def _remember(self, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
        if version:
            self._state.write_text(version, encoding="latin-1")
        else:
            self._state.unlink(missing_ok=True)


def retrieve(
    url: str,
    file: Path,
    *,
    checksum: str | None,
    progress: Progress | None = None,
    patience_s: float = 1.0,
    stop: threading.Event | None = None,
) -> None:
    """Fetch `url` to `file` unless it is there with the right checksum.

    Args:
        url: where from.
        file: where to; its folder is made.
        checksum: such as ``md5:0123...``; None accepts what comes.
        progress: see `Progress`.
        patience_s, stop: see `ResumableDownloader`.

    Raises:
        CorpusError: see `ResumableDownloader`; also ``bad_checksum``, after which nothing of the file is kept.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, file.parent) from error
    downloader = ResumableDownloader(
        file.with_name(f".{file.name}.partial"), progress=progress, patience_s=patience_s, stop=stop
    )
    try:
        pooch.retrieve(url, known_hash=checksum, fname=file.name, path=file.parent, downloader=downloader)
    except ValueError as error:
        raise CorpusError(
            f"has another checksum than the expected {checksum}; it was damaged on its way or changed at its source",
            code="bad_checksum",
            path=url,
            remedy="Run it again; if it stays so, do not trust the file and tell the maintainers of emovox.",
        ) from error
    except OSError as error:
        raise disk_error(error, file) from error


def disk_error(error: OSError, path: str | os.PathLike[str]) -> CorpusError:
    """Make the error of a disk that does not take what is written."""
    remedy = "Choose another folder or check its rights."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "Make room and run it again: it goes on from where it stopped."
    return CorpusError(f"cannot be written ({error.strerror or error})", code="disk", path=path, remedy=remedy)


def _check(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status in _PASSING:
        pause = response.headers.get("Retry-After", "")
        raise _BusyError(f"the server answers {status} {response.reason}", float(pause) if pause.isdigit() else 0.0)
    if status == 404 or status == 410:
        raise CorpusError(
            f"is not there (the server answers {status})",
            code="not_found",
            path=url,
            remedy="Its place may have changed: see the corpus's home page.",
        )
    if status not in (200, 206):
        raise CorpusError(f"is refused (the server answers {status} {response.reason})", code="refused", path=url)


def _stopped(url: str) -> CorpusError:
    return CorpusError("was stopped; what has arrived is kept", code="stopped", path=url)


def _range_start(response: requests.Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _plainly(error: Exception) -> str:
    """Say what went wrong without the nested representations that requests prints."""
    cause: BaseException = error
    with contextlib.suppress(IndexError, AttributeError):
        while isinstance(cause.args[0], BaseException):
            cause = cause.args[0]
    reason = getattr(cause, "reason", None)
    text = str(reason if reason is not None else cause)
    return re.sub(r"^.*?(?:object at 0x[0-9a-f]+>?|\(host=[^)]*\)):? ?", "", text) or type(error).__name__
