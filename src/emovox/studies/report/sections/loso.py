"""One speaker out: how far results differ from person to person, and whether five folds tell the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emovox.evaluation.metrics import confusion, uar
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, best_row, final, is_plain, planned, under
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import figure_text, nothing_yet, reason, remaining
from emovox.studies.report.pictures.speakers import speaker_rows
from emovox.studies.report.protocols import change_text
from emovox.studies.report.settings import (
    INTERVAL_NOTE,
    STRONG_NOTE,
    chance,
    leak_notes,
    most_epochs,
    setting_paragraphs,
)
from emovox.studies.report.words import NOTHING, accuracy_alone, f1_alone, model_names, uar_text

TITLE = "One speaker out"


def section(study: StudyResults) -> Section:
    """Show each model's figures with one speaker out, and the spread of its recall over the speakers."""
    results = under(planned(study, "loso"), "loso")
    if not begun(results):
        return nothing_yet(TITLE, results)
    folds = _by_model(study)
    done = sorted((one for one in results if one.complete), key=lambda one: -(one.scores.uar if one.scores else 0.0))
    content: list[Picture | Table] = []
    if done:
        titles = model_names(results)
        rows = {titles[result.title]: _by_corpus(result) for result in done}
        content.append(
            Picture(
                svg=speaker_rows(rows, label="a speaker's UAR, per cent", chance=chance(study)),
                caption="A point a speaker: the mean recall of the emotions that he or she speaks, when the model was "
                "trained on all others. Line: median of the speakers. Only models whose folds are all finished.",
                alternative=_finding(results),
            )
        )
    return Section(
        title=TITLE,
        finding=_finding(results),
        paragraphs=setting_paragraphs(begun(results)),
        content=[*content, _table(results, folds)],
    )


def speaker_recalls(result: Result) -> dict[str, float]:
    """Give each tested speaker's own UAR, in [0, 1], over the emotions that the speaker speaks."""
    taken = result.predictions()
    speakers = result.column("speaker", taken)
    truth, predicted = result.truth(taken), np.asarray(result.labels)[taken.predicted]
    return {
        str(name): float(uar(confusion(truth[speakers == name], predicted[speakers == name], result.labels)))
        for name in sorted(set(speakers))
    }


def _by_corpus(result: Result) -> dict[str, list[float]]:
    taken = result.predictions()
    corpus_of = dict(zip(result.column("speaker", taken), result.column("corpus", taken), strict=True))
    found: dict[str, list[float]] = {str(corpus): [] for corpus in sorted(set(corpus_of.values()))}
    for speaker, recall in speaker_recalls(result).items():
        found[str(corpus_of[speaker])].append(recall)
    return found


def _by_model(study: StudyResults) -> Mapping[str, Result]:
    """Give the results on folds of several unseen speakers, by the model's name, of models without other settings."""
    some = under(planned(study, "classical", "baselines", "networks"), "speaker")
    return {str(result.choice["name"]): result for result in some if is_plain(result)}


def _finding(results: list[Result]) -> str:
    done = [(result, scores) for result in results if (scores := final(result))]
    if not done:
        return "No model is finished with one speaker out yet."
    best, scores = max(done, key=lambda one: one[1].uar)
    recalls = list(speaker_recalls(best).values())
    return (
        f"{best.choice['name']} has the highest UAR with one speaker out, {uar_text(scores)} %; on single speakers it "
        f"reaches from {percent(min(recalls))} to {percent(max(recalls))} %."
    )


def _table(results: list[Result], folds: Mapping[str, Result]) -> Table:
    titles = model_names(results)
    rows = []
    for result in results:
        if result.scores is None:
            rows.append([titles[result.title], reason(result), *[NOTHING] * 7])
            continue
        recalls = list(speaker_recalls(result).values())
        same = folds.get(str(result.choice["name"]))
        rows.append(
            [
                titles[result.title],
                figure_text(result, uar_text),
                accuracy_alone(result.scores),
                f1_alone(result.scores),
                percent(min(recalls)),
                percent(float(np.median(recalls))),
                percent(max(recalls)),
                figure_text(same, uar_text),
                change_text(same, result),
            ]
        )
    fewer = [result for result in results if "epochs" in result.choice["parameters"]]
    notes = [INTERVAL_NOTE, "Lowest, median, highest: of the speakers' own UAR.", f"{STRONG_NOTE}."]
    notes += [
        f"{titles[result.title]}: {most_epochs(result)} epochs with one speaker out, "
        f"{most_epochs(folds[result.choice['name']])} with folds of several speakers."
        for result in fewer
        if result.choice["name"] in folds
    ]
    return Table(
        title="One speaker out, and beside it folds of several speakers",
        columns=["model", "UAR %", "acc. %", "F1", "lowest", "median", "highest", "in folds: UAR %", "difference"],
        rows=rows,
        strong=best_row(results),
        notes=[*notes, *leak_notes(results), *remaining(results)],
    )
