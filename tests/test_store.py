"""The feature store: what it keeps, what it computes anew, and what no accident takes from it."""

from __future__ import annotations

import errno
import io
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from emovox import audio, manifest
from emovox.errors import FeatureError, ParameterError
from emovox.features import FeatureStore
from emovox.features.classic import classic
from emovox.features.entries import ABANDONED_AFTER_S, EntryFolder, _digest
from emovox.features.logmel import logmel

RATE = 16_000


def write_recordings(folder: Path, count: int, *, seconds: float = 0.2) -> list[Path]:
    """Recordings of noise, each of them different."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        noise = 0.1 * np.random.default_rng(number).normal(size=round(seconds * RATE))
        paths.append(folder / f"{number:04}.wav")
        soundfile.write(paths[-1], noise, RATE)
    return paths


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    return write_recordings(tmp_path / "recordings", 4)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def entry_files(store: FeatureStore) -> list[Path]:
    return sorted(store.root.rglob("*.npy"))


def expected(paths: Sequence[Path]) -> npt.NDArray[np.float32]:
    return np.array([classic(audio.load(path, rate=None).samples, RATE) for path in paths])


class TestExtract:
    def test_gives_a_row_a_recording_in_order(self, store: FeatureStore, recordings: list[Path]) -> None:
        backwards = recordings[::-1]
        extraction = store.extract(backwards, "classic", jobs=1)
        np.testing.assert_array_equal(extraction.values, expected(backwards))
        assert (extraction.failures, extraction.reused, extraction.not_stored) == ([], 0, None)

    def test_several_processes_give_the_same(self, store: FeatureStore, recordings: list[Path]) -> None:
        extraction = store.extract(recordings, "classic", jobs=2)
        np.testing.assert_allclose(extraction.values, expected(recordings), rtol=1e-5, atol=1e-6)
        assert extraction.reused == 0

    def test_takes_a_manifest_with_parts_of_recordings(self, store: FeatureStore, tmp_path: Path) -> None:
        long, other = write_recordings(tmp_path / "long", 2, seconds=1.0)
        table = manifest.build(
            [
                {"path": str(long), "start": 0.25, "end": 0.5},
                {"path": str(other)},
                {"path": str(long)},
                {"path": str(long), "start": 0.5},
                {"path": str(long), "end": 0.5},
            ]
        )
        samples = audio.load(long, rate=None).samples
        wanted = [samples[4_000:8_000], audio.load(other, rate=None).samples, samples, samples[8_000:], samples[:8_000]]
        for reused in (0, 5):
            extraction = store.extract(table, "classic", jobs=1)
            np.testing.assert_array_equal(extraction.values, [classic(part, RATE) for part in wanted])
            assert extraction.reused == reused

    def test_takes_a_table_of_any_library(self, store: FeatureStore, recordings: list[Path]) -> None:
        class Table(dict[str, list[object]]):
            @property
            def columns(self) -> list[str]:
                return list(self)

        table = Table(path=list(recordings), start=[float("nan")] * 4)
        np.testing.assert_array_equal(store.extract(table, "classic", jobs=1).values, expected(recordings))

    def test_a_set_with_frames_gives_a_list(self, store: FeatureStore, tmp_path: Path, voice: np.ndarray) -> None:
        paths = [tmp_path / "short.wav", tmp_path / "long.wav", tmp_path / "missing.wav"]
        for path, length in zip(paths, (8_000, 16_000), strict=False):
            soundfile.write(path, voice[:length], RATE, subtype="FLOAT")
        for _ in range(2):
            extraction = store.extract(paths, "logmel", jobs=1)
            assert [item.shape for item in extraction.values] == [(50, 80), (100, 80), (0, 80)]
            np.testing.assert_array_equal(extraction.values[1], logmel(voice[:16_000]))
        assert extraction.reused == 2

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_tells_how_far_it_is(self, store: FeatureStore, recordings: list[Path], jobs: int) -> None:
        seen: list[tuple[int, int]] = []
        rows = [*recordings, "missing.wav"]
        store.extract(rows, "classic", jobs=jobs, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(done, 5) for done in range(1, 6)]

    def test_nothing_to_do(self, store: FeatureStore) -> None:
        assert store.extract([], "classic").values.shape == (0, 180)
        assert store.extract([], "logmel").values == []
        assert not store.root.exists()

    @pytest.mark.parametrize("recordings", ["a.wav", Path("a.wav"), b"a.wav", SimpleNamespace(columns=["file"])])
    def test_refuses_what_is_neither_paths_nor_a_manifest(self, store: FeatureStore, recordings: object) -> None:
        with pytest.raises(ParameterError):
            store.extract(recordings, "classic")

    def test_refuses_wrong_arguments(self, store: FeatureStore) -> None:
        with pytest.raises(FeatureError, match="There are: classic, egemaps, compare, logmel"):
            store.extract([], "mfcc")
        with pytest.raises(ParameterError, match="jobs = 0"):
            store.extract([], "classic", jobs=0)


class TestFailures:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_bad_recordings_stop_no_good_ones(
        self, store: FeatureStore, recordings: list[Path], tmp_path: Path, jobs: int
    ) -> None:
        bad = {name: tmp_path / name for name in ("text.wav", "empty.wav", "silent.wav", "short.wav", "truncated.flac")}
        bad["text.wav"].write_text("not sound\n" * 100)
        bad["empty.wav"].touch()
        soundfile.write(bad["silent.wav"], np.zeros(8_000), RATE)
        soundfile.write(bad["short.wav"], np.ones(100), RATE)
        soundfile.write(bad["truncated.flac"], np.random.default_rng(0).normal(0, 0.1, 32_000), RATE)
        bad["truncated.flac"].write_bytes(bad["truncated.flac"].read_bytes()[:20_000])
        rows = [recordings[0], *bad.values(), recordings[1], tmp_path / "missing.wav", tmp_path, recordings[2]]
        extraction = store.extract(rows, "classic", jobs=jobs)
        assert [(row, error.code) for row, error in extraction.failures] == [
            *((1, "not_audio"), (2, "empty"), (3, "silent"), (4, "too_short"), (5, "truncated")),
            *((7, "not_found"), (8, "is_directory")),
        ]
        assert [error.path for _, error in extraction.failures] == [str(rows[row]) for row, _ in extraction.failures]
        assert np.isnan(extraction.values[[row for row, _ in extraction.failures]]).all()
        np.testing.assert_allclose(extraction.values[[0, 6, 9]], expected(recordings[:3]), rtol=1e-5, atol=1e-6)

    def test_a_bad_part_of_a_good_recording(self, store: FeatureStore, recordings: list[Path]) -> None:
        table = manifest.build([{"path": str(recordings[0]), "start": 9.0}, {"path": str(recordings[0]), "end": 0.15}])
        extraction = store.extract(table, "classic", jobs=1)
        assert [(row, error.code) for row, error in extraction.failures] == [(0, "empty")]
        assert np.isfinite(extraction.values[1]).all()

    def test_sound_that_is_beyond_all_measure(self, store: FeatureStore, tmp_path: Path) -> None:
        loud = tmp_path / "loud.wav"
        soundfile.write(loud, np.full(8_000, 1e30), RATE, subtype="DOUBLE")
        [(row, error)] = store.extract([loud], "classic", jobs=1).failures
        assert (row, error.code, error.path) == (0, "non_finite", str(loud))
        assert entry_files(store) == []

    def test_an_unforeseen_error_is_a_failure_of_its_row_only(
        self, store: FeatureStore, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load = audio.load

        def stumble(source: object, **options: object) -> audio.Waveform:
            if isinstance(source, io.BytesIO) and source.getvalue() == recordings[1].read_bytes():
                raise ZeroDivisionError("division by zero")
            return load(source, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(audio, "load", stumble)
        [(row, error)] = store.extract(recordings, "classic", jobs=1).failures
        assert (row, error.code) == (1, "unexpected")
        assert "ZeroDivisionError" in str(error)


class TestKeeping:
    def test_a_second_run_only_reads(self, store: FeatureStore, recordings: list[Path]) -> None:
        first = store.extract(recordings, "classic", jobs=1)
        written = {file: file.stat().st_mtime_ns for file in entry_files(store)}
        assert len(written) == 4
        second = store.extract(recordings, "classic", jobs=1)
        assert second.reused == 4
        np.testing.assert_array_equal(second.values, first.values)
        assert {file: file.stat().st_mtime_ns for file in entry_files(store)} == written

    def test_a_changed_recording_is_computed_anew(self, store: FeatureStore, recordings: list[Path]) -> None:
        store.extract(recordings, "classic", jobs=1)
        before = recordings[2].stat()
        shutil.copyfile(recordings[0], recordings[2])
        with recordings[2].open("r+b") as file:
            file.seek(1_000)
            file.write(b"\x12\x34")
        os.utime(recordings[2], ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same time, other content
        extraction = store.extract(recordings, "classic", jobs=1)
        assert extraction.reused == 3
        np.testing.assert_array_equal(extraction.values, expected(recordings))

    def test_a_renamed_or_copied_recording_is_known(self, store: FeatureStore, recordings: list[Path]) -> None:
        store.extract(recordings, "classic", jobs=1)
        renamed = recordings[0].rename(recordings[0].with_name("other name.bin"))
        copy = Path(shutil.copy(recordings[1], recordings[1].with_name("copy.wav")))
        extraction = store.extract([renamed, copy], "classic", jobs=1)
        assert extraction.reused == 2
        assert len(entry_files(store)) == 4

    def test_sets_do_not_mix(self, store: FeatureStore, recordings: list[Path]) -> None:
        store.extract(recordings, "classic", jobs=1)
        assert store.extract(recordings, "logmel", jobs=1).reused == 0
        assert store.extract(recordings, "classic", jobs=1).reused == 4

    def test_another_version_of_a_set_is_computed_anew(
        self, store: FeatureStore, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import dataclasses

        from emovox.features import sets

        store.extract(recordings, "classic", jobs=1)
        newer = dataclasses.replace(sets.FEATURE_SETS["classic"], version_of=lambda: "2")
        monkeypatch.setattr(sets, "FEATURE_SETS", {"classic": newer})
        assert store.extract(recordings, "classic", jobs=1).reused == 0


def flip_a_bit(data: bytes) -> bytes:
    return data[:-200] + bytes([data[-200] ^ 1]) + data[-199:]


def saved(array: npt.NDArray[np.generic], *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue() + _digest(buffer.getvalue())


class Trap:
    """What it stands for is done when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, ("sprung",))


