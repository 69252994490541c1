"""The student's network, and its teaching: that it learns, that a seed tells all, that a killed teaching goes on."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from emovox.audio import load
from emovox.errors import ModelError, ParameterError
from emovox.models import teaching
from emovox.models.student import Student, batch, embed, hear, sounding_frames
from emovox.models.teaching import Lesson, Material, teach
from emovox.models.whisper import pool

LESSON = Lesson(epochs=3, batch_size=4, averaging=0.9)
STEPS = 9


def fresh(seed: int = 0) -> Student:
    torch.manual_seed(seed)
    return Student(width=16, stem=8, blocks=2)


def pooled(student: Student, clip: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return pool(*student(torch.from_numpy(clip)[None]), [1])[0].numpy()


def material_of(clips: list[np.ndarray]) -> Material:
    """Ask for the mean of each clip's spectrogram, for the spectrogram itself, and for its number as an emotion."""
    front_end = fresh().front_end
    with torch.inference_mode():
        heard = [hear(front_end(torch.from_numpy(clip)[None])[0]) for clip in clips]
    means = np.stack([item.spectrogram.mean(axis=1, dtype=np.float32) for item in heard])
    targets = ((means - means.mean(axis=0)) / (means.std(axis=0) + 1e-6)).astype(np.float32)
    hints = [item.spectrogram[:5, ::4].T.copy() for item in heard]
    emotions = np.arange(len(clips)) % 3
    return Material(heard=heard, clean=targets, hints=hints, emotions=emotions, weight=np.ones(len(clips), np.float32))


@pytest.fixture(scope="module")
def material() -> Material:
    rng = np.random.default_rng(0)
    return material_of([rng.normal(size=size).astype(np.float32) for size in rng.integers(3_000, 9_000, size=10)])


def weights(student: Student) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in student.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_it_has_a_step_for_640_samples(voice: np.ndarray) -> None:
    for samples, steps in ((640, 1), (1_280, 2), (32_000, 50)):
        (states,), kept = fresh()(torch.from_numpy(voice[:samples])[None])
        assert states.shape == (1, steps, 16)
        assert kept.shape == (1, steps)


def test_real_size_is_as_promised() -> None:
    parameters = sum(parameter.numel() for parameter in Student().parameters())
    assert parameters < 1_300_000


def test_quiet_ends_are_as_good_as_cut_off(voice: np.ndarray) -> None:
    fade = np.zeros(3_200, np.float32)
    clip = np.concatenate([fade, voice[:16_000], fade])
    longer = np.concatenate([np.zeros(6_400, np.float32), clip, np.zeros(12_800, np.float32)])
    np.testing.assert_allclose(pooled(fresh(), longer), pooled(fresh(), clip), atol=1e-5)
    assert np.abs(pooled(fresh(), voice) - pooled(fresh(), clip)).max() > 1e-3


@settings(deadline=None, max_examples=20)
@given(lead=st.integers(0, 5_000), spoken=st.integers(700, 8_000), tail=st.integers(0, 5_000), seed=st.integers(0, 99))
def test_what_is_kept_of_a_clip_says_what_the_clip_says(lead: int, spoken: int, tail: int, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=spoken)
    clip = np.concatenate([np.zeros(lead), noise, np.zeros(tail)]).astype(np.float32)
    student = fresh()
    with torch.inference_mode():
        spectrogram = student.front_end(torch.from_numpy(clip)[None])
        heard = hear(spectrogram[0])
        longer = hear(student.front_end(torch.from_numpy(np.tile(noise, 2).astype(np.float32))[None])[0])
        expected = pool(*student.encode(spectrogram.half().float(), sounding_frames(spectrogram)), [1])[0].numpy()
        together = pool(*student.encode(*batch([heard, longer])), [1])[0].numpy()
    assert heard.spectrogram.shape[1] <= spectrogram.shape[2]
    np.testing.assert_allclose(together, expected, atol=1e-5)
    np.testing.assert_allclose(embed(student, [longer, heard, heard])[1:], [expected] * 2, atol=1e-5)


