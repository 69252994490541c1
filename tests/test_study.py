"""Studies: cells are computed once, failures stay where they are, and nothing about the test reaches the training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.tree import DecisionTreeClassifier

from emovox import manifest
from emovox.emotions import EMOTIONS
from emovox.errors import ModelError, ParameterError, ProtocolError
from emovox.evaluation import tasks, workers
from emovox.evaluation.cell_store import CellStore
from emovox.evaluation.cells import TEST
from emovox.evaluation.choices import ModelChoice
from emovox.evaluation.inputs import Inputs, spool, unspool
from emovox.evaluation.protocols import LeaveOneSpeakerOut, RandomSplit, SpeakerFolds
from emovox.evaluation.results import load_results
from emovox.evaluation.study import evaluate

FAST = ["decision-tree", "k-neighbors-scaled"]


def made_up_inputs(*, speakers: int = 12, clips: int = 14, seed: int = 0) -> Inputs:
    """Features that tell emotions apart a little, and speakers a lot."""
    random = np.random.default_rng(seed)
    rows = [
        {
            "path": f"/nowhere/{speaker}-{clip}.wav",
            "corpus": "made-up",
            "speaker": f"s{speaker:02d}",
            "gender": ("female", "male")[speaker % 2],
            "emotion": EMOTIONS[clip % 7],
        }
        for speaker in range(speakers)
        for clip in range(clips)
    ]
    table = manifest.build(rows)
    emotion = np.array([EMOTIONS.index(name) for name in table["emotion"]])
    voices = np.repeat(random.normal(size=(speakers, 180)), clips, axis=0)
    values = np.eye(180)[emotion] * 2 + voices + random.normal(size=(len(table), 180)) / 2
    return Inputs(table, {"classic": values.astype(np.float32)}, [], {"classic": 0.0}, {"classic": "1"})


def mtimes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}


def test_results_are_those_of_the_plain_loop(tmp_path: Path) -> None:
    inputs = made_up_inputs()
    results = evaluate(["decision-tree"], inputs, [SpeakerFolds(seed=3)], out=tmp_path, seeds=[3])
    (summary,) = results.summaries
    predicted = np.empty(len(inputs.table), dtype=object)
    for train, test in SpeakerFolds(seed=3).split(inputs.table):
        model = DecisionTreeClassifier(random_state=3).fit(inputs.values["classic"][train], inputs.truth[train])
        predicted[test] = model.predict(inputs.values["classic"][test])
    assert summary.scores is not None
    assert summary.scores.uar == pytest.approx(balanced_accuracy_score(inputs.truth, predicted.astype(str)))
    assert summary.scores.clips == len(inputs.table)
    assert summary.scores.speakers == 12
    assert summary.complete
    assert len(summary.fold_scores) == 5


def test_stored_probabilities_are_those_of_the_model(tmp_path: Path) -> None:
    inputs = made_up_inputs()
    evaluate(["random-forest"], inputs, [RandomSplit()], out=tmp_path)
    train, test = next(RandomSplit().split(inputs.table))
    model = RandomForestClassifier(random_state=7).fit(inputs.values["classic"][train], inputs.truth[train])
    cell = json.loads(next((tmp_path / "cells").glob("*.json")).read_text())
    key = load_results(tmp_path).summaries[0]
    views = CellStore(tmp_path).views(_key(cell))
    assert views is not None
    stored = views[TEST]
    assert stored.rows.tolist() == test.tolist()
    expected = model.predict_proba(inputs.values["classic"][test])
    assert np.abs(stored.probabilities - expected).max() < 1e-4
    assert [EMOTIONS[number] for number in stored.predicted] == model.predict(inputs.values["classic"][test]).tolist()
    assert key.scores is not None


def _key(cell: dict[str, Any]) -> Any:
    from emovox.evaluation.cells import CellKey

    return CellKey(**cell["key"])


def test_second_run_reads_and_a_damaged_cell_is_computed_again(tmp_path: Path) -> None:
    inputs = made_up_inputs()
    first = evaluate(FAST, inputs, [SpeakerFolds(n_splits=3)], out=tmp_path)
    before = mtimes(tmp_path)
    assert len(before) == 2 * 2 * 3
    second = evaluate(FAST, inputs, [SpeakerFolds(n_splits=3)], out=tmp_path)
    assert mtimes(tmp_path) == before
    assert [one.as_dict() for one in first.summaries] == [one.as_dict() for one in second.summaries]

    damaged = sorted((tmp_path / "cells").glob("*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert any(not summary.complete for summary in load_results(tmp_path).summaries)
    third = evaluate(FAST, inputs, [SpeakerFolds(n_splits=3)], out=tmp_path)
    changed = {name for name, when in mtimes(tmp_path).items() if before[name] != when}
    assert changed == {damaged.name, f"{damaged.stem}.json"}
    assert [one.scores.uar for one in third.summaries if one.scores] == [
        s.scores.uar for s in first.summaries if s.scores
    ]


def test_new_features_make_new_cells(tmp_path: Path) -> None:
    inputs = made_up_inputs()
    evaluate(FAST[:1], inputs, [RandomSplit()], out=tmp_path)
    before = mtimes(tmp_path)
    newer = Inputs(inputs.table, inputs.values, [], {}, {"classic": "2"})
    evaluate(FAST[:1], newer, [RandomSplit()], out=tmp_path)
    assert all(before[name] != when for name, when in mtimes(tmp_path).items())


def test_the_recipe_of_a_model_is_kept_and_no_older_cell_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tree(DecisionTreeClassifier):  # type: ignore[misc]
        recipe = "2"

    inputs = made_up_inputs()
    evaluate(["decision-tree"], inputs, [SpeakerFolds()], out=tmp_path)
    before = mtimes(tmp_path)
    monkeypatch.setattr(tasks, "create", lambda name, *, seed, **parameters: Tree(random_state=seed))
    evaluate(["decision-tree"], inputs, [SpeakerFolds(), RandomSplit()], out=tmp_path)
    assert before.items() <= mtimes(tmp_path).items()
    recipes = {cell.key.protocol: cell.details.get("recipe") for cell in CellStore(tmp_path).cells()}
    assert recipes == {"speaker-5": None, "random-25": "2"}


def test_a_file_among_the_parameters_is_known_by_its_path_but_only_named(tmp_path: Path) -> None:
    choices = [ModelChoice("svc", {"kernel": f"/{folder}/weights.bin"}) for folder in ("a", "b")]
    assert choices[0].title == choices[1].title == "svc(kernel=weights.bin)"
    assert choices[0].digest != choices[1].digest
    for choice in choices:
        evaluate([choice], made_up_inputs(), [RandomSplit()], out=tmp_path)
        cell = json.loads(next((tmp_path / "cells").glob("*.json")).read_text())
        assert cell["inputs"]["parameters"] == choice.digest


def test_a_failing_cell_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    broken = ModelChoice("k-neighbors", {"n_neighbors": 10_000})
    results = evaluate([broken, *FAST], made_up_inputs(), [SpeakerFolds(n_splits=2)], out=tmp_path)
    by_model = {summary.model: summary for summary in results.summaries}
    failed = by_model["k-neighbors(n_neighbors=10000)"]
    assert failed.scores is None
    assert [error["code"] for _, error in failed.failures] == ["ValueError", "ValueError"]
    assert "n_neighbors" in failed.failures[0][1]["message"]
    assert all(by_model[name].complete for name in FAST)


def test_processes_give_the_same_results(tmp_path: Path) -> None:
    inputs = made_up_inputs()
    alone = evaluate(FAST, inputs, [SpeakerFolds(n_splits=3)], out=tmp_path / "one")
    together = evaluate(FAST, inputs, [SpeakerFolds(n_splits=3)], out=tmp_path / "two", jobs=2)
    for one, two in zip(alone.summaries, together.summaries, strict=True):
        assert one.scores is not None
        assert two.scores is not None
        assert one.scores.matrix.tolist() == two.scores.matrix.tolist()
    cell = json.loads(next((tmp_path / "two" / "cells").glob("*.json")).read_text())
    assert cell["threads"] == max(1, workers.available_cores() // 2)


def deadly(one: Any, other: Any) -> float:
    """A distance that ends its process, as the system does when memory runs out."""
    os._exit(9)


def test_a_worker_that_dies_takes_only_its_own_cell_along(tmp_path: Path) -> None:
    choice = ModelChoice("k-neighbors", {"metric": deadly})
    results = evaluate([choice, FAST[0]], made_up_inputs(), [SpeakerFolds(n_splits=2)], out=tmp_path, jobs=2)
    failed = [summary for summary in results.summaries if summary.failures]
    assert len(failed) == 1
    assert [error["code"] for _, error in failed[0].failures] == ["worker_died"] * 2
    assert [summary.model for summary in results.summaries if summary.complete] == FAST[:1]


def test_workers_that_cannot_start_keep_nobody_waiting(tmp_path: Path) -> None:
    # A process that is started anew imports the main module; one that came through standard input is nowhere.
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_study import SpeakerFolds, evaluate, made_up_inputs

results = evaluate(
    ["decision-tree"], made_up_inputs(clips=200), [SpeakerFolds(n_splits=2)], out={str(tmp_path)!r}, jobs=2
)
print([error["code"] for _, error in results.summaries[0].failures])
"""
    ended = subprocess.run([sys.executable, "-"], input=program, capture_output=True, text=True, timeout=120)
    assert ended.stdout.split("\n")[0] == "['worker_died', 'worker_died']", ended.stderr


