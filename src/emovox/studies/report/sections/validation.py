"""The section on the validation study: the custom model at 64/16/20, in full."""

from __future__ import annotations

from emovox.evaluation.cells import VALIDATION
from emovox.evaluation.metrics import Scores
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, planned, scores_of
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import nothing_yet, remaining, why_missing
from emovox.studies.report.pictures.confusion import confusion_picture
from emovox.studies.report.settings import DIFFERENT_DATA, INTERVAL_NOTE, setting_notes
from emovox.studies.report.words import NOTHING, accuracy_text, mean_range, model_name, uar_text

TITLE = "The validation study: 64/16/20"

PUBLISHED = {"validation": 95.41, "test": 95.52}
"""Accuracy in per cent of the reference study's best custom model on its 64/16/20 division; its summary says 95.74 and
96.48, which are figures of its optimiser table."""


def section(study: StudyResults) -> Section:
    """Show validation and test accuracy, confusions and the report by class."""
    results = planned(study, "validation")
    finished = begun(results)
    if not finished:
        return nothing_yet(TITLE, results)
    content: list[Table | Picture] = [_accuracies(results)]
    for result in finished:
        content += [_picture(result), _report(result)]
    return Section(
        title=TITLE,
        finding=_finding(finished[0]),
        paragraphs=[
            "Drawn by chance: 64 % of the clips are fitted, 16 % validate (early stopping, learning rate, best epoch), "
            "20 % are tested. The same speakers, and the same sentences in the same voices, are in all three, so "
            "neither validation nor test says what a new voice gets.",
            *remaining(results),
        ],
        content=content,
    )


def _finding(result: Result) -> str:
    scores = scores_of(result)
    text = f"{model_name(result)} on known voices: test accuracy {accuracy_text(scores)} %, UAR {uar_text(scores)} %"
    if result.has(VALIDATION):
        text += f"; validation accuracy {percent(result.measure(VALIDATION).accuracy)} %"
    return f"{text}. Published: test {PUBLISHED['test']:.2f} %, validation {PUBLISHED['validation']:.2f} %."


def _accuracies(results: list[Result]) -> Table:
    rows = []
    for result in results:
        name = model_name(result)
        if not result.cells:
            rows.append([name, why_missing(result), *[""] * 4])
            continue
        epochs = mean_range([history["epochs"] for history in result.histories])
        views = [("validation", result.measure(VALIDATION) if result.has(VALIDATION) else None)]
        for view, scores in [*views, ("test", scores_of(result))]:
            figures = [f"{scores.clips:,}", accuracy_text(scores), uar_text(scores)] if scores else [NOTHING] * 3
            rows.append([f"{name}: {view}", *figures, f"{PUBLISHED[view]:.2f}", epochs])
    return Table(
        title="Validation and test, known voices",
        columns=("part", "clips", "accuracy %", "UAR %", "published accuracy %", "epochs run"),
        rows=rows,
        notes=[
            *setting_notes(results),
            f"{INTERVAL_NOTE} The validation rows chose the epoch, so their figure is a little flattering.",
            f"{DIFFERENT_DATA} The study's summary also gives 96.48 and 95.74 for this: those are figures of its "
            "optimiser table.",
        ],
    )


def _picture(result: Result) -> Picture:
    scores = scores_of(result)
    recall = {row.label: row.recall for row in scores.report[: len(scores.labels)] if row.support}
    worst = min(recall, key=lambda label: recall[label])
    return Picture(
        svg=confusion_picture(scores.matrix, scores.labels),
        caption=f"Confusion matrix of {model_name(result)} on the {scores.clips:,} test clips of the random split: "
        "what was spoken (rows) and what it was taken for (columns), in clips and in per cent of the row.",
        alternative=f"On average {percent(scores.uar)} % of an emotion's clips lie on the diagonal; the emotion that "
        f"is recognised least is {worst}, {percent(recall[worst])} % of its clips.",
    )


def _report(result: Result) -> Table:
    scores: Scores = scores_of(result)
    classes = len(scores.labels)
    return Table(
        title=f"Classification report of {model_name(result)}, test part of the random split",
        columns=("emotion", "precision", "recall", "F1", "support"),
        rows=[
            [row.label, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", f"{row.support:,}"]
            for row in scores.report
        ],
        groups=[(classes, "averages")],
        notes=["The recall of the macro average is the UAR. The study prints such a report, too, on its own data."],
    )
