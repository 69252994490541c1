"""All sections of a study's report, in the order in which they stand in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emovox.studies.config import Kind
from emovox.studies.reading import StudyResults
from emovox.studies.report.elements import Section
from emovox.studies.report.sections import (
    baselines,
    calibration,
    classical,
    corpora,
    differences,
    gap,
    groups,
    loso,
    networks,
    optimizers,
    origin,
    robustness,
    significance,
    validation,
)

Builder = Callable[[StudyResults], Section]

BUILDERS: Mapping[Kind, Builder] = {
    "classical": classical.section,
    "networks": networks.section,
    "optimizers": optimizers.section,
    "validation": validation.section,
    "corpora": corpora.section,
    "baselines": baselines.section,
    "loso": loso.section,
    "calibration": calibration.section,
    "robustness": robustness.section,
}
"""What shows the parts of a kind; in the order of the report."""


def sections(study: StudyResults, *, source: str = "STUDY.toml") -> list[Section]:
    """Build the report: the gap, every kind of part that the study has, comparisons across parts, and the origin.

    Args:
        study: the results, finished or not.
        source: path of the study's file, as commands shall name it.
    """
    kinds = {plan.part.kind for plan in study.plans}
    return [
        gap.section(study),
        *(builder(study) for kind, builder in BUILDERS.items() if kind in kinds),
        significance.section(study),
        groups.section(study),
        differences.section(study),
        origin.section(study, source=source),
    ]
