"""Archives that mean harm, and archives that were harmed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from local_server import make_zip

from emovox.corpora.unpack import unpack
from emovox.errors import CorpusError

DATA = bytes(range(256)) * 400


@pytest.mark.parametrize("name", ["../evil.wav", "/evil.wav", "a/../../evil.wav", "..\\evil.wav", "C:evil.wav"])
def test_zip_slip(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip(**{"good.wav": b"x", name: b"evil"}))
    with pytest.raises(CorpusError, match="outside its folder") as caught:
        unpack(archive, tmp_path / "in" / "here")
    assert caught.value.code == "unsafe_archive"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "in"]


def test_link_in_archive(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(CorpusError, match="not a plain file"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_archive_that_grows_beyond_measure(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip(**{"a.wav": bytes(100_000_000)}))
    with pytest.raises(CorpusError, match="would grow"):
        unpack(archive, tmp_path / "out")
    with pytest.raises(CorpusError, match="would unpack to"):
        unpack(archive, tmp_path / "out", max_bytes=1_000)


def test_archive_cut_or_damaged(tmp_path: Path) -> None:
    content = make_zip(**{f"{number}.wav": bytes([number]) * 5_000 + DATA for number in range(5)})
    for number, broken in enumerate((content[: len(content) // 2], content.replace(content[300:340], bytes(40), 1))):
        archive = tmp_path / f"{number}.zip"
        archive.write_bytes(broken)
        with pytest.raises(CorpusError) as caught:
            unpack(archive, tmp_path / "out")
        assert caught.value.code == "bad_archive"
        assert not (tmp_path / "out").exists()
