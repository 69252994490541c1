"""The section on the custom model within each corpus, on known voices and on unseen speakers of the same corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emovox.evaluation.figures import comparison
from emovox.evaluation.metrics import MINIMUM_SPEAKERS
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, planned, scores_of
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import absent, nothing_yet, of_folds, remaining, why_missing
from emovox.studies.report.settings import DIFFERENT_DATA, INTERVAL_NOTE, most_epochs, setting_notes, tested_classes
from emovox.studies.report.words import NOTHING, accuracy_alone, listed, mean_range, model_name, uar_text

TITLE = "The custom model corpus by corpus"

PUBLISHED: Mapping[str, float] = {"tess": 99.28, "esd": 95.60, "ravdess": 92.52, "custom": 92.01, "emodb": 89.29}
"""Test accuracy in per cent of the reference study's custom model on each of its corpora, random split."""

_COLUMNS = ("corpus", "clips", "speakers", "classes", "epochs run", "accuracy %", "published accuracy %", "UAR %")
_KNOWN, _UNSEEN = "known voices (random split)", "unseen speakers"


def section(study: StudyResults) -> Section:
    """Show what the custom model reaches when it is trained and tested within one corpus."""
    results = planned(study, "corpora")
    if not begun(results):
        return nothing_yet(TITLE, results)
    known = [one for one in results if not one.protocol["separates_speakers"]]
    unseen = [one for one in results if one.protocol["separates_speakers"]]
    content: list[Table | Picture] = [_table(study, known, unseen)]
    if begun(results):
        content.append(_picture(known, unseen))
    return Section(
        title=TITLE,
        finding=_finding(known, unseen),
        paragraphs=[
            "Each corpus by itself: trained and tested on its own clips, the others put aside. A fifth of the training "
            "rows is held out for early stopping and learning rate reduction (by chance on the random split, by "
            "speakers elsewhere).",
            "A corpus with few speakers can hardly be tested on unseen ones: with two, one trains and the other is "
            "tested, and what comes out says how alike these two people sound.",
            *absent(study),
            *remaining(results),
        ],
        content=content,
    )


def _finding(known: Sequence[Result], unseen: Sequence[Result]) -> str:
    texts = []
    others = {corpus_of(one): one for one in begun(unseen)}
    for result in begun(known):
        corpus = corpus_of(result)
        text = f"{corpus} {percent(scores_of(result).uar)} %"
        if corpus in others:
            text += f" (unseen speakers {percent(scores_of(others[corpus]).uar)} %)"
        texts.append(text)
    return (
        f"UAR on known voices of the same corpus: {'; '.join(texts)}." if texts else "No random split is finished yet."
    )


def _table(study: StudyResults, known: Sequence[Result], unseen: Sequence[Result]) -> Table:
    rows: list[list[str]] = []
    groups: list[tuple[int, str]] = []
    for heading, results in ((_KNOWN, known), (_UNSEEN, unseen)):
        for model, epochs in dict.fromkeys((model_name(one), most_epochs(one)) for one in results):
            named = model if f"{epochs} epochs" in model else f"{model}, {epochs} epochs"
            groups.append((len(rows), f"{heading.capitalize()}: {named} at most"))
            rows += [_row(one, heading) for one in results if (model_name(one), most_epochs(one)) == (model, epochs)]
            if heading == _KNOWN:
                rows += [_absent_row(name) for name in study.about.get("absent", ()) if name in PUBLISHED]
    few = sorted({corpus_of(one) for one in begun(unseen) if scores_of(one).speakers < MINIMUM_SPEAKERS})
    return Table(
        title="Trained and tested within one corpus",
        columns=_COLUMNS,
        rows=rows,
        groups=groups,
        notes=[
            *setting_notes([*known, *unseen]),
            INTERVAL_NOTE + (f" Fewer than {MINIMUM_SPEAKERS} speakers: {listed(few)}." if few else ""),
            f"{DIFFERENT_DATA} The study chose the epoch on the test part. Its RAVDESS held songs and renamed TESS "
            "clips, its TESS held copies; ours are the official speech recordings.",
        ],
    )


def _row(result: Result, heading: str) -> list[str]:
    corpus = corpus_of(result)
    published = PUBLISHED.get(corpus) if heading == _KNOWN else None
    told = NOTHING if published is None else f"{published:.2f}"
    if not result.cells:
        return [corpus, why_missing(result), "", "", "", "", told, ""]
    scores = scores_of(result)
    return [
        corpus + of_folds(result),
        f"{scores.clips:,}",
        str(scores.speakers),
        str(tested_classes(scores)),
        mean_range([history["epochs"] for history in result.histories]),
        accuracy_alone(scores),
        told,
        uar_text(scores),
    ]


def _absent_row(corpus: str) -> list[str]:
    return [corpus, "not at hand", "", "", "", "", f"{PUBLISHED[corpus]:.2f}", ""]


def _picture(known: Sequence[Result], unseen: Sequence[Result]) -> Picture:
    series = {
        heading: {corpus_of(one): (scores_of(one).uar, scores_of(one).interval.uar) for one in begun(results)}
        for heading, results in ((_KNOWN, known), (_UNSEEN, unseen))
    }
    found = list(dict.fromkeys(corpus for values in series.values() for corpus in values))
    classes = {corpus_of(one): tested_classes(scores_of(one)) for one in begun([*known, *unseen])}
    fewer = [
        f"{corpus} {percent(1 / number)} %" for corpus, number in classes.items() if number < max(classes.values())
    ]
    chance = 1 / max(classes.values())
    return Picture(
        svg=comparison(found, series, chance=chance),
        caption="UAR of the custom model within each corpus; lines are 95 % intervals. Guessing reaches the dashed line"
        + (f"; with fewer classes it reaches more: {', '.join(fewer)}." if fewer else "."),
        alternative="In each corpus the bar of the random split stands beside that of unseen speakers; the table gives "
        "the figures.",
        legend=(f"{_KNOWN}, upper bar", f"{_UNSEEN}, lower bar"),
    )


def corpus_of(result: Result) -> str:
    """Name the corpus within which a result was obtained."""
    return str(result.protocol["key"]).rpartition("-in-")[2]
