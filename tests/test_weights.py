"""Pretrained weights by file, by folder and by name, without a network."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub.constants
import pytest
from speechnet_files import tiny_whisper

from emovox.errors import ModelError
from emovox.models.weights import find_weights
from emovox.models.whisper import describe_weights, load_trunk

REVISION = "0" * 40


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache as the library lays it out, with a tiny model in it; the library may not use a network."""
    model = tmp_path / "hub" / "models--openai--whisper-tiny-of-ours"
    (model / "snapshots" / REVISION).mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(REVISION)
    tiny_whisper(model / "snapshots" / REVISION / "model.safetensors")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return model


def test_a_name_is_looked_up_in_the_hub_cache(hub_cache: Path) -> None:
    found = find_weights("openai/whisper-tiny-of-ours")
    assert found.is_relative_to(hub_cache)
    trunk = load_trunk("openai/whisper-tiny-of-ours", blocks=2)
    assert trunk.width == 64
    assert describe_weights("openai/whisper-tiny-of-ours")["source"] == "openai/whisper-tiny-of-ours"


def test_a_folder_and_a_file_give_the_same(hub_cache: Path) -> None:
    folder = hub_cache / "snapshots" / REVISION
    assert find_weights(folder) == find_weights(folder / "model.safetensors") == folder / "model.safetensors"


@pytest.mark.usefixtures("hub_cache")
def test_what_the_hub_does_not_give_is_told() -> None:
    with pytest.raises(ModelError, match="could not be had from the Hugging Face hub") as failure:
        find_weights("openai/whisper-that-is-not-there")
    assert failure.value.code == "not_found"
    assert failure.value.remedy


@pytest.mark.parametrize("source", ["none.safetensors", "models/none.safetensors", "a/b/c", "just-a-name", ""])
def test_what_is_neither_file_nor_name_is_refused(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="no such weights"):
        find_weights(source)
