"""Studies from a file: what is computed, that nothing is computed twice, and that a kill changes no number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, recall_score
from sklearn.tree import DecisionTreeClassifier
from typer.testing import CliRunner

from emovox import manifest
from emovox.cli.main import app
from emovox.corpora.scanning import scan
from emovox.emotions import EMOTIONS
from emovox.errors import ParameterError, ProtocolError
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.protocols import SpeakerFolds, validation_split
from emovox.evaluation.tasks import Data, fit_model
from emovox.features.store import FeatureStore
from emovox.manifest import Selection
from emovox.studies.config import StudyConfig, parse_protocol, read_config
from emovox.studies.reading import read_study
from emovox.studies.rows import read_rows, write_rows
from emovox.studies.running import STUDY_FILE, plan_study, run_study

ROOT = Path(__file__).parents[1]

STUDY = """
title = "Small"
corpora = ["emodb", "esd"]

[parts.trees]
title = "Trees"
kind = "classical"

[[parts.trees.blocks]]
models = ["decision-tree", "random-forest"]
protocols = ["random-25", "speaker-5"]
sizes = [0.1, 1.0]
training_scores = true

[parts.networks]
title = "Networks"
kind = "networks"

[[parts.networks.blocks]]
models = ["cnn-1"]
protocols = ["random-25"]
held_out = true
parameters = { epochs = 12 }
grid = { early_stopping = [false, true] }
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def emodb(corpora_dir: Path) -> Selection:
    return manifest.select_labels(scan(str(corpora_dir / "emodb"), durations=False).table, EMOTIONS)


def numbers(out: Path) -> dict[str, Any]:
    """Everything of a study's cells that must be the same again: all but times."""
    store = CellStore(out)
    found = {}
    for cell in store.cells():
        history = {key: value for key, value in cell.details.get("history", {}).items() if key != "seconds"}
        views = store.views(cell.key)
        assert views is not None
        arrays = {name: (view.rows.tolist(), view.probabilities.tolist()) for name, view in views.items()}
        found[cell.key.stem] = (cell.inputs, cell.clips, cell.details.get("training_scores"), history, arrays)
    return found


def changed(text: str, path: Path) -> StudyConfig:
    path.write_text(text)
    return read_config(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("decision-tree", "decision-bush", r"parts.trees.blocks.0.models: .*there is no model 'decision-bush'"),
        ("speaker-5", "speakers", r"blocks.0.protocols: .*there is no protocol 'speakers'"),
        ("0.1, 1.0", "0.0, 1.0", r"blocks.0.sizes.0: .*greater than 0"),
        ("held_out = true", 'conditions = ["rain"]', r"there is no condition 'rain'"),
        ("training_scores", "training_score", r"blocks.0.training_score: Extra inputs"),
        ('title = "Trees"', "title = 3", r"parts.trees.title: .*string"),
        ('title = "Small"', "title = ", r"cannot be read as a study"),
    ],
)
def test_a_wrong_file_says_where_it_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in STUDY
    with pytest.raises(ParameterError, match=message):
        changed(STUDY.replace(old, new), tmp_path / "wrong.toml")


def test_protocols_by_key_have_that_key() -> None:
    for key in ("random-25", "random-20", "speaker-5", "loso", "corpus"):
        assert parse_protocol(key).key == key


def test_the_committed_study_covers_the_reference() -> None:
    config = read_config(ROOT / "studies" / "reference.toml")
    models = {name for part in config.parts.values() for block in part.blocks for name in block.models}
    assert len(config.parts["classical"].blocks[0].models) == 8
    assert {f"cnn-{n}" for n in range(1, 5)} | {f"cnn-lstm-{n}" for n in range(1, 5)} | {"two-branch"} <= models
    assert config.parts["classical"].blocks[0].sizes == [0.01, 0.1, 1.0]
    assert len(config.parts["optimizers"].blocks[0].grid["optimizer"]) == 7