def test_a_killed_run_goes_on_where_it_stood(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from test_study import made_up_inputs
            from emovox.evaluation.protocols import LeaveOneSpeakerOut
            from emovox.evaluation.study import evaluate

            if __name__ == "__main__":
                out = {str(tmp_path / "out")!r}
                evaluate(["random-forest"], made_up_inputs(), [LeaveOneSpeakerOut()], out=out, jobs=2)
            """
        )
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
    cells = tmp_path / "out" / "cells"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(cells.glob("*.json"))) < 3:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 3 <= len(finished) < 12
    results = evaluate(["random-forest"], made_up_inputs(), [LeaveOneSpeakerOut()], out=tmp_path / "out")
    assert all(summary.complete for summary in results.summaries)
    assert all(mtimes(tmp_path / "out")[name] == when for name, when in finished.items())
    assert not list(cells.glob(".*partial*"))


def test_several_seeds_are_several_results(tmp_path: Path) -> None:
    results = evaluate(FAST[:1], made_up_inputs(), [RandomSplit()], out=tmp_path, seeds=[1, 2])
    assert sorted(summary.seed for summary in results.summaries) == [1, 2]
    assert results.summaries[0].scores != results.summaries[1].scores


def test_a_folder_holds_one_table(tmp_path: Path) -> None:
    evaluate(FAST[:1], made_up_inputs(), [RandomSplit()], out=tmp_path)
    with pytest.raises(ProtocolError, match="study of other rows or labels"):
        evaluate(FAST[:1], made_up_inputs(speakers=11), [RandomSplit()], out=tmp_path)


def test_results_name_everything_that_a_figure_needs(tmp_path: Path) -> None:
    inputs = made_up_inputs()
    evaluate(FAST[:1], inputs, [SpeakerFolds()], out=tmp_path, notes={"dropped": {"calm": 3}})
    document = json.loads((tmp_path / "results.json").read_text())
    study, (result,) = document["study"], document["results"]
    assert study["manifest"] == manifest.fingerprint(inputs.table)
    assert study["dropped"] == {"calm": 3}
    assert study["corpora"] == [
        {"name": "made-up", "clips": 168, "speakers": 12, "licence": "", "synthetic": False},
    ]
    assert result["protocol"]["description"] == (
        "made-up; 168 clips, 7 classes, 12 speakers; speaker: 5 folds without a common speaker"
    )
    assert result["provenance"]["libraries"]["numpy"] == np.__version__
    assert result["provenance"]["machine"]["cores"] >= 1
    assert result["train_s"] > 0
    assert result["scores"]["interval_over"] == "speakers"
    everything = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "/nowhere" not in everything
    assert str(Path.home()) not in everything


def test_models_see_the_training_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = made_up_inputs()
    seen: list[set[str]] = []

    class Spy(DecisionTreeClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, *, groups: Any) -> Any:
            seen.append(set(groups))
            assert len(X) == len(groups) == len(y)
            return super().fit(X, y)

    monkeypatch.setattr(tasks, "create", lambda *_, **__: Spy())
    evaluate(["decision-tree"], inputs, [SpeakerFolds()], out=tmp_path)
    for train_speakers, (_, test) in zip(seen, SpeakerFolds().split(inputs.table), strict=True):
        assert not train_speakers & set(inputs.speakers[test])


def test_scaling_is_learned_from_training_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = made_up_inputs()
    created: list[Any] = []
    real = tasks.create

    def remember(*arguments: Any, **options: Any) -> Any:
        created.append(real(*arguments, **options))
        return created[-1]

    monkeypatch.setattr(tasks, "create", remember)
    evaluate(["k-neighbors-scaled"], inputs, [SpeakerFolds()], out=tmp_path)
    for model, (train, _) in zip(created, SpeakerFolds().split(inputs.table), strict=True):
        expected = inputs.values["classic"][train].mean(axis=0)
        assert model[0].mean_ == pytest.approx(expected, abs=1e-5)


def test_early_stopping_watches_speakers_that_are_neither_fitted_nor_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = made_up_inputs()
    owner = {row.tobytes(): speaker for row, speaker in zip(inputs.values["classic"], inputs.speakers, strict=True)}
    seen: list[tuple[set[str], set[str]]] = []

    class Spy(DecisionTreeClassifier):  # type: ignore[misc]
        def fit(self, X: Any, y: Any, *, validation: Any) -> Any:
            seen.append(({owner[row.tobytes()] for row in X}, {owner[row.tobytes()] for row in validation[0]}))
            return super().fit(X, y)

    monkeypatch.setattr(tasks, "create", lambda *_, **__: Spy())
    evaluate([ModelChoice("cnn-1", {"early_stopping": True})], inputs, [SpeakerFolds()], out=tmp_path)
    assert len(seen) == 5
    for (fitted, watched), (_, test) in zip(seen, SpeakerFolds().split(inputs.table), strict=True):
        tested = set(inputs.speakers[test])
        assert watched
        assert not fitted & watched
        assert not (fitted | watched) & tested


def test_a_class_that_was_not_trained_gets_no_probability() -> None:
    aligned = tasks.align(np.array([[0.25, 0.75]]), ["sad", "angry"], EMOTIONS)
    assert aligned.tolist() == [[0.75, 0, 0, 0, 0, 0.25, 0]]
    with pytest.raises(ModelError, match="no probabilities"):
        tasks.align(np.array([[np.nan, 0.5]]), ["sad", "angry"], EMOTIONS)


def test_waveforms_survive_the_spool(tmp_path: Path) -> None:
    waves = np.empty(3, dtype=object)
    for number, size in enumerate((5, 1, 9)):
        waves[number] = np.arange(size, dtype=np.float32)
    features = np.ones((3, 4), dtype=np.float32)
    spool({"waveform": waves, "classic": features}, tmp_path)
    back = unspool(tmp_path)
    assert [item.tolist() for item in back["waveform"]] == [item.tolist() for item in waves]
    assert back["classic"].tolist() == features.tolist()
    assert not back["classic"].flags.writeable


def test_wrong_use_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    inputs = made_up_inputs()
    with pytest.raises(ModelError, match="decision-tree"):
        evaluate(["decision_tree"], inputs, [RandomSplit()], out=tmp_path)
    with pytest.raises(ParameterError, match="speechnet takes waveform input"):
        evaluate(["speechnet"], inputs, [RandomSplit()], out=tmp_path)
    with pytest.raises(ProtocolError, match="not among the labels"):
        evaluate(FAST, inputs, [RandomSplit()], out=tmp_path, labels=["angry", "sad"])
    with pytest.raises(ProtocolError, match="holds no results"):
        load_results(tmp_path / "none")
