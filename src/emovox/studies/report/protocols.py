"""Models on the random split, on unseen speakers and on unseen corpora, side by side: in a table and as points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from emovox.evaluation.metrics import Scores
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import best_row, final
from emovox.studies.report.elements import Picture, Table
from emovox.studies.report.missing import figure_text
from emovox.studies.report.pictures.marks import Point
from emovox.studies.report.pictures.points import Row, points
from emovox.studies.report.pictures.style import with_shapes
from emovox.studies.report.settings import ONLY_WHOLE_NOTE, PROTOCOLS, STRONG_NOTE, chance, most_epochs
from emovox.studies.report.words import NOTHING, signed, uar_text

Protocols: TypeAlias = Mapping[str, Result]
"""Results of a model by the name of the protocol."""

Models: TypeAlias = Mapping[str, Protocols]
"""Results of models by their names for people."""

CHANGE_NOTE = (
    "Change: points of UAR against the random split, which tests a part only of the clips that the others test."
)


def by_protocol(results: Iterable[Result], name: Callable[[Result], str]) -> dict[str, dict[str, Result]]:
    """Sort results by name, then by the name of the protocol; of several of one name the one with most epochs stays."""
    found: dict[str, dict[str, Result]] = {}
    for result in results:
        of_name = found.setdefault(name(result), {})
        before = of_name.get(result.protocol["name"])
        if before is None or most_epochs(result) > most_epochs(before):
            of_name[result.protocol["name"]] = result
    return found


def every(models: Iterable[Models]) -> list[Result]:
    """Give all results of groups of models in a row."""
    return [result for group in models for protocols in group.values() for result in protocols.values()]


def best_known(models: Models) -> tuple[str, str] | None:
    """Name the model that is best on the random split, and say so beside what is published of it.

    Returns:
        Its name, and a sentence; None if no model is finished there.
    """
    known = {name: scores for name, protocols in models.items() if (scores := final(protocols.get("random")))}
    if not known:
        return None
    best = max(known, key=lambda name: known[name].accuracy)
    published = models[best]["random"].reference.get("test_accuracy")
    beside = f" (published: {published:.2f} %)" if published is not None else ""
    accuracy = percent(known[best].accuracy)
    return best, f"{best} has the highest accuracy on the random split: {accuracy} %{beside}."


def change_text(before: Result | None, after: Result | None) -> str:
    """Write by how many points UAR changes from one result to another, where both are finished."""
    one, other = final(before), final(after)
    return NOTHING if one is None or other is None else signed(other.uar - one.uar)


@dataclass(frozen=True)
class Column:
    """A column of `protocol_table`.

    Attributes:
        head: over it.
        text: what stands in it for the results of a model.
        protocol: whose figures stand in it; empty where it holds other things.
    """

    head: str
    text: Callable[[Protocols], str]
    protocol: str = ""


def figure(head: str, protocol: str, write: Callable[[Scores], str]) -> Column:
    """Make a column of a figure under a protocol."""
    return Column(head, lambda protocols: figure_text(protocols.get(protocol), write), protocol)


def change(protocol: str) -> Column:
    """Make a column of the change from the random split to a protocol, see `CHANGE_NOTE`."""
    return Column("change", lambda protocols: change_text(protocols.get("random"), protocols.get(protocol)))


def unseen_columns(measures: Mapping[str, Callable[[Scores], str]]) -> list[Column]:
    """Make columns of UAR under each protocol, and beside it, for unseen speakers and corpora, more figures.

    Args:
        measures: these figures by their heads.
    """
    columns = [figure("random: UAR %", "random", uar_text)]
    for protocol, whose in (("speaker", "speakers"), ("corpus", "corpora")):
        columns.append(figure(f"{whose}: UAR %", protocol, uar_text))
        columns += [figure(head, protocol, write) for head, write in measures.items()]
        columns.append(change(protocol))
    return columns


def protocol_table(
    study: StudyResults,
    groups: Mapping[str, Models],
    columns: Sequence[Column],
    *,
    title: str,
    notes: Sequence[str],
    name: str = "model",
) -> Table:
    """Put models in rows and protocols in columns; at the foot stands what training and test share in each.

    The best model on unseen speakers is stressed.

    Args:
        study: the results.
        groups: models by the heading over them; empty for none.
        columns: after the name; the leak of a protocol stands in the first one of the protocol.
        title: of the table.
        notes: under it.
        name: head of the first column.
    """
    rows: list[list[str]] = []
    headings: list[tuple[int, str]] = []
    for heading, models in groups.items():
        headings += [(len(rows), heading)] if heading else []
        rows += [[model, *(column.text(protocols) for column in columns)] for model, protocols in models.items()]
    headings.append((len(rows), "What training and test share"))
    return Table(
        title=title,
        columns=[name, *(column.head for column in columns)],
        rows=[*rows, *_leak_rows(study, every(groups.values()), columns)],
        groups=headings,
        strong=best_row([protocols.get("speaker") for models in groups.values() for protocols in models.values()]),
        notes=[*notes, f"{STRONG_NOTE} on unseen speakers."],
    )


def protocol_picture(
    study: StudyResults,
    groups: Mapping[str, Models],
    *,
    caption: str,
    alternative: str,
    remarks: Sequence[str] = (),
    measure: Literal["UAR", "accuracy"] = "UAR",
    marks: Mapping[str, float] | None = None,
    mark: str = "",
) -> list[Picture]:
    """Draw models in rows and protocols as points with intervals.

    Args:
        study: the results.
        groups: models by the heading over them; empty for none.
        caption: what the picture shows; how to read it is added.
        alternative: as in `Picture`.
        remarks: more to know about the figures.
        measure: what is drawn.
        marks: by the model's name another figure to mark in its row, in [0, 1].
        mark: what these are.

    Returns:
        A picture, or none if no model is finished under any protocol.
    """
    drawn = [(heading, rows) for heading, models in groups.items() if (rows := _rows(models, measure, marks or {}))]
    if not drawn:
        return []
    reading = ["Lines: 95 % intervals by bootstrap over speakers.", *remarks, ONLY_WHOLE_NOTE]
    return [
        Picture(
            svg=points(drawn, label=f"{measure}, per cent", chance=chance(study), mark=mark),
            caption=" ".join([caption, *reading]),
            alternative=alternative,
            legend=with_shapes(list(PROTOCOLS.values())),
        )
    ]


def _leak_rows(study: StudyResults, results: Sequence[Result], columns: Sequence[Column]) -> list[list[str]]:
    """Give rows that say under the figures of each protocol what training and test share, in test clips."""
    keys: dict[str, str] = {}
    for result in results:
        keys.setdefault(result.protocol["name"], result.protocol["key"])
    protocols = [column.protocol for column in columns]
    found = [
        study.leak(keys[protocol]) if protocol in keys and protocol not in protocols[:place] else None
        for place, protocol in enumerate(protocols)
    ]
    copies = "copies of training clips" if study.copies is not None else "copies of training clips (not looked for)"
    told = (
        ("speaker heard in training", [None if one is None else f"{percent(one.speaker_share)} %" for one in found]),
        ("sentence heard in training", [None if one is None else f"{percent(one.sentence_share)} %" for one in found]),
        (copies, [None if one is None or study.copies is None else f"{one.copied_clips:,}" for one in found]),
    )
    return [[name, *(text or "" for text in texts)] for name, texts in told]


def _rows(models: Models, measure: str, marks: Mapping[str, float]) -> list[Row]:
    """Give the models that are finished under some protocol as rows of a picture, a series for each protocol."""
    name_of_measure = measure.lower()
    rows = []
    for name, protocols in models.items():
        scores = {number: final(protocols.get(protocol)) for number, protocol in enumerate(PROTOCOLS)}
        found = {
            number: Point(getattr(one, name_of_measure), getattr(one.interval, name_of_measure))
            for number, one in scores.items()
            if one is not None
        }
        rows += [Row(name, found, marks.get(name))] if found else []
    return rows