def test_float16_changes_next_to_nothing(voice: np.ndarray) -> None:
    student = fresh()
    with torch.inference_mode():
        heard = hear(student.front_end(torch.from_numpy(voice)[None])[0])
    np.testing.assert_allclose(embed(student, [heard])[0], pooled(student, voice), atol=2e-3)


def test_teaching_lowers_the_loss_on_real_clips(corpora_dir: Path) -> None:
    paths = sorted((corpora_dir / "emodb" / "wav").iterdir())[:24]
    material = material_of([load(path).samples for path in paths])
    seen: list[tuple[int, int, float]] = []
    lesson = Lesson(epochs=20, batch_size=6, learning_rate=1e-2)
    losses = teach(fresh(), material, lesson, progress=lambda *told: seen.append(told))
    assert len(losses) == 20
    assert losses[-1] < 0.7 * losses[0]
    assert [step for step, _, _ in seen] == list(range(1, 81))
    assert {steps for _, steps, _ in seen} == {80}
    assert np.mean([loss for _, _, loss in seen[:4]]) == pytest.approx(losses[0])


def test_a_seed_tells_all(material: Material) -> None:
    students = [fresh() for _ in range(3)]
    state = torch.get_rng_state()
    for student, seed in zip(students, (1, 1, 2), strict=True):
        teach(student, material, replace(LESSON, seed=seed))
    assert torch.equal(torch.get_rng_state(), state)
    first, again, other = map(weights, students)
    assert same(first, again)
    assert not same(first, other)
    assert not students[0].training
    assert not any(parameter.requires_grad for parameter in students[0].parameters())


def test_hints_count_by_their_weight(material: Material) -> None:
    def taught(lesson: Lesson, hints: list[np.ndarray]) -> dict[str, torch.Tensor]:
        student = fresh()
        teach(student, replace(material, hints=hints), lesson)
        return weights(student)

    without, told = replace(LESSON, hint_weight=0.0), replace(LESSON, hint_weight=1.0)
    others = [hint[::-1].copy() for hint in material.hints]
    assert same(taught(without, material.hints), taught(without, others))
    assert not same(taught(told, material.hints), taught(told, others))


def test_the_student_gives_back_the_hints(corpora_dir: Path) -> None:
    paths = sorted((corpora_dir / "emodb" / "wav").iterdir())[:12]
    material = material_of([load(path).samples for path in paths])
    losses = teach(
        fresh(),
        replace(material, clean=0 * material.clean),
        Lesson(epochs=20, batch_size=6, learning_rate=1e-2, emotion_weight=0.0),
    )
    assert losses[-1] < 0.5 * losses[0]


def test_emotions_count_by_their_weight(material: Material) -> None:
    def taught(lesson: Lesson, emotions: np.ndarray, weight: np.ndarray) -> dict[str, torch.Tensor]:
        student = fresh()
        teach(student, replace(material, emotions=emotions, weight=weight.astype(np.float32)), lesson)
        return weights(student)

    others, ones = material.emotions[::-1].copy(), material.weight
    without, told = replace(LESSON, emotion_weight=0.0), replace(LESSON, emotion_weight=1.0)
    assert same(taught(without, material.emotions, ones), taught(without, others, ones))
    assert not same(taught(told, material.emotions, ones), taught(told, others, ones))
    assert same(taught(told, material.emotions, 0 * ones), taught(told, others, 0 * ones))
    assert same(
        taught(told, material.emotions, 2 * ones), taught(replace(told, emotion_weight=2.0), material.emotions, ones)
    )


