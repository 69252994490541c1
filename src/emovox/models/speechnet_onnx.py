"""speechnet as a graph: front end, trunk, pooling, linear layer, temperature and voice gate in one."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from emovox.errors import ModelError
from emovox.models.packing import pack_fourier_basis, pack_weights
from emovox.models.voice_gate import LEAST
from emovox.models.whisper import N_FFT, RATE

if TYPE_CHECKING:
    from emovox.models.speechnet import SpeechNet

Floats: TypeAlias = npt.NDArray[np.floating[Any]]


def build_graph(model: SpeechNet, *, max_seconds: float) -> onnx.ModelProto:
    """Build the graph that `SpeechNet.to_onnx_model` describes.

    Args:
        model: a fitted one.
        max_seconds: longest clip that the graph takes.

    Raises:
        ModelError: if torch cannot export it.
    """
    example = torch.zeros(2, 2 * RATE)  # two, or the exporter would take the batch for a constant
    example[:, ::100] = 1.0
    reference = torch.zeros(1, len(model.layer_.mean))
    samples = torch.export.Dim("samples", min=RATE // 10, max=round(max_seconds * RATE))
    batch = torch.export.Dim("batch", min=1, max=1_024)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about its own internals, as its log is
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _whole_network(model),
            (example, reference),
            input_names=["waveform", "reference"],
            output_names=["probabilities", "embedding"],
            dynamic_shapes={"waveform": {0: batch, 1: samples}, "reference": None},
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ModelError("torch gave no graph", remedy="Install torch 2.13.")
    graph: onnx.ModelProto = program.model_proto
    _make_optional(graph, "reference", reference.numpy())
    pack_fourier_basis(graph, name="trunk.front_end.basis", n_fft=N_FFT)
    return pack_weights(graph) if model.weight_bits else graph


def _whole_network(model: SpeechNet) -> nn.Module:
    class Network(nn.Module):
        mean: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.trunk = model.trunk_
            layer = model.layer_
            self.head = nn.Linear(layer.coef.shape[1], layer.coef.shape[0])
            self.register_buffer("mean", torch.tensor(layer.mean, dtype=torch.float32))
            self.head.weight.data = torch.tensor(layer.coef / model.temperature_, dtype=torch.float32)
            self.head.bias.data = torch.tensor(layer.intercept / model.temperature_, dtype=torch.float32)
            coef, intercept = model.gate_.ramp()
            self.gate = nn.Linear(len(coef), 1)
            self.gate.weight.data = torch.tensor(coef[None], dtype=torch.float32)
            self.gate.bias.data = torch.tensor([intercept], dtype=torch.float32)

        def forward(self, waveform: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            embedding = self.trunk.pool(waveform, model.pooled_blocks, model.units) - self.mean
            told = torch.softmax(self.head(embedding - reference), dim=1)
            voice = self.gate(embedding).clamp(LEAST, 1.0)
            return voice * told + (1 - voice) / told.shape[1], embedding

    return Network().eval()


def _make_optional(model: onnx.ModelProto, name: str, default: Floats) -> None:
    """Give an input a default of one row, and let it have any number of rows: runtimes allow to override it."""
    model.graph.initializer.append(numpy_helper.from_array(default, name))
    (given,) = (item for item in model.graph.input if item.name == name)
    rows = given.type.tensor_type.shape.dim[0]
    rows.ClearField("dim_value")
    rows.dim_param = f"{name}s"
