"""The classical models, as data: the reference study's eight, and baselines; and how one is built, scaled or not.

Importing this file imports no scikit-learn, so that the catalogue can be listed quickly.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCALED_SUFFIX = "-scaled"
SCALER_STEP, MODEL_STEP = "scaler", "model"
"""Names of the two steps of a scaled model's pipeline."""


@dataclass(frozen=True, kw_only=True)
class ClassicalModel:
    """One classical model: scikit-learn's class with parameters.

    Attributes:
        name: its name in the catalogue.
        title: what people call it.
        estimator: import path of the class, ``module:Class``.
        parameters: what differs from scikit-learn's defaults.
        scaled: whether features are standardised before it, always.
        reference: the study's published figures; seconds, F1 in 0..1, accuracy in per cent.
    """

    name: str
    title: str
    estimator: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    scaled: bool = False
    reference: Mapping[str, float] = field(default_factory=dict)


def _figures(*row: float) -> dict[str, float]:
    names = ("train_seconds", "train_f1", "train_accuracy", "test_seconds", "test_f1", "test_accuracy")
    return dict(zip(names, row, strict=True))


CLASSICAL = (
    ClassicalModel(
        name="random-forest",
        title="random forest",
        estimator="sklearn.ensemble:RandomForestClassifier",
        reference=_figures(156.50, 1.00, 100, 0.40, 0.91, 91.07),
    ),
    ClassicalModel(
        name="svc",
        title="support vector machine",
        estimator="emovox.models.svc:VotingSVC",
        reference=_figures(401.04, 0.62, 63.19, 110.71, 0.62, 62.87),
    ),
    ClassicalModel(
        name="gradient-boosting",
        title="gradient boosting",
        estimator="sklearn.ensemble:GradientBoostingClassifier",
        reference=_figures(4284.15, 0.86, 86.35, 0.48, 0.83, 82.70),
    ),
    ClassicalModel(
        name="k-neighbors",
        title="nearest neighbours",
        estimator="sklearn.neighbors:KNeighborsClassifier",
        reference=_figures(0.03, 0.92, 92.29, 2.41, 0.88, 87.50),
    ),
    ClassicalModel(
        name="mlp",
        title="multilayer perceptron",
        estimator="sklearn.neural_network:MLPClassifier",
        parameters={"max_iter": 500},
        reference=_figures(64.84, 0.95, 94.92, 0.02, 0.90, 89.83),
    ),
    ClassicalModel(
        name="bagging",
        title="bagged decision trees",
        estimator="sklearn.ensemble:BaggingClassifier",
        reference=_figures(215.69, 1.00, 99.76, 0.23, 0.86, 85.82),
    ),
    ClassicalModel(
        name="adaboost",
        title="boosted decision stumps",
        estimator="sklearn.ensemble:AdaBoostClassifier",
        reference=_figures(111.36, 0.44, 44.04, 0.48, 0.44, 44.34),
    ),
    ClassicalModel(
        name="decision-tree",
        title="decision tree",
        estimator="sklearn.tree:DecisionTreeClassifier",
        reference=_figures(31.99, 1.00, 100, 0.02, 0.75, 75.02),
    ),
)
"""The study's classical models, in its order."""

BASELINES = (
    ClassicalModel(
        name="hist-gradient-boosting",
        title="gradient boosting on histograms",
        estimator="sklearn.ensemble:HistGradientBoostingClassifier",
        # Its own early stopping (beyond 10,000 clips) would hold out clips of speakers that it also learns from.
        parameters={"early_stopping": False},
    ),
    ClassicalModel(
        name=f"logistic-regression{SCALED_SUFFIX}",
        title="logistic regression on standardised features",
        estimator="sklearn.linear_model:LogisticRegression",
        # It converges in some hundred steps; the default of 100 would cut it off.
        parameters={"max_iter": 5000},
        scaled=True,
    ),
    ClassicalModel(
        name=f"svc-linear{SCALED_SUFFIX}",
        title="linear support vector machine on standardised features",
        estimator="emovox.models.svc:VotingSVC",
        # With the default of 1, the optimiser takes some six times the steps; docs/models.md has the figures.
        parameters={"kernel": "linear", "C": 0.1},
        scaled=True,
    ),
)
"""What a practitioner would try first; the study has none of them."""

BASELINE_NAMES = (*(model.name for model in BASELINES), f"svc{SCALED_SUFFIX}")
"""The baselines: those above, and the study's support vector machine (with an RBF kernel), scaled."""


def build(*, estimator: str, scaled: bool = False, **parameters: object) -> Any:
    """Build a classical model.

    Args:
        estimator: import path of the scikit-learn class, ``module:Class``.
        scaled: put `StandardScaler` before it; mean and scale are then learned from what `fit` sees, never from
            test data.
        parameters: of the class itself, in the scaled case too.

    Returns:
        The estimator, or a `Pipeline` with the steps ``scaler`` and ``model``.
    """
    module, _, name = estimator.partition(":")
    model = getattr(importlib.import_module(module), name)(**parameters)
    if not scaled:
        return model
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    return Pipeline([(SCALER_STEP, StandardScaler()), (MODEL_STEP, model)])
