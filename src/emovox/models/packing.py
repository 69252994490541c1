"""Store a graph's weights in fewer bytes, without changing a single output."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

SMALLEST_WORTH_PACKING = 4_096
"""Tensors with fewer values stay as they are."""


def pack_weights(model: onnx.ModelProto, *, bits: int = 8) -> onnx.ModelProto:
    """Store every weight tensor that lies on an integer grid as int8 with one scale a row (or column).

    `emovox.models.whisper.round_weights` puts trunk weights on such a grid. The graph multiplies them out again with
    Cast and Mul, which runtimes fold when they load it: results and speed are those of the float32 graph, its size
    is a quarter. Tensors that would change by more than rounding in the last place are left alone.

    Args:
        model: changed in place.
        bits: of the grid, 2 to 8.

    Returns:
        The same model.
    """
    graph = model.graph
    kept, added, nodes = [], [], []
    for tensor in graph.initializer:
        packed = _pack(numpy_helper.to_array(tensor), bits) if _is_candidate(tensor) else None
        if packed is None:
            kept.append(tensor)
            continue
        integers, scale = packed
        name = tensor.name
        added += [numpy_helper.from_array(integers, f"{name}.int8"), numpy_helper.from_array(scale, f"{name}.scale")]
        nodes += [
            helper.make_node("Cast", [f"{name}.int8"], [f"{name}.float"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]),
        ]
    following = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *added])
    graph.node.extend([*nodes, *following])
    return model


def _is_candidate(tensor: onnx.TensorProto) -> bool:
    return (
        tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) >= 2
        and int(np.prod(tensor.dims)) >= SMALLEST_WORTH_PACKING
    )


def _pack(weights: npt.NDArray[np.float32], bits: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]] | None:
    levels = 2 ** (bits - 1) - 1
    for row_axis in (0, weights.ndim - 1):  # exporters may have transposed the matrix
        others = tuple(axis for axis in range(weights.ndim) if axis != row_axis)
        scale = np.abs(weights).max(axis=others, keepdims=True) / np.float32(levels)
        scale = np.maximum(scale, np.float32(1e-12))
        integers = np.rint(weights / scale)
        if np.abs(integers * scale - weights).max() <= 1e-6 * np.abs(weights).max():
            return integers.astype(np.int8), scale.astype(np.float32)
    return None