class TestDamage:
    @pytest.mark.parametrize(
        "damage",
        [
            pytest.param(lambda data: b"", id="no content"),
            pytest.param(lambda data: data[: len(data) // 2], id="cut in half"),
            pytest.param(lambda data: data[:-1], id="a byte short"),
            pytest.param(lambda data: data + b"more", id="longer"),
            pytest.param(flip_a_bit, id="one bit changed"),
            pytest.param(lambda data: b"text" + _digest(b"text"), id="no array"),
            pytest.param(lambda data: saved(np.zeros(179, np.float32)), id="another shape"),
            pytest.param(lambda data: saved(np.zeros(180)), id="another type"),
            pytest.param(lambda data: saved(np.full(180, np.nan, np.float32)), id="not finite"),
            pytest.param(lambda data: saved(np.array([Trap()]), allow_pickle=True), id="a pickle"),
        ],
    )
    def test_a_damaged_entry_is_computed_anew(
        self,
        store: FeatureStore,
        recordings: list[Path],
        damage: Callable[[bytes], bytes],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        first = store.extract(recordings, "classic", jobs=1)
        for file in entry_files(store)[:2]:
            file.write_bytes(damage(file.read_bytes()))
        second = store.extract(recordings, "classic", jobs=1)
        assert second.reused == 2
        np.testing.assert_array_equal(second.values, first.values)
        assert not Path("sprung").exists()
        assert store.extract(recordings, "classic", jobs=1).reused == 4

    def test_a_folder_in_place_of_an_entry(
        self, store: FeatureStore, recordings: list[Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        store.extract(recordings, "classic", jobs=1)
        file = entry_files(store)[0]
        file.unlink()
        (file / "inside").mkdir(parents=True)
        extraction = store.extract(recordings, "classic", jobs=1)
        np.testing.assert_array_equal(extraction.values, expected(recordings))
        assert extraction.reused == 3
        assert extraction.not_stored == "Is a directory"

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_store_that_cannot_be_written_is_done_without(
        self, tmp_path: Path, recordings: list[Path], jobs: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").touch()
        extraction = FeatureStore(tmp_path / "file" / "store").extract(recordings, "classic", jobs=jobs)
        np.testing.assert_allclose(extraction.values, expected(recordings), rtol=1e-5, atol=1e-6)
        assert extraction.not_stored == "Not a directory"
        warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "could not be kept" in warnings[0].message

    def test_a_disk_that_runs_full_leaves_no_half_entry(
        self, store: FeatureStore, recordings: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = Path.write_bytes
        written = 0

        def full_after_two(path: Path, data: bytes) -> int:
            nonlocal written
            written += 1
            if written <= 2:
                return write(path, data)
            write(path, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        monkeypatch.setattr(Path, "write_bytes", full_after_two)
        extraction = store.extract(recordings, "classic", jobs=1)
        np.testing.assert_array_equal(extraction.values, expected(recordings))
        assert extraction.not_stored == "No space left on device"
        monkeypatch.undo()
        assert [file for file in store.root.rglob("*") if file.is_file()] == entry_files(store)
        assert store.extract(recordings, "classic", jobs=1).reused == 2

    def test_what_killed_processes_left_is_removed_and_what_is_being_written_is_not(
        self, store: FeatureStore, recordings: list[Path]
    ) -> None:
        store.extract(recordings[:1], "classic", jobs=1)
        [partial_folder] = store.root.rglob("partial")
        old, fresh = partial_folder / "old", partial_folder / "fresh"
        old.write_bytes(b"half")
        fresh.write_bytes(b"half")
        long_ago = fresh.stat().st_mtime - ABANDONED_AFTER_S - 10
        os.utime(old, (long_ago, long_ago))
        store.extract(recordings, "classic", jobs=1)
        assert list(partial_folder.iterdir()) == [fresh]


class TestEntries:
    def test_gives_back_what_was_written(self, tmp_path: Path) -> None:
        entries = EntryFolder(tmp_path)
        assert entries.read("abcdef") is None
        entries.write("abcdef", np.arange(6, dtype=np.float32).reshape(2, 3))
        entries.write("abcdeg", np.zeros(2))
        np.testing.assert_array_equal(entries.read("abcdef"), [[0, 1, 2], [3, 4, 5]])

    def test_is_read_by_numpy_alone(self, tmp_path: Path) -> None:
        EntryFolder(tmp_path).write("abcdef", np.arange(3))
        np.testing.assert_array_equal(np.load(tmp_path / "ab" / "cdef.npy"), [0, 1, 2])

    def test_spreads_over_folders(self, tmp_path: Path) -> None:
        entries = EntryFolder(tmp_path)
        for number in range(500):
            entries.write(f"{number * 7919 % 65536:04x}", np.zeros(1))
        folders = [folder for folder in tmp_path.iterdir() if folder.name != "partial"]
        assert len(folders) > 200
        assert max(len(list(folder.iterdir())) for folder in folders) < 10
