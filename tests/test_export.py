"""Exported models give the probabilities of the models they come from."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from bundles import LoudnessModel, waveform_meta
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from emovox import audio
from emovox.emotions import EMOTIONS
from emovox.errors import ModelError
from emovox.features.classic import classic
from emovox.inference.bundle import Bundle, BundleMetadata
from emovox.models.catalog import CATALOG
from emovox.models.export import bundle_bytes, export, sklearn_graph
from emovox.models.onnx_tidy import tidy

TOLERANCE = 1e-4
CLASSICAL = [name for name, spec in CATALOG.items() if spec.family == "classical"]
NETWORKS = [name for name, spec in CATALOG.items() if spec.family == "network"]
# What makes these quick to train changes the numbers, not the operators of the graph.
QUICK: dict[str, dict[str, Any]] = {
    "gradient-boosting": {"n_estimators": 5},
    "hist-gradient-boosting": {"max_iter": 20},
    "mlp": {"max_iter": 60},
    "random-forest": {"n_estimators": 30},
}
Data = tuple[npt.NDArray[np.float32], npt.NDArray[Any]]


@pytest.fixture(scope="session")
def real_features(corpora_dir: Path) -> Data:
    """Classic features of every 14th labelled clip of the three corpora, and their emotions."""
    with (corpora_dir / "manifest.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["label7"]][::14]
    clips = [audio.load(corpora_dir / f"{row['path']}.opus", rate=None) for row in rows]
    features = np.stack([classic(clip.samples, clip.rate) for clip in clips])
    return features, np.array([row["label7"] for row in rows])


def meta_of(model: Any, **changes: Any) -> BundleMetadata:
    values: dict[str, Any] = {"name": "x", "labels": tuple(map(str, model.classes_)), "input": "classic"}
    return BundleMetadata(**{**values, "created": "2026-01-01T00:00:00+00:00", **changes})


def made_up(seed: int = 0, *, rows: int = 60, classes: int = 3) -> Data:
    generator = np.random.default_rng(seed)
    y = np.array(EMOTIONS)[np.arange(rows) % classes]
    scale = 10.0 ** generator.integers(-3, 4, size=180)
    X = (generator.normal(size=(rows, 180)) + np.arange(rows)[:, None] % classes) * scale
    return X.astype(np.float32), y


def disagreement(model: Any, X: npt.NDArray[np.float32]) -> float:
    bundle = Bundle(bundle_bytes(model, meta_of(model)), threads=1)
    wanted = model.predict_proba(X)
    single = np.concatenate([bundle.run(row[None]) for row in X[:20]])
    return float(max(np.abs(bundle.run(X) - wanted).max(), np.abs(single - wanted[:20]).max()))


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_models_on_real_recordings(name: str, real_features: Data) -> None:
    X, y = real_features
    model = CATALOG[name].create(seed=7, **QUICK.get(name.removesuffix("-scaled"), {}))
    model.fit(X[::2], y[::2])  # half of the clips are new to the model
    assert disagreement(model, X) < TOLERANCE


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name != "cnn-1" else []) for name in NETWORKS]
)
def test_networks_on_real_recordings(name: str, real_features: Data) -> None:
    X, y = real_features
    model = CATALOG[name].create(seed=7, epochs=1, standardize=True).fit(X[::8], y[::8])
    assert disagreement(model, X) < TOLERANCE


_TWO_CLASSES = [
    "random-forest",
    "svc-scaled",
    "k-neighbors",
    "mlp-scaled",
    "bagging",
    "hist-gradient-boosting",
    "logistic-regression-scaled",
    "svc-linear-scaled",
]


@pytest.mark.parametrize("name", _TWO_CLASSES)
def test_two_classes(name: str) -> None:
    X, y = made_up(classes=2)
    model = CATALOG[name].create(seed=1, **QUICK.get(name.removesuffix("-scaled"), {})).fit(X, y)
    assert disagreement(model, X) < TOLERANCE


def test_thresholds_between_neighbouring_floats() -> None:
    """A tree compares float32 features with float64 thresholds: rounding one up would send a clip the other way."""
    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2.0))
    X = np.zeros((2, 180), np.float32)
    X[:, 0] = low, high
    tree = DecisionTreeClassifier(random_state=0).fit(X, ["happy", "sad"])
    tree.tree_.threshold[0] = (float(low) + float(high)) / 2
    assert disagreement(tree, X) == 0


def test_thresholds_of_boosting_between_neighbouring_floats() -> None:
    low = np.nextafter(np.float32(1.0), np.float32(2.0))
    high = np.nextafter(low, np.float32(2.0))
    assert np.float32((float(low) + float(high)) / 2) == high, "the case that rounding to the nearest gets wrong"
    X = np.full((80, 180), np.float32(0))
    X[:, 0] = [low, high] * 40
    model = CATALOG["hist-gradient-boosting"].create(seed=0).fit(X, ["happy", "sad"] * 40)
    assert (model.predict(X) == ["happy", "sad"] * 40).all()
    assert disagreement(model, X) < 1e-6


def test_boosting_with_missing_features_and_categories() -> None:
    X, y = made_up(rows=300)
    X[::3, :90] = np.nan
    missing = CATALOG["hist-gradient-boosting"].create(seed=0, max_iter=5).fit(X, y)
    graph = sklearn_graph(missing)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"features": X})[0], missing.predict_proba(X), atol=1e-6)
    X[:, 0] = np.arange(300) % 3
    sorted_by_kind = CATALOG["hist-gradient-boosting"].create(seed=0, categorical_features=[0]).fit(X, y)
    with pytest.raises(ModelError, match="categorical"):
        bundle_bytes(sorted_by_kind, meta_of(sorted_by_kind))


def test_neighbours_that_single_precision_cannot_tell_apart() -> None:
    """Differences of one in a feature beside one of 10^6: squares of 10^12 leave no digits for them in float32."""
    X = np.zeros((6, 180), np.float32)
    X[:, 0] = 1e6
    X[:, 1] = [0, 1, 2, 10, 11, 12]
    y = ["happy", "happy", "happy", "sad", "sad", "sad"]
    model = KNeighborsClassifier(3).fit(X, y)
    query = X.copy()
    query[:, 1] += 0.25
    assert disagreement(model, query) < 1e-6


def test_columns_follow_the_labels_of_the_description() -> None:
    X, y = made_up()
    model = LogisticRegression(max_iter=50).fit(X / np.abs(X).max(axis=0), y)
    labels = ("fear", "angry", "disgust")
    bundle = Bundle(bundle_bytes(model, meta_of(model, labels=labels)))
    wanted = model.predict_proba(X)[:, [list(model.classes_).index(label) for label in labels]]
    np.testing.assert_allclose(bundle.run(X), wanted, atol=TOLERANCE)


def test_other_labels_than_those_of_training_are_refused() -> None:
    X, y = made_up()
    model = DecisionTreeClassifier().fit(X, y)
    with pytest.raises(ModelError, match="angry, disgust, fear"):
        bundle_bytes(model, meta_of(model, labels=EMOTIONS))


def test_what_cannot_be_exported_says_so() -> None:
    X, y = made_up()
    with pytest.raises(ModelError, match="fit"):
        bundle_bytes(DecisionTreeClassifier(), BundleMetadata(name="x", labels=EMOTIONS, input="classic"))
    ridge = RidgeClassifier().fit(X, y)
    with pytest.raises(ModelError, match="RidgeClassifier"):
        bundle_bytes(ridge, meta_of(ridge))
    weighted = KNeighborsClassifier(weights="distance").fit(X, y)
    with pytest.raises(ModelError, match="weights"):
        bundle_bytes(weighted, meta_of(weighted))
    narrow = DecisionTreeClassifier().fit(X[:, :10], y)
    with pytest.raises(ModelError):
        bundle_bytes(narrow, meta_of(narrow))
    tree = DecisionTreeClassifier().fit(X, y)
    with pytest.raises(ModelError, match="waveform"):
        bundle_bytes(tree, meta_of(tree, input="waveform", sample_rate=16_000))


def test_invalid_graph_of_a_model_is_refused() -> None:
    class Broken(LoudnessModel):
        def to_onnx_model(self) -> onnx.ModelProto:
            model = super().to_onnx_model()
            model.graph.node[0].input[0] = "nowhere"
            return model

    with pytest.raises(ModelError, match="ONNX"):
        bundle_bytes(Broken(), waveform_meta())


def test_export_writes_in_one_step_and_tells_the_size(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.onnx"
    size = export(LoudnessModel(), path, waveform_meta())
    assert path.stat().st_size == size
    before = path.read_bytes()
    with pytest.raises(ModelError):
        export(LoudnessModel(EMOTIONS[:3]), path, waveform_meta())
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["model.onnx"]


_MAKE = """
import sys
sys.path.insert(0, {folder!r})
from test_export import *
X, y = made_up(classes=4)
models = [
    CATALOG["bagging-scaled"].create(seed=3),
    CATALOG["k-neighbors"].create(),
    CATALOG["svc"].create(),
    CATALOG["svc-linear-scaled"].create(),
    CATALOG["hist-gradient-boosting"].create(seed=3, max_iter=3),
]
for model in models:
    data = bundle_bytes(model.fit(X, y), meta_of(model))
    print(hashlib.sha256(data).hexdigest())
