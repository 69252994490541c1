"""Store a graph's constants in fewer bytes, without changing what it says."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from emovox.errors import ModelError

Floats: TypeAlias = npt.NDArray[np.float32]
Packed: TypeAlias = tuple[list[onnx.TensorProto], list[onnx.NodeProto]]
"""Constants, and the nodes that compute `NAME.float` from them."""

SMALLEST_WORTH_PACKING = 1_024
"""Tensors with fewer values stay as they are."""


def pack_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store every weight tensor that lies on a grid of 4 or 8 bits as integers with one scale a row (or column).

    `emovox.models.whisper.round_weights` puts trunk weights on such a grid. The graph computes them again with a few
    nodes, which runtimes fold when they load it: results and speed are those of the float32 graph, its size is an
    eighth or a quarter. Tensors that would change by more than rounding in the last place are left alone.

    Args:
        model: changed in place.

    Returns:
        The same model.
    """
    graph = model.graph
    inputs = {item.name for item in graph.input}  # their defaults have to stay what callers may override
    kept, added, nodes = [], [], []
    for tensor in graph.initializer:
        worth = tensor.name not in inputs and _is_candidate(tensor)
        packed = _on_grid(numpy_helper.to_array(tensor)) if worth else None
        if packed is None:
            kept.append(tensor)
            continue
        integers, scale, bits = packed
        constants, own = (_nibbles if bits == 4 else _bytes)(tensor.name, integers)
        added += [*constants, numpy_helper.from_array(scale, f"{tensor.name}.scale")]
        nodes += [*own, helper.make_node("Mul", [f"{tensor.name}.float", f"{tensor.name}.scale"], [tensor.name])]
    following = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *added])
    graph.node.extend([*nodes, *following])
    return model


def pack_fourier_basis(model: onnx.ModelProto, *, name: str, n_fft: int) -> onnx.ModelProto:
    """Replace the windowed Fourier basis of a spectrogram by the few nodes that compute it.

    The basis holds cos(2 pi k n / n_fft) for all k, then -sin, each times the periodic Hann window, as
    `emovox.models.whisper.LogMelFrontEnd` has it. k n is taken modulo n_fft, so that the values come from a table of
    n_fft entries and are as exact as the stored ones. Runtimes compute it once, when they load the graph.

    Args:
        model: changed in place.
        name: of the constant, of shape (2 * (n_fft // 2 + 1), 1, n_fft).
        n_fft: samples of a frame.

    Returns:
        The same model.
    """
    graph = model.graph
    (stored,) = (tensor for tensor in graph.initializer if tensor.name == name)
    turn = 2 * np.pi * np.arange(n_fft) / n_fft
    values: dict[str, npt.NDArray[Any]] = {
        "bins": np.arange(n_fft // 2 + 1, dtype=np.int64)[:, None],
        "samples": np.arange(n_fft, dtype=np.int64)[None],
        "length": np.array(n_fft, dtype=np.int64),
        "cosine": np.cos(turn).astype(np.float32),
        "sine": -np.sin(turn).astype(np.float32),
        "window": (0.5 - 0.5 * np.cos(turn)).astype(np.float32),
        "axis": np.array([1], dtype=np.int64),
    }
    own = {key: f"{name}.{key}" for key in (*values, "products", "places", "both", "windowed", "cos", "sin")}
    constants = [numpy_helper.from_array(value, own[key]) for key, value in values.items()]
    nodes = [
        helper.make_node("Mul", [own["bins"], own["samples"]], [own["products"]]),
        helper.make_node("Mod", [own["products"], own["length"]], [own["places"]]),
        helper.make_node("Gather", [own["cosine"], own["places"]], [own["cos"]]),
        helper.make_node("Gather", [own["sine"], own["places"]], [own["sin"]]),
        helper.make_node("Concat", [own["cos"], own["sin"]], [own["both"]], axis=0),
        helper.make_node("Mul", [own["both"], own["window"]], [own["windowed"]]),
        helper.make_node("Unsqueeze", [own["windowed"], own["axis"]], [name]),
    ]
    if list(stored.dims) != [2 * (n_fft // 2 + 1), 1, n_fft]:
        raise ModelError(f"{name} is no Fourier basis of {n_fft} samples: it has the shape {list(stored.dims)}")
    following = list(graph.node)
    graph.initializer.remove(stored)
    graph.initializer.extend(constants)
    del graph.node[:]
    graph.node.extend([*nodes, *following])
    return model


def _is_candidate(tensor: onnx.TensorProto) -> bool:
    return (
        tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) >= 2
        and int(np.prod(tensor.dims)) >= SMALLEST_WORTH_PACKING
    )


def _on_grid(weights: Floats) -> tuple[npt.NDArray[np.int8], Floats, int] | None:
    """Give integers, scales and bits of the coarsest grid on which a tensor lies; None if it lies on none."""
    for bits in (4, 8):
        levels = 2 ** (bits - 1) - 1
        for row_axis in (0, weights.ndim - 1):  # exporters may have transposed the matrix
            others = tuple(axis for axis in range(weights.ndim) if axis != row_axis)
            scale = np.abs(weights).max(axis=others, keepdims=True) / np.float32(levels)
            scale = np.maximum(scale, np.float32(1e-12))
            integers = np.rint(weights / scale)
            if np.abs(integers * scale - weights).max() <= 1e-6 * np.abs(weights).max():
                return integers.astype(np.int8), scale.astype(np.float32), bits
    return None


def _bytes(name: str, integers: npt.NDArray[np.int8]) -> Packed:
    stored = numpy_helper.from_array(integers, f"{name}.int8")
    return [stored], [helper.make_node("Cast", [stored.name], [f"{name}.float"], to=onnx.TensorProto.FLOAT)]


def _nibbles(name: str, integers: npt.NDArray[np.int8]) -> Packed:
    """Store two values in a byte, 8 more than each: the first half of all above, the second half below."""
    values = np.append(integers.ravel() + 8, [8] * (integers.size % 2)).astype(np.uint8)
    first, second = values.reshape(2, -1)
    constants = {
        "int4": first * 16 + second,
        "sixteen": np.float32(16),
        "eight": np.float32(8),
        "count": np.array([integers.size], np.int64),
        "shape": np.array(integers.shape, np.int64),
        "zero": np.array([0], np.int64),
    }
    steps = ("both", "quotient", "upper", "carried", "lower", "flat", "exact")
    own = {key: f"{name}.{key}" for key in (*constants, *steps)}
    nodes = [
        helper.make_node("Cast", [own["int4"]], [own["both"]], to=onnx.TensorProto.FLOAT),
        helper.make_node("Div", [own["both"], own["sixteen"]], [own["quotient"]]),
        helper.make_node("Floor", [own["quotient"]], [own["upper"]]),
        helper.make_node("Mul", [own["upper"], own["sixteen"]], [own["carried"]]),
        helper.make_node("Sub", [own["both"], own["carried"]], [own["lower"]]),
        helper.make_node("Concat", [own["upper"], own["lower"]], [own["flat"]], axis=0),
        helper.make_node("Slice", [own["flat"], own["zero"], own["count"]], [own["exact"]]),
        helper.make_node("Reshape", [own["exact"], own["shape"]], [f"{name}.raised"]),
        helper.make_node("Sub", [f"{name}.raised", own["eight"]], [f"{name}.float"]),
    ]
    return [numpy_helper.from_array(np.asarray(value), own[key]) for key, value in constants.items()], nodes
