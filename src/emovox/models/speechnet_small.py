"""speechnet-small: what speechnet does in an eighth of its size, by a student of its trunk.

A convolutional network on the same spectrogram (`emovox.models.student`) is taught by speechnet's frozen trunk
(`emovox.models.teaching`), then everything is as in `emovox.models.speechnet`: mean over time -> linear discriminant ->
temperature.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from emovox.audio import Samples
from emovox.errors import ParameterError
from emovox.models.discriminant import Discriminant
from emovox.models.hints import by_step, find_hints
from emovox.models.speechnet import SpeechNet, balance
from emovox.models.student import Heard, Student, embed, hear
from emovox.models.teaching import Lesson, Material, find_device, teach
from emovox.models.temperature import likeliest_temperature
from emovox.models.threads import in_threads
from emovox.models.versions import Versions
from emovox.models.whisper import pool, round_matrices

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Rows: TypeAlias = npt.NDArray[np.intp]

logger = logging.getLogger(__name__)


class SmallSpeechNet(SpeechNet):
    """Emotion from a waveform, through a small network that a frozen pretrained trunk has taught.

    The temperature. In `SpeechNet` the trunk has never heard the training speakers, so that a layer fitted without some
    of them meets them as it will meet strangers. The student here has learned from all of them: what it says of them is
    too good, and a temperature found with it too low. So a first student is taught without a third of the speakers;
    with a layer fitted to the other two thirds it gives the held-out clips logits as a stranger's, and the temperature
    under which they are likeliest is right for that student. It is carried over to the final one in proportion to the
    spread of the logits that the two give the clips which both have learned from: a shorter lesson separates these
    less.

    Args:
        weights: safetensors file with Whisper encoder weights, of the teacher.
        pooled_blocks: encoder blocks, counted from 1, whose mean over time the student has to give.
        weight_bits: weights of teacher and student are rounded to so many bits; None for float32.
        views: augmented versions of each training clip that are learned beside it, >= 0.
        shrinkage: of the discriminant's covariance, above 0 and at most 1.
        width, stem, blocks: size of the network, see `emovox.models.student.Student`.
        epochs, learning_rate, hint_weight, emotion_weight: see `emovox.models.teaching.Lesson`.
        calibration: how long the student is taught by which the temperature is found, as a share of `epochs`, above 0
            and at most 1.
        device: where students are taught: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.
        checkpoint_dir: where the state of the teaching is kept. When a run was killed, calling `fit` again with the
            same parameters and data goes on from there. None keeps nothing.
        progress: called with (done, in all) while clips are heard and students taught; a clip heard once counts 1.
        random_state: seed of augmentation and teaching.

    Attributes:
        classes_, temperature_, layer_, gate_: as of `SpeechNet`.
        pretrained_: where the teacher's weights come from, and their licence.
        trunk_: the student.
        losses_: mean loss of each epoch of its teaching.
    """

    recipe = "1"

    def __init__(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        pooled_blocks: Sequence[int] = (2, 3),
        weight_bits: int | None = 8,
        views: int = 2,
        shrinkage: float = 0.25,
        width: int = 192,
        stem: int = 128,
        blocks: int = 5,
        epochs: int = 6,
        learning_rate: float = 2e-3,
        hint_weight: float = 1.0,
        emotion_weight: float = 0.2,
        calibration: float = 0.5,
        device: str = "auto",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
        random_state: int = 7,
    ) -> None:
        super().__init__(
            weights=weights,
            pooled_blocks=pooled_blocks,
            weight_bits=weight_bits,
            views=views,
            shrinkage=shrinkage,
            cache_dir=None,  # the student is as quick as the cache, and the teacher's states are too many
            progress=progress,
            random_state=random_state,
        )
        self.width = width
        self.stem = stem
        self.blocks = blocks
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.hint_weight = hint_weight
        self.emotion_weight = emotion_weight
        self.calibration = calibration
        self.device = device
        self.checkpoint_dir = checkpoint_dir

    def fit(
        self,
        X: Sequence[Samples],
        y: npt.ArrayLike,
        *,
        groups: npt.ArrayLike | None = None,
        corpora: npt.ArrayLike | None = None,
    ) -> Self:
        """Teach the student and learn the linear layer.

        Args:
            X, y, groups, corpora: as for `SpeechNet.fit`.

        Raises:
            ParameterError, ModelError: as `SpeechNet.fit` and `emovox.models.teaching.teach`.
        """
        targets, speakers, origins = self._check(X, y, groups, corpora)
        weight = balance(targets, origins)
        lesson = self._lesson()
        find_device(self.device)  # before the clips are heard, which takes minutes
        shorter = dataclasses.replace(lesson, epochs=max(1, round(self.calibration * lesson.epochs)))
        fold = None if speakers is None else next(self._speaker_folds(targets, speakers), None)
        if fold is None:
            logger.warning("without speakers to hold out no temperature can be found: the model will be too sure")
        work = [len(X), 0 if fold is None else shorter.epochs * len(fold[0]), lesson.epochs * len(X)]
        versions = Versions(X, speakers=speakers, random_state=self.random_state)
        with threadpool_limits(1, user_api="blas"):  # the same numbers, whatever the number of threads
            school = self._listen(versions, np.searchsorted(self.classes_, targets), weight, self._told(0, work))
        if fold is not None:
            first, _ = self._teach(school.material(fold[0]), shorter, "calibration", self._told(1, work))
        student, self.losses_ = self._teach(school.material(np.arange(len(X))), lesson, "student", self._told(2, work))
        self.trunk_ = student
        embedded = school.embedded(student)
        self.layer_ = self._fit_layer(embedded, targets, speakers, weight)
        self.gate_ = self._fit_gate(embedded, targets, weight)
        self.temperature_ = 1.0
        if fold is not None and speakers is not None:
            train, test = fold
            others = school.embedded(first)
            layer = self._fit_layer(others[train], targets[train], speakers[train], weight[train])
            found = likeliest_temperature(layer.logits(others[test, 0]), school.emotions[test], speakers[test])
            self.temperature_ = found * _spread(self.layer_, embedded[train, 0]) / _spread(layer, others[train, 0])
        return self

    @property
    def _pooled(self) -> Sequence[int]:
        return (1,)

    def _lesson(self) -> Lesson:
        if not 0 < self.calibration <= 1:
            raise ParameterError(f"calibration must lie above 0 and at most at 1, got {self.calibration}")
        return Lesson(
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            hint_weight=self.hint_weight,
            emotion_weight=self.emotion_weight,
            seed=self.random_state,
        )

    def _listen(self, versions: Versions, emotions: Rows, weight: Floats, told: Callable[[int, int], None]) -> _School:
        """Hear each view of each clip, and what the teacher says of it."""
        trunk = self._build_trunk()
        self.pretrained_ = self.pretrained_ | {"role": "teacher"}

        def listen(view: int, row: int) -> tuple[Heard, Floats, Floats]:
            with torch.inference_mode():
                spectrogram = trunk.front_end(torch.from_numpy(versions.sound(view, row))[None])
                states, kept = trunk.encode(spectrogram)
                item = hear(spectrogram[0])
                chosen = torch.cat([states[block - 1][0] for block in self.pooled_blocks], dim=1)
                return item, by_step(chosen, item), pool(states, kept, self.pooled_blocks)[0].numpy()

        def told_of(view: int) -> Callable[[int], None]:
            return lambda clips: told(view * len(versions) + clips, (self.views + 1) * len(versions))

        clean = in_threads(partial(listen, 0), range(len(versions)), done=told_of(0))
        hints = find_hints([states for _, states, _ in clean])
        heard, hinted = [[item for item, _, _ in clean]], [[hints.of(states) for _, states, _ in clean]]
        embedded = np.stack([embedding for _, _, embedding in clean])
        del clean

        def listen_again(view: int, row: int) -> tuple[Heard, Floats]:
            item, states, _ = listen(view, row)
            return item, hints.of(states)

        for view in range(1, self.views + 1):
            found = in_threads(partial(listen_again, view), range(len(versions)), done=told_of(view))
            heard.append([item for item, _ in found])
            hinted.append([hint for _, hint in found])
        return _School(heard, hinted, embedded, emotions, weight)

    def _teach(
        self, material: Material, lesson: Lesson, name: str, told: Callable[[int, int], None]
    ) -> tuple[Student, list[float]]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            student = Student(width=self.width, stem=self.stem, blocks=self.blocks)
        losses = teach(
            student,
            material,
            lesson,
            device=self.device,
            checkpoint=None if self.checkpoint_dir is None else Path(self.checkpoint_dir) / f"{name}.safetensors",
            progress=lambda step, steps, _: told(step, steps),
        )
        if self.weight_bits is not None:
            round_matrices(student, bits=self.weight_bits)
        return student, losses

    def _told(self, part: int, work: Sequence[int]) -> Callable[[int, int], None]:
        """Give what tells `progress` of one part of all work, in clips and epochs of every view."""
        views = self.views + 1

        def told(done: int, of: int) -> None:
            if self.progress is not None:
                self.progress(views * sum(work[:part]) + views * work[part] * done // of, views * sum(work))

        return told


class _School:
    """All views of all clips, and all that is known of them.

    Args:
        heard, hints: of each view, of each clip.
        said: the teacher's embeddings of the clips as they are, shape (clips, size).
        emotions: class index of each clip. weight: of each clip.
    """

    def __init__(
        self, heard: list[list[Heard]], hints: list[list[Floats]], said: Floats, emotions: Rows, weight: Floats
    ) -> None:
        self.heard = [one for views in zip(*heard, strict=True) for one in views]
        self.hints = [one for views in zip(*hints, strict=True) for one in views]
        self.said, self.emotions, self.weight = said, emotions, weight
        self.views = len(heard)

    def material(self, rows: Rows) -> Material:
        """Give what a student learns from that hears some of the clips."""
        clean = self.said[rows]
        mean, scale = clean.mean(axis=0), clean.std(axis=0) + 1e-6
        weight = self.weight[rows] / self.weight[rows].mean()
        places = [row * self.views + view for row in rows for view in range(self.views)]
        return Material(
            heard=[self.heard[place] for place in places],
            hints=[self.hints[place] for place in places],
            clean=np.repeat((clean - mean) / scale, self.views, axis=0).astype(np.float32),
            emotions=np.repeat(self.emotions[rows], self.views),
            weight=np.repeat(weight, self.views).astype(np.float32),
        )

    def embedded(self, student: Student) -> Floats:
        """Give a student's mean states of all clips, shape (clips, views, width)."""
        return embed(student, self.heard).reshape(-1, self.views, student.width)


def _spread(layer: Discriminant, embedded: Floats) -> float:
    """Measure how far the logits of a clip lie apart, as a root mean square."""
    return float(np.sqrt(layer.logits(embedded).var(axis=1).mean()))
