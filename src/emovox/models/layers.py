"""The layers of the reference networks, on sequences of shape (batch, channels, 1, steps).

Channels lie next to each other in memory, as in Keras: on a CPU, convolution is then about a quarter faster than with
torch's own order, and pooling many times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from emovox.models.architectures import FILTERS, KERNEL, UNITS

_SIDE = KERNEL // 2


class Stage(nn.Conv2d):
    """Convolution over time (128 filters of 5 steps, zero-padded), ReLU, dropout, and perhaps pooling.

    A two-dimensional convolution of height 1, since torch's one-dimensional one has no channels-last form. Training on
    a CPU is one step with a backward pass of its own, which goes over memory as seldom as it can: dropout's factor is
    multiplied into the weights, no mask is kept, and where there is pooling, the values before it are not either.

    Args:
        channels: of the input.
        dropout: probability of a value being dropped in training, 0 <= dropout < 1, rounded to a multiple of
            2 ** -16; what stays is divided by 1 - dropout.
        pool: take the maximum of every `pool` steps; a shorter rest at the end is dropped. 1 for none.
    """

    def __init__(self, channels: int, *, dropout: float, pool: int = 1) -> None:
        super().__init__(channels, FILTERS, (1, KERNEL), padding=(0, _SIDE))
        start_like_keras(self)
        self.weight.data = self.weight.data.contiguous(memory_format=torch.channels_last)
        self.dropout = dropout
        self.pool = pool

    def forward(self, sequence: Tensor) -> Tensor:
        """Map (batch, channels, 1, steps) to (batch, 128, 1, steps // pool)."""
        if self.training and sequence.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            trained: Tensor = _TrainedStage.apply(  # type: ignore[no-untyped-call]
                sequence, self.weight, self.bias, self.dropout, self.pool
            )
            return trained
        values = functional.dropout(functional.relu(super().forward(sequence)), self.dropout, self.training)
        return functional.max_pool2d(values, (1, self.pool)) if self.pool > 1 else values

    def extra_repr(self) -> str:
        """Show what it does beside convolving."""
        return f"{self.in_channels}, dropout={self.dropout}, pool={self.pool}"


class _TrainedStage(torch.autograd.Function):
    """A stage in training. Where its result is 0, a value was negative or dropped, and no gradient goes back."""

    @staticmethod
    def forward(ctx: Any, sequence: Tensor, weight: Tensor, bias: Tensor, dropout: float, pool: int) -> Tensor:
        ctx.factor, ctx.pool = 1 / (1 - dropout), pool
        # The factor is positive, so it may as well be applied before the ReLU.
        scaled, scaled_bias = weight * ctx.factor, bias * ctx.factor
        if sequence.shape[1] == 1:  # too narrow for a convolution to be quick: multiply windows by the kernel
            kernel = torch.cat([scaled.flatten(1), scaled_bias[:, None]], dim=1)
            values = _unflatten(_windows(sequence) @ kernel.t(), sequence.shape[3])
        else:
            values = functional.conv2d(sequence, scaled, scaled_bias, padding=(0, _SIDE))
        values = values.relu_()
        if dropout:
            values.mul_(_kept(values, dropout))
        places = None
        ctx.steps = values.shape[3]
        if pool > 1:
            values, places = functional.max_pool2d(values, (1, pool), return_indices=True)
        ctx.save_for_backward(sequence, scaled, values, places)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sequence, scaled, values, places = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient, values, 0)
        # Where a dimension has one element, its stride may be anything; torch then takes slower ways.
        gradient = _unflatten(gradient.permute(0, 2, 3, 1).reshape(-1, FILTERS), gradient.shape[3])
        if places is not None:
            like = _unflatten(gradient.new_empty(gradient.shape[0] * ctx.steps, FILTERS), ctx.steps)
            window = [1, ctx.pool]
            gradient = torch.ops.aten.max_pool2d_with_indices_backward(
                gradient, like, window, window, [0, 0], [1, 1], False, places
            )
        if sequence.shape[1] == 1:  # the first stage: nothing before it learns
            flat = gradient.permute(0, 2, 3, 1).flatten(0, 2)
            kernel_gradient = (_windows(sequence).t() @ flat).t() * ctx.factor
            return None, kernel_gradient[:, :-1].reshape(scaled.shape), kernel_gradient[:, -1], None, None
        wanted = [ctx.needs_input_grad[0], True, True]
        before, weight_gradient, bias_gradient = torch.ops.aten.convolution_backward(
            gradient, sequence, scaled, [FILTERS], [1, 1], [0, _SIDE], [1, 1], False, [0, 0], 1, wanted
        )
        return before, weight_gradient * ctx.factor, bias_gradient * ctx.factor, None, None


def _windows(sequence: Tensor) -> Tensor:
    """Give what each step's kernel sees of a single channel: (batch, 1, 1, steps) to (batch * steps, 5 + 1).

    The last column is 1, so that the bias is one weight more.
    """
    windows = functional.pad(sequence[:, 0, 0], (_SIDE, _SIDE)).unfold(1, KERNEL, 1).flatten(0, 1)
    return functional.pad(windows, (0, 1), value=1.0)


def _unflatten(flat: Tensor, steps: int) -> Tensor:
    """Give (batch * steps, channels) as (batch, channels, 1, steps), without moving anything."""
    return flat.view(-1, 1, steps, flat.shape[1]).permute(0, 3, 1, 2)


def _kept(like: Tensor, dropout: float) -> Tensor:
    """Draw 1 for each value that is kept and 0 for each that is dropped.

    Sixteen random bits decide on each value. They come from NumPy, which draws them several times as fast as torch,
    seeded by torch's global generator.
    """
    bound = round(dropout * 2**16) - 2**15
    random = np.random.Generator(np.random.SFC64(int(torch.randint(2**63 - 1, ()))))
    words = random.integers(0, 2**64, size=-(-like.numel() // 4), dtype=np.uint64)
    bits = torch.from_numpy(words.view(np.int16)[: like.numel()])
    batch, channels, _, steps = like.shape
    # Comparing to integers of the same size and converting them takes half as long as by way of booleans.
    kept = torch.ge(bits, bound, out=bits).to(like.dtype)
    return _unflatten(kept.view(batch * steps, channels), steps)


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
