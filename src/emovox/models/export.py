"""Write a fitted model of the catalogue as a bundle: one ONNX file that the light installation can use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

import emovox
from emovox._files import replacing
from emovox.errors import EmovoxError, ModelError
from emovox.inference.bundle import CLASSIC_INPUT_SIZE, INPUT_NAMES, Bundle, BundleMetadata
from emovox.inference.container import PRODUCER, seal
from emovox.models.onnx_tidy import keep_output, order_columns, tidy

OPSET = 18
OUTPUT = "probabilities"


def export(estimator: Any, path: str | os.PathLike[str], meta: BundleMetadata) -> int:
    """Write a fitted classifier as a bundle, in one step: a reader never sees half of it.

    Args:
        estimator: a fitted classifier of the catalogue. One with a method ``to_onnx_model() -> onnx.ModelProto`` is
            exported by it, all others by skl2onnx.
        path: the file to write, by custom ``.onnx``.
        meta: its description. `meta.labels` gives the order of the columns and must name the estimator's classes.

    Returns:
        Size of the file in bytes.

    Raises:
        ModelError: if the estimator is not fitted, has other classes, or cannot be expressed in ONNX.
    """
    data = bundle_bytes(estimator, meta)
    with replacing(Path(path)) as file:
        file.write_bytes(data)
    return len(data)


def bundle_bytes(estimator: Any, meta: BundleMetadata) -> bytes:
    """Give a fitted classifier as the bytes of a bundle; see `export`. The same model gives the same bytes."""
    classes = [str(name) for name in _classes(estimator)]
    if sorted(classes) != sorted(meta.labels):
        raise ModelError(
            f"the model knows {', '.join(classes)} but its description says {', '.join(meta.labels)}",
            remedy="Describe the model with the labels that it was trained on.",
        )
    features = getattr(estimator, "n_features_in_", CLASSIC_INPUT_SIZE)
    if meta.input == "classic" and features != CLASSIC_INPUT_SIZE:
        raise ModelError(f"the model takes {features} features; a bundle gives it {CLASSIC_INPUT_SIZE}")
    model = _graph(estimator, meta)
    order_columns(model, OUTPUT, classes, meta.labels)
    tidy(model, producer=PRODUCER, version=emovox.__version__)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"the exported graph is not valid ONNX ({error})") from error
    data = seal(model.SerializeToString(deterministic=True), meta.to_json())
    Bundle(data, threads=1)  # what cannot be loaded again is not written
    return data


def _classes(estimator: Any) -> Sequence[Any]:
    try:
        return list(estimator.classes_)
    except AttributeError as error:
        raise ModelError(
            f"{type(estimator).__name__} is not fitted or is no classifier", remedy="Call fit first."
        ) from error


def _graph(estimator: Any, meta: BundleMetadata) -> onnx.ModelProto:
    try:
        if hasattr(estimator, "to_onnx_model"):
            model = estimator.to_onnx_model()
            if not isinstance(model, onnx.ModelProto):
                raise ModelError(f"to_onnx_model of {type(estimator).__name__} gave no ONNX model")
            return model
        if meta.input != "classic":
            raise ModelError(f"{type(estimator).__name__} takes features; its description says {meta.input!r}")
        return sklearn_graph(estimator)
    except EmovoxError:
        raise
    except Exception as error:  # the converters raise whatever their parts do
        raise ModelError(f"{type(estimator).__name__} cannot be converted to ONNX: {error}") from error


def sklearn_graph(estimator: Any) -> onnx.ModelProto:
    """Convert a scikit-learn classifier or pipeline that takes shape (n, 180); the columns follow its `classes_`."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.preprocessing import StandardScaler

    from emovox.models import hist_onnx, knn_onnx, svc_onnx

    if not hasattr(estimator, "predict_proba"):  # skl2onnx would pass off its scores as probabilities
        raise ModelError(f"{type(estimator).__name__} gives no probabilities")
    svc_onnx.register()
    knn_onnx.register()
    hist_onnx.register()
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    model: onnx.ModelProto = to_onnx(
        estimator,
        initial_types=[(INPUT_NAMES["classic"], FloatTensorType([None, CLASSIC_INPUT_SIZE]))],
        # Divided by the scale as scikit-learn does, not multiplied by its inverse: thresholds of trees notice.
        options={id(last): {"zipmap": False}, StandardScaler: {"div": "div"}},
        target_opset={"": OPSET, "ai.onnx.ml": 3},
    )
    keep_output(model, OUTPUT)
    return model
