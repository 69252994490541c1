"""The seven optimisers of the reference study with Keras' defaults, as data; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """One optimiser, its Keras defaults in torch's words.

    Attributes:
        name: its name for `NetworkClassifier`.
        torch_class: class in `torch.optim`, or ``module:Class`` where torch's own formula differs from Keras'.
        learning_rate: Keras' default.
        options: further arguments of the class.
        reference: the study's test accuracies in per cent with the two-branch network: as it is (100 epochs), and
            with early stopping and learning rate reduction, which ended after `early_stopping_epochs`.
    """

    name: str
    torch_class: str
    learning_rate: float = 1e-3
    options: Mapping[str, object] = field(default_factory=dict)
    reference: Mapping[str, float] = field(default_factory=dict)


def _figures(test_accuracy: float, early_stopping_test_accuracy: float, early_stopping_epochs: int) -> dict[str, float]:
    return {
        "test_accuracy": test_accuracy,
        "early_stopping_test_accuracy": early_stopping_test_accuracy,
        "early_stopping_epochs": early_stopping_epochs,
    }


_EPSILON = {"eps": 1e-7}
_TABLE = (
    OptimizerSpec(
        name="adam", torch_class="Adam", options={**_EPSILON, "fused": True}, reference=_figures(94.79, 95.74, 46)
    ),
    OptimizerSpec(
        name="nadam",
        torch_class="NAdam",
        # Keras lets the momentum warm up by 0.96 ** step; torch writes 0.96 ** (step * momentum_decay).
        options={**_EPSILON, "momentum_decay": 1.0},
        reference=_figures(95.26, 96.02, 59),
    ),
    OptimizerSpec(
        name="rmsprop",
        torch_class="emovox.models.rmsprop:KerasRMSprop",
        options={"rho": 0.9, **_EPSILON},
        reference=_figures(95.00, 96.18, 81),
    ),
    OptimizerSpec(name="adamax", torch_class="Adamax", options=_EPSILON, reference=_figures(96.12, 96.48, 100)),
    OptimizerSpec(
        name="adagrad",
        torch_class="Adagrad",
        options={**_EPSILON, "initial_accumulator_value": 0.1},
        reference=_figures(75.78, 76.85, 100),
    ),
    OptimizerSpec(
        name="adadelta",
        torch_class="Adadelta",
        options={**_EPSILON, "rho": 0.95},
        reference=_figures(39.93, 40.85, 100),
    ),
    OptimizerSpec(name="sgd", torch_class="SGD", learning_rate=1e-2, reference=_figures(90.87, 91.55, 100)),
)
OPTIMIZERS: Mapping[str, OptimizerSpec] = {spec.name: spec for spec in _TABLE}
"""The seven optimisers by name, in the study's order."""
