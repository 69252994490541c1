"""A small bundle that can adapt, made on the spot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from bundles import LoudnessModel, waveform_meta
from onnx import TensorProto, helper, numpy_helper
from scipy.special import softmax

from emovox.emotions import EMOTIONS
from emovox.models.export import bundle_bytes

SIZE = 2
MEAN = np.array([0.5, 0.2], np.float32)
"""What the made-up training data had on average."""


class AdaptableModel(LoudnessModel):
    """Measures loudness and roughness from a reference; what it must answer can be computed by hand (`expected`).

    Args:
        gain: of the linear layer; a large one makes it so sure that small probabilities become zero.
        curved: multiplies the logits by the embedding, so that a reference moves every clip differently.
        default: the reference has a default value in the graph.
    """

    def __init__(
        self, labels: tuple[str, ...] = EMOTIONS, *, gain: float = 1.0, curved: bool = False, default: bool = False
    ) -> None:
        super().__init__(labels)
        self.weights = self.weights * np.float32(gain)
        self.bias = np.linspace(1, -1, len(labels), dtype=np.float32)
        self.curved = curved
        self.default = default

    def embedding(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Embedding of one clip, shape (2,)."""
        values = samples.astype(np.float64)
        return np.array([np.abs(values).mean() * 10, np.abs(np.diff(values)).mean() * 10]) - MEAN

    def expected(
        self, samples: npt.NDArray[np.float32], reference: npt.ArrayLike = (0.0, 0.0)
    ) -> npt.NDArray[np.float64]:
        """Probabilities of one clip, shape (labels,)."""
        return softmax((self.embedding(samples) - np.asarray(reference, np.float64)) @ self.weights + self.bias)

    def neutral(self) -> tuple[float, ...]:
        """Probabilities of the default reference."""
        return tuple(softmax(self.bias.astype(np.float64)).tolist())

    def to_onnx_model(self) -> onnx.ModelProto:
        model = super().to_onnx_model()
        graph = model.graph
        kept = [node for node in graph.node if node.op_type not in ("MatMul", "Softmax")]
        del graph.node[:]
        moved = "relative"
        graph.node.extend(
            [
                *kept,
                helper.make_node("Sub", ["scaled", "mean"], ["embedding"]),
                helper.make_node("Sub", ["embedding", "reference"], ["relative"]),
            ]
        )
        if self.curved:
            moved = "squared"
            graph.node.append(helper.make_node("Mul", ["relative", "relative"], [moved]))
        graph.node.extend(
            [
                helper.make_node("MatMul", [moved, "head.weight"], ["told"]),
                helper.make_node("Add", ["told", "head.bias"], ["logits"]),
                helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
            ]
        )
        graph.initializer.append(numpy_helper.from_array(MEAN, "mean"))
        graph.initializer.append(numpy_helper.from_array(self.bias, "head.bias"))
        graph.input.append(helper.make_tensor_value_info("reference", TensorProto.FLOAT, ["references", SIZE]))
        graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", SIZE]))
        if self.default:
            graph.initializer.append(numpy_helper.from_array(np.zeros((1, SIZE), np.float32), "reference"))
        return model


def adaptable_bytes(*, model: AdaptableModel | None = None, **changes: Any) -> bytes:
    """Bytes of a bundle with an `AdaptableModel`; `changes` go to its description."""
    meta = waveform_meta(**{"name": "adaptable", "version": "2", **changes})
    model = model or AdaptableModel(meta.labels)
    if "neutral" not in changes:
        meta = dataclasses.replace(meta, neutral=None if model.curved else model.neutral())
    return bundle_bytes(model, meta)


def write_adaptable_bundle(path: Path, **changes: Any) -> Path:
    """Write what `adaptable_bytes` gives."""
    path.write_bytes(adaptable_bytes(**changes))
    return path
