"""A small trunk that learns to say what a large one says: the network of speechnet-small.

Convolutions over time on the log-mel spectrogram, after ConvNeXt (Liu et al., "A ConvNet for the 2020s", 2022). It
takes the place of `emovox.models.whisper.Trunk`: the same front end, the same quiet ends left out, hidden states to be
pooled. `emovox.models.teaching` teaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from emovox.models.whisper import MEL_BANDS, LogMelFrontEnd, pool, sounding

_BATCH = 64


class Heard(NamedTuple):
    """What is kept of a clip for a student: the spectrogram without its quiet ends.

    Attributes:
        spectrogram: of `LogMelFrontEnd`, float16 of shape (80, frames).
        kept: which frames count, bool of shape (frames,).
        start: how many frames were cut off before, a multiple of 4.
    """

    spectrogram: npt.NDArray[np.float16]
    kept: npt.NDArray[np.bool_]
    start: int


class Block(nn.Module):
    """One residual block: a filter over time for each channel, then a network for each step.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.over_time = nn.Conv1d(width, width, 9, padding=4, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)

    def forward(self, hidden: Tensor, kept: Tensor) -> Tensor:
        """Map (batch, steps, width) to the same shape; `kept` (batch, steps, 1) is 0 where the clip has ended."""
        mixed = self.over_time((hidden * kept).transpose(1, 2)).transpose(1, 2)
        widened: Tensor = self.narrow(functional.gelu(self.widen(self.norm(mixed))))
        return hidden + widened


class Student(nn.Module):
    """Waveform to hidden states, as `emovox.models.whisper.Trunk` gives them, but with a step for 640 samples.

    Args:
        width: of the hidden states.
        stem: channels of the first two convolutions.
        blocks: how many follow the convolutions.
    """

    def __init__(self, *, width: int = 192, stem: int = 128, blocks: int = 5) -> None:
        super().__init__()
        self.width = width
        self.front_end = LogMelFrontEnd()
        self.conv1 = nn.Conv1d(MEL_BANDS, stem, 3, padding=1)
        self.conv2 = nn.Conv1d(stem, stem, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(stem, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(Block(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, waveform: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute the hidden states.

        Args:
            waveform: shape (batch, samples), 640 samples or more.

        Returns:
            A list of one tensor (batch, steps, width), and which steps count, shape (batch, steps).
        """
        spectrogram = self.front_end(waveform)
        return self.encode(spectrogram, sounding_frames(spectrogram))

    def encode(self, spectrogram: Tensor, frames: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute the hidden states of a spectrogram; as `forward`.

        Args:
            spectrogram: shape (batch, 80, frames).
            frames: 1.0 for each frame that counts, else 0.0, as `sounding_frames` gives it.
        """
        kept, fewer = frames[:, ::2], frames[:, ::4]
        # Zeros outside are what the convolutions would pad with, had the quiet been cut off.
        hidden = functional.gelu(self.conv1(spectrogram * frames[:, None])) * frames[:, None]
        hidden = functional.gelu(self.conv2(hidden)) * kept[:, None]
        hidden = self.conv3(hidden).transpose(1, 2)
        for layer in self.layers:
            hidden = layer(hidden, fewer[:, :, None])
        return [self.norm(hidden)], fewer


def sounding_frames(spectrogram: Tensor) -> Tensor:
    """Give what `emovox.models.whisper.sounding` finds for each frame, shape (batch, frames)."""
    kept = sounding(spectrogram)
    return kept[:, torch.arange(spectrogram.shape[2], device=kept.device) // 2]


def hear(spectrogram: Tensor) -> Heard:
    """Keep of a spectrogram (80, frames) what a student needs.

    A whole number of the student's steps is cut off at the beginning: what it computes stays the same.
    """
    kept = sounding_frames(spectrogram[None])[0].bool()
    frames = torch.nonzero(kept)[:, 0]
    start, end = int(frames[0]) // 4 * 4, int(frames[-1]) + 1
    return Heard(spectrogram[:, start:end].half().numpy(), kept[start:end].numpy(), start)


def batch(heard: Sequence[Heard]) -> tuple[Tensor, Tensor]:
    """Bring spectrograms to one length.

    Returns:
        What `Student.encode` takes: shape (batch, 80, frames) and (batch, frames).
    """
    frames = max(len(item.kept) for item in heard)
    spectrograms = np.zeros((len(heard), MEL_BANDS, frames), np.float32)
    kept = np.zeros((len(heard), frames), np.float32)
    for row, item in enumerate(heard):
        spectrograms[row, :, : len(item.kept)] = item.spectrogram
        kept[row, : len(item.kept)] = item.kept
    return torch.from_numpy(spectrograms), torch.from_numpy(kept)


def embed(student: Student, heard: Sequence[Heard]) -> npt.NDArray[np.float32]:
    """Give the mean hidden state of each spectrogram, shape (n, width)."""
    found = np.empty((len(heard), student.width), np.float32)
    by_length = np.argsort([len(item.kept) for item in heard], kind="stable")
    with torch.inference_mode():
        for start in range(0, len(heard), _BATCH):
            rows = by_length[start : start + _BATCH]
            states, kept = student.encode(*batch([heard[row] for row in rows]))
            found[rows] = pool(states, kept, [1]).numpy()
    return found
