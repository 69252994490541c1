"""openSMILE's feature sets against openSMILE used directly, and what the store and the command make of them."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import opensmile
import pandas as pd
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from test_features_cli import emovox
from test_store import RATE, entry_files

from emovox.errors import FeatureError, MissingExtraError
from emovox.features import FeatureStore, feature_set, smile

Floats = npt.NDArray[np.float32]

SETS = ("egemaps", "compare")
CLIPS = (
    "emodb/wav/03a01Fa",
    "emodb/wav/16b10Wb",
    "ravdess/Actor_01/03-01-01-01-01-01-01",
    "ravdess/Actor_24/03-01-05-02-02-02-24",
)


@cache
def reference(name: str) -> opensmile.Smile:
    definition = {"egemaps": opensmile.FeatureSet.eGeMAPSv02, "compare": opensmile.FeatureSet.ComParE_2016}[name]
    return opensmile.Smile(definition, opensmile.FeatureLevel.Functionals)


def by_opensmile(name: str, samples: Floats, rate: int = RATE) -> Floats:
    return reference(name).process_signal(samples, rate).to_numpy()[0]


@pytest.fixture
def recordings(corpora_dir: Path) -> list[Path]:
    return [corpora_dir / f"{clip}.opus" for clip in CLIPS]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def without_opensmile(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the package is not installed."""
    installed = importlib.metadata.version

    def version(name: str) -> str:
        if name == "opensmile":
            raise importlib.metadata.PackageNotFoundError(name)
        return installed(name)

    smile._extractor.cache_clear()
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setitem(sys.modules, "opensmile", None)


