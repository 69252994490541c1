"""What commands share that learn from labelled recordings: which rows, which labels, which inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from emovox.cli import common
from emovox.emotions import parse_label_set, parse_mapping
from emovox.errors import ManifestError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import TaskID

    from emovox.evaluation.inputs import Inputs
    from emovox.manifest import Selection

ManifestOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--manifest", "-m", help="Table of labelled recordings (CSV or Parquet).", show_default=False),
]
CorporaOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--corpora", "-c", help="Folder with corpora; it is scanned first.", show_default=False),
]
LabelsOption: TypeAlias = Annotated[
    str, typer.Option("--labels", help="Label set (seven, ravdess8, emodb7, esd5) or comma-separated emotions.")
]
MapOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--map", help="Count an emotion as another, such as calm=neutral.")
]
SetOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--set", help="Parameter of the model, such as n_estimators=300.")
]
JobsOption: TypeAlias = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Processes; all processors if not given.")
]


def load_rows(
    manifest_path: Path | None, corpora: Path | None, labels: str, mapping: Sequence[str] | None
) -> tuple[Selection, tuple[str, ...]]:
    """Read the rows that the options name, and say what is left out.

    Returns:
        The rows, and the labels in the order of the probabilities.

    Raises:
        ParameterError: if not exactly one source is named.
        ManifestError: if no row is left.
    """
    if (manifest_path is None) == (corpora is None):
        raise ParameterError(
            "give either --manifest FILE or --corpora DIR", remedy="`emovox corpora scan DIR` makes a manifest."
        )
    from emovox import manifest

    if manifest_path is not None:
        table = manifest.read(manifest_path)
    else:
        from emovox.corpora.scanning import scan

        result = scan(str(corpora), durations=False)
        table = result.table
        if result.failures:
            common.warn(
                f"{len(result.failures):,} files of {corpora} are no utterances of a corpus: `emovox corpora scan`"
            )
    chosen = parse_label_set(labels)
    selection = manifest.select_labels(table, chosen, mapping=parse_mapping(mapping or ()))
    for what, counts in (("Left out", selection.dropped), ("Counted as another emotion", selection.mapped)):
        if counts:
            told = (f"{count:,} {label or 'unlabelled'}" for label, count in counts.items())
            common.warn(f"{what}: {', '.join(told)}")
    if selection.table.empty:
        raise ManifestError(
            f"none of {len(table):,} recordings has one of the emotions {', '.join(chosen)}",
            path=manifest_path or corpora,
            remedy="Choose others with --labels.",
        )
    return selection, chosen


def load_inputs(selection: Selection, kinds: Iterable[str], jobs: int | None) -> Inputs:
    """Read what models take, with a progress bar; recordings that cannot be used are named on stderr."""
    from emovox.evaluation.inputs import read_inputs

    with counted("Reading recordings") as advance:
        inputs = read_inputs(selection.table, kinds, jobs=jobs, progress=advance)
    for failure in inputs.failures:
        common.warn(f"left out: {failure}")
    return inputs


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar that is told (done, total)."""
    with common.progress() as bars:
        task = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@contextmanager
def cells_shown(title: str = "Evaluating") -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar that is told (done, total, title of what is done)."""
    with common.progress() as bars:
        task = bars.add_task(title, total=None)

        def advance(done: int, total: int, name: str) -> None:
            bars.update(task, completed=done, total=total, description=f"{title} {name}".rstrip())

        yield advance


@contextmanager
def training_shown(name: str) -> Iterator[tuple[Callable[[int, int, str], None], Callable[[int, int], None]]]:
    """Show how a model is measured and how it learns, each from when it begins.

    The first is told (done, total, title of what is done), the second (done, total).
    """
    with common.progress() as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int, title: str) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None)
            bars.update(tasks[what], completed=done, total=total, description=f"{what} {title}".rstrip())

        yield (
            lambda done, total, title: show(f"Measuring {name}", done, total, title),
            lambda done, total: show(f"Learning {name}", done, total, ""),
        )


def parse_parameters(items: Sequence[str] | None) -> dict[str, Any]:
    """Read parameters of models from ``key=value``; values are JSON where they can be, else text.

    Example:
        >>> parse_parameters(["n_estimators=300", "optimizer=adam", "early_stopping=true", "max_depth=none"])
        {'n_estimators': 300, 'optimizer': 'adam', 'early_stopping': True, 'max_depth': None}
    """
    parameters: dict[str, Any] = {}
    for item in items or ():
        key, separator, text = item.partition("=")
        if not separator or not key.strip():
            raise ParameterError(f"cannot read the parameter {item!r}", remedy="Write it as key=value.")
        parameters[key.strip()] = _value(text.strip())
    return parameters


def _value(text: str) -> Any:
    word = {"none": "null", "true": "true", "false": "false"}.get(text.lower(), text)
    try:
        return json.loads(word)
    except json.JSONDecodeError:
        return text
