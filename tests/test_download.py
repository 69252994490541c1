"""Downloads from a server on this machine: whole, interrupted, damaged, refused."""

from __future__ import annotations

import errno
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_server import Server, make_zip

from emovox.cli import common
from emovox.cli.main import app
from emovox.corpora import download as dl
from emovox.corpora import fetch, sources
from emovox.corpora.sources import SOURCES, Dataverse, FixedFiles, LargeFileRepository, RemoteFile, Source
from emovox.errors import CorpusError

QUICK = 0.001


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_BLOCK", 1_000)


DATA = bytes(range(256)) * 400


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def make_source(origin: Any) -> Source:
    return Source("tiny", "Tiny: a corpus for tests", "", "CC0-1.0", "https://example.org/licence", "", 0, origin)


def archive_source(server: Server, content: bytes, checksum: str | None) -> Source:
    server.files["/a.zip"] = content
    return make_source(FixedFiles((RemoteFile("a.zip", (f"{server.url}/a.zip",), checksum, len(content), "wav"),)))


def test_whole_file(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    seen: list[tuple[int, int | None]] = []
    fetch.retrieve(
        f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(DATA), progress=lambda *state: seen.append(state)
    )
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert seen[-1] == (len(DATA), len(DATA))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_what_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    for _ in range(2):
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(DATA))
    assert len(server.requests) == 1


def test_server_dies_in_the_middle_and_the_rest_is_fetched(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    server.die_after["/a.bin"] = [30_000, 10_000]
    fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(DATA), patience_s=QUICK)
    assert (tmp_path / "a.bin").read_bytes() == DATA
    assert [wanted for _, wanted in server.requests] == [None, "bytes=30000-", "bytes=40000-"]


def test_second_run_goes_on_where_the_first_stopped(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a.bin"] = DATA
    server.die_after["/a.bin"] = [50_000] + [0] * 20
    with pytest.raises(CorpusError, match="goes on from where it stopped") as caught:
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(DATA), patience_s=QUICK)
    assert caught.value.code == "unreachable"
    assert (tmp_path / ".a.bin.partial").read_bytes() == DATA[:50_000]
    server.die_after.clear()
    server.requests.clear()
    fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(DATA))
    assert server.requests == [("/a.bin", "bytes=50000-")]
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_a_file_that_changed_meanwhile_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    server.die_after["/a.bin"] = [50_000] + [0] * 20
    with pytest.raises(CorpusError):
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=None, patience_s=QUICK)
    changed = DATA[::-1]
    server.files["/a.bin"] = changed
    server.die_after.clear()
    fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(changed))
    assert (tmp_path / "a.bin").read_bytes() == changed


def test_server_without_range_begins_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    server.no_range = True
    server.die_after["/a.bin"] = [30_000]
    fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(DATA), patience_s=QUICK)
    assert (tmp_path / "a.bin").read_bytes() == DATA


@pytest.mark.parametrize("kept", [DATA, DATA + b"too much"])
def test_partial_file_that_is_complete_or_too_long(server: Server, tmp_path: Path, kept: bytes) -> None:
    server.files["/a.bin"] = DATA
    (tmp_path / ".a.bin.partial").write_bytes(kept)
    fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(DATA), patience_s=QUICK)
    assert (tmp_path / "a.bin").read_bytes() == DATA


def test_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.files["/a.bin"] = DATA
    with pytest.raises(CorpusError, match="another checksum") as caught:
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=md5(b"other"))
    assert caught.value.code == "bad_checksum"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (403, "refused"), (503, "unreachable")])
def test_refusals(server: Server, tmp_path: Path, status: int, code: str) -> None:
    server.status["/a.bin"] = status
    with pytest.raises(CorpusError) as caught:
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=None, patience_s=QUICK)
    assert caught.value.code == code
    assert str(status) in str(caught.value)
    assert len(server.requests) == (fetch.ATTEMPTS if status == 503 else 1)


def test_nobody_answers(server: Server, tmp_path: Path) -> None:
    server.close()
    with pytest.raises(CorpusError) as caught:
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=None, patience_s=QUICK)
    assert caught.value.code == "unreachable"
    assert "object at 0x" not in str(caught.value)


def test_disk_that_is_full(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/a.bin"] = DATA

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch.ResumableDownloader, "_receive", full)
    with pytest.raises(CorpusError, match=r"No space left.*Make room") as caught:
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "a.bin", checksum=None)
    assert caught.value.code == "disk"


