"""`emovox models`: what can be trained, and what is trained already."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import typer

from emovox.cli import common
from emovox.cli.common import Format

app = typer.Typer(help="List the models.", no_args_is_help=True)

_COUNTS = {"parameters": "parameters", "parameters_with_8_units": "with 8 units", "reference_parameters": "published"}
_FAMILIES = {
    "classical": "Classical models (on 180 features)",
    "network": "The study's networks (on 180 features)",
    "speechnet": "Networks on the waveform",
}


@app.callback()
def _models() -> None:
    """List the models."""


@app.command("list")
def list_models(
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print the list.")] = Format.TABLE,
) -> None:
    """List the catalogue of models that can be trained, and the trained models that are at hand.

    Networks have their parameter count with a head for seven emotions ("parameters"), with the reference study's head
    of eight units ("parameters_with_8_units"), and as that study published it ("reference_parameters"). The figures
    under "reference" are the study's, measured with speakers on both sides of its split.
    """
    from emovox.models.catalog import CATALOG

    rows = [spec.as_dict() for spec in CATALOG.values()]
    if output is Format.CSV:
        _print_csv(rows)
        return
    bundles = _bundles()
    if output is Format.JSON:
        common.print_json({"models": rows, "optimizers": _optimizers(), "bundles": bundles})
        return
    _print_tables(rows, bundles)


def _optimizers() -> list[dict[str, Any]]:
    from emovox.models.optimizers import OPTIMIZERS

    return [
        {"name": spec.name, "learning_rate": spec.learning_rate, "reference": dict(spec.reference)}
        for spec in OPTIMIZERS.values()
    ]


def _bundles() -> list[dict[str, Any]]:
    from emovox.inference.bundle import packaged_bundles, read_metadata

    described = {path: read_metadata(path) for path in packaged_bundles().values()}
    return [{**meta.summary(), "scores": list(meta.scores), "path": str(path)} for path, meta in described.items()]


def _print_csv(rows: list[dict[str, Any]]) -> None:
    names = [name for name in rows[0] if name != "reference"]
    figures = list(dict.fromkeys(figure for row in rows for figure in row["reference"] if figure != "parameters"))
    writer = csv.writer(sys.stdout)
    writer.writerow([*names, *(f"reference_{figure}" for figure in figures)])
    for row in rows:
        writer.writerow([*(row[name] for name in names), *(row["reference"].get(figure) for figure in figures)])


def _print_tables(rows: list[dict[str, Any]], bundles: list[dict[str, Any]]) -> None:
    for family, title in _FAMILIES.items():
        of_family = [row for row in rows if row["family"] == family]
        counts = _COUNTS if any(row["parameters"] for row in of_family) else {}
        lines = [[row["name"], *(f"{row[key]:,}" for key in counts), row["summary"]] for row in of_family]
        _print_table(title, ["name", *counts.values(), "layers" if counts else "model"], lines)
    if bundles:
        lines = [[f"{bundle['name']} {bundle['version']}", _describe(bundle)] for bundle in bundles]
        _print_table("Trained models at hand (--model NAME)", ["name", "model"], lines)
    common.warn("Parameters: with a head for 7 emotions, with the study's head of 8 units, and as it published them.")


def _describe(bundle: dict[str, Any]) -> str:
    scores = [
        f"UAR {100 * score['uar']:.1f} % [{', '.join(f'{100 * end:.1f}' for end in score['uar_interval'])}], "
        f"{score['description']}"
        for score in bundle["scores"]
    ]
    return "\n".join([*scores, f"Licence: {bundle['licence']}. Permits: {bundle['permits']}."])


def _print_table(title: str, columns: list[str], lines: list[list[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, title_justify="left", title_style="bold", header_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    for column in columns:
        table.add_column(
            column, justify="right" if column in _COUNTS.values() else "left", no_wrap=column not in ("layers", "model")
        )
    for line in lines:
        table.add_row(*map(Text, line))
    common.stdout().print(table)
