"""Where the corpora that anybody may download lie, under which licence, and how to tell that they arrived whole.

Checksums are the publishers' own: Zenodo's and Borealis's MD5, the SHA-256 in CREMA-D's Git LFS pointers. EmoDB's site
publishes none; for it the first download is trusted and remembered.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from emovox.corpora.unpack import safe_path
from emovox.errors import CorpusError

Fetch = Callable[[str, str], Path]
"""Fetches a URL under a file name into the folder of working files and gives its path."""


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch.

    Attributes:
        path: where it goes, below the corpus's folder; for an archive its file name among the working files.
        urls: places that have it; a later one is tried where an earlier one fails.
        checksum: such as ``md5:0123...``; None where its publisher gives none.
        size: in bytes, if known.
        folder: for an archive the folder, below the corpus's, that it is unpacked to; None for a plain file.
    """

    path: str
    urls: tuple[str, ...]
    checksum: str | None
    size: int | None = None
    folder: str | None = None


class Origin(Protocol):
    """A kind of place that corpora come from."""

    def files(self, fetch: Fetch) -> list[RemoteFile]:
        """List what has to be fetched; may ask the server."""

    def extract(self, fetch: Fetch, target: Path) -> None:
        """Write what came with the list itself."""


@dataclass(frozen=True)
class FixedFiles:
    """Files that are known beforehand."""

    known: tuple[RemoteFile, ...]

    def files(self, fetch: Fetch) -> list[RemoteFile]:
        """See `Origin`; the server is not asked."""
        del fetch
        return list(self.known)

    def extract(self, fetch: Fetch, target: Path) -> None:
        """Write nothing."""


@dataclass(frozen=True)
class Dataverse:
    """A data set in a Dataverse repository, which lists its files with their checksums.

    Attributes:
        server: such as ``https://borealisdata.ca``.
        doi: of the data set, ``doi:...``.
    """

    server: str
    doi: str

    def files(self, fetch: Fetch) -> list[RemoteFile]:
        """See `Origin`; recordings and zip archives are listed."""
        url = f"{self.server}/api/datasets/:persistentId/?persistentId={self.doi}"
        listing = fetch(url, "listing.json")
        try:
            entries = json.loads(listing.read_text(encoding="utf-8"))["data"]["latestVersion"]["files"]
            found = [self._file(entry) for entry in entries if not entry.get("restricted")]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError("is not the list of files that was expected", code="bad_listing", path=url) from error
        wanted = [file for file in found if file.path.lower().endswith((".wav", ".zip"))]
        if not wanted:
            raise CorpusError("lists no recordings", code="bad_listing", path=url)
        return wanted

    def extract(self, fetch: Fetch, target: Path) -> None:
        """Write nothing."""

    def _file(self, entry: Mapping[str, Any]) -> RemoteFile:
        data = entry["dataFile"]
        name = f"{entry.get('directoryLabel', '')}/{data['filename']}".lstrip("/")
        digest = data.get("checksum") or {"type": "MD5", "value": data["md5"]}
        is_zip = name.lower().endswith(".zip")
        return RemoteFile(
            path=str(safe_path(name, self.server)),
            urls=(f"{self.server}/api/access/datafile/{int(data['id'])}",),
            checksum=f"{str(digest['type']).lower().replace('-', '')}:{digest['value']}",
            size=int(data["filesize"]),
            folder=Path(name).stem if is_zip else None,
        )


