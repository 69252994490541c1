from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from bundles import LoudnessModel, write_waveform_bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox.errors import ParameterError
from emovox.inference.bundle import Bundle
from emovox.server import ServerSettings
from emovox.server.batching import WAIT_OF_OPTIONAL_S, Batcher, SharedBundle
from emovox.server.engine import Engine
from emovox.server.metrics import Metrics
from emovox.server.problems import QueueFullError


def means(values: np.ndarray) -> np.ndarray:
    """Stands for a model: its row says which clip it belongs to."""
    return np.stack([values.mean(axis=1), np.full(len(values), values.shape[1])], axis=1)


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=60),
    threads=st.integers(1, 3),
    max_batch=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_every_clip_gets_its_own_result(lengths: list[int], threads: int, max_batch: int) -> None:
    sizes: list[int] = []
    batcher = Batcher(
        threads=threads, max_batch=max_batch, max_waiting=1_000, observe=lambda size, _: sizes.append(size)
    )
    clips = [np.full(length, index, np.float32) for index, length in enumerate(lengths)]
    results = [batcher.submit(means, clip) for clip in clips]
    batcher.close()
    for index, (clip, result) in enumerate(zip(clips, results, strict=True)):
        assert result.result(0).tolist() == [index, len(clip)]
    assert sum(sizes) == len(clips)
    assert max(sizes) <= max_batch


