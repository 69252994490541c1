"""The `emovox` command: gathers the subcommands and turns errors into messages and exit codes."""

from __future__ import annotations

import io
import logging
import sys
from typing import Annotated

import typer

import emovox
from emovox.cli import (
    adapt,
    common,
    corpora,
    demo,
    evaluate,
    features,
    listen,
    models,
    predict,
    report,
    serve,
    study,
    train,
)

app = typer.Typer(
    name="emovox",
    help="Recognise emotion in speech: predict, train and compare models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(predict.predict)
app.command()(adapt.adapt)
app.command()(listen.listen)
app.command()(features.features)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(report.report)
app.command()(train.export)
app.command()(demo.demo)
app.add_typer(corpora.app, name="corpora")
app.add_typer(models.app, name="models")
app.add_typer(study.app, name="study")
app.add_typer(serve.app, name="serve")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emovox {emovox.__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars and no hints on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Recognise emotion in speech: predict, train and compare models."""
    del version
    common.configure(debug=debug, quiet=quiet)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    logging.getLogger("emovox").setLevel(logging.DEBUG if debug else logging.WARNING)


def main() -> None:
    """Run the command line; the process ends with 0 (done), 1 (some inputs failed) or 2 (wrong use)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    sys.exit(common.run(app))
