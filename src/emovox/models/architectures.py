"""The networks of the reference study as one table of layers; needs no torch.

From this table come the torch modules (`emovox.models.networks`), the step counts and the parameter counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

FILTERS = 128
KERNEL = 5
UNITS = 128
PUBLISHED_CLASSES = 8
"""The study's head has 8 units for its 7 classes; its parameter counts include them."""


@dataclass(frozen=True, kw_only=True)
class Conv:
    """Convolution over time (same padding, 128 filters, kernel 5), ReLU, dropout."""

    dropout: float


@dataclass(frozen=True)
class Pool:
    """The maximum of every `size` steps; a rest shorter than `size` is dropped, as Keras' ``valid`` does."""

    size: int


@dataclass(frozen=True)
class Lstm:
    """LSTM with 128 units; gives all steps to a following LSTM and its last step to the head.

    `l2` is the factor of the squared input kernel in the loss.
    """

    l2: float = 0.0


Layer = Conv | Pool


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network on a vector that is read as a sequence of single values.

    Attributes:
        name: its name in the catalogue.
        branches: convolution stages; the branches' outputs are joined along the time axis.
        recurrent: LSTMs after it; without any, the steps are flattened for the head.
        reference: the study's published figures: parameters with the 8-unit head, test accuracy in per cent with Adam.
    """

    name: str
    branches: Sequence[Sequence[Layer]]
    recurrent: Sequence[Lstm] = ()
    reference: Mapping[str, float] = field(default_factory=dict)

    def summary(self) -> str:
        """Describe the layers in one line.

        Example:
            >>> ARCHITECTURES["cnn-lstm-1"].summary()
            'conv, pool 8, conv, LSTM; dropout 0.1'
        """
        branches = [", ".join(map(_word, branch)) for branch in self.branches]
        convolutions = branches[0] if len(branches) == 1 else " + ".join(f"({branch})" for branch in branches)
        dropouts = {layer.dropout for branch in self.branches for layer in branch if isinstance(layer, Conv)}
        layers = ", ".join([convolutions] + ["LSTM"] * len(self.recurrent))
        return f"{layers}; dropout {', '.join(f'{dropout:g}' for dropout in sorted(dropouts))}"

    def steps(self, features: int) -> int:
        """Count the time steps after the branches, for an input of `features` values.

        Example:
            >>> ARCHITECTURES["two-branch"].steps(180)
            66
        """
        return sum(_steps(branch, features) for branch in self.branches)

    def parameters(self, *, classes: int, features: int = 180) -> int:
        """Count the trainable parameters as Keras does: one bias vector an LSTM gate.

        Args:
            classes: units of the head.
            features: length of the input vector.

        Example:
            >>> ARCHITECTURES["cnn-1"].parameters(classes=8)
            105352
        """
        count = sum(_convolution_parameters(branch) for branch in self.branches)
        count += len(self.recurrent) * 4 * (FILTERS * UNITS + UNITS * UNITS + UNITS)
        inputs = UNITS if self.recurrent else FILTERS * self.steps(features)
        return count + inputs * classes + classes


def pool_size(size: int, steps: int) -> int:
    """Give the size of a pool on `steps` steps: a sequence shorter than `size` is pooled as a whole.

    So that the networks accept vectors shorter than the study's 180 values, on which this changes nothing.
    """
    return min(size, steps)


def _word(layer: Layer) -> str:
    return f"pool {layer.size}" if isinstance(layer, Pool) else "conv"


def _steps(branch: Sequence[Layer], steps: int) -> int:
    for layer in branch:
        if isinstance(layer, Pool):
            steps //= pool_size(layer.size, steps)
    return steps


def _convolution_parameters(branch: Sequence[Layer]) -> int:
    count, channels = 0, 1
    for layer in branch:
        if isinstance(layer, Conv):
            count += KERNEL * channels * FILTERS + FILTERS
            channels = FILTERS
    return count


def _cnn_1(dropout: float) -> list[Layer]:
    conv = Conv(dropout=dropout)
    return [conv, Pool(8), conv]


def _cnn_2(dropout: float) -> list[Layer]:
    conv = Conv(dropout=dropout)
    return [conv, Pool(8), conv, Pool(8), conv]


def _cnn_4(dropout: float) -> list[Layer]:
    conv = Conv(dropout=dropout)
    return [conv, Pool(8), conv, Pool(8), conv, conv]


def _double(stages: int, dropout: float) -> list[Layer]:
    conv = Conv(dropout=dropout)
    return [conv, conv, Pool(3)] * stages


def _published(parameters: int, test_accuracy: float) -> dict[str, float]:
    return {"parameters": parameters, "test_accuracy": test_accuracy}


_TABLE = (
    Architecture(name="cnn-1", branches=[_cnn_1(0.1)], reference=_published(105_352, 89.20)),
    Architecture(name="cnn-2", branches=[_cnn_2(0.25)], reference=_published(166_920, 86.89)),
    Architecture(name="cnn-3", branches=[_cnn_2(0.1)], reference=_published(166_920, 90.46)),
    Architecture(name="cnn-4", branches=[_cnn_4(0.1)], reference=_published(248_968, 90.94)),
    Architecture(name="cnn-lstm-1", branches=[_cnn_1(0.1)], recurrent=[Lstm()], reference=_published(215_432, 90.38)),
    Architecture(
        name="cnn-lstm-2", branches=[_cnn_1(0.1)], recurrent=[Lstm(), Lstm()], reference=_published(347_016, 90.35)
    ),
    Architecture(
        name="cnn-lstm-3", branches=[_cnn_2(0.1)], recurrent=[Lstm(), Lstm()], reference=_published(429_064, 92.04)
    ),
    Architecture(
        name="cnn-lstm-4", branches=[_cnn_4(0.1)], recurrent=[Lstm(), Lstm()], reference=_published(511_112, 92.21)
    ),
    Architecture(
        name="two-branch",
        branches=[_double(1, 0.1), _double(3, 0.1)],
        recurrent=[Lstm(l2=0.01), Lstm(l2=0.01)],
        reference=_published(758_024, 94.79),
    ),
)
ARCHITECTURES: Mapping[str, Architecture] = {architecture.name: architecture for architecture in _TABLE}
"""The study's networks by name, in its order."""
