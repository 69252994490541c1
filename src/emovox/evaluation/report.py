"""Reports: one self-contained HTML page, or Markdown tables, made from a study's results."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import emovox
from emovox.errors import ProtocolError
from emovox.evaluation.cells import write_text
from emovox.evaluation.metrics import MINIMUM_SPEAKERS, Scores, normalised
from emovox.evaluation.results import Results, Summary

PROTOCOL_ORDER = ("random", "speaker", "loso", "file", "corpus", "bundle")
TITLES: Mapping[str, str] = {
    "random": "Random split",
    "speaker": "Unseen speakers",
    "loso": "One speaker out",
    "file": "Given folds",
    "corpus": "Unseen corpora",
    "bundle": "Saved model, nothing trained",
}
PUBLISHED_NOTE = (
    "Published: accuracy of the same kind of model and split in the reference study, on its own 55,611 clips; the data "
    "differ, so it is context and not a target."
)


@dataclass(frozen=True)
class Section:
    """All results under one protocol and seed, the best UAR first."""

    title: str
    description: str
    protocol: Mapping[str, Any]
    seed: int
    summaries: Sequence[Summary]

    @property
    def measured(self) -> list[tuple[Summary, Scores]]:
        """Results with scores."""
        return [(summary, summary.scores) for summary in self.summaries if summary.scores is not None]


def sections(results: Results) -> list[Section]:
    """Sort results into a section for each protocol and seed; the random split comes first, as the one to distrust."""
    groups: dict[tuple[str, int, str], list[Summary]] = {}
    for summary in results.summaries:
        # Two bundles need not have been trained on the same corpora, so one line cannot describe both.
        groups.setdefault((summary.protocol["key"], summary.seed, summary.protocol["description"]), []).append(summary)
    seeds = {seed for _, seed, _ in groups}
    found = []
    for (_, seed, description), summaries in groups.items():
        protocol = summaries[0].protocol
        title = TITLES.get(protocol["name"], protocol["name"])
        title = f"{title}, seed {seed}" if len(seeds) > 1 else title
        ordered = sorted(summaries, key=lambda one: -(one.scores.uar if one.scores else -1.0))
        found.append(Section(title, description, protocol, seed, ordered))
    return sorted(found, key=lambda one: (PROTOCOL_ORDER.index(one.protocol["name"]), one.protocol["key"], one.seed))


def warnings(results: Results) -> list[str]:
    """Say what a reader must know before believing a figure."""
    notes = []
    synthetic = [corpus["name"] for corpus in results.study["corpora"] if corpus["synthetic"]]
    if synthetic:
        notes.append(
            f"The corpus {', '.join(synthetic)} is synthetic: computed sounds, not people. Its figures show that the "
            "program runs and say nothing about recognising emotion."
        )
    found = sections(results)
    dependent = [section.title for section in found if not section.protocol["separates_speakers"]]
    if dependent:
        notes.append(
            f"Speaker-dependent: {', '.join(dependent)}. The people who are tested were heard in training, so these "
            "figures do not tell what a new voice gets."
        )
    for section in found:
        overlap = sorted({name for summary in section.summaries for name in summary.details.get("overlap", ())})
        if overlap:
            notes.append(f"{section.title}: the saved model was trained on {', '.join(overlap)}, which is tested here.")
    if results.study["speakers"] < MINIMUM_SPEAKERS:
        notes.append(
            f"Only {results.study['speakers']} speakers: intervals are drawn over clips and are too narrow to speak of "
            "people in general."
        )
    for summary in results.summaries:
        if not summary.complete:
            done, of = len(summary.fold_scores), summary.protocol["folds"]
            notes.append(f"Incomplete: {summary.model} under {summary.protocol['name']}, {done} of {of} folds.")
    return notes


def headline(results: Results) -> str:
    """State the main result in a sentence: the best model on people (or corpora) that it has not heard."""
    section = _main_section(results)
    if section is None:
        return "No result is finished yet."
    best, scores = section.measured[0]
    where = {
        "corpus": "on an unseen corpus",
        "bundle": "on corpora that it was not trained on",
        "random": "where the speakers are known from training",
    }
    if not section.protocol["separates_speakers"] and section.protocol["name"] != "random":
        where = {section.protocol["name"]: "on data that it was trained on"}
    place = where.get(section.protocol["name"], "on unseen speakers")
    return f"{best.model} is best {place}: UAR\N{NO-BREAK SPACE}{percent(scores.uar)}\N{NO-BREAK SPACE}%"


def remark(results: Results) -> str:
    """Say how sure the headline is, and what the random split hides."""
    section = _main_section(results)
    if section is None:
        return ""
    best, scores = section.measured[0]
    over = f"{scores.speakers} speakers" if scores.interval.over == "speakers" else f"{scores.clips:,} clips"
    text = f"95 % interval {interval(scores)}, by bootstrap over {over}; guessing gives {percent(chance(results))} %."
    random = next((one for one in sections(results) if one.protocol["name"] == "random" and one is not section), None)
    known = {one.model: other for one, other in random.measured} if random else {}
    if best.model in known:
        other = known[best.model]
        gap = 100 * (other.uar - scores.uar)
        text += f" The random split gives the same model {percent(other.uar)} %, {abs(gap):.1f} points "
        if gap <= 0:
            text += "less."
        elif scores.interval.uar.high < other.uar:
            text += "more: it has heard the speakers before."
        else:
            text += "more, which is within the interval."
    return text


def chance(results: Results) -> float:
    """Give the UAR of guessing: 1 / number of emotions that occur."""
    return 1 / max(1, sum(1 for count in results.study["emotions"].values() if count))


def _main_section(results: Results) -> Section | None:
    """Choose what the headline speaks of: unseen speakers if they were tested, else the next honest protocol."""
    found = [section for section in sections(results) if section.measured]
    honest = [section for section in found if section.protocol["separates_speakers"]]
    speaker = [section for section in honest if section.protocol["name"] == "speaker"]
    return next(iter(speaker + honest + found), None)


def percent(value: float) -> str:
    """Write a share with one decimal.

    Example:
        >>> percent(0.4567)
        '45.7'
    """
    return f"{100 * value:.1f}"


def interval(scores: Scores) -> str:
    """Write the interval of the UAR; ``c`` marks one over clips."""
    ends = f"[{percent(scores.interval.uar.low)}, {percent(scores.interval.uar.high)}]"
    return ends if scores.interval.over == "speakers" else f"{ends}c"


def markdown(results: Results) -> str:
    """Write all results as Markdown tables, one for each protocol and seed."""
    lines = [f"**{headline(results)}.** {remark(results)}", ""]
    for note in warnings(results):
        lines += [f"> {note}", ""]
    for section in sections(results):
        lines += [f"## {section.title}", "", f"{section.description}; seed {section.seed}.", ""]
        lines += _markdown_table(section)
        lines.append("")
    study = results.study
    lines += [
        "UAR in per cent with a 95 % interval by bootstrap over speakers (over clips where marked c); ECE: expected "
        "calibration error; seconds are means of a fold.",
        f"Rows: manifest {study['manifest']}; software: emovox {_versions(results)}.",
        "",
    ]
    return "\n".join(lines)


def _markdown_table(section: Section) -> list[str]:
    published = section.protocol["name"] == "random"
    head = ["model", "UAR %", "95 %", "accuracy %", "weighted F1", "ECE", "train s", "test s"]
    head += ["published accuracy %"] if published else []
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for summary in section.summaries:
        row = table_row(summary)
        lines.append("| " + " | ".join(row if published else row[:-1]) + " |")
    if published and any(_published(summary) for summary in section.summaries):
        lines += ["", PUBLISHED_NOTE]
    return lines


def table_row(summary: Summary) -> list[str]:
    """Give a result's cells: model, UAR, interval, accuracy, weighted F1, ECE, seconds, published accuracy."""
    scores = summary.scores
    if scores is None:
        reason = summary.failures[0][1]["message"].splitlines()[0] if summary.failures else "not finished"
        return [summary.model, "failed", reason.replace("|", "/"), *[""] * 6]
    return [
        summary.model if summary.complete else f"{summary.model} (incomplete)",
        percent(scores.uar),
        interval(scores),
        percent(scores.accuracy),
        f"{scores.weighted_f1:.3f}",
        f"{scores.ece:.3f}",
        f"{summary.train_s:.2f}",
        f"{summary.test_s:.2f}",
        _published(summary),
    ]


