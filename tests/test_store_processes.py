"""Worker processes: killed, interrupted, crashing, and two runs at once on one store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pool_tasks
import pytest
from test_store import entry_files, expected, write_recordings

from emovox.features import FeatureStore
from emovox.features.pool import BLAS_THREADS, map_unordered

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")

COUNT = 60


def start(recordings: Path, output: Path, store: Path, *, jobs: int = 2) -> subprocess.Popen[str]:
    """The real command in a process group of its own, as a terminal starts it."""
    code = "import sys; from emovox.cli.main import main; sys.argv[0] = 'emovox'; main()"
    arguments = ("features", recordings, "-o", output, "--store", store, "--jobs", jobs)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_entries(store: FeatureStore, count: int, *, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while len(entry_files(store)) < count:
        assert time.monotonic() < deadline, "no entry was written"
        time.sleep(0.01)


def living_in_session(leader: int) -> list[int]:
    """Processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(session) == leader and state != "Z":
                found.append(int(folder.name))
    return found


def wait_for_end_of_session(leader: int, *, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while living_in_session(leader):
        assert time.monotonic() < deadline, f"still alive: {living_in_session(leader)}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_recordings(tmp_path_factory.mktemp("recordings"), COUNT, seconds=4.0)


@pytest.mark.slow
class TestRuns:
    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_killed_run_loses_nothing_that_was_finished(
        self, recordings: list[Path], tmp_path: Path, jobs: int
    ) -> None:
        store = FeatureStore(tmp_path / "store")
        run = start(recordings[0].parent, tmp_path / "out.npy", store.root, jobs=jobs)
        wait_for_entries(store, 5)
        run.kill()
        run.communicate()
        wait_for_end_of_session(run.pid)  # its workers must not wait for it for ever
        finished = len(entry_files(store))
        assert 5 <= finished < COUNT, "was not killed in the middle"
        assert not (tmp_path / "out.npy").exists()
        extraction = store.extract(recordings, "classic", jobs=1)
        assert extraction.reused == finished
        assert extraction.failures == []
        np.testing.assert_allclose(extraction.values, expected(recordings), rtol=1e-5, atol=1e-6)

    def test_an_interrupted_run_ends_at_once_and_says_how_to_go_on(
        self, recordings: list[Path], tmp_path: Path
    ) -> None:
        store = FeatureStore(tmp_path / "store")
        run = start(recordings[0].parent, tmp_path / "out.npy", store.root)
        wait_for_entries(store, 3)
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does: workers get it too
        _, errors = run.communicate(timeout=60)
        assert run.returncode == 130
        assert f"of {COUNT} were done; the same command goes on from there." in errors
        assert "Traceback" not in errors
        wait_for_end_of_session(run.pid)
        assert len(entry_files(store)) < COUNT, "was not interrupted in the middle"
        assert not (tmp_path / "out.npy").exists()

    def test_two_runs_at_once_share_a_store(self, recordings: list[Path], tmp_path: Path) -> None:
        store = FeatureStore(tmp_path / "store")
        outputs = [tmp_path / "one.npy", tmp_path / "two.npy"]
        runs = [start(recordings[0].parent, output, store.root) for output in outputs]
        for run in runs:
            _, errors = run.communicate(timeout=300)
            assert (run.returncode, errors) == (0, "")
        np.testing.assert_allclose(np.load(outputs[0]), expected(recordings), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.load(outputs[1]), np.load(outputs[0]), rtol=1e-5, atol=1e-6)
        assert sorted(file for file in store.root.rglob("*") if file.is_file()) == entry_files(store)
        assert store.extract(recordings, "classic", jobs=1).reused == COUNT


@pytest.mark.slow
class TestScripts:
    @staticmethod
    def run(tmp_path: Path, recordings: Sequence[Path], call: str) -> subprocess.CompletedProcess[str]:
        """Run a user's script that forgets to guard its own calls, so that workers cannot import it."""
        script = tmp_path / "script.py"
        script.write_text(
            textwrap.dedent(f"""
            from emovox.features import store
            store.START_WORKERS_AFTER_S = 0.0
            paths = {[str(path) for path in recordings]!r}
            values = store.FeatureStore({str(tmp_path / "store")!r}).extract(paths, "classic"{call})
            print("rows", len(values.values), "failed", len(values.failures))
            """)
        )
        return subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)

    def test_unguarded_with_jobs_says_what_to_do(self, recordings: list[Path], tmp_path: Path) -> None:
        done = self.run(tmp_path, recordings[:6], ", jobs=2")
        assert done.returncode == 1
        # Not always the last line: the workers' own resource tracker may complain after it.
        [message] = [line for line in done.stderr.splitlines() if "worker processes cannot be started" in line]
        assert "if __name__ == '__main__':" in message

    def test_unguarded_without_jobs_goes_on_alone(self, recordings: list[Path], tmp_path: Path) -> None:
        done = self.run(tmp_path, recordings[:6], "")
        assert (done.returncode, done.stdout) == (0, "rows 6 failed 0\n")


class TestPool:
    def test_gives_every_result_once(self) -> None:
        assert sorted(map_unordered(pool_tasks.double, range(50), jobs=2)) == [(n, 2 * n) for n in range(50)]

    def test_nothing_to_do_starts_nothing(self) -> None:
        assert list(map_unordered(pool_tasks.double, [], jobs=2)) == []

    @pytest.mark.slow
    def test_a_task_that_kills_its_worker_harms_no_other(self) -> None:
        results = sorted(map_unordered(pool_tasks.die_of_odd_numbers, [0, 2, 4, 1, 6, 8, 3, 10, 12], jobs=2))
        assert results == [(0, 0), (1, 2), (2, 4), (3, None), (4, 6), (5, 8), (6, None), (7, 10), (8, 12)]

    def test_workers_use_one_thread_each_and_this_process_is_left_as_it_was(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(BLAS_THREADS[0], "7")
        monkeypatch.delenv(BLAS_THREADS[1], raising=False)
        [(_, threads)] = map_unordered(pool_tasks.blas_threads, [None], jobs=1)
        assert threads
        assert set(threads) == {1}
        assert os.environ[BLAS_THREADS[0]] == "7"
        assert BLAS_THREADS[1] not in os.environ


def test_light_installation_is_enough() -> None:
    """Computing and keeping features imports nothing that the light installation lacks."""
    code = "import sys, emovox.features; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in loaded
    assert not loaded & {"pandas", "sklearn", "torch", "scipy", "librosa", "matplotlib", "pyarrow", "opensmile"}
