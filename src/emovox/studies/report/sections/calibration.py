"""The section on calibration: whether models are as sure as they are right, before and after temperature scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emovox.evaluation.calibration import apply_temperature, fit_temperature
from emovox.evaluation.cells import TEST, VALIDATION
from emovox.evaluation.metrics import ECE_BINS, brier, ece
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import begun, planned, scores_of
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import nothing_yet, of_folds, remaining, why_missing
from emovox.studies.report.pictures.calibration import FEWEST_CLIPS, Reliability, reliability_diagrams
from emovox.studies.report.pictures.style import with_shapes
from emovox.studies.report.settings import INTERVAL_NOTE, setting_notes
from emovox.studies.report.words import listed, mean_range, model_name, uar_text

TITLE = "How sure the models are"

_COLUMNS = ("model", "UAR %", "temperature", "accuracy %", "confidence %", "ECE", "Brier score")


@dataclass(frozen=True, eq=False)
class Calibration:
    """A model's test probabilities before and after temperature scaling, folds with validation rows only.

    Attributes:
        truth: labels of the test clips, shape (n,).
        before, after: probabilities, shape (n, k).
        temperatures: one a fold, from its validation rows.
        uncounted: folds without validation rows.
    """

    truth: npt.NDArray[np.str_]
    before: npt.NDArray[Any]
    after: npt.NDArray[Any]
    temperatures: Sequence[float]
    uncounted: int

    def ece(self, labels: Sequence[str]) -> tuple[float, float]:
        """Give the expected calibration error before and after."""
        return ece(self.truth, self.before, labels), ece(self.truth, self.after, labels)


def section(study: StudyResults) -> Section:
    """Show reliability, calibration error and what temperature scaling makes of it, on unseen speakers."""
    results = planned(study, "calibration")
    if not begun(results):
        return nothing_yet(TITLE, results)
    found = {result.title: calibrated(result) for result in begun(results)}
    named = [(result, calibration) for result in results if (calibration := found.get(result.title)) is not None]
    return Section(
        title=TITLE,
        finding=_finding(named),
        paragraphs=[
            f"The expected calibration error (ECE, {ECE_BINS} bins of equal width) is how far confidence, the "
            "probability of the predicted class, is from the share of clips that is right. Temperature scaling divides "
            "the logarithms of the probabilities by one number and changes no decision, so UAR and accuracy stay.",
            "A fifth of each fold's training speakers is held out: no model is fitted on them (networks watch them for "
            "the learning curve only). On these validation speakers the temperature of the fold is fitted (Guo et al. "
            "2017) and applied to the fold's test speakers, whom neither model nor temperature has seen. Models "
            "therefore learned from fewer rows than in the other sections.",
            "speechnet divides by a temperature of its own before, found on other speakers among those that it is "
            "fitted on; classical models give the probabilities that scikit-learn gives, but for support vector "
            "machines, whose votes between pairs of emotions are made into probabilities. Probabilities are stored to "
            "four decimals, and count as 0.0001 at least.",
            *remaining(results),
        ],
        content=[_table(results, found), *_pictures(named)],
    )


def calibrated(result: Result) -> Calibration | None:
    """Fit a temperature on each fold's validation rows and apply it to the same fold's test rows.

    Returns:
        All test rows together; None if no finished fold has validation rows.
    """
    truth, before, after, temperatures = [], [], [], []
    for views in result.views:
        if VALIDATION not in views or not len(views[VALIDATION].rows):
            continue
        validation, test = views[VALIDATION], views[TEST]
        temperature = fit_temperature(validation.probabilities, result.truth(validation), result.labels)
        temperatures.append(temperature)
        truth.append(result.truth(test))
        before.append(test.probabilities)
        after.append(apply_temperature(test.probabilities, temperature))
    if not temperatures:
        return None
    return Calibration(
        truth=np.concatenate(truth),
        before=np.concatenate(before),
        after=np.concatenate(after),
        temperatures=temperatures,
        uncounted=len(result.views) - len(temperatures),
    )


def _finding(named: Sequence[tuple[Result, Calibration]]) -> str:
    if not named:
        return "No model has validation speakers, so no temperature could be fitted."
    texts = ["{} from {:.3f} to {:.3f}".format(model_name(result), *one.ece(result.labels)) for result, one in named]
    sure = [model_name(result) for result, one in named if np.mean(one.temperatures) > 1]
    told = f"Too sure of themselves before: {listed(sure)}." if sure else "None was too sure of itself."
    return f"ECE on unseen speakers, before and after temperature scaling: {'; '.join(texts)}. {told}"


def _table(results: Sequence[Result], found: dict[str, Calibration | None]) -> Table:
    rows, uncounted = [], []
    for result in results:
        name = model_name(result) + of_folds(result)
        one = found.get(result.title)
        if one is None:
            why = "no validation speakers" if result.cells else why_missing(result)
            rows.append([name, why, *[""] * (len(_COLUMNS) - 2)])
            continue
        if one.uncounted:
            uncounted.append(
                f"{name}: {one.uncounted} folds without validation speakers are left out of ECE and Brier."
            )
        right = np.asarray(result.labels)[one.before.argmax(axis=1)] == one.truth
        rows.append(
            [
                name,
                uar_text(scores_of(result)),
                mean_range(one.temperatures, digits=2),
                percent(float(right.mean())),
                percent(float(one.before.max(axis=1).mean())),
                _change(*one.ece(result.labels)),
                _change(*(brier(one.truth, given, result.labels) for given in (one.before, one.after))),
            ]
        )
    return Table(
        title="Calibration on unseen speakers",
        columns=_COLUMNS,
        rows=rows,
        notes=[
            *setting_notes(results),
            f"{INTERVAL_NOTE} Temperature: mean of the folds (lowest to highest); above 1 the model was too sure. "
            "Confidence: mean over the test clips before scaling; a calibrated model's equals its accuracy. ECE and "
            "Brier score: before, after. Brier score: 0 is perfect; giving all emotions the same probability always "
            f"gets {1 - 1 / len(results[0].labels):.3f}.",
            *uncounted,
        ],
    )


def _pictures(named: Sequence[tuple[Result, Calibration]]) -> list[Picture]:
    if not named:
        return []
    diagrams = {
        model_name(result): [
            Reliability.of(one.truth, probabilities, result.labels) for probabilities in (one.before, one.after)
        ]
        for result, one in named
    }
    return [
        Picture(
            svg=reliability_diagrams(diagrams),
            caption="Reliability on unseen speakers: of the clips of which a model was this sure, so many were right. "
            "On the dashed line a model is as sure as it is right; below it, too sure. The larger the mark, the more "
            f"clips; bins of fewer than {FEWEST_CLIPS} are left out of the picture, not of the ECE.",
            alternative="For each model, the share that is right against the confidence, before and after temperature "
            "scaling; the table gives the calibration errors.",
            legend=with_shapes(["before", "after temperature scaling"]),
        )
    ]


def _change(before: float, after: float) -> str:
    return f"{before:.3f} \N{RIGHTWARDS ARROW} {after:.3f}"
