"""References: what they are made of, how they are kept, and how they move with a stream."""

from __future__ import annotations

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from adaptable import SIZE, AdaptableModel, adaptable_bytes
from bundles import LoudnessModel, waveform_meta
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, stats

import emovox
from emovox.errors import AdaptationError, BundleError, ParameterError
from emovox.inference.adaptation import LARGEST_FILE, Heard, Reference, gather
from emovox.inference.bundle import Bundle, Identity
from emovox.inference.log_ratios import PRIOR_CLIPS, log_ratios, trust
from emovox.inference.running import CLIP_S, RunningReference
from emovox.models.export import bundle_bytes

Floats = npt.NDArray[np.float32]
MODEL = Identity("adaptable", "2", "0" * 64)
ratios = arrays(np.float64, 7, elements=st.floats(-20, 20)).map(lambda row: row - row.mean())
lengths = st.floats(0.05, 600)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle(adaptable_bytes(), threads=1)


def reference(**changes: Any) -> Reference:
    values = {"embedding": np.array([0.5, -1.5]), "clips": 12, "seconds": 40.25, "model": MODEL, **changes}
    return Reference(**values)


# What a reference is made of


@given(st.integers(1, 60), ratios, st.floats(0.01, 100))
def test_so_much_of_the_mean_is_trusted_as_is_likeliest_the_voices(n: int, mean: Floats, spread: float) -> None:
    """Voices scatter with a variance that is not known, but is at least a usual one's; so does the mean of n clips."""

    def unlikelihood(log_variance: float) -> float:
        scale = np.sqrt(np.exp(log_variance) + spread / n)
        return -float(stats.norm.logpdf(coordinates, scale=scale).sum())

    axes = np.linalg.svd(np.eye(len(mean)) - 1 / len(mean))[0][:, :-1]  # rows with sum 0 have a dimension less
    coordinates = mean @ axes
    usual = np.log(spread / PRIOR_CLIPS)
    found = optimize.minimize_scalar(
        unlikelihood, bounds=(usual, usual + 30), method="bounded", options={"xatol": 1e-9}
    )
    variance = np.exp(found.x)
    assert trust(n, mean, spread) == pytest.approx(variance / (variance + spread / n), abs=1e-4)


@given(st.floats(0, 1_000), st.floats(0, 1_000), ratios, st.none() | st.floats(0.01, 100))
def test_more_clips_and_stranger_voices_are_trusted_more(n: float, more: float, mean: Floats, spread: float) -> None:
    share = trust(n, mean, spread)
    assert 0 <= share < 1
    assert trust(n + more, mean, spread) >= share
    assert trust(n, 2 * mean, spread) >= share
    assert trust(n, 0 * mean, spread) == pytest.approx(n / (n + PRIOR_CLIPS))
    assert trust(n, mean, None) == trust(n, 0 * mean, spread)
    assert trust(0, mean, spread) == 0


VOICE, NO_VOICE = [0.2, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1], [1 / 7] * 7


def heard(*embeddings: list[float], duration_s: float = 2.0, path: str | None = None) -> Heard:
    return Heard(
        path=path,
        duration_s=duration_s,
        probabilities=np.tile(np.array(VOICE, np.float32), (len(embeddings), 1)),
        embeddings=np.array(embeddings, np.float32),
        weights=np.arange(1.0, len(embeddings) + 1),
    )


def test_gathering_counts_parts_as_clips_and_leaves_out_short_ones(bundle: Bundle) -> None:
    long, short = heard([1.0, 0.0], [3.0, 0.0], duration_s=50.0), heard([1e9, 1e9], duration_s=0.4)
    found = gather([long, short, heard([2.0, 3.0])], bundle)
    assert found is not None
    assert (found.clips, found.seconds, found.model) == (3, 52.0, bundle.identity)
    np.testing.assert_allclose(found.embedding, np.array([2.0, 1.0]) * 3 / (3 + PRIOR_CLIPS))
    assert gather([short], bundle) is None
    assert gather([], bundle) is None
    assert gather([heard([1.0, 1.0])], bundle, at_least=2) is None
    np.testing.assert_allclose(long.embedding, [7 / 3, 0])


def test_a_strange_voice_moves_a_reference_farther() -> None:
    strict = Bundle(adaptable_bytes(spread=0.02), threads=1)
    mean = log_ratios([VOICE], strict.meta.neutral or ())[0]
    share = trust(2, mean, 0.02)
    assert share > 2 / (2 + PRIOR_CLIPS) + 0.1
    found = gather([heard([1.0, 0.0], [3.0, 2.0])], strict)
    assert found is not None
    np.testing.assert_allclose(found.embedding, share * np.array([2.0, 1.0]), rtol=1e-5)


