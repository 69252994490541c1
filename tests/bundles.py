"""Small bundles that tests make on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from emovox.emotions import EMOTIONS
from emovox.inference.bundle import BundleMetadata
from emovox.models.export import export


class LoudnessModel:
    """Takes a waveform and tells seven emotions apart by how loud it is and how often it crosses zero.

    It knows nothing of emotions; it is there because what it must answer can be computed by hand (`expected`).
    """

    def __init__(self, labels: tuple[str, ...] = EMOTIONS) -> None:
        self.classes_ = np.array(sorted(labels))
        self.weights = np.random.default_rng(1).normal(size=(2, len(labels))).astype(np.float32) * 3

    def expected(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Probabilities of one clip, shape (labels,)."""
        values = samples.astype(np.float64)
        scores = np.array([np.abs(values).mean() * 10, np.abs(np.diff(values)).mean() * 10]) @ self.weights
        return np.exp(scores) / np.exp(scores).sum()

    def to_onnx_model(self) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Slice", ["waveform", "one", "end", "axis"], ["later"]),
            helper.make_node("Slice", ["waveform", "zero", "minus_one", "axis"], ["earlier"]),
            helper.make_node("Sub", ["later", "earlier"], ["steps"]),
            *_mean_magnitude("waveform", "loudness"),
            *_mean_magnitude("steps", "roughness"),
            helper.make_node("Concat", ["loudness", "roughness"], ["both"], axis=1),
            helper.make_node("Mul", ["both", "ten"], ["scaled"]),
            helper.make_node("MatMul", ["scaled", "head.weight"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ]
        integers = {"zero": [0], "one": [1], "minus_one": [-1], "end": [2**62], "axis": [1]}
        constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in integers.items()]
        constants.append(numpy_helper.from_array(np.array([10], np.float32), "ten"))
        constants.append(numpy_helper.from_array(self.weights, "head.weight"))
        graph = helper.make_graph(
            nodes,
            "loudness",
            [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", "samples"])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", len(self.classes_)])],
            constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _mean_magnitude(source: str, target: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Abs", [source], [f"{source}_magnitude"]),
        helper.make_node("ReduceMean", [f"{source}_magnitude", "axis"], [target], keepdims=1),
    ]


def waveform_meta(**changes: Any) -> BundleMetadata:
    """Description of a `LoudnessModel`."""
    values: dict[str, Any] = {
        "name": "loudness",
        "labels": EMOTIONS,
        "input": "waveform",
        "sample_rate": 16_000,
        "created": "2026-01-01T00:00:00+00:00",
    }
    return BundleMetadata(**{**values, **changes})


def write_waveform_bundle(path: Path, **changes: Any) -> Path:
    """Write a bundle with a `LoudnessModel`; `changes` go to its description."""
    meta = waveform_meta(**changes)
    export(LoudnessModel(meta.labels), path, meta)
    return path
