"""`emovox demo`: real recordings if they are there, else a download, else synthetic voices that say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emovox import manifest
from emovox.cli import common
from emovox.cli.demo import choose, predict_some, some_of_each
from emovox.cli.main import app
from emovox.corpora.scanning import scan
from emovox.corpora.synthetic import synthesize
from emovox.emotions import EMOTIONS
from emovox.errors import CorpusError
from emovox.evaluation.inputs import read_inputs
from emovox.evaluation.protocols import SpeakerFolds
from emovox.evaluation.training import train


def pooled() -> pd.DataFrame:
    return manifest.build(
        [
            {
                "path": f"/{corpus}/{speaker}/{emotion}/{clip:03d}.wav",
                "corpus": corpus,
                "speaker": f"{corpus}-{speaker}",
                "emotion": emotion,
            }
            for corpus, speakers, clips in (("a", 5, 4), ("b", 2, 50), ("c", 3, 2))
            for speaker in range(speakers)
            for emotion in EMOTIONS
            for clip in range(clips)
        ]
    )


def test_the_choice_is_the_same_whatever_the_order_of_the_rows() -> None:
    table = pooled()
    chosen, remark = choose(manifest.select_labels(table))
    counts = chosen.table.groupby(["corpus", "speaker", "emotion"]).size()
    assert counts["a"].unique().tolist() == counts["b"].unique().tolist() == [3]
    assert counts["c"].unique().tolist() == [2]
    shuffled = table.sample(frac=1, random_state=1).reset_index(drop=True)
    again, _ = choose(manifest.select_labels(shuffled))
    assert set(again.table["path"]) == set(chosen.table["path"])
    numbers = sorted({Path(path).stem for path in chosen.table["path"] if path.startswith("/b/")})
    assert int(numbers[-1]) - int(numbers[0]) > 30  # spread over the whole list
    assert f"of {len(table):,}" in remark


def test_predictions_are_shown_for_every_emotion_and_several_corpora() -> None:
    some = some_of_each(pooled())
    assert some["emotion"].value_counts().to_dict() == dict.fromkeys(EMOTIONS, 2)
    assert some.groupby("emotion")["speaker"].nunique().tolist() == [2] * 7
    assert some.groupby("emotion")["corpus"].nunique().tolist() == [2] * 7


def test_predictions_stand_beside_the_truth_and_say_what_the_model_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    synthesize(tmp_path / "voices", speakers=4, sentences=1)
    table = scan(tmp_path / "voices", durations=False).table
    bundle = tmp_path / "tree.onnx"
    train("decision-tree", read_inputs(table), out=bundle, protocols=[SpeakerFolds(n_splits=2)])
    capsys.readouterr()
    predict_some(table, bundle=str(bundle))
    printed = capsys.readouterr().out
    assert "14 of 14 right" in printed  # it knows them by heart, and that is what it says:
    assert "It was trained on synthetic, with these very speakers" in " ".join(printed.split())
    assert "2 folds without a common speaker" in " ".join(printed.split())

    predict_some(table.assign(corpus="elsewhere", emotion="calm"), bundle=str(bundle))
    printed = capsys.readouterr().out
    assert "0 of 2 right" in printed
    assert "wrong" in printed
    assert "It was trained on" not in printed


@pytest.mark.slow
def test_offline_it_says_so_and_runs_on_synthetic_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise CorpusError("cannot be reached", code="unreachable")

    monkeypatch.setattr("emovox.corpora.download.download", offline)
    monkeypatch.setattr(
        "emovox.corpora.synthetic.synthesize", lambda folder, **_: synthesize(folder, speakers=4, sentences=1)
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        "sys.argv", ["emovox", "demo", "-c", str(tmp_path / "none"), "-o", str(tmp_path / "out"), "-j", "1"]
    )
    assert common.run(app) == 0
    printed = capsys.readouterr()
    errors, text = " ".join(printed.err.split()), " ".join(printed.out.split())
    assert "There are no corpora at" in errors
    assert "EmoDB cannot be downloaded: cannot be reached" in errors
    assert "SYNTHETIC" in errors
    assert "synthetic: computed sounds, not people" in text
    for model in (
        "random-forest",
        "svc",
        "gradient-boosting",
        "k-neighbors",
        "mlp",
        "bagging",
        "adaboost",
        "decision-tree",
    ):
        assert model in text
    assert "Random split" in text
    assert "Unseen speakers" in text
    page = tmp_path / "out" / "report.html"
    assert str(page) in "".join(printed.out.split("\n"))
    assert "synthetic: computed sounds" in page.read_text(encoding="utf-8")
