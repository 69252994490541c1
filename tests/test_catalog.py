"""The catalogue: complete, light to import, and of one contract."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.base import clone, is_classifier

from emovox.cli.evaluate import split_models
from emovox.errors import ModelError, ParameterError
from emovox.models.catalog import CATALOG, create, find
from emovox.models.optimizers import OPTIMIZERS

CLASSICAL = ["random-forest", "svc", "gradient-boosting", "k-neighbors", "mlp", "bagging", "adaboost", "decision-tree"]
BASELINES = ["hist-gradient-boosting", "logistic-regression-scaled", "svc-linear-scaled"]
NETWORKS = [f"cnn-{number}" for number in range(1, 5)] + [f"cnn-lstm-{number}" for number in range(1, 5)]


def test_the_catalogue_holds_every_model_of_the_study_in_its_order():
    scaled = [f"{name}-scaled" for name in CLASSICAL]
    assert list(CATALOG) == [*CLASSICAL, *scaled, *BASELINES, *NETWORKS, "two-branch", "speechnet", "speechnet-small"]


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_not_the_study_s(name):
    assert CATALOG[name].reference == {}
    assert CATALOG[name].family == "classical"
    assert "a practitioner's baseline" in CATALOG[name].summary
    assert ("standardised" in CATALOG[name].summary) == name.endswith("-scaled") == ("scaler" in str(create(name)))


def test_groups_of_models_of_the_command():
    groups = {
        "classical": CLASSICAL,
        "scaled": [f"{name}-scaled" for name in CLASSICAL],
        "baselines": [*BASELINES, "svc-scaled"],
        "networks": [*NETWORKS, "two-branch"],
        "all": list(CATALOG),
    }
    for group, names in groups.items():
        assert split_models([group]) == (names, [])
    assert split_models(["baselines", "svc-scaled", "x.onnx"]) == ([*BASELINES, "svc-scaled"], ["x.onnx"])


def test_importing_the_catalogue_imports_no_heavy_package():
    code = "import sys, emovox.models.catalog; print([m for m in ('torch', 'sklearn', 'numpy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [*CLASSICAL, *(f"{name}-scaled" for name in CLASSICAL), *BASELINES])
def test_every_classical_model_is_an_unfitted_classifier_that_can_be_cloned(name):
    model = create(name, seed=3)
    assert is_classifier(model)
    assert hasattr(model, "predict_proba")
    assert clone(model).get_params(deep=False).keys() == model.get_params(deep=False).keys()
    seeds = {value for key, value in model.get_params().items() if re.fullmatch(r"(model__)?random_state", key)}
    assert seeds <= {3}


def test_parameters_reach_the_model_inside_the_pipeline():
    model = create("random-forest-scaled", n_estimators=5, seed=1)
    assert model.get_params()["model__n_estimators"] == 5
    assert model.get_params()["model__random_state"] == 1


def test_the_study_s_own_parameters_stand_and_can_be_changed():
    assert create("mlp").max_iter == 500
    assert create("mlp", max_iter=20).max_iter == 20
    assert create("mlp-scaled").named_steps["model"].max_iter == 500


def test_an_unknown_name_proposes_similar_ones():
    with pytest.raises(ModelError, match="random-forest") as caught:
        find("random_forest")
    assert caught.value.code == "unknown_model"
    with pytest.raises(ModelError, match="emovox models list"):
        create("zzz")


def test_an_unknown_parameter_is_named():
    with pytest.raises(ParameterError, match="trees"):
        create("random-forest", trees=5)


@pytest.mark.parametrize("name", [*NETWORKS, "two-branch"])
def test_parameter_counts_equal_the_published_ones(name):
    spec = CATALOG[name]
    assert spec.parameters(classes=8) == spec.published_parameters()
    assert spec.as_dict()["parameters"] < spec.as_dict()["reference_parameters"]


def test_published_figures_are_those_of_the_reference():
    """Against the tables themselves, where the reference lies beside the checkout."""
    reference = Path(__file__).parents[2] / "shared" / "REFERENCE.md"
    if not reference.is_file():
        pytest.skip("the reference (../shared/REFERENCE.md) is not at hand")
    rows = [re.split(r"\s*\|\s*", line.strip("|\n ")) for line in reference.read_text().splitlines() if "|" in line]
    networks = {row[0].lower().replace("+", "-").replace(" ", "-"): row for row in rows if len(row) == 5}
    for name in NETWORKS:
        _, _, _, parameters, accuracy = networks[name]
        published = {"parameters": int(parameters.replace(",", "")), "test_accuracy": float(accuracy)}
        assert CATALOG[name].reference == published
    classical = [row for row in rows if row[0].endswith("Classifier") or row[0] == "SVC"]
    for name, row in zip(CLASSICAL, classical, strict=True):
        assert list(CATALOG[name].reference.values()) == [float(cell.strip("*")) for cell in row[1:]]


def listed(*options: str) -> str:
    command = [sys.executable, "-c", "from emovox.cli.main import main; main()", "models", "list", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_list_as_json_gives_every_network_s_counts_beside_the_published_ones():
    document = json.loads(listed("--format", "json"))
    models = {model["name"]: model for model in document["models"]}
    assert list(models) == list(CATALOG)
    for name in [*NETWORKS, "two-branch"]:
        assert models[name]["parameters_with_8_units"] == models[name]["reference_parameters"]
        assert models[name]["parameters"] == CATALOG[name].parameters(classes=7)
    assert models["two-branch"]["reference_parameters"] == 758_024
    assert [optimizer["name"] for optimizer in document["optimizers"]] == list(OPTIMIZERS)


def test_the_list_as_csv_has_a_row_a_model():
    rows = list(csv.DictReader(io.StringIO(listed("--format", "csv"))))
    assert [row["name"] for row in rows] == list(CATALOG)
    assert float(rows[0]["reference_test_accuracy"]) == 91.07
    assert next(row for row in rows if row["name"] == "cnn-1")["parameters"] == "102535"


def test_the_list_as_a_table_names_every_model():
    shown = listed()
    assert all(name in shown for name in CATALOG)
    assert "758,024" in shown


def test_the_list_imports_neither_torch_nor_scikit_learn():
    code = (
        "import sys; from emovox.cli.models import list_models; from emovox.cli.common import Format;"
        "list_models(Format.JSON); sys.exit(bool({'torch', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