@pytest.mark.parametrize("name", SETS)
class TestValues:
    def test_are_opensmile_s_on_real_recordings(self, name: str, recordings: list[Path], store: FeatureStore) -> None:
        extraction = store.extract(recordings, name, jobs=1)
        assert extraction.failures == []
        for path, values in zip(recordings, extraction.values, strict=True):
            samples, rate = soundfile.read(path, dtype="float32")
            np.testing.assert_array_equal(values, by_opensmile(name, samples, rate))

    def test_of_another_rate_are_those_at_16_khz(self, name: str, store: FeatureStore, tmp_path: Path, clip: Floats):
        path = tmp_path / "48.wav"
        soundfile.write(path, soxr.resample(clip, RATE, 48_000), 48_000, subtype="FLOAT")
        samples, rate = soundfile.read(path, dtype="float32")
        [values] = store.extract([path], name, jobs=1).values
        np.testing.assert_array_equal(values, by_opensmile(name, soxr.resample(samples, rate, RATE)))

    def test_columns_are_opensmile_s(self, name: str, voice: Floats) -> None:
        wanted = feature_set(name)
        assert list(wanted.names) == list(reference(name).process_signal(voice, RATE).columns)
        assert len(set(wanted.names)) == wanted.size == {"egemaps": 88, "compare": 6373}[name]

    def test_beyond_full_scale_are_clipped_not_wrapped(self, name: str, voice: Floats) -> None:
        loud = 3 * voice
        values = feature_set(name).function(loud, RATE)
        np.testing.assert_array_equal(values, by_opensmile(name, np.clip(loud, -1, 32_767 / 32_768)))
        wrapped = by_opensmile(name, np.where(loud >= 1, loud - 2, loud).clip(-1, 0.9999).astype(np.float32))
        assert (values != wrapped).mean() > 0.5

    @settings(max_examples=10, deadline=None)
    @given(
        seed=st.integers(0, 2**32 - 1),
        length=st.integers(smile.MIN_SAMPLES, 8_000),
        level=st.sampled_from([0.0, 1e-6, 1e-3, 1.0, 1e6]),
        offset=st.sampled_from([0.0, 0.5, -1.0]),
    )
    def test_are_finite_and_the_same_again(
        self, name: str, seed: int, length: int, level: float, offset: float
    ) -> None:
        wanted = feature_set(name)
        samples = (offset + level * np.random.default_rng(seed).normal(size=length)).astype(np.float32)
        before = samples.copy()
        values = wanted.function(samples, RATE)
        assert wanted.fits(values)
        np.testing.assert_array_equal(values, wanted.function(samples, RATE))
        np.testing.assert_array_equal(samples, before)

    def test_need_as_many_samples_as_opensmile_does(self, name: str, voice: Floats) -> None:
        function = feature_set(name).function
        assert np.isfinite(function(voice[: smile.MIN_SAMPLES], RATE)).all()
        short = voice[: smile.MIN_SAMPLES - 1]
        with pytest.warns(UserWarning, match="too short"):
            assert np.isnan(by_opensmile(name, short)).all()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(FeatureError, match=rf"{name} needs .* 960 samples"):
                function(short, RATE)

    def test_refuse_another_rate_and_several_channels(self, name: str, voice: Floats) -> None:
        function = feature_set(name).function
        with pytest.raises(FeatureError, match="48000 Hz"):
            function(voice, 48_000)
        with pytest.raises(FeatureError, match="one channel"):
            function(voice.reshape(2, -1), RATE)

    def test_that_are_not_finite_name_the_column(
        self, name: str, voice: Floats, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken:
            feature_names = ("good", "bad")

            def __call__(self, samples: Floats, rate: int) -> Floats:
                return np.array([[[1.0], [np.inf]]], np.float32)

        monkeypatch.setattr(smile, "_extractor", lambda _: Broken())
        with pytest.raises(FeatureError, match="no finite number for bad") as caught:
            feature_set(name).function(voice, RATE)
        assert caught.value.code == "non_finite"


class TestStore:
    def test_values_of_another_opensmile_are_computed_anew(
        self, recordings: list[Path], store: FeatureStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = store.extract(recordings, "egemaps", jobs=1)
        assert (first.reused, store.extract(recordings, "egemaps", jobs=1).reused) == (0, len(CLIPS))
        assert f"opensmile-{opensmile.__version__}" in feature_set("egemaps").version
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0")
        again = store.extract(recordings, "egemaps", jobs=1)
        assert again.reused == 0
        np.testing.assert_array_equal(again.values, first.values)
        assert len(entry_files(store)) == 2 * len(CLIPS)

    def test_the_two_sets_do_not_mix(self, recordings: list[Path], store: FeatureStore) -> None:
        store.extract(recordings[:1], "egemaps", jobs=1)
        extraction = store.extract(recordings[:1], "compare", jobs=1)
        assert (extraction.reused, extraction.values.shape) == (0, (1, 6373))

    def test_a_part_that_is_too_short_stops_no_other(self, recordings: list[Path], store: FeatureStore) -> None:
        table = pd.DataFrame({"path": map(str, recordings[:2]), "start": [0.5, 0.0], "end": [0.55, np.nan]})
        extraction = store.extract(table, "egemaps", jobs=1)
        assert [row for row, _ in extraction.failures] == [0]
        assert np.isfinite(extraction.values).all(axis=1).tolist() == [False, True]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", SETS)
    def test_worker_processes_give_the_same(self, name: str, recordings: list[Path], store: FeatureStore) -> None:
        parallel = store.extract(recordings, name, jobs=2)
        assert (parallel.failures, parallel.reused) == ([], 0)
        alone = FeatureStore(store.root / "alone").extract(recordings, name, jobs=1)
        np.testing.assert_array_equal(parallel.values, alone.values)

    def test_a_process_makes_one_extractor_without_workers_of_its_own(self, voice: Floats) -> None:
        smile.egemaps(voice)
        extractor = smile._extractor("egemaps")
        smile.egemaps(voice)
        assert smile._extractor("egemaps") is extractor
        assert (extractor.process.num_workers, extractor.process.multiprocessing) == (1, False)


class TestWithoutThePackage:
    def test_the_sets_are_known_and_nothing_large_is_imported(self) -> None:
        code = (
            "import sys; from emovox.features import FEATURE_SETS\n"
            "assert [FEATURE_SETS[name].size for name in ('egemaps', 'compare')] == [88, 6373]\n"
            "assert 'opensmile' not in sys.modules and 'pandas' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.usefixtures("without_opensmile")
    @pytest.mark.parametrize("name", SETS)
    def test_everything_says_what_to_install(self, name: str, voice: Floats, store: FeatureStore) -> None:
        wanted = feature_set(name)
        for use in (
            lambda: wanted.version,
            lambda: wanted.names,
            lambda: wanted.function(voice, RATE),
            lambda: store.extract(["a.wav"], name),
        ):
            with pytest.raises(MissingExtraError, match=r"pip install 'emovox\[smile\]'"):
                use()
        assert not store.root.exists()


class TestCommand:
    @pytest.fixture
    def run(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clip: Floats):
        monkeypatch.chdir(tmp_path)
        soundfile.write("clip.wav", clip, RATE, subtype="FLOAT")

        def call(*arguments: object) -> tuple[int, str, str]:
            return emovox(capsys, monkeypatch, "features", "clip.wav", "--store", "store", *arguments)

        return call

    @pytest.mark.parametrize("name", SETS)
    def test_parquet_has_opensmile_s_columns(self, run, name: str, clip: Floats) -> None:
        code, out, _ = run("--set", name, "-o", "x.parquet")
        assert (code, out) == (0, f"x.parquet: {name}, 1 x {feature_set(name).size}\n")
        table = pd.read_parquet("x.parquet")
        assert list(table.columns) == ["path", "error", *reference(name).feature_names]
        np.testing.assert_array_equal(table.iloc[0, 2:].to_numpy(np.float32), by_opensmile(name, clip))

    @pytest.mark.usefixtures("without_opensmile")
    def test_without_the_package_says_what_to_install(self, run) -> None:
        code, out, err = run("--set", "egemaps", "-o", "x.parquet")
        assert (code, out) == (2, "")
        assert "pip install 'emovox[smile]'" in " ".join(err.split())
        assert not Path("x.parquet").exists()
