"""What models are given of a manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emovox import audio, manifest
from emovox.errors import ManifestError, ParameterError
from emovox.evaluation.inputs import check_kind, read_inputs, spool, unspool
from emovox.features import FEATURE_SETS, FeatureStore

KINDS = ("classic", "egemaps", "compare", "waveform")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def table(corpora_dir: Path, tmp_path: Path) -> pd.DataFrame:
    """Three clips of EmoDB, the second of them not a recording."""
    paths = sorted((corpora_dir / "emodb" / "wav").iterdir())[:3]
    copies = [Path(shutil.copy(path, tmp_path)) for path in paths]
    copies[1].write_text("not sound")
    return manifest.build([{"path": str(path), "emotion": "happy"} for path in copies])


def test_each_kind_is_read_for_the_same_rows(table: pd.DataFrame, store: FeatureStore, tmp_path: Path) -> None:
    inputs = read_inputs(table, KINDS, store=store, jobs=1)
    good = [table["path"][row] for row in (0, 2)]
    assert list(inputs.table["path"]) == good
    assert len(inputs.failures) == 1
    for kind in KINDS[:-1]:
        np.testing.assert_array_equal(inputs.values[kind], store.extract(good, kind, jobs=1).values)
        assert inputs.values[kind].shape == (2, FEATURE_SETS[kind].size)
        assert inputs.versions[kind] == FEATURE_SETS[kind].version
    for samples, path in zip(inputs.values["waveform"], good, strict=True):
        np.testing.assert_array_equal(samples, audio.load(path).samples)
    assert inputs.versions["waveform"] == ""
    assert list(inputs.seconds) == list(KINDS)
    folder = tmp_path / "spool"
    folder.mkdir()
    spool(inputs.values, folder)
    again = unspool(folder)
    assert set(again) == set(KINDS)
    for kind in KINDS[:-1]:
        np.testing.assert_array_equal(again[kind], inputs.values[kind])


@pytest.mark.parametrize("kind", ["mfcc", "logmel", ""])
def test_an_unknown_kind_names_those_that_exist_before_anything_is_read(
    table: pd.DataFrame, store: FeatureStore, kind: str
) -> None:
    with pytest.raises(ParameterError, match=r"There are: classic, egemaps, compare, waveform\."):
        read_inputs(table, ("classic", kind), store=store)
    assert not store.root.exists()


def test_known_kinds_pass() -> None:
    for kind in KINDS:
        check_kind(kind)


def test_nothing_usable_is_an_error_that_gives_the_first_reason(store: FeatureStore) -> None:
    table = manifest.build([{"path": "missing.wav", "emotion": "happy"}])
    with pytest.raises(ManifestError, match=r"none of the 1 recordings .* no such file"):
        read_inputs(table, ("egemaps",), store=store, jobs=1)
