"""How a `VotingSVC` becomes an ONNX graph, alone or as the last step of a pipeline."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.algebra import onnx_ops
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes

from emovox.errors import ModelError
from emovox.models.svc import VotingSVC

_FLOAT, _DOUBLE = 1, 11
"""Element types of ONNX (onnx.TensorProto)."""


def register() -> None:
    """Teach skl2onnx to convert `VotingSVC`; calling it again does no harm.

    skl2onnx's own converter of `SVC` gives no probabilities without ``probability=True``.
    """
    update_registered_converter(
        VotingSVC,
        "EmovoxVotingSVC",
        calculate_linear_classifier_output_shapes,
        _convert,
        options={"zipmap": [True, False, "columns"], "nocl": [True, False]},
    )


class _Operators:
    """ONNX operators of one opset: ``_Operators(18).Add(a, b)``."""

    def __init__(self, opset: int) -> None:
        self.opset = opset

    def __getattr__(self, name: str) -> Any:
        return partial(getattr(onnx_ops, f"Onnx{name}"), op_version=self.opset)


def _convert(scope: Any, operator: Any, container: Any) -> None:
    machine, op = operator.raw_operator, _Operators(container.target_opset)
    if machine.kernel not in ("rbf", "linear") or machine.decision_function_shape != "ovr":
        raise ModelError(
            f"an SVC with kernel {machine.kernel!r} and scores {machine.decision_function_shape!r} cannot be exported",
            remedy="Use kernel='rbf' or 'linear' and decision_function_shape='ovr'.",
        )
    label, probabilities = operator.outputs
    decisions = _decisions(op, operator.inputs[0], machine)
    if len(machine.classes_) == 2:
        positive = op.Sigmoid(op.Cast(decisions, to=_FLOAT))
        negative = op.Sub(np.array([1], np.float32), positive)
        result = op.Concat(negative, positive, axis=1, output_names=[probabilities])
    else:
        result = op.Softmax(_scores(op, decisions, len(machine.classes_)), axis=1, output_names=[probabilities])
    result.add_to(scope, container)
    names = op.ArrayFeatureExtractor(machine.classes_, op.ArgMax(result, axis=1, keepdims=0))
    op.Reshape(names, np.array([-1], np.int64), output_names=[label]).add_to(scope, container)


def _decisions(op: _Operators, inputs: Any, machine: VotingSVC) -> Any:
    """Compute the decision of each pair of classes, shape (n, pairs).

    In double precision, as in libsvm: where a vote is close, single precision could turn it.
    """
    weights, intercepts = machine.one_against_one()
    vectors = machine.support_vectors_
    x = op.Cast(inputs, to=_DOUBLE)
    if machine.kernel == "linear":  # a sum of products with vectors is the product with their sum
        return op.Add(op.MatMul(x, vectors.T @ weights), intercepts[None, :])
    support = op.Cast(vectors.T.astype(np.float32), to=_DOUBLE)
    squares = op.ReduceSumSquareApi18(x, axes=[1], keepdims=1)
    products = op.Mul(op.MatMul(x, support), np.array([-2.0]))
    distances = op.Add(op.Add(squares, products), np.square(vectors).sum(axis=1)[None, :])
    kernel = op.Exp(op.Mul(distances, np.array([-machine._gamma])))
    return op.Add(op.MatMul(kernel, weights), intercepts[None, :])


def _scores(op: _Operators, decisions: Any, classes: int) -> Any:
    """Compute the scores whose softmax `VotingSVC.predict_proba` is, shape (n, classes)."""
    pairs = np.array(list(itertools.combinations(range(classes), 2)))
    first, second = np.eye(classes, dtype=np.float32)[pairs.T]
    one, three = np.array([1], np.float32), np.array([3], np.float32)
    won = op.Cast(op.Greater(decisions, np.array([0.0])), to=_FLOAT)
    # A lost pair is a vote for its second class: won @ first + (1 - won) @ second.
    votes = op.Add(op.MatMul(won, first - second), second.sum(axis=0, keepdims=True))
    sums = op.MatMul(op.Cast(decisions, to=_FLOAT), first - second)
    scores = op.Add(votes, op.Div(sums, op.Mul(op.Add(op.Abs(sums), one), three)))
    is_winner = op.Equal(op.ArgMax(votes, axis=1, keepdims=1), np.arange(classes)[None, :])
    return op.Where(is_winner, op.ReduceMaxApi18(scores, axes=[1], keepdims=1), scores)