def test_weights_are_averaged(material: Material) -> None:
    def taught(averaging: float) -> torch.Tensor:
        student = fresh()
        teach(student, material, replace(LESSON, averaging=averaging))
        return torch.cat([parameter.flatten() for parameter in student.parameters()])

    last, little, much = taught(0.0), taught(0.3), taught(0.9)
    assert 0 < float((last - little).norm()) < float((last - much).norm())


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 3, 5, 8, 9])
def test_a_killed_teaching_ends_as_if_it_had_not_been(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    def kill(step: int, steps: int, loss: float) -> None:
        if step == after:
            raise KilledError

    whole, broken, resumed = fresh(), fresh(), fresh()
    losses = teach(whole, material, LESSON)
    monkeypatch.setattr(teaching, "SAVE_EVERY", 2)
    file = tmp_path / "run" / "student.safetensors"
    with pytest.raises(KilledError):
        teach(broken, material, LESSON, checkpoint=file, progress=kill)
    assert file.exists() == (after > 1)
    seen: list[int] = []
    assert teach(resumed, material, LESSON, checkpoint=file, progress=lambda step, *_: seen.append(step)) == losses
    assert same(weights(resumed), weights(whole))
    assert seen == list(range((after if after == STEPS else after // 2 * 2) + 1, STEPS + 1))
    with safe_open(file, framework="np") as kept:  # tensors and text, nothing that runs
        assert "student.conv1.weight" in set(kept.keys())
    assert list(file.parent.iterdir()) == [file]


_KILLED = """
import os, sys
import numpy as np
from emovox.models import teaching
sys.path.insert(0, sys.argv[1])
from test_student import LESSON, fresh, material_of
rng = np.random.default_rng(0)
material = material_of([rng.normal(size=size).astype(np.float32) for size in rng.integers(3_000, 9_000, size=10)])
teaching.SAVE_EVERY = 1
teaching.teach(fresh(), material, LESSON, checkpoint=sys.argv[2],
               progress=lambda step, *_: os.kill(os.getpid(), 9) if step == 6 else None)
"""


@pytest.mark.slow
def test_a_process_that_is_killed(material: Material, tmp_path: Path) -> None:
    file = tmp_path / "student.safetensors"
    done = subprocess.run([sys.executable, "-c", _KILLED, str(Path(__file__).parent), str(file)])
    assert done.returncode == -9
    seen: list[int] = []
    resumed, whole = fresh(), fresh()
    teach(resumed, material, LESSON, checkpoint=file, progress=lambda step, *_: seen.append(step))
    teach(whole, material, LESSON)
    assert seen == [7, 8, 9]
    assert same(weights(resumed), weights(whole))


def test_checkpoints_that_do_not_fit_are_refused(material: Material, tmp_path: Path) -> None:
    file = tmp_path / "student.safetensors"
    teach(fresh(), material, LESSON, checkpoint=file)
    for student, lesson in ((fresh(), replace(LESSON, seed=8)), (fresh(seed=1), LESSON)):
        with pytest.raises(ModelError, match="another") as foreign:
            teach(student, material, lesson, checkpoint=file)
        assert foreign.value.code == "foreign_checkpoint"
    whole = file.read_bytes()
    for damaged in (b"", b"no tensors", whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        with pytest.raises(ModelError, match="cannot read") as bad:
            teach(fresh(), material, LESSON, checkpoint=file)
        assert bad.value.code == "bad_checkpoint"


def test_a_teaching_that_diverges_says_so(material: Material) -> None:
    broken = replace(material, clean=np.full_like(material.clean, np.inf))
    with pytest.raises(ModelError, match="learning_rate") as caught:
        teach(fresh(), broken, LESSON)
    assert caught.value.code == "diverged"


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"batch_size": 0}, {"hint_weight": -1.0}, {"emotion_weight": -1.0}, {"smoothing": 2.0},
     {"averaging": -0.1}, {"learning_rate": 0.0}],
)  # fmt: skip
def test_lessons_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        Lesson(**wrong)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_is_named(material: Material) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ParameterError, match="cuda"):
        teach(fresh(), material, LESSON, device="cuda")
