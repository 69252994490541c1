"""`emovox evaluate`: models under protocols, as a table and as data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from emovox.cli import common, rows
from emovox.cli.show import CsvRows
from emovox.errors import ParameterError

if TYPE_CHECKING:
    from emovox.evaluation.inputs import Inputs, Kind
    from emovox.evaluation.protocols import EvaluationProtocol
    from emovox.evaluation.results import Results, Summary
    from emovox.manifest import Selection

PROTOCOL_NAMES = ("random", "speaker", "loso", "corpus", "file")
TABLE = common.Format.TABLE


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Names of the catalogue, bundles (.onnx), or the groups classical, scaled, baselines, networks, all.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for results; a run that was broken off goes on there.")
    ],
    manifest: rows.ManifestOption = None,
    corpora: rows.CorporaOption = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            "-p",
            help="random, speaker, loso, corpus or file; may be given several times. [default: speaker]",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Folds of the protocol speaker.")] = 5,
    folds_file: Annotated[
        str | None,
        typer.Option("--folds-file", help="List of folds for the protocol file: CSV, JSON, or ravdess-6."),
    ] = None,
    test_size: Annotated[float, typer.Option("--test-size", help="Tested share of the protocol random.")] = 0.25,
    train_on: Annotated[
        str | None, typer.Option("--train-on", help="Corpora to train on, comma-separated (protocol corpus).")
    ] = None,
    test_on: Annotated[
        str | None, typer.Option("--test-on", help="Corpora to test on, comma-separated (protocol corpus).")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", help="Seed of split and model; may repeat. [default: 7]")
    ] = None,
    skip_unknown_speakers: Annotated[
        bool, typer.Option("--skip-unknown-speakers", help="Leave out clips whose speaker is unknown, and count them.")
    ] = False,
    labels: rows.LabelsOption = "seven",
    mapping: rows.MapOption = None,
    parameters: rows.SetOption = None,
    jobs: rows.JobsOption = None,
    output: Annotated[
        common.Format, typer.Option("--format", "-f", help="How to print results.")
    ] = common.Format.TABLE,
) -> None:
    """Compare models on labelled recordings.

    Each model is trained and tested under each protocol; results are kept in DIR as data, and `emovox report DIR` makes
    a page of them. A bundle is tested as it is, on all rows.

    Examples:
      emovox evaluate classical -c corpora -p random -p speaker -o results

      emovox evaluate model.onnx -m other-corpus.csv -o results
    """
    protocols = [
        _protocol(
            name,
            folds=folds,
            folds_file=folds_file,
            test_size=test_size,
            train_on=train_on,
            test_on=test_on,
            unknown_speakers="aside" if skip_unknown_speakers else "error",
        )
        for name in protocol or ["speaker"]
    ]
    names, bundles = split_models(models)
    selection, chosen = rows.load_rows(manifest, corpora, labels, mapping)
    inputs = rows.load_inputs(selection, _kinds(names, bundles), jobs)
    results = _run(names, bundles, inputs, selection, protocols, chosen, seed or [7], parameters, jobs, out)
    show(results, output)
    if inputs.failures or any(not summary.complete for summary in results.summaries):
        raise typer.Exit(common.SOME_FAILED)


def _run(
    names: list[str],
    bundles: list[str],
    inputs: Inputs,
    selection: Selection,
    protocols: list[EvaluationProtocol],
    labels: tuple[str, ...],
    seeds: list[int],
    parameters: list[str] | None,
    jobs: int | None,
    out: Path,
) -> Results:
    from emovox.evaluation.bundles import evaluate_bundle
    from emovox.evaluation.choices import ModelChoice
    from emovox.evaluation.provenance import available_cores
    from emovox.evaluation.results import load_results
    from emovox.evaluation.study import evaluate as evaluate_models

    notes = {"dropped": dict(selection.dropped), "mapped": dict(selection.mapped)}
    if names:
        choices = [ModelChoice(name, rows.parse_parameters(parameters)) for name in names]
        with rows.cells_shown() as advance:
            evaluate_models(
                choices,
                inputs,
                protocols,
                out=out,
                labels=labels,
                seeds=seeds,
                jobs=jobs or available_cores(),
                notes=notes,
                progress=advance,
            )
    for bundle in bundles:
        with rows.counted(f"Testing {Path(bundle).name}") as count:
            evaluate_bundle(bundle, inputs, out=out, notes=notes, progress=count)
    return load_results(out)


def show(results: Results, output: common.Format) -> None:
    """Print results as a table for people, or as JSON or CSV for programs."""
    from emovox.evaluation import report

    if output is not TABLE:
        for note in report.warnings(results):
            common.warn(f"! {note}")
    if output is common.Format.JSON:
        common.print_json(results.as_dict())
        return
    if output is common.Format.CSV:
        printed = CsvRows(["protocol", "seed", *_COLUMNS])
        for section in report.sections(results):
            for summary in section.summaries:
                printed.add([section.protocol["name"], section.seed, *report.table_row(summary)])
        return
    from rich.markup import escape
    from rich.table import Table

    console = common.stdout()
    for section in report.sections(results):
        published = section.protocol["name"] == "random"
        lines = [_short_row(summary)[: None if published else -1] for summary in section.summaries]
        table = Table(title=section.title, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
        table.add_column("model", overflow="fold")
        for number, column in enumerate(_SHORT if published else _SHORT[:-1], start=1):
            # Figures are never cut; a long name of a model is broken instead.
            width = max(len(cell) for cell in [column, *(line[number] for line in lines)])
            table.add_column(column, justify="right", min_width=width)
        for number, line in enumerate(lines):
            table.add_row(*map(escape, line), style="bold" if number == 0 else "")
        console.print(table)
        console.print(f"{section.description}; seed {section.seed}", style="dim", markup=False)
        if published and any(report.table_row(summary)[-1] for summary in section.summaries):
            console.print(f"publ. = {report.PUBLISHED_NOTE}", style="dim", markup=False)
        for summary in section.summaries:
            for fold, error in summary.failures:
                common.warn(f"{summary.model}, fold {fold}: {error['message']}")
        console.print()
    for note in report.warnings(results):
        console.print(f"! {note}", style="yellow", markup=False)
    console.print(f"{report.headline(results)}. {report.remark(results)}", markup=False)


def _short_row(summary: Summary) -> list[str]:
    from emovox.evaluation import report

    model, value, interval, *others = report.table_row(summary)
    return [model, f"{value} {interval}", *others] if summary.scores else [model, "failed", *[""] * len(others)]


_COLUMNS = (
    "model",
    "UAR %",
    "95 %",
    "accuracy %",
    "weighted F1",
    "ECE",
    "train s",
    "test s",
    "published accuracy %",
)
_SHORT = ("UAR % [95 %]", "acc. %", "wF1", "ECE", "train s", "test s", "publ.")


def split_models(models: list[str]) -> tuple[list[str], list[str]]:
    """Tell catalogue names, with groups spelt out, from bundles."""
    from emovox.inference.bundle import packaged_bundles
    from emovox.models.catalog import CATALOG, find
    from emovox.models.classical import BASELINE_NAMES, CLASSICAL, SCALED_SUFFIX

    groups: dict[str, Sequence[str]] = {
        "classical": [model.name for model in CLASSICAL],
        "scaled": [model.name + SCALED_SUFFIX for model in CLASSICAL],
        "baselines": BASELINE_NAMES,
        "networks": [spec.name for spec in CATALOG.values() if spec.family == "network"],
        "all": list(CATALOG),
    }
    names: list[str] = []
    bundles: list[str] = []
    for model in models:
        if model in groups:
            names += groups[model]
        elif model.endswith(".onnx") or model in packaged_bundles():
            bundles.append(model)
        else:
            names.append(find(model).name)
    return list(dict.fromkeys(names)), list(dict.fromkeys(bundles))


def _kinds(names: list[str], bundles: list[str]) -> list[Kind]:
    from emovox.evaluation.bundles import input_kind
    from emovox.inference.bundle import read_metadata
    from emovox.models.catalog import find

    kinds: list[Kind] = [find(name).input for name in names]
    kinds += [input_kind(read_metadata(bundle)) for bundle in bundles]
    return list(dict.fromkeys(kinds))


def _protocol(
    name: str,
    *,
    folds: int,
    folds_file: str | None,
    test_size: float,
    train_on: str | None,
    test_on: str | None,
    unknown_speakers: Literal["error", "aside"],
) -> EvaluationProtocol:
    from emovox.evaluation import protocols

    if name == "random":
        return protocols.RandomSplit(test_size=test_size)
    if name == "speaker":
        return protocols.SpeakerFolds(n_splits=folds, unknown_speakers=unknown_speakers)
    if name == "loso":
        return protocols.LeaveOneSpeakerOut(unknown_speakers=unknown_speakers)
    if name == "corpus":
        if (train_on is None) != (test_on is None):
            raise ParameterError("--train-on and --test-on belong together")
        if train_on is None or test_on is None:
            return protocols.LeaveOneCorpusOut()
        return protocols.CorpusTransfer(_names(train_on), _names(test_on))
    if name == "file":
        if folds_file is None:
            raise ParameterError("the protocol file needs a list of folds", remedy="Give it with --folds-file.")
        return protocols.FileFolds(folds_file)
    raise ParameterError(f"there is no protocol {name!r}", remedy=f"Use one of {', '.join(PROTOCOL_NAMES)}.")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
