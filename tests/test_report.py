"""Reports: self-contained, honest about what spoils a figure, and safe against what stands in the data."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emovox import manifest
from emovox.emotions import EMOTIONS
from emovox.errors import ProtocolError
from emovox.evaluation import report
from emovox.evaluation.choices import ModelChoice
from emovox.evaluation.inputs import Inputs
from emovox.evaluation.protocols import RandomSplit, SpeakerFolds
from emovox.evaluation.results import Results, load_results
from emovox.evaluation.study import evaluate


def made_up_inputs(*, corpus: str = "made-up", speakers: int = 12) -> Inputs:
    """Features that tell speakers apart far better than emotions."""
    random = np.random.default_rng(1)
    rows = [
        {"path": f"/x/{speaker}-{clip}.wav", "corpus": corpus, "speaker": f"s{speaker}", "emotion": EMOTIONS[clip % 7]}
        for speaker in range(speakers)
        for clip in range(28)
    ]
    # Every speaker has a way of his own to express each emotion: known from training, it helps; else it misleads.
    ways = random.normal(size=(speakers, 7, 180))
    values = np.stack([ways[row // 28, row % 28 % 7] for row in range(len(rows))])
    values[:, :7] += 2 * np.tile(np.eye(7), (speakers * 4, 1))
    values += random.normal(size=values.shape) / 2
    return Inputs(manifest.build(rows), {"classic": values.astype(np.float32)}, [], {}, {"classic": "1"})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("study")
    broken = ModelChoice("k-neighbors", {"n_neighbors": 10_000})
    models = ["svc", "decision-tree", broken]
    evaluate(models, made_up_inputs(), [RandomSplit(), SpeakerFolds()], out=folder, notes={"dropped": {"calm": 2}})
    return load_results(folder)


class Page(HTMLParser):
    """What a page consists of, and what it asks for from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.external: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.external += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "action")]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.external += [f"{tag} {name}={value}" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else(results: Results, tmp_path: Path) -> None:
    report.write_html(results, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.external == []
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert "prefers-color-scheme: dark" in text
    assert "svg" in page.tags
    assert "var(--series-2)" in text
    assert str(tmp_path) not in text


def test_the_page_tells_everything_that_was_measured(results: Results, tmp_path: Path) -> None:
    report.write_html(results, tmp_path / "report.html")
    words = " ".join(Page((tmp_path / "report.html").read_text(encoding="utf-8")).text.split())
    for summary in results.summaries:
        assert summary.model in words
        if summary.scores is not None:
            assert report.percent(summary.scores.uar) in words
            assert report.interval(summary.scores) in words
            assert f"{summary.scores.ece:.3f}" in words
            for row in summary.scores.report:
                assert f"{row.precision:.3f}" in words
    assert results.study["manifest"] in words
    assert np.__version__ in words
    assert "calm 2" in words
    assert "failed: Expected n_neighbors" in words
    assert "91.07" not in words  # published for a model that was not evaluated
    assert "62.87" in words


def test_the_headline_is_the_best_on_unseen_speakers_and_names_the_gap(results: Results) -> None:
    sections = {section.protocol["name"]: section for section in report.sections(results)}
    assert [section.protocol["name"] for section in report.sections(results)] == ["random", "speaker"]
    best, scores = sections["speaker"].measured[0]
    known = next(other for one, other in sections["random"].measured if one.model == best.model)
    assert known.uar > scores.uar + 0.1
    assert report.headline(results).replace("\xa0", " ") == (
        f"{best.model} is best on unseen speakers: UAR {report.percent(scores.uar)} %"
    )
    assert f"{100 * (known.uar - scores.uar):.1f} points more" in report.remark(results)


def test_tables_are_sorted_by_uar_with_failures_last(results: Results) -> None:
    for section in report.sections(results):
        values = [summary.scores.uar if summary.scores else -1 for summary in section.summaries]
        assert values == sorted(values, reverse=True)
        assert values[-1] == -1


def test_markdown_has_the_same_figures(results: Results) -> None:
    text = report.markdown(results)
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| svc ")]
    assert len(rows) == 2
    for cells, section in zip(rows, report.sections(results), strict=True):
        summary = next(one for one in section.summaries if one.model == "svc")
        assert summary.scores is not None
        assert cells[1] == report.percent(summary.scores.uar)
    assert "62.87" in " ".join(rows[0])
    assert "62.87" not in " ".join(rows[1])
    assert "speaker-dependent" in text


@pytest.mark.parametrize(
    ("inputs", "protocol", "warning"),
    [
        (made_up_inputs(corpus="synthetic"), SpeakerFolds(), "synthetic: computed sounds, not people"),
        (made_up_inputs(), RandomSplit(), "Speaker-dependent: Random split"),
        (made_up_inputs(speakers=4), SpeakerFolds(), "Only 4 speakers"),
    ],
)
def test_what_spoils_a_figure_is_told(inputs: Inputs, protocol: Any, warning: str, tmp_path: Path) -> None:
    results = evaluate(["decision-tree"], inputs, [protocol], out=tmp_path)
    assert any(warning in note for note in report.warnings(results))
    report.write_html(results, tmp_path / "page.html")
    assert warning in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert warning in report.markdown(results)


def test_an_honest_study_of_many_speakers_gets_no_warning(tmp_path: Path) -> None:
    results = evaluate(["decision-tree"], made_up_inputs(), [SpeakerFolds()], out=tmp_path)
    assert report.warnings(results) == []


def test_names_in_the_data_are_not_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>&"
    inputs = made_up_inputs(corpus=evil)
    choice = ModelChoice("svc", {"kernel": "<b>rbf</b>"})
    results = evaluate([choice, "decision-tree"], inputs, [SpeakerFolds()], out=tmp_path)
    report.write_html(results, tmp_path / "page.html", title=evil)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "script" not in Page(text).tags
    assert "<b>rbf" not in text
    assert "&lt;script&gt;" in text


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(ProtocolError, match="holds no results"):
        load_results(tmp_path / "a")
    evaluate([], made_up_inputs(), [], out=tmp_path / "b")
    with pytest.raises(ProtocolError, match="nothing to report"):
        report.write_html(load_results(tmp_path / "b"), tmp_path / "page.html")
