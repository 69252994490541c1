"""What is not there, in words: folds and cells to come, those that failed, corpora that were not at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from emovox.evaluation.metrics import Scores
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.elements import Section
from emovox.studies.report.words import NOTHING, listed, model_name

NOT_YET, FAILED = "not yet", "failed"

_FAILURES_TOLD = 3


def figure_text(result: Result | None, write: Callable[[Scores], str]) -> str:
    """Write a figure of a result; where there is none say why, and where folds are missing say so.

    Args:
        result: or None where the study has none.
        write: the figure.
    """
    if result is None:
        return NOTHING
    if result.scores is None:
        return reason(result)
    return f"{write(result.scores)}{of_folds(result)}"


def reason(result: Result) -> str:
    """Say of a result without any finished fold why there is no figure, in a word or two."""
    return FAILED if result.failures else NOT_YET


def why_missing(result: Result) -> str:
    """Say of a result without any finished fold why there is no figure, in full."""
    if result.failures:
        return f"{FAILED}: {_first_line(result.failures[0][1])}"
    return f"not computed yet (0 of {result.planned} cells)"


def of_folds(result: Result) -> str:
    """Mark figures of a result of which folds are missing; empty if it is whole or has no figures."""
    if result.complete or not result.cells:
        return ""
    return f" ({len(result.cells)} of {result.planned} folds)"


def remaining(results: Sequence[Result]) -> list[str]:
    """Say in a paragraph how many cells of some results are missing, and what failed; none if all are there."""
    planned = sum(result.planned for result in results)
    failed = [
        f"{model_name(result)}, {result.protocol['key']}, fold {fold}: {_first_line(error)}"
        for result in results
        for fold, error in result.failures
    ]
    left = planned - sum(len(result.cells) for result in results) - len(failed)
    texts = [f"Not computed yet: {left:,} of {planned:,} cells."] if left else []
    if failed:
        more = "; ..." if len(failed) > _FAILURES_TOLD else ""
        texts.append(f"Failed: {len(failed):,} of {planned:,} cells ({'; '.join(failed[:_FAILURES_TOLD])}{more}).")
    return [" ".join(texts)] if texts else []


def absent(study: StudyResults) -> list[str]:
    """Name in a sentence the corpora that the study wants and that were not at hand; none if all were."""
    gone = [name.upper() for name in study.about.get("absent", ())]
    if not gone:
        return []
    verb, them = ("is", "it") if len(gone) == 1 else ("are", "them")
    return [f"{listed(gone)} {verb} absent: no recording of {them} was at hand."]


def nothing_yet(title: str, results: Sequence[Result]) -> Section:
    """Give the section of a part without any finished result."""
    finding = " ".join(["No result yet.", *remaining(results)]) if results else "The study has no such part."
    return Section(title=title, finding=finding)


def _first_line(error: Mapping[str, str]) -> str:
    return error["message"].splitlines()[0][:200]
