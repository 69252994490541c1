"""One speaker out: how far results differ from person to person, and whether five folds tell the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from emovox.evaluation.metrics import confusion, uar
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, is_plain, nothing_yet, planned, under
from emovox.studies.report.drawing import spread
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.phrases import INTERVAL_NOTE, NOTHING, most_epochs, names, remaining, uar_text
from emovox.studies.report.wording import FAILED, NOT_YET, best_row, cell, chance, change_text, described, final

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
        titles = names(results)
        rows = {titles[result.title]: _by_corpus(result) for result in done}
        content.append(
            Picture(
                svg=spread(rows, label="a speaker's UAR, per cent", chance=chance(study)),
                caption="A point a speaker: the mean recall of the emotions that he or she speaks, when the model was "
                "trained on all others. Line: median of the speakers. Only models whose folds are all finished.",
                alternative=_finding(results),
            )
        )
    return Section(
        title=TITLE,
        finding=_finding(results),
        paragraphs=described(begun(results)),
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
        found[str(corpus_of[speaker])].append(100 * recall)
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
        f"{best.choice['name']} is best with one speaker out, UAR {uar_text(scores)} %; from speaker to speaker it "
        f"reaches from {percent(min(recalls))} to {percent(max(recalls))} %."
    )


def _table(results: list[Result], folds: Mapping[str, Result]) -> Table:
    titles = names(results)
    rows = []
    for result in results:
        if result.scores is None:
            rows.append([titles[result.title], FAILED if result.failures else NOT_YET, *[NOTHING] * 7])
            continue
        recalls = list(speaker_recalls(result).values())
        same = folds.get(str(result.choice["name"]))
        rows.append(
            [
                titles[result.title],
                cell(result, uar_text),
                percent(result.scores.accuracy),
                f"{result.scores.weighted_f1:.3f}",
                percent(min(recalls)),
                percent(float(np.median(recalls))),
                percent(max(recalls)),
                cell(same, uar_text),
                change_text(same, result),
            ]
        )
    fewer = [result for result in results if "epochs" in result.choice["parameters"]]
    notes = [INTERVAL_NOTE, "Lowest, median, highest: of the speakers' own UAR."]
    notes += [
        f"{titles[result.title]}: {most_epochs(result)} epochs with one speaker out, "
        f"{most_epochs(folds[result.choice['name']])} with folds of several speakers."
        for result in fewer
        if result.choice["name"] in folds
    ]
    notes += [f"Leak: {shared}." for shared in dict.fromkeys(result.shared for result in results) if shared]
    left = remaining(results)
    return Table(
        title="One speaker out, and beside it folds of several speakers",
        columns=["model", "UAR %", "acc. %", "F1", "lowest", "median", "highest", "in folds: UAR %", "difference"],
        rows=rows,
        strong=best_row(results),
        notes=[*notes, *([left] if left else [])],
    )