@pytest.mark.slow
def test_study_is_the_plain_loop(study_file: Path, tmp_path: Path, emodb: Selection) -> None:
    """Cells recomputed with plain scikit-learn."""
    config, out = read_config(study_file), tmp_path / "out"
    run_study(config, emodb, out, parts=["trees"], jobs=2)
    study = read_study(config, out)
    assert study.about["absent"] == ["esd"]
    table = emodb.table
    features = np.asarray(FeatureStore().extract(table, "classic").values)
    truth, speakers = table["emotion"].to_numpy(dtype=str), table["speaker"].to_numpy(dtype=str)
    by_title = {(one.title, one.protocol["key"]): one for one in study.results("trees")}
    assert len(by_title) == 8

    predicted = np.empty(len(table), dtype=object)
    scores = []
    for train, test in SpeakerFolds().split(table):
        assert not set(speakers[train]) & set(speakers[test])
        model = RandomForestClassifier(random_state=7).fit(features[train], truth[train])
        predicted[test] = model.predict(features[test])
        scores.append(accuracy_score(truth[train], model.predict(features[train])))
    forest = by_title["random-forest", "speaker-5"]
    assert forest.scores is not None
    assert forest.scores.uar == pytest.approx(recall_score(truth, predicted.astype(str), average="macro"))
    assert forest.training_score("accuracy") == pytest.approx(np.mean(scores))
    assert forest.scores.clips == len(table)

    (train, test), *_ = parse_protocol("random-25").split(table)
    small = by_title["decision-tree(size=0.1)", "random-25"]
    (cell,) = small.cells
    assert cell.clips["train"] == sum(max(1, round(0.1 * np.sum(truth[train] == name))) for name in set(truth))
    whole = by_title["decision-tree", "random-25"]
    tree = DecisionTreeClassifier(random_state=7).fit(features[train], truth[train])
    (stored,) = whole.folds()
    assert stored.rows.tolist() == test.tolist()
    assert [EMOTIONS[number] for number in stored.predicted] == tree.predict(features[test]).tolist()