def test_a_model_without_log_ratios_trusts_by_number(bundle: Bundle) -> None:
    silent = Bundle(adaptable_bytes(neutral=None, spread=0.02), threads=1)
    found, usual = (gather([heard([1.0, 2.0], [3.0, 4.0])], one) for one in (silent, bundle))
    assert found is not None
    assert usual is not None
    np.testing.assert_allclose(found.embedding, usual.embedding)


def test_what_is_no_voice_takes_no_part(bundle: Bundle) -> None:
    spoken = heard([1.0, 0.0], [3.0, 0.0], [8.0, 8.0], duration_s=60.0)
    mixed = dataclasses.replace(spoken, probabilities=np.array([VOICE, VOICE, NO_VOICE], np.float32))
    tune = dataclasses.replace(heard([9.0, 9.0]), probabilities=np.array([NO_VOICE], np.float32))
    found = gather([mixed, tune], bundle)
    assert found is not None
    assert (found.clips, found.seconds) == (2, 30.0)
    np.testing.assert_allclose(found.embedding, np.array([2.0, 0.0]) * 2 / (2 + PRIOR_CLIPS))
    assert gather([tune], bundle) is None


def test_a_file_that_is_named_twice_counts_once(bundle: Bundle) -> None:
    found = gather([heard([1.0, 2.0], path="a/../b.wav"), heard([1.0, 2.0], path="b.wav"), heard([3.0, 4.0])], bundle)
    assert found is not None
    assert (found.clips, found.seconds) == (2, 4.0)
    np.testing.assert_allclose(found.embedding, np.array([2.0, 3.0]) * 2 / (2 + PRIOR_CLIPS))


# Values that make no sense


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding": []},
        {"embedding": [[1.0]]},
        {"embedding": [np.nan]},
        {"clips": 0},
        {"seconds": 0.0},
        {"seconds": np.inf},
        {"seconds": np.nan},
    ],
)
def test_impossible_references_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterError):
        reference(**changes)


def test_a_reference_cannot_be_changed_by_chance() -> None:
    values = np.ones(3)
    made = reference(embedding=values)
    values[0] = 5
    assert made.embedding.tolist() == [1, 1, 1]
    assert made.embedding.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        made.embedding[0] = 5