def test_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CorpusError) as caught:
        fetch.retrieve(f"{server.url}/a.bin", tmp_path / "file" / "a.bin", checksum=None)
    assert caught.value.code == "disk"
    assert server.requests == []


def test_licence_comes_first(server: Server, tmp_path: Path) -> None:
    source = archive_source(server, make_zip(**{"a.wav": b"sound"}), None)
    with pytest.raises(CorpusError, match=r"CC0-1\.0") as caught:
        dl.download(source, tmp_path, accept_licence=False)
    assert caught.value.code == "licence"
    assert server.requests == []
    assert list(tmp_path.iterdir()) == []


def test_archive_is_verified_and_unpacked(server: Server, tmp_path: Path) -> None:
    content = make_zip(**{"Actor_01/a.wav": b"one", "Actor_02/b.wav": b"two"})
    stages = set()
    result = dl.download(
        archive_source(server, content, md5(content)),
        tmp_path,
        accept_licence=True,
        progress=lambda stage, done, total: stages.add(stage),
    )
    assert result.folder == tmp_path / "tiny"
    assert (result.folder / "wav/Actor_02/b.wav").read_bytes() == b"two"
    assert (result.files, result.verified, result.recorded) == (1, 1, ())
    assert stages == {"fetching", "unpacking"}
    for archive in result.archives:
        archive.unlink()
    dl.download(archive_source(server, content, md5(content)), tmp_path, accept_licence=True)
    assert len(server.requests) == 1, "what is unpacked needs its archive no more"


def test_first_download_without_checksum_is_remembered(server: Server, tmp_path: Path) -> None:
    content = make_zip(**{"a.wav": b"one"})
    first = dl.download(archive_source(server, content, None), tmp_path, accept_licence=True).recorded[0]
    assert first.first
    assert first.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / ".downloads/tiny/a.zip.sha256").read_text() == f"{first.sha256}  a.zip\n"
    first.file.unlink()
    (tmp_path / "tiny/wav/a.wav").unlink()
    changed = archive_source(server, make_zip(**{"a.wav": b"another"}), None)
    with pytest.raises(CorpusError) as caught:
        dl.download(changed, tmp_path, accept_licence=True)
    assert caught.value.code == "bad_checksum"
    again = dl.download(archive_source(server, content, None), tmp_path, accept_licence=True).recorded[0]
    assert not again.first