class Gate:
    """A model that computes only when it is let."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, values: np.ndarray) -> np.ndarray:
        self.open.wait(10)
        self.calls.append(values.shape)
        if (values < 0).any():
            raise ValueError("a clip that cannot be computed")
        return means(values)


def gated(gate: Gate, clips: list[np.ndarray], *, threads: int = 1) -> list[Future]:
    """Let `clips` wait behind a first one, so that they can be batched."""
    batcher = Batcher(threads=threads, max_batch=8, max_waiting=100)
    first = batcher.submit(gate, np.zeros(9, np.float32))
    results = [batcher.submit(gate, clip) for clip in clips]
    gate.open.set()
    batcher.close()
    assert first.done()
    return results


def test_clips_of_one_length_share_a_call() -> None:
    gate = Gate()
    clips = [np.full(length, 1, np.float32) for length in (5, 7, 5, 5, 7)]
    gated(gate, clips)
    assert sorted(gate.calls) == [(1, 9), (2, 7), (3, 5)]


def test_a_clip_that_fails_spoils_no_other_one() -> None:
    gate = Gate()
    good, bad, other = gated(gate, [np.full(5, value, np.float32) for value in (1, -1, 2)])
    assert good.result(0)[0] == 1
    assert other.result(0)[0] == 2
    with pytest.raises(ValueError, match="cannot be computed"):
        bad.result(0)


def test_what_waits_is_shared_out_between_threads() -> None:
    gate = Gate()
    batcher = Batcher(threads=2, max_batch=8, max_waiting=100)
    results = [batcher.submit(gate, np.zeros(5, np.float32)) for _ in range(10)]
    gate.open.set()
    batcher.close()
    assert all(result.done() for result in results)
    assert max(shape[0] for shape in gate.calls) <= 5


def test_who_cancels_is_not_computed() -> None:
    gate = Gate()
    batcher = Batcher(threads=1, max_batch=1, max_waiting=10)
    batcher.submit(gate, np.zeros(9, np.float32))
    given_up = batcher.submit(gate, np.zeros(5, np.float32))
    given_up.cancel()
    gate.open.set()
    batcher.close()
    assert (1, 5) not in gate.calls


def test_too_much_is_refused() -> None:
    gate = Gate()
    batcher = Batcher(threads=1, max_batch=1, max_waiting=2)
    batcher.submit(gate, np.zeros(1, np.float32))
    while batcher._waiting:
        pass
    results = [batcher.submit(gate, np.zeros(1, np.float32)) for _ in range(2)]
    with pytest.raises(QueueFullError, match="more to do"):
        batcher.submit(gate, np.zeros(1, np.float32))
    gate.open.set()
    batcher.close()
    assert all(result.done() for result in results)
    with pytest.raises(QueueFullError):
        batcher.submit(gate, np.zeros(1, np.float32))


def test_batches_of_the_packaged_model_are_exact(clip: np.ndarray) -> None:
    batcher = Batcher(threads=1, max_batch=8, max_waiting=10)
    bundle = SharedBundle.shared(None, batcher)
    clips = np.stack([clip, clip[::-1], clip / 3])
    together = bundle.run(clips)
    alone = np.concatenate([Bundle.load(threads=1).run(row[None]) for row in clips])
    batcher.close()
    np.testing.assert_allclose(together, alone, atol=1e-5)


def engine_of(path: Path, **changes: object) -> Engine:
    return Engine(ServerSettings(models=(str(path),), **changes), Metrics())  # type: ignore[arg-type]


def test_streams_and_files_at_the_same_time_are_never_mixed_up(tmp_path: Path) -> None:
    engine = engine_of(write_waveform_bundle(tmp_path / "m.onnx"), threads=3, queue_length=100)
    random = np.random.default_rng(0)
    clips = [random.normal(size=random.integers(1_600, 1_604)).astype(np.float32) * scale for scale in
             np.linspace(0.01, 1, 200)]  # fmt: skip

    async def all_at_once() -> list[list[float]]:
        found = await asyncio.gather(*(engine.parts(clip) for clip in clips))
        await engine.close()
        return [parts.mean.tolist() for parts in found]

    expected = [LoudnessModel().expected(clip) for clip in clips]
    np.testing.assert_allclose(asyncio.run(all_at_once()), expected, atol=1e-4)


@pytest.mark.parametrize("meta", [{"max_seconds": 1.0}, {"sample_rate": 8_000}])
def test_long_clips_and_other_rates_in_memory(tmp_path: Path, clip: np.ndarray, meta: dict[str, object]) -> None:
    from emovox.audio import Waveform
    from emovox.inference.recognizer import Recognizer

    path = write_waveform_bundle(tmp_path / "m.onnx", **meta)
    engine = engine_of(path)
    found = asyncio.run(engine.parts(clip))
    expected = Recognizer(path).predict(Waveform(clip, 16_000))
    assert found.mean.tolist() == pytest.approx(list(expected.probabilities.values()), abs=1e-5)
    asyncio.run(engine.close())


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    paths = [str(write_waveform_bundle(tmp_path / name)) for name in ("a.onnx", "b.onnx")]
    with pytest.raises(ParameterError, match="two models are called loudness"):
        Engine(ServerSettings(models=tuple(paths)), Metrics())


def test_a_large_request_is_let_in_when_nothing_else_waits(tmp_path: Path) -> None:
    engine = engine_of(write_waveform_bundle(tmp_path / "m.onnx"), queue_length=2)
    with engine.admitted(5), pytest.raises(QueueFullError), engine.admitted():
        pass
    with engine.admitted(), engine.admitted():
        pass


def test_optional_clips_give_way_but_have_their_turn() -> None:
    gate = Gate()
    order: list[float] = []

    def model(values: np.ndarray) -> np.ndarray:
        rows = gate(values)
        order.extend(values[:, 0].tolist())
        return rows

    batcher = Batcher(threads=1, max_batch=1, max_waiting=100)
    batcher.submit(model, np.zeros(1, np.float32))
    while batcher._waiting:
        pass
    optional = [batcher.submit(model, np.full(1, 100 + n, np.float32), optional=True) for n in range(2)]
    for n in range(1, 7):
        batcher.submit(model, np.full(1, n, np.float32))
    gate.open.set()
    batcher.close()
    assert order == [0, 1, 2, 100, 3, 4, 5, 101, 6]  # calls 4 and 8 are theirs
    assert all(result.done() for result in optional)


def test_optional_clips_that_wait_too_long_are_given_up() -> None:
    gate = Gate()
    batcher = Batcher(threads=1, max_batch=1, max_waiting=100)
    batcher.submit(gate, np.zeros(9, np.float32))
    late = batcher.submit(gate, np.zeros(5, np.float32), optional=True)
    time.sleep(WAIT_OF_OPTIONAL_S + 0.05)
    gate.open.set()
    with pytest.raises(QueueFullError):
        late.result(5)
    batcher.close()
    assert (1, 5) not in gate.calls