"""


def test_same_model_gives_same_bytes_in_every_process() -> None:
    program = _MAKE.format(folder=str(Path(__file__).parent))
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 5


def test_no_trace_of_the_machine_is_left() -> None:
    X, y = made_up()
    model = CATALOG["cnn-1"].create(seed=0, epochs=1).fit(X, y)
    data = bundle_bytes(model, meta_of(model))
    for trace in (str(Path(__file__).parents[1]), "site-packages", "stack_trace", ".py"):
        assert trace.encode() not in data
    assert hashlib.sha256(data).digest() == hashlib.sha256(bundle_bytes(model, meta_of(model))).digest()


def test_tidying_renames_through_branches_and_keeps_results() -> None:
    """`If` has graphs of its own, which use values of the graph around them."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])
    add = helper.make_graph(
        [helper.make_node("Add", ["doubled", "one"], ["sum"], doc_string="/home/me/net.py")],
        "then",
        [],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)],
    )
    same = helper.make_graph(
        [helper.make_node("Identity", ["doubled"], ["copy"])],
        "else",
        [],
        [helper.make_tensor_value_info("copy", TensorProto.FLOAT, None)],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "x"], ["doubled"]),
            helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
            helper.make_node("Greater", ["total", "one"], ["is_large"]),
            helper.make_node("If", ["is_large"], ["y"], then_branch=add, else_branch=same),
        ],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [one],
    )
    unused = helper.make_opsetid("com.example", 1)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), unused], ir_version=9)
    tidy(model, producer="emovox", version="1")
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    assert b"/home/me" not in data
    assert b"doubled" not in data
    assert [item.domain for item in model.opset_import] == [""]
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for x, wanted in (([1.0, 2.0], [3.0, 5.0]), ([0.0, 0.5], [0.0, 1.0])):
        np.testing.assert_array_equal(session.run(None, {"x": np.array(x, np.float32)})[0], wanted)