def test_archive_that_is_none_is_not_remembered(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        dl.download(archive_source(server, b"<html>sorry</html>", None), tmp_path, accept_licence=True)
    assert caught.value.code == "bad_archive"
    assert not list((tmp_path / ".downloads/tiny").iterdir())
    content = make_zip(**{"a.wav": b"one"})
    dl.download(archive_source(server, content, None), tmp_path, accept_licence=True)
    assert (tmp_path / "tiny/wav/a.wav").exists()


def test_dataverse(server: Server, tmp_path: Path) -> None:
    listing = {
        "data": {
            "latestVersion": {
                "files": [
                    {
                        "directoryLabel": "OAF_Fear",
                        "dataFile": {
                            "id": number,
                            "filename": f"OAF_{number}_fear.wav",
                            "filesize": 5,
                            "md5": hashlib.md5(b"sound").hexdigest(),
                        },
                    }
                    for number in range(9)
                ]
                + [{"dataFile": {"id": 99, "filename": "readme.txt", "filesize": 1, "md5": "x"}}]
            }
        }
    }
    server.files["/api/datasets/:persistentId/?persistentId=doi:10.1/X"] = json.dumps(listing).encode()
    for number in range(9):
        server.files[f"/api/access/datafile/{number}"] = b"sound"
    origin = Dataverse(server.url, "doi:10.1/X")
    result = dl.download(make_source(origin), tmp_path, accept_licence=True)
    assert (result.files, result.verified) == (9, 9)
    assert len(list((tmp_path / "tiny/OAF_Fear").glob("*.wav"))) == 9
    server.files["/api/access/datafile/3"] = b"wrong"
    (tmp_path / "tiny/OAF_Fear/OAF_3_fear.wav").unlink()
    with pytest.raises(CorpusError) as caught:
        dl.download(make_source(origin), tmp_path, accept_licence=True)
    assert caught.value.code == "bad_checksum"


@pytest.mark.parametrize("answer", [b"not json", b"{}", b'{"data": {"latestVersion": {"files": []}}}'])
def test_dataverse_that_answers_nonsense(server: Server, tmp_path: Path, answer: bytes) -> None:
    server.files["/api/datasets/:persistentId/?persistentId=doi:10.1/X"] = answer
    with pytest.raises(CorpusError) as caught:
        dl.download(make_source(Dataverse(server.url, "doi:10.1/X")), tmp_path, accept_licence=True)
    assert caught.value.code == "bad_listing"
    assert not (tmp_path / ".downloads/tiny").exists(), "a bad answer must not be kept"


def test_dataverse_that_names_places_outside(server: Server, tmp_path: Path) -> None:
    data = {"id": 1, "filename": "a.wav", "filesize": 1, "md5": "0"}
    listing = {"data": {"latestVersion": {"files": [{"directoryLabel": "../..", "dataFile": data}]}}}
    server.files["/api/datasets/:persistentId/?persistentId=doi:10.1/X"] = json.dumps(listing).encode()
    with pytest.raises(CorpusError) as caught:
        dl.download(make_source(Dataverse(server.url, "doi:10.1/X")), tmp_path, accept_licence=True)
    assert caught.value.code == "unsafe_archive"


def repository(sounds: dict[str, bytes]) -> bytes:
    def pointer(content: bytes) -> bytes:
        digest = hashlib.sha256(content).hexdigest()
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()

    pointers = {f"CREMA-D-master/AudioWAV/{name}": pointer(content) for name, content in sounds.items()}
    return make_zip(**pointers, **{"CREMA-D-master/VideoDemographics.csv": b"ActorID,Age\n1001,51\n"})


def test_large_file_repository(server: Server, tmp_path: Path) -> None:
    sounds = {f"10{number:02d}_DFA_ANG_XX.wav": bytes([number]) * 50 for number in range(12)}
    server.files["/master.zip"] = repository(sounds)
    for name, content in sounds.items():
        server.files[f"/second/AudioWAV/{name}"] = content
    server.files["/first/AudioWAV/1003_DFA_ANG_XX.wav"] = b"a Git LFS pointer instead of sound"
    origin = LargeFileRepository(
        f"{server.url}/master.zip",
        (f"{server.url}/first", f"{server.url}/second"),
        r"AudioWAV/[^/]+\.wav",
        ("VideoDemographics.csv",),
    )
    result = dl.download(make_source(origin), tmp_path, accept_licence=True, patience_s=QUICK)
    assert (result.files, result.verified) == (12, 12)
    assert {path.name: path.read_bytes() for path in (tmp_path / "tiny/AudioWAV").iterdir()} == sounds
    assert (tmp_path / "tiny/VideoDemographics.csv").read_text().startswith("ActorID")


def test_known_sources_are_complete() -> None:
    assert set(SOURCES) == {"ravdess", "emodb", "tess", "cremad"}
    for name, source in SOURCES.items():
        assert source.name == name
        assert source.licence
        assert source.licence_url.startswith("https://")
    with pytest.raises(CorpusError, match="Known are ravdess") as caught:
        dl.source("iemocap")
    assert caught.value.code == "no_open_source"


def emovox(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["emovox", *map(str, arguments)])
    return common.run(app)


def test_command_shows_the_licence_and_wants_it_accepted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = make_zip(**{"a.wav": b"one"})
    monkeypatch.setattr(sources, "SOURCES", {"tiny": archive_source(server, content, None)})
    monkeypatch.setattr(dl, "SOURCES", sources.SOURCES)
    assert emovox(monkeypatch, "corpora", "download", "tiny", tmp_path) == common.WRONG_USE
    shown = capsys.readouterr().err
    assert "CC0-1.0" in shown
    assert "https://example.org/licence" in shown
    assert "--accept-licence" in shown
    assert server.requests == []
    assert emovox(monkeypatch, "corpora", "download", "tiny", tmp_path, "--accept-licence", "-f", "json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["recorded"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    assert document["recorded"][0]["first_use"]
    assert emovox(monkeypatch, "corpora", "download", "tiny", tmp_path, "--accept-licence") == 0
    assert "no checksum is published; the same as at first use" in capsys.readouterr().out


def test_command_without_such_a_source(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert emovox(monkeypatch, "corpora", "download", "iemocap") == common.WRONG_USE
    assert "Known are ravdess, emodb, tess, cremad" in capsys.readouterr().err
