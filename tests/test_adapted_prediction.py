"""Predicting with a reference: a given one, and one of each folder or speaker from a single pass."""

from __future__ import annotations

import io
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from adaptable import AdaptableModel, adaptable_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from emovox import audio
from emovox.audio import Waveform
from emovox.emotions import EMOTIONS
from emovox.errors import AdaptationError, BundleError, ParameterError
from emovox.inference.adaptation import Heard, Reference, gather
from emovox.inference.bundle import Bundle, Identity
from emovox.inference.groups import adapted, group_ratios, members
from emovox.inference.log_ratios import PRIOR_CLIPS, trust
from emovox.inference.recognizer import Failure, Prediction, Recognizer

RATE = 16_000
Floats = npt.NDArray[np.float32]


SPREAD = 0.1


def recognizer(model: AdaptableModel | None = None, *, max_seconds: float | None = None, **options: Any) -> Recognizer:
    data = adaptable_bytes(model=model, max_seconds=max_seconds, spread=SPREAD)
    return Recognizer(Bundle(data, threads=1), **options)


def row(prediction: Prediction | Failure) -> list[float]:
    assert isinstance(prediction, Prediction), prediction
    assert list(prediction.probabilities) == list(EMOTIONS)
    return list(prediction.probabilities.values())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, corpora_dir: Path) -> Path:
    """Two folders with real recordings of one speaker each, a lone one, and files of no use between them."""
    root = tmp_path_factory.mktemp("talks")
    clips = sorted((corpora_dir / "emodb" / "wav").glob("*.opus"))
    for speaker, count in (("03", 5), ("08", 4), ("09", 1)):
        folder = root / speaker / "deep"
        folder.mkdir(parents=True)
        for clip in [clip for clip in clips if clip.name.startswith(speaker)][:count]:
            shutil.copy(clip, folder)
    (root / "03" / "broken.wav").write_text("no sound")
    soundfile.write(root / "08" / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(root / "08" / "tiny.wav", 0.5 * np.sin(np.arange(RATE // 5)), RATE, subtype="FLOAT")
    return root


def two_passes(whole: Recognizer, paths: list[Path]) -> tuple[Reference, list[Prediction | Failure]]:
    """What a user gets who makes a reference first and then predicts with it."""
    reference = whole.adapt(paths)
    return reference, list(Recognizer(whole.bundle, adapt=reference).predict_many(paths))


# Embeddings and references


def test_embed_gives_what_the_formula_says_also_of_long_recordings(voice: Floats) -> None:
    model = AdaptableModel()
    np.testing.assert_allclose(recognizer().embed(voice, rate=RATE), model.embedding(voice), atol=1e-4)
    long = np.concatenate([voice, voice * 0.1, voice[:7_777]])
    parts = np.array_split(long, 3)
    wanted = np.average([model.embedding(part) for part in parts], axis=0, weights=[len(part) for part in parts])
    np.testing.assert_allclose(recognizer(max_seconds=1.6).embed(long, rate=RATE), wanted, atol=1e-4)
    with pytest.raises(ParameterError, match="rate"):
        recognizer().embed(voice)


def test_adapt_is_so_much_of_the_mean_as_is_trusted(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = recognizer()
    with caplog.at_level(logging.WARNING, logger="emovox"):
        found = whole.adapt([folders / "08", folders / "03" / "broken.wav"])
    used = sorted((folders / "08" / "deep").iterdir())
    clips = [audio.load(path, rate=RATE) for path in used]
    mean = np.mean([AdaptableModel().embedding(clip.samples) for clip in clips], axis=0)
    model = AdaptableModel()
    ratios = np.mean([np.log(model.expected(clip.samples) / model.neutral()) for clip in clips], axis=0)
    share = trust(4, ratios - ratios.mean(), SPREAD)
    assert share > 4 / (4 + PRIOR_CLIPS)
    np.testing.assert_allclose(found.embedding, share * mean, atol=1e-4)
    assert found.clips == 4
    assert found.seconds == pytest.approx(sum(clip.duration_s for clip in clips))
    assert found.model == whole.bundle.identity
    assert "broken.wav" in caplog.text
    assert "silent.wav" in caplog.text
    assert whole.reference is None


def test_nothing_to_adapt_to(folders: Path) -> None:
    for sources in ([], [folders / "08" / "silent.wav", folders / "08" / "tiny.wav"], [folders / "03" / "broken.wav"]):
        with pytest.raises(AdaptationError) as caught:
            recognizer().adapt(sources)
        assert caught.value.code == "no_clips"


def test_a_reference_is_used_by_everything_a_recognizer_does(folders: Path, tmp_path: Path, voice: Floats) -> None:
    from emovox.inference.stream import timeline

    plain = recognizer()
    reference = plain.adapt(folders / "03")
    reference.save(tmp_path / "me.npz")
    wanted = AdaptableModel().expected(voice, reference.embedding)
    for mine in (recognizer(adapt=reference), recognizer(adapt=tmp_path / "me.npz")):
        found = mine.predict(voice, rate=RATE)
        np.testing.assert_allclose(row(found), wanted, atol=1e-5)
        assert found.adapted_clips == found.to_dict()["adapted_clips"] == 5
        np.testing.assert_allclose(mine.probabilities(voice, RATE), wanted, atol=1e-5)
        (many,) = mine.predict_many([Waveform(voice, RATE)])
        assert many == found
        np.testing.assert_allclose(mine.embed(voice, rate=RATE), plain.embed(voice, rate=RATE))
    soundfile.write(tmp_path / "voice.wav", voice, RATE, subtype="FLOAT")
    (segment,) = timeline(tmp_path / "voice.wav", recognizer(adapt=reference), vad=False)
    np.testing.assert_allclose(list(segment.probabilities.values()), wanted, atol=1e-5)
    assert plain.predict(voice, rate=RATE).adapted_clips == 0
    assert np.abs(wanted - row(plain.predict(voice, rate=RATE))).max() > 0.01


def test_references_of_other_models_are_refused(tmp_path: Path) -> None:
    other = Reference(embedding=np.ones(2), clips=3, seconds=9.0, model=Identity("adaptable", "2", "1" * 64))
    other.save(tmp_path / "me.npz")
    for adapt in (other, tmp_path / "me.npz"):
        with pytest.raises(AdaptationError) as caught:
            recognizer(adapt=adapt)
        assert caught.value.code == "other_model"


# One pass


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.001, 0.9), min_size=1, max_size=4), st.integers(0, 2**31))
def test_a_mean_of_log_ratios_does_what_the_mean_embedding_does(small: Bundle, levels: list[float], seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-1, 1, size=(len(levels), 3_200))
    clips = (noise * np.array(levels)[:, None]).astype(np.float32)
    probabilities, embeddings = small.run_and_embed(clips)
    heard = [_heard(probabilities, embeddings)]
    ratios, reference = group_ratios(heard, small.meta), gather(heard, small)
    assert ratios is not None
    assert reference is not None
    found = adapted(probabilities, ratios)
    assert found is not None
    np.testing.assert_allclose(found, small.run(clips, reference.embedding), atol=1e-5)


def _heard(probabilities: Floats, embeddings: Floats) -> Heard:
    weights = np.ones(len(embeddings))
    return Heard(path=None, duration_s=2.0, probabilities=probabilities, embeddings=embeddings, weights=weights)


@pytest.fixture(scope="module")
def small() -> Bundle:
    return Bundle(adaptable_bytes(spread=SPREAD), threads=1)


def test_one_pass_equals_two(folders: Path) -> None:
    whole = recognizer(max_seconds=2.0)
    runs: list[int] = []
    hear = whole._hear
    whole._hear = lambda prepared: (runs.append(1), hear(prepared))[1]  # type: ignore[method-assign]
    paths = [folders / name for name in ("03", "08", "09")]
    found = list(whole.predict_adapted(paths))
    assert len(runs) == 11  # each usable recording once
    for folder in paths:
        reference, wanted = two_passes(recognizer(max_seconds=2.0), sorted(folder.rglob("*.opus")))
        of_folder = {
            item.path: item
            for item in found
            if isinstance(item, Prediction) and str(item.path).startswith(f"{folder}/deep/")
        }
        assert len(of_folder) == len(wanted)
        for item in wanted:
            assert isinstance(item, Prediction)
            np.testing.assert_allclose(row(of_folder[item.path]), row(item), atol=1e-5)
            assert of_folder[item.path].adapted_clips == item.adapted_clips == reference.clips >= 2


def test_results_come_in_order_and_failures_keep_their_place(folders: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = list(recognizer().predict_adapted(folders, progress=lambda done, total: seen.append((done, total))))
    assert [item.path for item in found] == [str(path) for path in audio.find_audio([folders])]
    assert {Path(str(item.path)).name for item in found if isinstance(item, Failure)} == {"broken.wav", "silent.wav"}
    assert seen == [(done, 13) for done in range(1, 14)]
    # One folder was named, so all below it belong together; the very short one is measured, but counts for nothing.
    assert {item.adapted_clips for item in found if isinstance(item, Prediction)} == {10}


def test_who_belongs_together(folders: Path, tmp_path: Path) -> None:
    (first, second) = sorted((folders / "03" / "deep").iterdir())[:2]
    speakers = {str(first): "anna", str(folders / "03" / ".." / "08" / "tiny.wav"): "anna", str(second): ""}
    (tmp_path / "empty").mkdir()
    found = members([folders / "03", first, io.BytesIO(b""), folders / "08", tmp_path / "empty"], speakers)
    by_group: dict[str, list[Any]] = {}
    for member in found:
        by_group.setdefault(member.group, []).append(member.source)
    root = folders.resolve()
    assert by_group.keys() == {"anna", str(root / "03"), "", str(root / "08"), str(tmp_path.resolve() / "empty")}
    assert by_group["anna"] == [first, first, folders / "08" / "tiny.wav"]
    assert isinstance(by_group[str(tmp_path.resolve() / "empty")][0], Failure)
    assert [member.group for member in members([first])] == [str(root / "03" / "deep")]
    named = {str(path): "x" for path in (folders / "03").rglob("*.opus")}
    plain, same = (list(recognizer().predict_adapted(folders / "03", speakers=who)) for who in (None, named))
    np.testing.assert_allclose([row(item) for item in same[1:]], [row(item) for item in plain[1:]], atol=1e-6)


def test_a_clip_alone_stays_unadapted_but_a_long_recording_has_parts(folders: Path, voice: Floats) -> None:
    (lone,) = recognizer().predict_adapted(folders / "09")
    (wanted,) = recognizer().predict_many(folders / "09")
    assert lone == wanted
    assert isinstance(lone, Prediction)
    assert lone.adapted_clips == 0
    (long,) = recognizer(max_seconds=1.0).predict_adapted([Waveform(voice, RATE)])
    reference = recognizer(max_seconds=1.0).adapt([Waveform(voice, RATE)])
    assert reference.clips == 2
    wanted = recognizer(max_seconds=1.0, adapt=reference).predict(Waveform(voice, RATE))
    np.testing.assert_allclose(row(long), row(wanted), atol=1e-5)
    assert list(recognizer().predict_adapted([])) == []


@pytest.mark.parametrize("model", [AdaptableModel(gain=300), AdaptableModel(curved=True)])
def test_what_one_pass_cannot_tell_takes_a_second_one(model: AdaptableModel, folders: Path) -> None:
    """A model so sure that small probabilities are lost, and one that does not say that it is linear."""
    paths = sorted((folders / "08" / "deep").iterdir())
    whole = recognizer(model)
    _, wanted = two_passes(whole, paths)
    assert group_ratios([one for one in whole.hear_many(paths) if isinstance(one, Heard)], whole.meta) is None
    for sources in (paths, [io.BytesIO(path.read_bytes()) for path in paths]):
        found = list(whole.predict_adapted(sources))
        np.testing.assert_allclose([row(item) for item in found], [row(item) for item in wanted], atol=1e-5)
        assert {item.adapted_clips for item in found if isinstance(item, Prediction)} == {4}


def test_recordings_that_are_gone_by_the_second_pass_are_failures(folders: Path, tmp_path: Path) -> None:
    for clip in sorted((folders / "08" / "deep").iterdir()):
        shutil.copy(clip, tmp_path)
    results = recognizer(AdaptableModel(curved=True)).predict_adapted(
        tmp_path, progress=lambda done, total: done == total and shutil.rmtree(tmp_path)
    )
    assert [item.error.code for item in results if isinstance(item, Failure)] == ["not_found"] * 4


def test_lost_probabilities_are_no_matter_where_they_stay_small() -> None:
    probabilities = np.array([[1.0, 0.0, 1e-20]], np.float32)
    found = adapted(probabilities, np.array([0.0, -5.0, -40.0]))
    assert found is not None
    odds = np.exp(40.0) * 1e-20
    np.testing.assert_allclose(found, [[1 / (1 + odds), 0, odds / (1 + odds)]], rtol=1e-5, atol=1e-9)
    assert adapted(probabilities, np.array([0.0, -60.0, 0.0])) is None


def test_an_adapted_recognizer_adapts_to_nothing_else(folders: Path) -> None:
    whole = recognizer()
    with pytest.raises(ParameterError, match="already"):
        Recognizer(whole.bundle, adapt=whole.adapt(folders / "03")).predict_adapted(folders)


def test_what_the_model_cannot_process_is_a_failure(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recognizer()

    def refuse(values: Any) -> tuple[Floats, Floats]:
        raise BundleError("cannot process this input", code="failed")

    monkeypatch.setattr(whole.bundle, "run_and_embed", refuse)
    assert [item.error.code for item in whole.predict_adapted(folders / "09") if isinstance(item, Failure)] == [
        "failed"
    ]