@pytest.mark.slow
def test_two_kills_change_no_number(study_file: Path, tmp_path: Path, corpora_dir: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    emovox = str(Path(sys.executable).with_name("emovox"))
    command = [emovox, "-q", "study", "run", str(study_file), "-c", str(corpora_dir / "emodb")]
    subprocess.run([*command, "-o", str(whole), "-j", "2"], check=True, capture_output=True)

    def kill(when: Callable[[], bool]) -> None:
        process = subprocess.Popen([*command, "-o", str(broken), "-j", "1"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not when() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, "it should not have ended by itself"
        process.send_signal(signal.SIGKILL)
        process.wait()

    cells = broken / "cells"
    kill(lambda: len(list(cells.glob("*.json"))) >= 5)
    done = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 5 <= len(done) < 26
    kill(lambda: any(cells.glob("cnn-1*.training/last.ckpt")))
    assert any(cells.glob("*.training/last.ckpt")), "the network's training is kept"
    assert {name: (cells / name).stat().st_mtime_ns for name in done} == done, "nothing is computed twice"

    counts = {"running": 1}
    deadline = time.monotonic() + 10
    while counts["running"] and time.monotonic() < deadline:  # the killed run's process notices that it is alone
        status = CliRunner().invoke(app, ["study", "status", str(study_file), "-o", str(broken), "--format", "json"])
        counts = json.loads(status.stdout)
    assert counts["failed"] == counts["running"] == 0
    assert counts["done"] == len(list(cells.glob("*.json")))
    assert counts["done"] + counts["left"] == 26

    half = cells / f".any.npz.{os.getpid()}.partial"  # as if killed while it wrote
    half.write_bytes(b"half")
    subprocess.run([*command, "-o", str(broken), "-j", "2"], check=True, capture_output=True)
    assert numbers(broken) == numbers(whole)
    assert not list(cells.iterdir()), "no traces are left"


@pytest.mark.slow
def test_a_new_model_and_a_new_corpus_compute_new_cells_only(tmp_path: Path, corpora_dir: Path) -> None:
    text = """
        title = "Grows"
        corpora = ["emodb", "tess"]
        [parts.corpora]
        title = "Corpus by corpus"
        kind = "corpora"
        [[parts.corpora.blocks]]
        models = ["decision-tree"]
        protocols = ["random-25"]
        within = ["each"]
    """
    out = tmp_path / "out"
    both = scan(str(corpora_dir), durations=False).table
    both = both[both["corpus"].isin(["emodb", "tess"])].groupby("corpus").head(300).reset_index(drop=True)
    both = manifest.select_labels(both, EMOTIONS)
    one = Selection(both.table[both.table["corpus"] == "tess"].reset_index(drop=True), both.dropped, both.mapped)

    def when() -> dict[str, float]:
        return {cell.key.stem: cell.seconds["train"] for cell in CellStore(out).cells()}

    run_study(changed(text, tmp_path / "study.toml"), one, out, jobs=1)
    first, before = when(), read_rows(out)
    assert before is not None
    assert list(first) == ["decision-tree.random-25-in-tess.seed7.fold0"]

    config = changed(text.replace('"decision-tree"', '"decision-tree", "k-neighbors"'), tmp_path / "study.toml")
    run_study(config, both, out, jobs=1)
    second, after = when(), read_rows(out)
    assert after is not None
    assert len(second) == 4
    assert {stem: second[stem] for stem in first} == first, "the old cell was not computed again"
    pd_names = before.known["path"].tolist()
    assert after.known["path"].tolist()[: len(pd_names)] == pd_names, "rows keep their numbers"
    study = read_study(config, out)
    for result in study.results("corpora"):
        taken = result.predictions()
        assert set(result.column("corpus", taken)) == {result.protocol["key"].rpartition("-in-")[2]}
        assert result.complete

    files = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    run_study(config, both, out, jobs=1)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == files, "nothing was left to do"

    (out / STUDY_FILE).write_text("{")
    with pytest.raises(ProtocolError, match="cannot be read"):
        read_study(config, out)


@pytest.mark.slow
def test_a_failing_cell_is_recorded_and_stops_nobody(tmp_path: Path, emodb: Selection) -> None:
    text = STUDY.replace('models = ["cnn-1"]', 'models = ["mlp"]').replace(
        "parameters = { epochs = 12 }\ngrid = { early_stopping = [false, true] }",
        'grid = { activation = ["relu", "nonsense"] }',
    )
    path, out = tmp_path / "small.toml", tmp_path / "out"
    config = changed(text, path)
    run_study(config, emodb, out, parts=["networks"], jobs=1)
    result = CliRunner().invoke(app, ["study", "status", str(path), "-o", str(out), "-p", "networks", "-f", "json"])
    counts = json.loads(result.stdout)
    assert (counts["done"], counts["failed"], counts["left"], counts["running"]) == (1, 1, 0, 0)
    assert "nonsense" in counts["failures"][0]["message"]
    (unfinished,) = read_study(config, out).unfinished("networks")
    assert unfinished.failures[0][1]["code"] == "InvalidParameterError"


def test_held_out_speakers_are_neither_fitted_nor_tested(emodb: Selection, tmp_path: Path) -> None:
    text = STUDY.replace('protocols = ["random-25"]', 'protocols = ["speaker-5"]')
    config = changed(text, tmp_path / "small.toml")
    speakers = emodb.table["speaker"].to_numpy(dtype=str)
    (plan,) = plan_study(config, emodb.table, parts=["networks"])
    assert len(plan.cells) == 10
    for one in plan.cells:
        fit, validation, test = (set(speakers[rows]) for rows in (one.task.fit, one.task.validation, one.task.test))
        assert validation
        assert not fit & validation
        assert not fit & test
        assert not validation & test


def test_a_model_that_watches_nobody_is_not_shown_validation_rows() -> None:
    random = np.random.default_rng(0)
    truth = np.array(["sad", "happy"] * 20)
    data = Data(random.normal(size=(40, 3)), truth, np.array(["a", "b"] * 20))
    seen: list[int] = []

    class Spy(DecisionTreeClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any) -> Any:
            seen.append(len(X))
            return super().fit(X, y)

    fit, validation = validation_split(_table(truth), np.arange(40), parse_protocol("random-25"))
    fit_model(Spy(), data, fit, validation)
    assert seen == [len(fit)] == [32]


def _table(truth: Any) -> Any:
    rows = [{"path": f"{number}.wav", "emotion": emotion} for number, emotion in enumerate(truth)]
    return manifest.build(rows)


def test_a_part_plans_the_same_cells_alone_as_with_the_others(emodb: Selection, tmp_path: Path) -> None:
    text = (
        STUDY
        + """
[parts.robustness]
title = "Noise"
kind = "robustness"
[[parts.robustness.blocks]]
models = ["random-forest"]
protocols = ["speaker-5"]
conditions = ["white-0db"]
"""
    )
    config = changed(text, tmp_path / "study.toml")
    whole = {part.name: [one.cell.inputs for one in part.cells] for part in plan_study(config, emodb.table)}
    for name, expected in whole.items():
        (alone,) = plan_study(config, emodb.table, parts=[name])
        assert [one.cell.inputs for one in alone.cells] == expected
    assert whole["robustness"][0]["training_scores"] is True
    assert whole["robustness"][0]["conditions"] == ["white-0db"]


def test_a_plan_needs_the_results_only(emodb: Selection, study_file: Path, tmp_path: Path) -> None:
    config = read_config(study_file)
    kept = write_rows(tmp_path / "out", emodb.table)
    again = read_rows(tmp_path / "out")
    assert again is not None
    assert again.numbers.tolist() == kept.numbers.tolist()
    expected = [one.cell.inputs for part in plan_study(config, emodb.table) for one in part.cells]
    assert [one.cell.inputs for part in plan_study(config, again.table) for one in part.cells] == expected
    assert str(ROOT.parent) not in "".join(again.known["path"])


def test_rows_that_go_and_come_back_keep_their_numbers(emodb: Selection, tmp_path: Path) -> None:
    table = emodb.table
    write_rows(tmp_path, table)
    fewer = table.iloc[100:].reset_index(drop=True)
    assert write_rows(tmp_path, fewer).numbers.tolist() == list(range(100, len(table)))
    turned = table.iloc[::-1].reset_index(drop=True)
    assert write_rows(tmp_path, turned).numbers.tolist() == list(range(len(table)))[::-1]
    known = read_rows(tmp_path)
    assert known is not None
    assert len(known.known) == len(table)
    assert known.table["speaker"].tolist() == turned["speaker"].tolist()


def test_two_runs_do_not_work_in_one_folder(emodb: Selection, study_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "running.json").write_text(json.dumps({"process": os.getppid()}))
    with pytest.raises(ProtocolError, match=f"another run .process {os.getppid()}. is at work"):
        run_study(read_config(study_file), emodb, out)
    # One that died left its number behind, which counts for nothing.
    (out / "running.json").write_text(json.dumps({"process": 2**22 + 1}))
    run_study(read_config(study_file), emodb, out, parts=["networks"], jobs=1)


def test_cells_are_the_same_loose_and_packed(tmp_path: Path) -> None:
    from test_study import made_up_inputs

    from emovox.evaluation.study import evaluate

    evaluate(["decision-tree", "k-neighbors"], made_up_inputs(), [SpeakerFolds(n_splits=3)], out=tmp_path)
    loose = numbers(tmp_path)
    store = CellStore(tmp_path)
    store.pack()
    assert not list(store.loose.iterdir())
    assert numbers(tmp_path) == loose
    assert store.views(store.cells()[0].key) is not None
    # What is computed anew counts before what is packed.
    cell, *_ = store.cells()
    store.write(cell, store.views(cell.key))
    store.pack()
    assert numbers(tmp_path) == loose


def test_wrong_use_is_told(study_file: Path, tmp_path: Path) -> None:
    missing = CliRunner().invoke(app, ["study", "status", str(study_file), "-o", str(tmp_path / "nothing")])
    assert isinstance(missing.exception, ProtocolError)
    wrong = CliRunner().invoke(app, ["study", "run", str(study_file), "-c", str(tmp_path), "-p", "forests"])
    assert isinstance(wrong.exception, ParameterError)
    assert "It has: trees, networks." in str(wrong.exception)


def test_a_network_that_trains_on_one_speaker_watches_clips_of_that_speaker(corpora_dir: Path, tmp_path: Path) -> None:
    """As under `speaker` within TESS, which has two."""
    table = scan(str(corpora_dir / "tess"), durations=False).table
    few = table.groupby(["speaker", "emotion"]).head(10).reset_index(drop=True)
    text = STUDY.replace('protocols = ["random-25"]', 'protocols = ["speaker-5"]').replace("epochs = 12", "epochs = 2")
    out = tmp_path / "out"
    config = changed(text.replace('"emodb"', '"tess"'), tmp_path / "study.toml")
    run_study(config, Selection(few, {}, {}), out, parts=["networks"], jobs=1)
    for result in read_study(config, out).results("networks"):
        assert result.complete
        assert [len(history["loss"]) for history in result.histories] == [2, 2]


def test_a_part_of_absent_corpora_has_no_cells(emodb: Selection, tmp_path: Path) -> None:
    text = STUDY.replace("held_out = true", 'held_out = true\nwithin = ["esd"]')
    trees, networks = plan_study(changed(text, tmp_path / "study.toml"), emodb.table)
    assert trees.cells
    assert not networks.cells


@pytest.mark.slow
def test_every_seed_hears_its_own_sample(corpora_dir: Path, tmp_path: Path) -> None:
    text = """
        title = "Seeds"
        corpora = ["tess"]
        seeds = [7, 8]
        [parts.noise]
        title = "Noise"
        kind = "robustness"
        [[parts.noise.blocks]]
        models = ["decision-tree", "hist-gradient-boosting"]
        protocols = ["random-25"]
        parameters = { max_depth = 3 }
        conditions = ["white-0db"]
    """
    table = scan(str(corpora_dir / "tess"), durations=False).table
    few = table.groupby(["speaker", "emotion"]).head(12).reset_index(drop=True)
    config, out = changed(text, tmp_path / "study.toml"), tmp_path / "out"
    run_study(config, Selection(few, {}, {}), out, jobs=1)
    study = read_study(config, out)
    assert not study.unfinished("noise")
    heard_rows = {result.seed: result.predictions("white-0db").rows.tolist() for result in study.results("noise")}
    assert heard_rows[7] != heard_rows[8]
