"""The networks of the reference study as torch modules, built from `emovox.models.architectures`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emovox.models.architectures import FILTERS, UNITS, Architecture, Conv, Layer, Pool, pool_size
from emovox.models.layers import OneBiasLSTM, Stage, start_like_keras


class Network(nn.Module):
    """A vector of features in, one logit a class out.

    Weights start as in Keras: Glorot-uniform kernels, orthogonal recurrent kernels, zero biases, and 1 for the forget
    gates' biases. They are drawn from torch's global generator.

    Args:
        architecture: the layers.
        features: length of the input vector.
        classes: units of the head.

    Attributes:
        mean, scale: buffers of shape (features,); the input becomes ``(x - mean) / scale``. 0 and 1 unless set.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, architecture: Architecture, *, features: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.branches = nn.ModuleList(_branch(branch, features) for branch in architecture.branches)
        widths = [FILTERS] + [UNITS] * len(architecture.recurrent)
        self.recurrent = nn.ModuleList(OneBiasLSTM(width) for width in widths[:-1])
        self.l2 = [lstm.l2 for lstm in architecture.recurrent]
        self.head = nn.Linear(UNITS if self.l2 else FILTERS * architecture.steps(features), classes)
        start_like_keras(self.head)

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits of shape (batch, classes) from features of shape (batch, features)."""
        sequence = ((features - self.mean) / self.scale)[:, None, None]
        joined = torch.cat([branch(sequence) for branch in self.branches], dim=3)
        steps = joined.squeeze(2).transpose(1, 2)
        for lstm in self.recurrent:
            steps, _ = lstm(steps)
        logits: Tensor = self.head(steps[:, -1] if self.recurrent else steps.flatten(1))
        return logits

    def penalty(self) -> Tensor:
        """Compute what is added to the loss: the sum of l2 * squared input kernel over the LSTMs that have an l2."""
        kernels = [parameter for name, parameter in self.recurrent.named_parameters() if "weight_ih" in name]
        terms = [factor * kernel.square().sum() for factor, kernel in zip(self.l2, kernels, strict=True) if factor]
        return torch.stack(terms).sum() if terms else self.mean.new_zeros(())


def count_parameters(module: nn.Module) -> int:
    """Count the parameters that training changes."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _branch(layers: Sequence[Layer], steps: int) -> nn.Sequential:
    stages: list[nn.Module] = []
    channels = 1
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        if isinstance(layer, Conv):
            pool = pool_size(following.size, steps) if isinstance(following, Pool) else 1
            stages.append(Stage(channels, dropout=layer.dropout, pool=pool))
            channels, steps = FILTERS, steps // pool
    return nn.Sequential(*stages)
