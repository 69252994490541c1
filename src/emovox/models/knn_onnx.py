"""How a k-nearest-neighbours classifier becomes an ONNX graph, alone or as the last step of a pipeline."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.algebra import onnx_ops
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.neighbors import KNeighborsClassifier

from emovox.errors import ModelError

_FLOAT, _DOUBLE = 1, 11
"""Element types of ONNX (onnx.TensorProto)."""


def register() -> None:
    """Replace skl2onnx's converter of `KNeighborsClassifier`; calling it again does no harm.

    Mel energies of one clip span eight powers of ten. skl2onnx computes distances in single precision, where two
    neighbours that scikit-learn tells apart become equal and a vote (1/k of the probability) can go to another class.
    """
    update_registered_converter(
        KNeighborsClassifier,
        "EmovoxKNeighborsClassifier",
        calculate_linear_classifier_output_shapes,
        _convert,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
        overwrite=True,
    )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    machine = operator.raw_operator
    if machine.weights != "uniform" or machine.effective_metric_ != "euclidean":
        raise ModelError(
            f"k-neighbors with weights {machine.weights!r} and metric {machine.effective_metric_!r} cannot be exported",
            remedy="Use weights='uniform' and the Euclidean metric.",
        )

    def op(name: str) -> Any:
        return partial(getattr(onnx_ops, f"Onnx{name}"), op_version=container.target_opset)

    label, probabilities = operator.outputs
    neighbours = np.asarray(machine._fit_X)
    # |x - y|^2 = |x|^2 - 2 x.y + |y|^2, in double precision; |x|^2 is the same for all y and does not change the order.
    x = op("Cast")(operator.inputs[0], to=_DOUBLE)
    stored = op("Cast")(neighbours.T.astype(np.float32), to=_DOUBLE)
    products = op("Mul")(op("MatMul")(x, stored), np.array([-2.0]))
    distances = op("Add")(products, np.square(neighbours.astype(np.float64)).sum(axis=1)[None, :])
    nearest = op("TopK")(distances, np.array([machine.n_neighbors], np.int64), axis=1, largest=0, sorted=1)
    votes = np.eye(len(machine.classes_), dtype=np.float32)[machine._y]
    # Shape (n, k, classes), averaged over the k neighbours.
    chosen = op("Gather")(votes, nearest[1], axis=0)
    result = op("ReduceMeanApi18")(chosen, axes=[1], keepdims=0, output_names=[probabilities])
    result.add_to(scope, container)
    names = op("ArrayFeatureExtractor")(machine.classes_, op("ArgMax")(result, axis=1, keepdims=0))
    op("Reshape")(names, np.array([-1], np.int64), output_names=[label]).add_to(scope, container)
