"""Where the figures come from: data, software, machines, and the commands that make them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from emovox.models.catalog import find
from emovox.studies.reading import StudyResults
from emovox.studies.report.elements import Section, Table
from emovox.studies.report.words import NOTHING, listed


def section(study: StudyResults, *, source: str = "STUDY.toml") -> Section:
    """Name the corpora with their licences, and all that made the figures.

    Args:
        study: the results.
        source: path of the study's file, as commands shall name it.
    """
    return Section(
        title="Where this comes from",
        finding=f"Everything here is made from stored predictions by one command: emovox study report {source}",
        content=[_corpora(study), _making(study, source)],
    )


def _corpora(study: StudyResults) -> Table:
    rows = [
        [one["name"], f"{one['clips']:,}", str(one["speakers"]), one["licence"] or "not known"]
        for one in study.about["corpora"]
    ]
    rows += [[name, "absent", NOTHING, NOTHING] for name in study.about["absent"]]
    return Table(title="Corpora", columns=["corpus", "clips", "speakers", "licence"], rows=rows)


def _making(study: StudyResults, source: str) -> Table:
    about = study.about
    told = [
        (cell.provenance, cell.threads)
        for plan in study.plans
        for result in study.planned(plan.name)
        for cell in result.cells
    ]
    seeds = study.config.seeds
    shown = f" (tables and pictures show {seeds[0]})" if len(seeds) > 1 else ""
    rows = [
        ("emotions", ", ".join(f"{label} {count:,}" for label, count in about["emotions"].items())),
        ("left out, for no such emotion", _counts(about["dropped"])),
        ("counted as another emotion", _counts(about["mapped"])),
        ("unreadable", ", ".join(f"{item['name']} ({item['code']})" for item in about["unreadable"])),
        ("manifest", f"{about['manifest']} (hash of names, speakers, emotions and sentences)"),
        ("seed", f"{', '.join(map(str, seeds))}{shown}"),
        ("intervals", "95 %, percentile bootstrap with 1,000 draws over speakers; over clips where marked c"),
        *((f"recipes of {model}", text) for model, text in mixed_recipes(study).items()),
        ("revision of the code", _counted(one.get("revision") or "unknown" for one, _ in told)),
        ("software", _counted(_software(one) for one, _ in told)),
        ("hardware", _counted(f"{_machine(one['machine'])}; {threads} thread(s) a model" for one, threads in told)),
        ("corpora read", about["written"]),
        ("computed by", f"emovox study run {source} -c CORPORA{_weights(study)}"),
        ("this report", f"emovox study report {source}"),
    ]
    return Table(
        title="How it was made",
        columns=["", ""],
        rows=[[name, text] for name, text in rows if text],
        notes=["In parentheses, where there are several: the number of cells."],
    )


def mixed_recipes(study: StudyResults) -> dict[str, str]:
    """Name the recipes of each model of which cells were computed by different ones; cells that name none are left out.

    Returns:
        By the model's name its recipes, with the number of cells of each.
    """
    found: dict[str, list[str]] = {}
    results = [result for plan in study.plans for result in study.planned(plan.name)]
    for cell in {cell.key: cell for result in results for cell in result.cells}.values():
        if "recipe" in cell.details:
            found.setdefault(str(cell.details["choice"]["name"]), []).append(str(cell.details["recipe"]))
    return {model: _counted(recipes) for model, recipes in found.items() if len(set(recipes)) > 1}


def _weights(study: StudyResults) -> str:
    models = {one.task.model for plan in study.plans for one in plan.cells}
    return " --weights ENCODER.safetensors" if any(find(name).family == "speechnet" for name in models) else ""


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count:,}" for label, count in found.items())


def _counted(texts: Iterable[str]) -> str:
    """Name different texts, the most frequent first, with how often each occurs if there are several."""
    found = Counter(texts)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{text} ({count:,})" for text, count in found.most_common())


def _software(told: Mapping[str, Any]) -> str:
    libraries = [f"{name} {version}" for name, version in told["libraries"].items()]
    return listed([f"emovox {told['emovox']}", f"Python {told['python']}", *libraries])


def _machine(machine: Mapping[str, Any]) -> str:
    parts = [machine["processor"], f"{machine['cores']} cores"]
    parts += [f"{machine['memory_gb']:.0f} GB"] if machine.get("memory_gb") else []
    parts += [machine["gpu"]] if machine.get("gpu") else []
    return f"{machine['system']}, {', '.join(parts)}"
