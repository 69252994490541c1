"""How gradient boosting on histograms becomes an ONNX graph, alone or as the last step of a pipeline."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from skl2onnx import update_registered_converter
from skl2onnx.algebra import onnx_ops
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.ensemble import HistGradientBoostingClassifier

from emovox.errors import ModelError


def register() -> None:
    """Replace skl2onnx's converter of `HistGradientBoostingClassifier`; calling it again does no harm.

    skl2onnx 1.20 writes attributes that today's onnx and protobuf refuse, and rounds thresholds to the nearest float32:
    one that is rounded up to a feature's value sends that clip the other way.
    """
    update_registered_converter(
        HistGradientBoostingClassifier,
        "EmovoxHistGradientBoostingClassifier",
        calculate_linear_classifier_output_shapes,
        _convert,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
        overwrite=True,
    )


def _convert(scope: Any, operator: Any, container: Any) -> None:
    machine = operator.raw_operator

    def op(name: str) -> Any:
        return partial(getattr(onnx_ops, f"Onnx{name}"), op_version=container.target_opset)

    label, probabilities = operator.outputs
    trees = onnx_ops.OnnxTreeEnsembleRegressor_3(operator.inputs[0], **_trees(machine))
    scores = op("Add")(trees, machine._baseline_prediction.astype(np.float32))
    if len(machine.classes_) == 2:
        positive = op("Sigmoid")(scores)
        negative = op("Sub")(np.array([1], np.float32), positive)
        result = op("Concat")(negative, positive, axis=1, output_names=[probabilities])
    else:
        result = op("Softmax")(scores, axis=1, output_names=[probabilities])
    result.add_to(scope, container)
    names = op("ArrayFeatureExtractor")(machine.classes_, op("ArgMax")(result, axis=1, keepdims=0))
    op("Reshape")(names, np.array([-1], np.int64), output_names=[label]).add_to(scope, container)


def _trees(machine: Any) -> dict[str, Any]:
    """Give all trees as attributes of TreeEnsembleRegressor; it sums them to scores of shape (n, trees a round)."""
    trees = [tree.nodes for one_round in machine._predictors for tree in one_round]
    nodes = np.concatenate(trees)
    if nodes["is_categorical"].any():
        raise ModelError("boosting on categorical features cannot be exported")
    lengths = [len(tree) for tree in trees]
    of_tree = np.repeat(np.arange(len(trees)), lengths)
    in_tree = np.concatenate([np.arange(length) for length in lengths])
    leaf = nodes["is_leaf"].astype(bool)
    targets = machine.n_trees_per_iteration_
    whole = {
        "nodes_treeids": of_tree,
        "nodes_nodeids": in_tree,
        "nodes_featureids": np.where(leaf, 0, nodes["feature_idx"]),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]),
        "nodes_missing_value_tracks_true": np.where(leaf, 0, nodes["missing_go_to_left"]),
        "target_treeids": of_tree[leaf],
        "target_nodeids": in_tree[leaf],
        "target_ids": of_tree[leaf] % targets,
    }
    return {
        "n_targets": targets,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "nodes_modes": ["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in leaf],
        "nodes_values": _rounded_down(np.where(leaf, 0, nodes["num_threshold"])).tolist(),
        "target_weights": nodes["value"][leaf].astype(np.float32).tolist(),
        **{name: values.astype(np.int64).tolist() for name, values in whole.items()},
    }


def _rounded_down(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Give the largest float32 that is not above: then ``x <= threshold`` is the same for every float32 x."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