# The file


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    wanted = reference(model=Identity("mödel", "1.0", "a" * 64))
    wanted.save(tmp_path / "deep" / "me.npz")
    found = emovox.Reference.load(str(tmp_path / "deep" / "me.npz"))
    assert found.embedding.tolist() == wanted.embedding.tolist()
    assert (found.clips, found.seconds, found.model) == (wanted.clips, wanted.seconds, wanted.model)
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["me.npz"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "me.npz"
    reference().save(path)
    return path.read_bytes()


def code_of(path: Path) -> str:
    with pytest.raises(AdaptationError) as caught:
        Reference.load(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    return caught.value.code


def test_every_cut_is_noticed(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.npz"
    for length in range(0, len(saved), 17):
        path.write_bytes(saved[:length])
        assert code_of(path) == "not_a_reference"


@settings(max_examples=150, deadline=None)
@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_changes_no_value(
    saved: bytes, tmp_path_factory: pytest.TempPathFactory, position: int, bit: int
) -> None:
    changed = bytearray(saved)
    changed[position % len(saved)] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.npz"
    path.write_bytes(changed)
    try:
        found = Reference.load(path)
    except AdaptationError:
        return
    # Some bits of a zip file say nothing, such as the time of writing.
    assert (found.embedding.tolist(), found.clips, found.seconds, found.model) == ([0.5, -1.5], 12, 40.25, MODEL)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=300))
def test_other_bytes_raise_nothing_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.npz"
    path.write_bytes(content)
    assert code_of(path) == "not_a_reference"


def write(path: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "format": 1,
        "embedding": np.array([0.5, -1.5], np.float32),
        "clips": 12,
        "seconds": 40.25,
        "model": ["adaptable", "2", "0" * 64],
    }
    values = {key: value for key, value in {**values, **changes}.items() if value is not None}
    with path.open("wb") as file:
        np.savez(file, **values)
    return path


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('a pickle was run')",))


@pytest.mark.parametrize(
    "changes",
    [
        {"embedding": np.array([Bomb()], dtype=object)},
        {"model": np.array([Bomb(), "2", "x"], dtype=object)},
        {"embedding": None},
        {"model": None},
        {"embedding": np.array(["a", "b"])},
        {"embedding": np.array([np.nan, 1.0])},
        {"embedding": np.zeros((2, 2))},
        {"model": ["adaptable", "2"]},
        {"clips": 0},
        {"clips": [1, 2]},
        {"seconds": -1.0},
        {"format": "one"},
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert code_of(write(tmp_path / "wrong.npz", **changes)) == "not_a_reference"


def test_later_formats_are_told_from_damage_and_new_entries_are_passed_over(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "later.npz", format=2)) == "newer_version"
    assert Reference.load(write(tmp_path / "more.npz", mood=np.zeros(3))).clips == 12


def test_large_files_are_not_unpacked(tmp_path: Path) -> None:
    assert code_of(write(tmp_path / "large.npz", embedding=np.ones(LARGEST_FILE // 4 + 1, np.float32))) == (
        "not_a_reference"
    )
    bomb = io.BytesIO()
    np.savez_compressed(bomb, embedding=np.zeros(50_000_000, np.float32))
    assert len(bomb.getvalue()) < LARGEST_FILE
    (tmp_path / "bomb.npz").write_bytes(bomb.getvalue())
    with pytest.raises(AdaptationError, match="unpacked"):
        Reference.load(tmp_path / "bomb.npz")


def test_a_header_may_not_ask_for_the_whole_memory(saved: bytes, tmp_path: Path) -> None:
    path = tmp_path / "greedy.npz"
    with zipfile.ZipFile(io.BytesIO(saved)) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == "embedding.npy":
                assert content.count(b"(2,), }         ") == 1
                content = content.replace(b"(2,), }         ", b"(2000000000,), }")
            new.writestr(item.filename, content)
    assert code_of(path) == "not_a_reference"


def test_missing_files_folders_and_places_that_cannot_be_written(tmp_path: Path) -> None:
    assert code_of(tmp_path / "no.npz") == "not_found"
    assert code_of(tmp_path) == "not_found"
    (tmp_path / "file").write_text("")
    with pytest.raises(AdaptationError) as caught:
        reference().save(tmp_path / "file" / "me.npz")
    assert caught.value.code == "not_written"


def test_an_old_reference_stays_where_a_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "me.npz"
    reference().save(path)

    def interrupted(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reference(clips=3).save(path)
    assert Reference.load(path).clips == 12
    assert [item.name for item in tmp_path.iterdir()] == ["me.npz"]


# Whose reference it is


def test_a_reference_belongs_to_one_bundle(bundle: Bundle) -> None:
    reference(model=bundle.identity).require(bundle)
    for other in (Identity("other", "2", bundle.identity.sha256), MODEL):
        with pytest.raises(AdaptationError) as caught:
            reference(model=other).require(bundle)
        assert caught.value.code == "other_model"
    assert "another file" in caught.value.message
    with pytest.raises(AdaptationError):
        reference(model=bundle.identity, embedding=[1.0, 2.0, 3.0]).require(bundle)


def test_bundles_that_take_no_reference_cannot_adapt() -> None:
    plain = Bundle(bundle_bytes(LoudnessModel(), waveform_meta()), threads=1)
    clip = np.zeros((1, 1_600), np.float32)
    assert not plain.can_adapt
    assert plain.embedding_size is None
    assert plain.identity == Identity("loudness", "1", plain.identity.sha256)
    for attempt in (
        lambda: plain.embed(clip),
        lambda: plain.run_and_embed(clip),
        lambda: plain.run(clip, [0.0, 0.0]),
        lambda: reference().require(plain),
        lambda: emovox.Recognizer(plain, adapt=reference()),
        lambda: emovox.Recognizer(plain).embed(clip[0] + 1, rate=16_000),
        lambda: emovox.Recognizer(plain).adapt([]),
        lambda: emovox.Recognizer(plain).predict_adapted([]),
    ):
        with pytest.raises(BundleError) as caught:
            attempt()
        assert caught.value.code == "cannot_adapt"
        assert caught.value.remedy


# The graph


@pytest.mark.parametrize("default", [False, True])
def test_the_bundle_gives_what_the_formula_says(default: bool) -> None:
    model = AdaptableModel(default=default)
    bundle = Bundle(adaptable_bytes(model=model), threads=1)
    clips = np.random.default_rng(0).normal(scale=0.1, size=(5, 1_600)).astype(np.float32)
    references = np.random.default_rng(1).normal(size=(5, SIZE))
    assert bundle.can_adapt
    assert bundle.embedding_size == SIZE
    wanted = np.stack([model.expected(clip) for clip in clips])
    np.testing.assert_allclose(bundle.run(clips), wanted, atol=1e-5)
    np.testing.assert_allclose(bundle.embed(clips), np.stack([model.embedding(clip) for clip in clips]), atol=1e-5)
    for given_reference in (references[0], references[:1]):
        wanted = np.stack([model.expected(clip, references[0]) for clip in clips])
        np.testing.assert_allclose(bundle.run(clips, given_reference), wanted, atol=1e-5)
    probabilities, embeddings = bundle.run_and_embed(clips, references)
    wanted = np.stack([model.expected(clip, row) for clip, row in zip(clips, references, strict=True)])
    np.testing.assert_allclose(probabilities, wanted, atol=1e-5)
    np.testing.assert_allclose(embeddings, bundle.embed(clips), atol=1e-6)  # whatever the reference
    assert bundle.embed(np.empty((0, 800))).shape == (0, SIZE)


@pytest.mark.parametrize("wrong", [1.0, [1.0], [[1.0, 2.0]] * 3, [np.nan, 1.0], [np.inf, 1.0], [[[1.0, 2.0]]]])
def test_what_is_no_reference_for_the_graph_is_refused(bundle: Bundle, wrong: Any) -> None:
    with pytest.raises(ParameterError, match="2 finite values"):
        bundle.run(np.zeros((2, 1_600), np.float32), wrong)


def test_embeddings_must_be_finite(bundle: Bundle) -> None:
    with pytest.raises(BundleError) as caught:
        bundle.embed(np.full((1, 1_600), 3e38, np.float32))
    assert caught.value.code == "failed"


# The running one


@given(st.lists(ratios, min_size=1, max_size=20), st.none() | st.floats(0.01, 100))
def test_without_forgetting_a_stream_of_clips_is_a_set_of_clips(heard: list[Floats], spread: float | None) -> None:
    running = RunningReference(7, spread=spread, half_life_s=np.inf)
    for row in heard:
        running.update(row, CLIP_S)
    mean = np.mean(heard, axis=0)
    np.testing.assert_allclose(running.value, trust(len(heard), mean, spread) * mean, atol=1e-3, rtol=1e-5)
    assert running.seconds == len(heard) * CLIP_S


@given(st.lists(st.tuples(arrays(np.float64, 2, elements=st.floats(-100, 100)), lengths), min_size=1, max_size=30))
def test_it_stays_among_what_it_heard_and_the_default(heard: list[tuple[npt.NDArray[Any], float]]) -> None:
    running = RunningReference(2)
    assert running.value.tolist() == [0, 0]
    for embedding, seconds in heard:
        running.update(embedding, seconds)
    seen = np.stack([np.zeros(2), *(embedding for embedding, _ in heard)])
    assert (running.value >= seen.min(axis=0) - 1e-3).all()
    assert (running.value <= seen.max(axis=0) + 1e-3).all()


@given(lengths, lengths)
def test_how_a_constant_voice_is_cut_into_utterances_hardly_matters(first: float, second: float) -> None:
    cut, whole = (
        RunningReference(2, spread=1.0, half_life_s=np.inf),
        RunningReference(2, spread=1.0, half_life_s=np.inf),
    )
    cut.update([5.0, -5.0], first)
    cut.update([5.0, -5.0], second)
    whole.update([5.0, -5.0], first + second)
    np.testing.assert_allclose(cut.value, whole.value, rtol=1e-5)


def test_long_utterances_count_more_and_old_ones_less() -> None:
    running = RunningReference(2, half_life_s=np.inf)
    running.update([0.0, 0.0], 1.0)
    running.update([8.0, -8.0], 3.0)
    assert running.value[0] == pytest.approx(6 * (4 / CLIP_S) / (4 / CLIP_S + PRIOR_CLIPS))
    forgetful = RunningReference(2, half_life_s=30.0)
    forgetful.update([0.0, 0.0], 30.0)
    forgetful.update([9.0, -9.0], 30.0)
    assert forgetful.value[0] == pytest.approx(6 * (45 / CLIP_S) / (45 / CLIP_S + PRIOR_CLIPS))


def test_a_new_voice_is_followed_within_minutes() -> None:
    running = RunningReference(2)
    for _ in range(1_000):
        running.update([-1.0, 1.0], 3.0)
    assert running.value[0] == pytest.approx(-1, abs=0.03)
    for _ in range(300):
        running.update([1.0, -1.0], 3.0)
    assert running.value[0] == pytest.approx(1 - 2 * 0.5**3, abs=0.03)


@pytest.mark.parametrize(
    ("embedding", "seconds"),
    [([1.0], 1.0), ([np.nan, 1.0], 1.0), ([1.0, 1.0], 0.0), ([1.0, 1.0], np.nan), ([1.0, 1.0], np.inf)],
)
def test_a_faulty_update_changes_nothing(embedding: list[float], seconds: float) -> None:
    running = RunningReference(2)
    running.update([1.0, 2.0], 1.0)
    before = running.value.tolist()
    with pytest.raises(ParameterError):
        running.update(embedding, seconds)
    assert (running.value.tolist(), running.seconds) == (before, 1.0)


@pytest.mark.parametrize(("size", "half_life_s"), [(1, 1.0), (3, 0.0), (3, np.nan)])
def test_impossible_running_references(size: int, half_life_s: float) -> None:
    with pytest.raises(ParameterError):
        RunningReference(size, half_life_s=half_life_s)
