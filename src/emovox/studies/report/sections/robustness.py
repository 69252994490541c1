"""The section on robustness: the same test clips, each disturbed in one known way."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emovox.evaluation.cells import TEST, Array
from emovox.evaluation.conditions import CONDITIONS
from emovox.evaluation.metrics import Scores
from emovox.evaluation.planning import SAMPLE_PER_SPEAKER
from emovox.evaluation.report import percent
from emovox.evaluation.significance import Comparison, compare
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, planned
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import nothing_yet, of_folds, reason, remaining
from emovox.studies.report.pictures.conditions import noise_lines, other_dots
from emovox.studies.report.pictures.marks import Point
from emovox.studies.report.pictures.style import MARKERS, with_shapes
from emovox.studies.report.settings import INTERVAL_NOTE, setting_notes, tested_classes
from emovox.studies.report.words import NOTHING, difference_text, listed, model_name, signed, uar_text

TITLE = "Outside the studio: noise, rooms, codecs"

_NOISES = ("white noise", "pink noise", "babble")


@dataclass(frozen=True, eq=False)
class Heard:
    """A model under one condition, and on the very same clips as they were recorded.

    Attributes:
        scores, clean: under the condition, and without it.
        change: UAR under the condition less UAR without, on the same draws of speakers.
    """

    scores: Scores
    clean: Scores
    change: Comparison


def section(study: StudyResults) -> Section:
    """Show the UAR of each model under each condition, and what it loses against the same clips as recorded."""
    results = planned(study, "robustness")
    found = {result.title: hear(result) for result in begun(results)}
    heard = [(result, found[result.title]) for result in begun(results) if found[result.title]]
    if not heard:
        return nothing_yet(TITLE, results)
    content: list[Table | Picture] = [_uar_table(results, found), *_pictures(heard)]
    return Section(
        title=TITLE,
        finding=_finding(heard),
        paragraphs=[
            "The models are those of the folds of unseen speakers, trained on the recordings as they are. Of each "
            f"speaker's test clips a sample of at most {SAMPLE_PER_SPEAKER}, spread over the emotions, is heard again "
            "under each condition. The clean figure is measured on these very clips and not on all test clips, so a "
            "difference is that of the condition alone; it also weighs every speaker about equally, so it differs from "
            "the figure in other sections.",
            "Each clip has noise of its own, the same at every strength. speechnet has an advantage here that the "
            "others lack: it also learns from augmented versions of its training clips (by code that the "
            "conditions do not share), and its encoder was pretrained on speech of all kinds.",
            *remaining(results),
        ],
        content=content,
        folded=[
            ("UAR lost under each condition, with intervals", [_change_table(results, found)]),
            ("What the conditions are", [_conditions_table(heard)]),
        ],
    )


def hear(result: Result) -> dict[str, Heard]:
    """Measure a result under every condition that it was heard under, in the order of `CONDITIONS`."""
    found = {}
    clean = result.predictions(TEST)
    labels = np.asarray(result.labels)
    for name in CONDITIONS:
        if not result.has(name):
            continue
        disturbed = result.predictions(name)
        before = labels[_aligned(clean.rows, clean.predicted, disturbed.rows)]
        (change,) = compare(
            result.truth(disturbed),
            {name: labels[disturbed.predicted], "clean": before},
            result.labels,
            result.column("speaker", disturbed),
            draws=2000,
        )
        found[name] = Heard(result.measure(name), result.measure(TEST, rows=disturbed.rows), change)
    return found


def _aligned(rows: Array, values: Array, wanted: Array) -> Array:
    """Take the values of some rows, in the order of `wanted`; every one of these is among `rows`."""
    order = np.argsort(rows)
    aligned: Array = values[order[np.searchsorted(rows, wanted, sorter=order)]]
    return aligned


def _finding(heard: Sequence[tuple[Result, Mapping[str, Heard]]]) -> str:
    texts = []
    for result, conditions in heard:
        worst = min(conditions, key=lambda name: conditions[name].change.difference)
        one = conditions[worst]
        texts.append(
            f"{model_name(result)}: {percent(one.clean.uar)} % as recorded, at worst {percent(one.scores.uar)} % "
            f"({_condition_name(worst)}, {signed(one.change.difference)} points)"
        )
    return f"UAR on unseen speakers, {'; '.join(texts)}."


def _uar_table(results: Sequence[Result], found: Mapping[str, Mapping[str, Heard]]) -> Table:
    clean = [["as recorded", *(_clean_text(one, found) for one in results)]]
    rows, groups = _by_condition(results, found, _uar_text, first=len(clean))
    return Table(
        title="UAR % on unseen speakers under each condition",
        columns=_columns(results),
        rows=[*clean, *rows],
        groups=groups,
        strong=[0],
        notes=[
            *setting_notes(results),
            f"{_sample_text(results, found)} {INTERVAL_NOTE}",
        ],
    )


def _change_table(results: Sequence[Result], found: Mapping[str, Mapping[str, Heard]]) -> Table:
    rows, groups = _by_condition(results, found, lambda one: difference_text(one.change))
    return Table(
        title="UAR under the condition less UAR on the same clips as recorded, in points",
        columns=_columns(results),
        rows=rows,
        groups=groups,
        notes=[
            *setting_notes(results),
            "In brackets: 95 % interval of the difference, both figures on the same draws of speakers (over clips "
            "where marked c). They are not corrected for their number: of twenty, one may miss by chance.",
        ],
    )


def _columns(results: Sequence[Result]) -> list[str]:
    return ["condition", *(model_name(one) + of_folds(one) for one in results)]


def _by_condition(
    results: Sequence[Result],
    found: Mapping[str, Mapping[str, Heard]],
    write: Callable[[Heard], str],
    *,
    first: int = 0,
) -> tuple[list[list[str]], list[tuple[int, str]]]:
    """Give a row for each condition, and the headings of their groups when the first row has the number `first`."""
    rows: list[list[str]] = []
    groups: list[tuple[int, str]] = []
    for name in _heard_conditions(found):
        if not groups or groups[-1][1] != _group(name):
            groups.append((first + len(rows), _group(name)))
        heard = [found.get(result.title, {}).get(name) for result in results]
        rows.append([_level(name), *(write(one) if one else NOTHING for one in heard)])
    return rows, groups


def _conditions_table(heard: Sequence[tuple[Result, Mapping[str, Heard]]]) -> Table:
    names = _heard_conditions({result.title: conditions for result, conditions in heard})
    return Table(
        title="The conditions",
        columns=("condition", "what is done to a recording"),
        rows=[[_condition_name(name), CONDITIONS[name].summary] for name in names],
    )


def _pictures(heard: Sequence[tuple[Result, Mapping[str, Heard]]]) -> list[Picture]:
    """Draw noises and the rest; as many models as the page has colours."""
    heard = heard[: len(MARKERS)]
    models = {
        model_name(result): {name: _drawn(one.scores) for name, one in conditions.items()}
        for result, conditions in heard
    }
    clean = {model_name(result): _drawn(next(iter(conditions.values())).clean) for result, conditions in heard}
    names = _heard_conditions({result.title: conditions for result, conditions in heard})
    noises = {group: {_level(name): name for name in names if CONDITIONS[name].group == group} for group in _NOISES}
    noises = {group: levels for group, levels in noises.items() if levels}
    others = {_condition_name(name): name for name in names if CONDITIONS[name].group not in _NOISES}
    chance = 1 / tested_classes(next(iter(heard[0][1].values())).scores)
    legend = with_shapes(list(models))
    pictures = []
    if noises:
        pictures.append(
            Picture(
                svg=noise_lines(clean, models, noises, chance=chance),
                caption="UAR on unseen speakers in noise, by signal-to-noise ratio; lines upwards and downwards are "
                "95 % intervals. Guessing reaches the dashed line.",
                alternative="UAR of each model as recorded and in noise of several strengths; the table gives the "
                "figures.",
                legend=legend,
            )
        )
    if others:
        pictures.append(
            Picture(
                svg=other_dots(clean, models, others, chance=chance),
                caption="UAR on unseen speakers under other conditions, with 95 % intervals; hollow: the same clips as "
                "recorded. Guessing reaches the dashed line.",
                alternative="UAR of each model under each condition beside that on the same clips as recorded; the "
                "table gives the figures.",
                legend=legend,
            )
        )
    return pictures


def _drawn(scores: Scores) -> Point:
    return Point(scores.uar, scores.interval.uar)


def _heard_conditions(found: Mapping[str, Mapping[str, Heard]]) -> list[str]:
    return [name for name in CONDITIONS if any(name in conditions for conditions in found.values())]


def _clean_text(result: Result, found: Mapping[str, Mapping[str, Heard]]) -> str:
    conditions = found.get(result.title)
    return uar_text(next(iter(conditions.values())).clean) if conditions else reason(result)


def _uar_text(one: Heard) -> str:
    return f"{uar_text(one.scores)} {signed(one.change.difference)}"


def _sample_text(results: Sequence[Result], found: Mapping[str, Mapping[str, Heard]]) -> str:
    counts = {
        f"{one.clean.clips:,} clips of {one.clean.speakers} speakers"
        for result in results
        for one in list(found.get(result.title, {}).values())[:1]
    }
    return f"Measured on {listed(sorted(counts))}. After the interval: the change in points against the first row."


def _group(name: str) -> str:
    group = CONDITIONS[name].group
    return f"{group}, signal-to-noise ratio" if group in _NOISES else group


def _condition_name(name: str) -> str:
    return f"{CONDITIONS[name].group}, {_level(name)}"


def _level(name: str) -> str:
    """Write a condition's strength with a minus sign and a dash where it has a hyphen."""
    level = re.sub(r"^-(?=\d)", "\N{MINUS SIGN}", CONDITIONS[name].level)
    return re.sub(r"(?<=\d)-(?=\d)", "\N{EN DASH}", level)