@dataclass(frozen=True)
class LargeFileRepository:
    """A Git repository whose recordings lie in Git LFS: its archive holds a pointer with the SHA-256 of each.

    Attributes:
        archive: URL of the repository as a zip file.
        mirrors: URLs below which the recordings lie, tried in this order.
        pattern: which files of the archive are pointers to recordings that are wanted.
        beside: further files of the archive that are kept, as they are.
    """

    archive: str
    mirrors: tuple[str, ...]
    pattern: str
    beside: tuple[str, ...] = ()

    def files(self, fetch: Fetch) -> list[RemoteFile]:
        """See `Origin`."""
        found = []
        for name, content in self._members(fetch, re.compile(self.pattern)).items():
            pointer = re.search(r"^oid sha256:([0-9a-f]{64})\s+^size (\d+)$", content.decode("utf-8", "replace"), re.M)
            if pointer is None:
                raise CorpusError(f"{name} is not a Git LFS pointer", code="bad_listing", path=self.archive)
            urls = tuple(f"{mirror}/{quote(name)}" for mirror in self.mirrors)
            found.append(RemoteFile(name, urls, f"sha256:{pointer[1]}", int(pointer[2])))
        if not found:
            raise CorpusError("holds no pointers to recordings", code="bad_listing", path=self.archive)
        return sorted(found, key=lambda file: file.path)

    def extract(self, fetch: Fetch, target: Path) -> None:
        """Write the tables that describe speakers and sentences."""
        for name, content in self._members(fetch, re.compile("|".join(map(re.escape, self.beside)))).items():
            target.mkdir(parents=True, exist_ok=True)
            (target / Path(name).name).write_bytes(content)

    def _members(self, fetch: Fetch, pattern: re.Pattern[str]) -> dict[str, bytes]:
        path = fetch(self.archive, "repository.zip")
        members: dict[str, bytes] = {}
        try:
            with zipfile.ZipFile(path) as file:
                for member in file.infolist():
                    # GitHub puts everything into a folder that is called after the branch.
                    name = member.filename.partition("/")[2]
                    if pattern.fullmatch(name):
                        safe_path(name, path)
                        with file.open(member) as source:
                            members[name] = source.read(16 << 20)
        except (zipfile.BadZipFile, OSError) as error:
            raise CorpusError("is not a zip archive", code="bad_archive", path=self.archive) from error
        return members


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from.

    Attributes:
        name: as in ``emovox corpora download NAME``.
        title: for people.
        homepage: the publisher's page.
        licence: its short name; `licence_url` has the text.
        terms: what it asks for, in a sentence.
        size: about how many bytes are fetched.
        origin: how.
    """

    name: str
    title: str
    homepage: str
    licence: str
    licence_url: str
    terms: str
    size: int
    origin: Origin


_ZENODO = "https://zenodo.org/records/1188976/files"
_CREMA_GITHUB = "https://github.com/CheyneyComputerScience/CREMA-D"

_ALL = (
    Source(
        name="ravdess",
        title="RAVDESS: emotional speech and song, 24 actors, English",
        homepage="https://zenodo.org/records/1188976",
        licence="CC BY-NC-SA 4.0",
        licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        terms="Name the authors (Livingstone and Russo, 2018), no commercial use, share alike.",
        size=433_973_390,
        origin=FixedFiles(
            (
                RemoteFile(
                    "Audio_Speech_Actors_01-24.zip",
                    (f"{_ZENODO}/Audio_Speech_Actors_01-24.zip?download=1",),
                    "md5:bc696df654c87fed845eb13823edef8a",
                    208_468_073,
                    "Audio_Speech_Actors_01-24",
                ),
                RemoteFile(
                    "Audio_Song_Actors_01-24.zip",
                    (f"{_ZENODO}/Audio_Song_Actors_01-24.zip?download=1",),
                    "md5:5411230427d67a21e18aa4d466e6d1b9",
                    225_505_317,
                    "Audio_Song_Actors_01-24",
                ),
            )
        ),
    ),
    Source(
        name="emodb",
        title="EmoDB: Berlin database of emotional speech, 10 actors, German",
        homepage="http://emodb.bilderbar.info/",
        licence="CC0-1.0 (as stated by its curators)",
        licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
        terms="Free to use; please name the authors (Burkhardt et al., 2005).",
        size=40_000_000,
        origin=FixedFiles(
            (RemoteFile("emodb.zip", ("http://emodb.bilderbar.info/download/download.zip",), None, None, "emodb"),)
        ),
    ),
    Source(
        name="tess",
        title="TESS: Toronto emotional speech set, 2 actresses, English",
        homepage="https://doi.org/10.5683/SP2/E8H2MF",
        licence="CC BY-NC-ND 4.0",
        licence_url="https://creativecommons.org/licenses/by-nc-nd/4.0/",
        terms="Name the authors (Pichora-Fuller and Dupuis, 2020), no commercial use, pass on unchanged only.",
        size=270_000_000,
        origin=Dataverse("https://borealisdata.ca", "doi:10.5683/SP2/E8H2MF"),
    ),
    Source(
        name="cremad",
        title="CREMA-D: crowd-sourced emotional multimodal actors, 91 actors, English (audio only)",
        homepage=_CREMA_GITHUB,
        licence="ODbL 1.0 (database), DbCL 1.0 (contents)",
        licence_url="https://opendatacommons.org/licenses/odbl/1-0/",
        terms="Name the authors (Cao et al., 2014) and share derived databases alike.",
        size=621_000_000,
        origin=LargeFileRepository(
            archive=f"{_CREMA_GITHUB}/archive/refs/heads/master.zip",
            mirrors=(
                "https://gitlab.com/cs-cooper-lab/crema-d-mirror/-/raw/main",
                "https://media.githubusercontent.com/media/CheyneyComputerScience/CREMA-D/master",
            ),
            pattern=r"AudioWAV/[^/]+\.wav",
            beside=("VideoDemographics.csv", "SentenceFilenames.csv", "LICENSE.txt", "README.md"),
        ),
    ),
)

SOURCES: Mapping[str, Source] = {source.name: source for source in _ALL}
"""Corpora with an open official source, by name."""
