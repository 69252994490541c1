"""How a student is taught: what it has to say, the loss, the steps, and the checkpoint from which a killed run goes on.

Distillation (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015) of embeddings: from its mean hidden
state the student has to give, through a linear layer that is thrown away afterwards, the embedding that the teacher
gives of the undisturbed clip, also where it hears a disturbed version. From each of its hidden states it has to give,
through another such layer, what the teacher says at that step of what both hear (`emovox.models.hints`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from emovox._files import replacing
from emovox.errors import ModelError, ParameterError
from emovox.models.fitting import identity
from emovox.models.memory import keep_freed_memory
from emovox.models.student import Heard, Student, batch
from emovox.models.whisper import MEL_BANDS, digest, pool

SAVE_EVERY = 200
"""Steps between two checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How a student is taught.

    Attributes:
        epochs: how often every spectrogram is heard, >= 1.
        batch_size: spectrograms a step.
        learning_rate: the highest; it rises over the first tenth of the steps and falls to zero as a cosine.
        weight_decay: of AdamW.
        hint_weight: of the hints, beside 1 for the embeddings.
        emotion_weight: of the cross-entropy of the emotions, likewise.
        smoothing: of the emotions' labels, 0 to 1.
        averaging: the student's weights are averaged over about 1 / (1 - averaging) steps; 0 takes the last ones.
        seed: of order, masks and first weights of the layers that only teaching needs.
    """

    epochs: int = 6
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    hint_weight: float = 1.0
    emotion_weight: float = 0.2
    smoothing: float = 0.1
    averaging: float = 0.999
    seed: int = 7

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, math.inf),
            ("batch_size", 1, math.inf),
            ("hint_weight", 0, math.inf),
            ("emotion_weight", 0, math.inf),
            ("smoothing", 0, 1),
            ("averaging", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParameterError(f"{name} is {value}, it must lie from {low} to {high}")
        if not self.learning_rate > 0:
            raise ParameterError(f"learning_rate is {self.learning_rate}, it must lie above 0")


@dataclass(frozen=True, eq=False, kw_only=True)
class Material:
    """What a student learns from, n spectrograms.

    Attributes:
        heard: each of them.
        clean: what the teacher says of the clip that each was made of, float32 of shape (n, size); columns of mean 0
            and variance 1 or so.
        hints: what it says at each step of the very version that is heard, float16 of shape (steps, parts) each.
        emotions: class index of each, shape (n,).
        weight: by which the loss of each emotion is multiplied, float32 of shape (n,), with a mean of 1.
    """

    heard: Sequence[Heard]
    clean: npt.NDArray[np.float32]
    hints: Sequence[npt.NDArray[np.float16]]
    emotions: npt.NDArray[np.intp]
    weight: npt.NDArray[np.float32]


def teach(
    student: Student,
    material: Material,
    lesson: Lesson,
    *,
    device: str = "auto",
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> list[float]:
    """Train a student, in place. On a CPU the same seed gives the same weights on the same machine.

    Args:
        student: freshly made.
        material: what it learns from.
        lesson: how.
        device: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``; the student comes back to the CPU.
        checkpoint: a file (.safetensors) where the state is kept. If it is there already, the teaching goes on from
            there and ends as if it had never been broken off.
        progress: called with (steps done, steps in all, loss of the step) after each step.

    Returns:
        Mean loss of each epoch.

    Raises:
        ModelError: ``diverged``; ``foreign_checkpoint``, if the file belongs to another teaching; ``bad_checkpoint``,
            if it is damaged.
    """
    keep_freed_memory()
    lengths = [len(item.kept) for item in material.heard]
    order = _deal(lengths, lesson, epoch=0)
    state = _State(student, material, lesson, find_device(device), steps=lesson.epochs * len(order), path=checkpoint)
    while state.step < state.steps:
        epoch, number = divmod(state.step, len(order))
        if number == 0 or state.resumed:
            order, state.resumed = _deal(lengths, lesson, epoch=epoch), False
        loss = state.learn(order[number])
        if number == len(order) - 1:
            state.end_epoch()
        if state.step % SAVE_EVERY == 0 or state.step == state.steps:
            state.save()
        if progress is not None:
            progress(state.step, state.steps, loss)
    state.finish()
    return state.losses


class _Readers(nn.Module):
    """The layers that only teaching needs: what they read in the hidden states is what is asked for."""

    def __init__(self, width: int, size: int, classes: int, parts: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(width, size)
        self.emotion = nn.Linear(width, classes)
        self.hint = nn.Linear(width, parts)


class _State:
    """Everything that changes while a student is taught."""

    def __init__(
        self,
        student: Student,
        material: Material,
        lesson: Lesson,
        device: torch.device,
        *,
        steps: int,
        path: str | os.PathLike[str] | None,
    ) -> None:
        self.student, self.material, self.lesson, self.device, self.steps = student, material, lesson, device, steps
        self.step = 0
        self.losses: list[float] = []
        self._since: list[float] = []
        self._path = None if path is None else Path(path)
        self._identity = "" if path is None else _identity(student, material, lesson)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(lesson.seed)
            readers = _Readers(
                student.width,
                material.clean.shape[1],
                classes=int(material.emotions.max()) + 1,
                parts=material.hints[0].shape[1],
            )
        self.readers = readers.to(device)
        student.to(device).train()
        self.averaged = AveragedModel(student, avg_fn=self._average)
        self.parameters = [*student.parameters(), *readers.parameters()]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=lesson.learning_rate, weight_decay=lesson.weight_decay)
        self.resumed = self._restore()

    def learn(self, rows: Sequence[int]) -> float:
        """Take one step; give its loss."""
        lesson, material = self.lesson, self.material
        random = np.random.default_rng([lesson.seed, 1, self.step])
        spectrograms, frames = batch([_masked(material.heard[row], random) for row in rows])
        states, counted = self.student.encode(spectrograms.to(self.device), frames.to(self.device))
        loss = self._loss(states, counted, rows)
        for group in self.optimiser.param_groups:
            group["lr"] = _rate(self.step, self.steps, lesson.learning_rate)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.averaged.update_parameters(self.student)
        value = loss.item()
        if not math.isfinite(value):
            raise ModelError(
                f"the teaching diverged: the loss of step {self.step + 1} is {value}",
                code="diverged",
                remedy="Lower learning_rate, and delete the checkpoint.",
            )
        self._since.append(value)
        self.step += 1
        return value

    def end_epoch(self) -> None:
        """Write the epoch down."""
        self.losses.append(float(np.mean(self._since)))
        self._since = []

    def finish(self) -> None:
        """Give the student its averaged weights and bring it home."""
        self.student.load_state_dict(self.averaged.module.state_dict())
        self.student.to("cpu").eval().requires_grad_(False)

    def save(self) -> None:
        """Write the checkpoint, in one step."""
        if self._path is None:
            return
        from safetensors.torch import save_file

        tensors = {
            f"{part}.{name}": value for part, module in self._modules().items() for name, value in module.items()
        }
        for number, values in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in values.items()}
        told = {"identity": self._identity, "step": self.step, "losses": self.losses, "since": self._since}
        with replacing(self._path) as file:
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in tensors.items()},
                file,
                metadata={"teaching": json.dumps(told)},
            )

    def _loss(self, states: list[Tensor], counted: Tensor, rows: Sequence[int]) -> Tensor:
        lesson, material = self.lesson, self.material
        clean, weight, emotions, hints = (
            torch.from_numpy(array).to(self.device)
            for array in (
                material.clean[rows],
                material.weight[rows],
                material.emotions[rows],
                _side_by_side([material.hints[row] for row in rows]),
            )
        )
        mean = pool(states, counted, [1])
        distance = functional.mse_loss(self.readers.embedding(mean), clean)
        missed = (self.readers.hint(states[0]) - hints).square().mean(dim=2)
        surprise = functional.cross_entropy(
            self.readers.emotion(mean), emotions, label_smoothing=lesson.smoothing, reduction="none"
        )
        loss: Tensor = (
            distance
            + lesson.hint_weight * (missed * counted).sum() / counted.sum()
            + lesson.emotion_weight * (weight * surprise).mean()
        )
        return loss

    def _average(self, averaged: Tensor, current: Tensor, seen: Tensor | int) -> Tensor:
        # Slowly from the first step on it would be an average over the first, random weights.
        return averaged.lerp(current, max(1.0 - self.lesson.averaging, 9.0 / (10.0 + int(seen))))

    def _modules(self) -> dict[str, dict[str, Tensor]]:
        modules = {"student": self.student, "averaged": self.averaged, "readers": self.readers}
        return {name: module.state_dict() for name, module in modules.items()}

    def _restore(self) -> bool:
        """Go on from the checkpoint; say whether there was one."""
        if self._path is None or not self._path.exists():
            return False
        remedy = "Use another checkpoint_dir, or delete the file to start again."
        try:
            told, tensors = _read(self._path)
            foreign = told["identity"] != self._identity
            if not foreign:
                self._take(told, tensors)
        except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                "cannot read the checkpoint, it is damaged or was not written by this version",
                code="bad_checkpoint",
                path=self._path,
                remedy=remedy,
            ) from error
        if foreign:
            raise ModelError(
                "the checkpoint belongs to a teaching with other parameters or data",
                code="foreign_checkpoint",
                path=self._path,
                remedy=remedy,
            )
        return True

    def _take(self, told: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        def part(name: str) -> dict[str, Tensor]:
            return {key.removeprefix(f"{name}."): tensors[key] for key in tensors if key.startswith(f"{name}.")}

        self.student.load_state_dict(part("student"))
        self.averaged.load_state_dict(part("averaged"))
        self.readers.load_state_dict(part("readers"))
        state = {number: part(f"optimiser.{number}") for number in range(len(self.parameters))}
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})
        self.step, self.losses, self._since = int(told["step"]), list(told["losses"]), list(told["since"])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told = json.loads((file.metadata() or {})["teaching"])
            return told, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _identity(student: Student, material: Material, lesson: Lesson) -> str:
    """Digest what is taught, on what: two teachings of the same identity give the same weights."""
    arrays: list[npt.NDArray[Any]] = [material.clean, material.emotions, material.weight, *material.hints]
    arrays += [part for item in material.heard for part in (item.spectrogram, item.kept)]
    return identity(asdict(lesson) | {"student": digest(student.state_dict())}, *arrays)


def find_device(name: str) -> torch.device:
    """Give the device of a name: ``auto`` (a GPU where there is one), ``cpu`` or ``cuda``.

    Raises:
        ParameterError: if there is none of that name.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ParameterError(f"device must be auto, cpu or cuda, got {name!r}")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device='cuda', but torch finds no GPU", remedy="Use device='auto' or 'cpu'.")
    return torch.device(name)


