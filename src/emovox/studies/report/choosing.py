"""Which results of a study a section is about; of several seeds always the first one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from emovox.evaluation.metrics import Scores
from emovox.models.catalog import find
from emovox.studies.config import Kind
from emovox.studies.reading import Result, StudyResults

REFERENCE_KINDS: Collection[Kind] = ("classical", "networks", "optimizers")
"""Parts that hold the reference study's own models."""

OWN_MODEL = "speechnet"
"""This package's own network."""


def planned(study: StudyResults, *kinds: Kind) -> list[Result]:
    """Give all results of the parts of some kinds, unfinished ones too, in the study's order.

    What several parts share comes once.
    """
    found: dict[tuple[str, str], Result] = {}
    for name, part in study.config.parts.items():
        if part.kind in kinds:
            for result in study.planned(name):
                if result.seed == study.config.seeds[0]:
                    found.setdefault((result.title, result.protocol["key"]), result)
    return list(found.values())


def under(results: Sequence[Result], protocol: str) -> list[Result]:
    """Keep the results under protocols of one name: ``random``, ``speaker``, ``loso``, ``corpus``, ``within``."""
    return [result for result in results if result.protocol["name"] == protocol]


def is_plain(result: Result) -> bool:
    """Whether a model is that of the catalogue but for its epochs: own input and parameters, all training rows."""
    choice = result.choice
    own = choice["features"] == find(choice["name"]).input and set(choice["parameters"]) <= {"epochs"}
    return own and choice["size"] == 1 and not choice["held_out"]


def begun(results: Sequence[Result]) -> list[Result]:
    """Keep the results of which some fold is finished."""
    return [result for result in results if result.cells]


def scores_of(result: Result) -> Scores:
    """Give the scores of a result of which some fold is finished."""
    if result.scores is None:
        raise ValueError(f"{result.title} has no finished fold")
    return result.scores


def final(result: Result | None) -> Scores | None:
    """Give the scores of a result whose folds are all finished."""
    return result.scores if result is not None and result.complete else None


def best(results: Sequence[Result]) -> Result | None:
    """Give the begun result with the highest UAR; None without any."""
    return max(begun(results), key=lambda one: scores_of(one).uar, default=None)


def best_row(results: Sequence[Result | None]) -> tuple[int, ...]:
    """Give the place of the finished result with the highest UAR, to stress its row; empty without any."""
    scores = [final(result) for result in results]
    found = [(one.uar, place) for place, one in enumerate(scores) if one is not None]
    return (max(found)[1],) if found else ()


def own(results: Sequence[Result]) -> Result | None:
    """Give the result of this package's own network as it is in the catalogue; None without it."""
    return next((one for one in results if one.title == OWN_MODEL), None)


def on_unseen_speakers(study: StudyResults, *kinds: Kind) -> list[Result]:
    """Give the finished results on unseen speakers of models that were given whole training parts."""
    found = under(planned(study, *kinds), "speaker")
    return [one for one in found if one.complete and one.choice["size"] == 1]
