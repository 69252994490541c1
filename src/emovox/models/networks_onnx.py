"""How a reference network becomes an ONNX graph."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from emovox.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto


def onnx_model(network: nn.Module, *, features: int) -> ModelProto:
    """Convert a network that gives logits to a graph that gives probabilities.

    Args:
        network: input (batch, features), output logits (batch, classes); on the CPU.
        features: length of the input vector.

    Returns:
        A graph with input `features`, float32 [batch, features], and output `probabilities`, float32 [batch, classes].

    Raises:
        ModelError: if torch cannot convert it.
    """
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Probabilities(network).eval(),
                (torch.zeros(2, features),),
                input_names=["features"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    if program is None:
        raise ModelError("torch gave no ONNX graph for this network")
    return program.model_proto


class _Probabilities(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        return torch.softmax(self.network(features), dim=1)