def _rate(step: int, steps: int, highest: float) -> float:
    """Give the learning rate of a step: up over the first tenth, then down to zero as a cosine."""
    rising = max(1, steps // 10)
    if step < rising:
        return highest * (step + 1) / rising
    return highest * 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def _deal(lengths: Sequence[int], lesson: Lesson, *, epoch: int) -> list[list[int]]:
    """Deal all rows into batches of clips about as long, in random order; in every epoch into as many."""
    random = np.random.default_rng([lesson.seed, 0, epoch])
    size = lesson.batch_size
    pools = np.array_split(random.permutation(len(lengths)), max(1, len(lengths) // (size * 32)))
    by_length = [sorted(rows.tolist(), key=lambda row: lengths[row]) for rows in pools]
    batches = [rows[start : start + size] for rows in by_length for start in range(0, len(rows), size)]
    return [batches[number] for number in random.permutation(len(batches))]


def _masked(heard: Heard, random: np.random.Generator) -> Heard:
    """Blot out two bands of frequencies and one stretch of time (SpecAugment: Park et al., 2019)."""
    masked = heard.spectrogram.copy()
    level = masked.mean(dtype=np.float32)
    for _ in range(2):
        width = int(random.integers(0, 13))
        start = int(random.integers(0, MEL_BANDS - width))
        masked[start : start + width] = level
    frames = masked.shape[1]
    width = int(random.integers(0, min(30, frames // 4) + 1))
    start = int(random.integers(0, frames - width + 1))
    masked[:, start : start + width] = level
    return heard._replace(spectrogram=masked)


def _side_by_side(hints: Sequence[npt.NDArray[np.float16]]) -> npt.NDArray[np.float32]:
    """Bring hints to one length, shape (clips, steps, parts)."""
    found = np.zeros((len(hints), max(map(len, hints)), hints[0].shape[1]), np.float32)
    for row, hint in enumerate(hints):
        found[row, : len(hint)] = hint
    return found
