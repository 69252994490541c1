"""The first blocks of Whisper's encoder as a trunk, with its spectrogram as part of the network.

Architecture: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022); tensor names as in
Hugging Face's `WhisperEncoder`. Unlike there, clips need no padding to 30 s: positions count from where sound begins,
and the quiet, or the noise of the place, before the first and after the last sound is left out, as if it had been cut
off.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from emovox.errors import ModelError
from emovox.features.mel import mel_filterbank
from emovox.models.weights import find_weights

TRUNK_VERSION = 3
"""Raised whenever a trunk makes another thing of the same weights and clip: embeddings of before are not used."""

RATE, N_FFT, HOP, MEL_BANDS = 16_000, 400, 160, 80
QUIET_DB = 40.0
"""A frame this much below the loudest one is quiet."""

SPAN = 21
"""Frames, of 10 ms, over which the level is taken that tells speech from the noise of a place."""

NOISE_DB = 10.0
"""A span less than this above the quietest one is the noise of the place."""

LOUD_DB = 12.0
"""A span no more than this below the loudest one is sound whatever the quietest is: what lasts evenly stays whole."""

MARGIN = 5
"""Steps of 20 ms that are kept before the first and after the last sound."""


class LogMelFrontEnd(nn.Module):
    """Waveform to Whisper's log-mel spectrogram, as convolutions so that every ONNX runtime can run it.

    The clip is first scaled to a peak of 1, which makes the network deaf to the recording level.
    The STFT is a convolution with a windowed DFT basis; the rest is Whisper's recipe: power, 80 Slaney mel bands,
    log10 floored at 1e-10, clamped to 8 below the maximum, (x + 4) / 4.
    """

    basis: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        time = np.arange(N_FFT)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * time / N_FFT)  # periodic Hann
        angle = 2 * np.pi * np.outer(np.arange(N_FFT // 2 + 1), time) / N_FFT
        basis = np.concatenate([np.cos(angle), -np.sin(angle)]) * window
        self.register_buffer("basis", torch.tensor(basis[:, None], dtype=torch.float32), persistent=False)
        mel = mel_filterbank(RATE, N_FFT, n_mels=MEL_BANDS)
        self.register_buffer("mel", torch.tensor(mel, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map (batch, samples) to (batch, 80, samples // 160)."""
        peak = waveform.abs().amax(dim=1, keepdim=True).clamp(min=1e-5)
        padded = functional.pad((waveform / peak)[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")
        spectrum = functional.conv1d(padded, self.basis, stride=HOP)[:, :, :-1]
        real, imaginary = spectrum.chunk(2, dim=1)
        power = self.mel @ (real * real + imaginary * imaginary)
        log: Tensor = power.clamp(min=1e-10).log10()
        loudest = log.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(log, loudest - 8.0) + 4.0) / 4.0


def sounding(spectrogram: Tensor) -> Tensor:
    """Find where sound begins and ends, in silence or in the noise of a place.

    The quietest span stands for the noise, as in minimum statistics (Martin, 2001). Without this, the noise before and
    after the words of a noisy recording would count as much as the words.

    Args:
        spectrogram: of `LogMelFrontEnd`, shape (batch, 80, frames).

    Returns:
        1.0 from a little before the first to a little after the last sound and 0.0 elsewhere, of shape (batch, steps):
        one value for two frames, as the second convolution gives.
    """
    power = (10.0 ** (4.0 * spectrogram - 4.0)).sum(dim=1)
    # In two dimensions, because export takes the length of one-dimensional pooling for a constant.
    spans = functional.avg_pool2d(power[:, None], (1, SPAN), (1, 1), (0, SPAN // 2), count_include_pad=False)[:, 0]
    level_db, span_db = 10.0 * power.log10(), 10.0 * spans.log10()
    noise_db = torch.minimum(span_db.amin(dim=1, keepdim=True) + NOISE_DB, span_db.amax(dim=1, keepdim=True) - LOUD_DB)
    loud = (level_db > level_db.amax(dim=1, keepdim=True) - QUIET_DB) & (span_db > noise_db)
    steps = functional.max_pool2d(loud.to(spectrogram.dtype)[:, None], (1, 3), stride=(1, 2), padding=(0, 1))
    near = functional.max_pool2d(steps, (1, 2 * MARGIN + 1), stride=1, padding=(0, MARGIN))[:, 0]
    so_far = near.cumsum(dim=1)
    to_come = so_far[:, -1:] - so_far + near
    return ((so_far > 0) & (to_come > 0)).to(spectrogram.dtype)


class EncoderBlock(nn.Module):
    """One pre-norm transformer block: self-attention, then a GELU network.

    Args:
        width: of the model. heads: of the attention.
        units: of the GELU network; None for four times the width.
    """

    def __init__(self, width: int, heads: int, *, units: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.self_attn = nn.ModuleDict(
            {
                name: nn.Linear(width, width, bias=name != "k_proj")
                for name in ("q_proj", "k_proj", "v_proj", "out_proj")
            }
        )
        self.final_layer_norm = nn.LayerNorm(width)
        units = 4 * width if units is None else units
        self.fc1 = nn.Linear(width, units)
        self.fc2 = nn.Linear(units, width)

    def forward(self, hidden: Tensor, kept: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (batch, steps, width) to the same shape; steps where `kept` (batch, steps) is 0 are not attended to.

        Returns:
            What the next block takes, what attention gave, and the activations of the GELU network, shape
            (batch, steps, units).
        """
        attended = self.attend(hidden, kept)
        active = self.widen(attended)
        widened: Tensor = self.fc2(active)
        return attended + widened, attended, active

    def attend(self, hidden: Tensor, kept: Tensor) -> Tensor:
        """Do the first half of the block, self-attention, and add what was before."""
        batch, steps, width = hidden.shape
        normed = self.self_attn_layer_norm(hidden)
        query, key, value = (
            self.self_attn[name](normed).reshape(batch, steps, self.heads, width // self.heads).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads)
        mixed = torch.softmax(scores + (kept - 1.0)[:, None, None, :] * 1e4, dim=3) @ value
        attended: Tensor = self.self_attn["out_proj"](mixed.transpose(1, 2).reshape(batch, steps, width))
        return hidden + attended

    def widen(self, hidden: Tensor) -> Tensor:
        """Give the activations of the GELU network, shape (batch, steps, units)."""
        return functional.gelu(self.fc1(self.final_layer_norm(hidden)))


class Activity(NamedTuple):
    """What a trunk makes of clips; a step is 320 samples.

    Attributes:
        attended: what each block has after its attention, shape (batch, steps, width).
        states: what each block gives, likewise.
        units: activations of each block's GELU network, shape (batch, steps, units).
        kept: which steps count, as `sounding` gives it, shape (batch, steps).
    """

    attended: list[Tensor]
    states: list[Tensor]
    units: list[Tensor]
    kept: Tensor

    def mean(self, steps: Tensor) -> Tensor:
        """Take the mean of (batch, steps, size) over the steps that count."""
        share = self.kept / self.kept.sum(dim=1, keepdim=True)
        return (share[:, None] @ steps)[:, 0]


class Trunk(nn.Module):
    """Waveform to the states, before and after its GELU network, and the active units of every block.

    Args:
        width: model width, 512 for Whisper-base.
        heads: attention heads, 8 for Whisper-base.
        blocks: number of transformer blocks.

    Attributes:
        width: of the states. units: of each block's GELU network.
    """

    frequencies: Tensor

    def __init__(self, *, width: int = 512, heads: int = 8, blocks: int = 3) -> None:
        super().__init__()
        self.width, self.units = width, 4 * width
        self.front_end = LogMelFrontEnd()
        self.conv1 = nn.Conv1d(MEL_BANDS, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(EncoderBlock(width, heads) for _ in range(blocks))
        scale = -math.log(10_000) / (width // 2 - 1)
        self.register_buffer("frequencies", torch.exp(scale * torch.arange(width // 2)), persistent=False)

    def forward(self, waveform: Tensor) -> Activity:
        """Hear clips.

        Args:
            waveform: shape (batch, samples), 320 samples or more.
        """
        return self.encode(self.front_end(waveform))

    def encode(self, spectrogram: Tensor) -> Activity:
        """Hear clips of which the spectrogram (batch, 80, frames) is given; as `forward`."""
        hidden, kept = self.begin(spectrogram)
        heard = Activity([], [], [], kept)
        for layer in self.layers:
            hidden, attended, active = layer(hidden, kept)
            heard.attended.append(attended)
            heard.states.append(hidden)
            heard.units.append(active)
        return heard

    def pool(self, waveform: Tensor, blocks: Sequence[int], units: int) -> Tensor:
        """Take means over the steps that count.

        A state is what is attended to, plus a linear layer of the units. So its mean is made of their means, and a
        graph needs no state of the last block.

        Args:
            waveform: as of `forward`.
            blocks: whose states are taken, counted from 1.
            units: how many are taken of every block, the first ones.

        Returns:
            What every block attended to, the chosen states, and the units, side by side, shape
            (batch, width * (all blocks + chosen blocks) + units * all blocks).
        """
        heard = self(waveform)
        attended, active = ([heard.mean(steps) for steps in every] for every in (heard.attended, heard.units))
        layers = [cast("EncoderBlock", layer) for layer in self.layers]
        states = [attended[block - 1] + layers[block - 1].fc2(active[block - 1]) for block in blocks]
        return torch.cat([*attended, *states, *(every[:, :units] for every in active)], dim=1)

    def begin(self, spectrogram: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what the first block takes, shape (batch, steps, width), and which steps count."""
        kept = sounding(spectrogram)
        frames = kept[:, None, torch.arange(spectrogram.shape[2], device=kept.device) // 2]
        # Zeros outside are what the convolutions would pad with, had the quiet been cut off.
        hidden = functional.gelu(self.conv1(spectrogram * frames)) * frames
        hidden = functional.gelu(self.conv2(hidden)).transpose(1, 2)
        position = (kept.cumsum(dim=1) - 1.0).clamp(min=0.0)
        angle = position[:, :, None] * self.frequencies
        return hidden + torch.cat([angle.sin(), angle.cos()], dim=2), kept


class SmallTrunk(Trunk):
    """The beginning of a trunk: its convolutions, the attention of its first block, and some units of the next layer.

    It gives no states. The units go without the layer that mixes them: where only their mean is
    read, linearly, it would add nothing but weights.

    Args:
        width, heads: as of `Trunk`.
        units: of the GELU network that are kept.
    """

    def __init__(self, *, width: int = 512, heads: int = 8, units: int = 512) -> None:
        super().__init__(width=width, heads=heads, blocks=0)
        self.units = units
        block = EncoderBlock(width, heads, units=units)
        del block.fc2
        self.layers.append(block)

    def encode(self, spectrogram: Tensor) -> Activity:
        """Hear clips of which the spectrogram (batch, 80, frames) is given."""
        hidden, kept = self.begin(spectrogram)
        block = cast("EncoderBlock", self.layers[0])
        attended = block.attend(hidden, kept)
        return Activity([attended], [], [block.widen(attended)], kept)


def load_small_trunk(source: str | os.PathLike[str], *, units: int = 512) -> SmallTrunk:
    """Build the beginning of a trunk from pretrained weights, for a bundle of 1.5 MB.

    The largest matrices are rounded to 4 bits, those of the first convolution and of the units to 8.

    Args:
        source: as for `load_trunk`.
        units: how many there shall be, >= 1; the first ones are taken.

    Raises:
        ModelError: if the file is missing, has no encoder, or has fewer units.
    """
    tensors = _encoder_tensors(find_weights(source))
    width = tensors["conv1.weight"].shape[0]
    available = len(tensors["layers.0.fc1.weight"])
    if not 1 <= units <= available:
        raise ModelError(f"has {available} units, {units} are wanted", path=source)
    trunk = SmallTrunk(width=width, heads=width // 64, units=units)
    for name in ("layers.0.fc1.weight", "layers.0.fc1.bias"):
        tensors[name] = tensors[name][:units]
    trunk.load_state_dict({name: tensors[name] for name in trunk.state_dict()})
    for name, parameter in trunk.named_parameters():
        if parameter.ndim > 1:
            few = name == "conv2.weight" or "self_attn" in name
            parameter.data = round_weights(parameter.data, bits=4 if few else 8)
    return trunk.eval().requires_grad_(False)


def load_trunk(source: str | os.PathLike[str], *, blocks: int = 3, weight_bits: int | None = 8) -> Trunk:
    """Build a trunk from pretrained weights.

    Args:
        source: as `find_weights` takes it; with the tensor names of Hugging Face's Whisper models.
        blocks: how many of its encoder blocks to keep, >= 1.
        weight_bits: round weight matrices to this many bits a value, one scale a row, so that the network that is
            trained and measured is the very network that fits into a small bundle. None keeps them as they are.

    Raises:
        ModelError: if the file is missing, has no encoder, or has fewer blocks.
    """
    tensors = _encoder_tensors(find_weights(source))
    width = tensors["conv1.weight"].shape[0]
    available = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
    if not 1 <= blocks <= available:
        raise ModelError(f"has {available} encoder blocks, {blocks} are wanted", path=source)
    trunk = Trunk(width=width, heads=width // 64, blocks=blocks)
    trunk.load_state_dict({name: tensors[name] for name in trunk.state_dict()})
    if weight_bits is not None:
        round_matrices(trunk, bits=weight_bits)
    return trunk.eval().requires_grad_(False)


def describe_weights(source: str | os.PathLike[str]) -> dict[str, str]:
    """Say where weights come from: `source` and `licence` as the file itself states them, and its SHA-256."""
    from safetensors import safe_open

    path = find_weights(source)
    with safe_open(path, framework="pt") as file:
        stated = file.metadata() or {}
    return {
        "source": stated.get("source", path.name if Path(source).exists() else str(source)),
        "licence": stated.get("license", "licence not stated"),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def round_weights(weights: Tensor, *, bits: int = 8) -> Tensor:
    """Round each row of a weight tensor to a symmetric grid of 2**bits - 1 values.

    With few bits the largest values are cut, as far as that lessens the squared error of the row; with 8 never.

    Example:
        >>> round_weights(torch.tensor([[1.0, 0.3], [-0.02, 0.01]]), bits=2)
        tensor([[ 1.0000,  0.0000],
                [-0.0150,  0.0150]])
    """
    levels = 2 ** (bits - 1) - 1
    rows = weights.flatten(1)
    largest = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / levels
    best, least = torch.zeros_like(rows), torch.full_like(largest, torch.inf)
    for share in torch.linspace(1.0, 0.5, 21) if bits < 8 else (1.0,):
        scale = share * largest
        rounded = (rows / scale).round().clamp(-levels, levels) * scale
        missed = (rounded - rows).square().sum(dim=1, keepdim=True)
        best, least = torch.where(missed < least, rounded, best), torch.minimum(missed, least)
    return best.reshape(weights.shape)


def round_matrices(network: nn.Module, *, bits: int = 8) -> None:
    """Round the weight matrices and filters of a network, in place; see `round_weights`."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data = round_weights(parameter.data, bits=bits)


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash the values of named tensors: which weights a stored embedding came from."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def _encoder_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names: Sequence[str] = list(file.keys())
            found = {
                name.partition("encoder.")[2]: file.get_tensor(name).float() for name in names if "encoder." in name
            }
    except (SafetensorError, OSError) as error:
        raise ModelError(f"cannot be read as safetensors ({error})", path=path) from error
    if "conv1.weight" not in found or not any(name.startswith("layers.") for name in found):
        raise ModelError("holds no Whisper encoder", path=path, remedy="Use the weights of openai/whisper-base.")
    return found
