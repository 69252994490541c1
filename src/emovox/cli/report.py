"""`emovox report`: a page or Markdown tables from results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emovox.cli import common


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder that `emovox evaluate` wrote.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="HTML file to write. [default: DIR/report.html]", show_default=False),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables instead of a page.")] = False,
    title: Annotated[str, typer.Option("--title", help="Title of the page.")] = "Speech emotion recognition",
) -> None:
    """Make one self-contained HTML page of results, or Markdown tables.

    Examples:
      emovox report results -o report.html

      emovox report results --markdown > results.md
    """
    from emovox.evaluation import report as reports
    from emovox.evaluation.results import load_results

    results = load_results(folder)
    if markdown:
        if out is None:
            typer.echo(reports.markdown(results))
            return
        out.write_text(reports.markdown(results) + "\n", encoding="utf-8")
    else:
        out = out or folder / "report.html"
        reports.write_html(results, out, title=title)
    common.stdout().print(f"{reports.headline(results)}.\nWritten: {out}", markup=False)