def _published(summary: Summary) -> str:
    value = summary.details.get("reference", {}).get("test_accuracy")
    return "" if value is None else f"{value:.2f}"


def write_html(results: Results, path: str | os.PathLike[str], *, title: str = "Speech emotion recognition") -> None:
    """Write the report as one HTML file that needs nothing else, neither scripts nor the network.

    Raises:
        ProtocolError: if there are no results.
    """
    if not results.summaries:
        raise ProtocolError("there is nothing to report: no cell is finished", remedy="Run emovox evaluate first.")
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("emovox.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, interval=interval, table_row=table_row)
    found = sections(results)
    text = environment.get_template("report.html").render(
        title=title,
        headline=headline(results),
        remark=remark(results),
        warnings=warnings(results),
        study=results.study,
        sections=found,
        chart=_chart(results, found),
        legend=[section.title for section in found if section.measured][:6],
        matrices={section.title: [_matrix(*one) for one in section.measured] for section in found},
        versions=_versions(results),
        machines=_unique(_machine(summary) for summary in results.summaries),
        published_note=PUBLISHED_NOTE,
    )
    Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
    write_text(Path(path), text)


def _chart(results: Results, found: Sequence[Section]) -> str:
    """Draw the comparison, models ordered by the most honest protocol at hand."""
    from markupsafe import Markup

    from emovox.evaluation.figures import comparison

    series = {
        section.title: {summary.model: (scores.uar, scores.interval.uar) for summary, scores in section.measured}
        for section in found
        if section.measured
    }
    honest = [section for section in found if section.protocol["separates_speakers"]]
    order = _unique(summary.model for section in [*honest, *found] for summary, _ in section.measured)
    # Our own drawing, so it needs no escaping; names inside it are escaped by matplotlib.
    return Markup(comparison(order, dict(list(series.items())[:6]), chance=chance(results)))  # noqa: S704


def _matrix(summary: Summary, scores: Scores) -> dict[str, Any]:
    shares = normalised(scores.matrix)
    rows = [
        {
            "label": label,
            "cells": [
                {"count": int(count), "share": float(share), "right": row == column}
                for column, (count, share) in enumerate(zip(scores.matrix[row], shares[row], strict=True))
            ],
        }
        for row, label in enumerate(scores.labels)
    ]
    return {"summary": summary, "scores": scores, "labels": scores.labels, "rows": rows}


def _versions(results: Results) -> str:
    told = [summary.provenance for summary in results.summaries]
    texts = []
    for one in told:
        revision = f" ({one['revision']})" if one.get("revision") else ""
        libraries = ", ".join(f"{name} {version}" for name, version in one["libraries"].items())
        texts.append(f"{one['emovox']}{revision}, Python {one['python']}, {libraries}")
    return "; ".join(_unique(texts)) or emovox.__version__


def _machine(summary: Summary) -> str:
    machine = summary.provenance["machine"]
    parts = [machine["processor"], f"{machine['cores']} cores"]
    parts += [f"{machine['memory_gb']:.0f} GB"] if machine.get("memory_gb") else []
    parts += [machine["gpu"]] if machine.get("gpu") else []
    return f"{', '.join(parts)}; {summary.provenance['threads']} thread(s) a model"


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))
