"""The layers of the reference networks, on sequences of shape (batch, steps, channels) as in Keras.

Channels lie next to each other in memory: on a CPU, convolution is then about a quarter faster than with torch's own
order, and pooling many times.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from emovox.models.architectures import FILTERS, KERNEL, UNITS


class Convolution(nn.Conv2d):
    """128 filters of 5 steps, zero-padded at both ends: (batch, steps, channels) to (batch, steps, 128).

    A two-dimensional convolution of height 1, since torch's one-dimensional one has no channels-last form.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, FILTERS, (1, KERNEL), padding=(0, KERNEL // 2))
        start_like_keras(self)
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)

    def forward(self, steps: Tensor) -> Tensor:
        """Convolve over time."""
        if self.in_channels == 1:  # too narrow for a convolution to be quick: multiply windows by the kernel
            windows = functional.pad(steps.squeeze(2), (KERNEL // 2, KERNEL // 2)).unfold(1, KERNEL, 1)
            return functional.linear(windows, self.weight.flatten(1), self.bias)
        return super().forward(steps.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)


class ReluDropout(nn.Module):
    """ReLU, then dropout: both in one pass and without a stored mask.

    torch's own two take about three times as long on a CPU, most of it for random numbers. Here a 16-bit random
    number decides on each value, so the probability is a multiple of 2 ** -16.

    Args:
        probability: of a value being dropped in training, 0..1 exclusive; what stays is divided by 1 - probability.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, values: Tensor) -> Tensor:
        """Rectify, and in training drop; `values` is overwritten in training."""
        if self.training:
            dropped: Tensor = _ReluDropout.apply(values, self.probability)  # type: ignore[no-untyped-call]
            return dropped
        return functional.relu(values)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"probability={self.probability}"


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        ctx.scale = 1 / (1 - probability)
        kept = torch.empty_like(values)  # of the values' own type: multiplying by booleans is slow
        torch.ge(_random_16_bits(values), round(probability * 2**16) - 2**15, out=kept)
        values.relu_().mul_(kept).mul_(ctx.scale)
        ctx.mark_dirty(values)
        ctx.save_for_backward(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # What came out positive was neither rectified nor dropped.
        (values,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(gradient, values, 0).mul_(ctx.scale), None


def _random_16_bits(like: Tensor) -> Tensor:
    """Draw integers from -2 ** 15 to 2 ** 15 - 1, four at a time."""
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device).random_(-(2**63), None)
    return words.view(torch.int16)[: like.numel()].view(like.shape)


class Pooling(nn.Module):
    """The maximum of every `size` steps; a shorter rest at the end is dropped."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, steps: Tensor) -> Tensor:
        """Pool over time."""
        pooled = functional.max_pool2d(steps.transpose(1, 2).unsqueeze(2), (1, self.size))
        return pooled.squeeze(2).transpose(1, 2)

    def extra_repr(self) -> str:
        """Show the size."""
        return f"size={self.size}"


class OneBiasLSTM(nn.LSTM):
    """An LSTM with 128 units and one bias vector a gate, as in Keras: (batch, steps, inputs) to (batch, steps, 128).

    torch adds two biases; here the second one is zero and is not trained.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__(inputs, UNITS, batch_first=True)
        ((kernel, recurrent_kernel, bias, second_bias),) = self.all_weights
        nn.init.xavier_uniform_(kernel)
        nn.init.orthogonal_(recurrent_kernel)
        nn.init.zeros_(bias)
        nn.init.ones_(bias[UNITS : 2 * UNITS])  # gates stand in the order input, forget, cell, output
        nn.init.zeros_(second_bias.requires_grad_(False))


def start_like_keras(layer: nn.Linear | nn.Conv2d) -> None:
    """Set a Glorot-uniform kernel and zero biases, from torch's global generator."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
