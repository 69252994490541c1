"""What a report says first: the finding, how much it rests on, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emovox.evaluation.metrics import MINIMUM_SPEAKERS
from emovox.studies.reading import StudyResults
from emovox.studies.report.missing import absent
from emovox.studies.report.sections.gap import headline
from emovox.studies.report.sections.origin import mixed_recipes
from emovox.studies.report.words import listed


@dataclass(frozen=True, kw_only=True)
class Front:
    """The head of a report.

    Attributes:
        title: of the study.
        finding: the gap in a sentence.
        facts: a value and what it counts.
        warnings: what must be known before a figure is believed, and what is not finished.
    """

    title: str
    finding: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]


def front(study: StudyResults) -> Front:
    """Describe a study in a few lines."""
    about = study.about
    corpora = [one["name"] for one in about["corpora"]]
    facts = [
        (f"{about['clips']:,}", "clips"),
        (f"{about['speakers']:,}", "speakers"),
        (str(sum(1 for count in about["emotions"].values() if count)), "emotions"),
        (str(len(corpora)), f"{'corpus' if len(corpora) == 1 else 'corpora'}: {', '.join(corpora)}"),
    ]
    done, planned, _ = _count(study)
    facts.append((f"{done:,}", f"of {planned:,} cells computed"))
    return Front(title=study.config.title, finding=headline(study), facts=facts, warnings=_warnings(study))


def _count(study: StudyResults) -> tuple[int, int, int]:
    """Count cells: finished, planned, failed; one that parts share counts once."""
    planned = {one.task.key for plan in study.plans for one in plan.cells}
    results = [result for plan in study.plans for result in study.planned(plan.name)]
    done = {cell.key for result in results for cell in result.cells}
    failed = {
        (result.title, result.protocol["key"], result.seed, fold) for result in results for fold, _ in result.failures
    }
    return len(done), len(planned), len(failed)


def _warnings(study: StudyResults) -> list[str]:
    about = study.about
    notes = [*study.config.remarks]
    for gone in absent(study):
        notes.append(f"{gone} The reference study has all of its corpora; every figure here is without them.")
    synthetic = [one["name"] for one in about["corpora"] if one["synthetic"]]
    if synthetic:
        notes.append(
            f"The corpus {listed(synthetic)} is synthetic: computed sounds, not people. Its figures show that the "
            "program runs and say nothing about recognising emotion."
        )
    if about["speakers"] < MINIMUM_SPEAKERS:
        notes.append(
            f"Only {about['speakers']} speakers: intervals are drawn over clips and are too narrow to speak of people "
            "in general."
        )
    for model, recipes in mixed_recipes(study).items():
        notes.append(
            f"Cells of {model} were computed by different recipes of it, {recipes} cells: do not compare them."
        )
    done, planned, failed = _count(study)
    if done < planned:
        notes.append(f"Not finished yet: {planned - done:,} of {planned:,} cells{_failed(failed)}. {_parts(study)}")
    return notes


def _failed(count: int) -> str:
    return f", of which {count:,} failed" if count else ""


def _parts(study: StudyResults) -> str:
    texts = []
    for plan in study.plans:
        results = study.planned(plan.name)
        done, planned = (
            sum(counts) for counts in zip(*((len(one.cells), one.planned) for one in results), strict=True)
        )
        if done < planned:
            texts.append(f"{plan.part.title}: {done:,} of {planned:,} done")
    return f"{'; '.join(texts)}."
