"""Which results of a study a section is about; of several seeds always the first one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from emovox.evaluation.metrics import Scores
from emovox.models.catalog import find
from emovox.studies.config import Kind
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.elements import Section
from emovox.studies.report.phrases import most_epochs, remaining

REFERENCE_KINDS: Collection[Kind] = ("classical", "networks", "optimizers")
"""Parts that hold the reference study's own models."""


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


def by_protocol(results: Iterable[Result], name: Callable[[Result], str]) -> dict[str, dict[str, Result]]:
    """Sort results by name, then by the name of the protocol; of several of one name the one with most epochs stays."""
    found: dict[str, dict[str, Result]] = {}
    for result in results:
        of_name = found.setdefault(name(result), {})
        before = of_name.get(result.protocol["name"])
        if before is None or most_epochs(result) > most_epochs(before):
            of_name[result.protocol["name"]] = result
    return found


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


def best(results: Sequence[Result]) -> Result | None:
    """Give the begun result with the highest UAR; None without any."""
    return max(begun(results), key=lambda one: scores_of(one).uar, default=None)


def on_unseen_speakers(study: StudyResults, *kinds: Kind) -> list[Result]:
    """Give the finished results on unseen speakers of models that were given whole training parts."""
    found = under(planned(study, *kinds), "speaker")
    return [one for one in found if one.complete and one.choice["size"] == 1]


def nothing_yet(title: str, results: Sequence[Result]) -> Section:
    """Give the section of a part without any finished result."""
    finding = f"No result yet. {remaining(results)}" if results else "The study has no such part."
    return Section(title=title, finding=finding)
