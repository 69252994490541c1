"""`emovox study`: carry out a whole study, look how far it is, make its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emovox.cli import common, rows
from emovox.errors import ProtocolError

if TYPE_CHECKING:
    from emovox.evaluation.cells import Cell
    from emovox.studies.config import StudyConfig
    from emovox.studies.status import Progress

app = typer.Typer(no_args_is_help=True, help="Carry out a study that a file describes, and report on it.")

StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="What the study is.", show_default=False)]
PartOption = Annotated[
    list[str] | None, typer.Option("--part", "-p", help="Only this part; may be given several times.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Folder of the results. [default: what the file says]", show_default=False),
]


@app.command()
def run(
    study: StudyArgument,
    manifest: rows.ManifestOption = None,
    corpora: rows.CorporaOption = None,
    part: PartOption = None,
    out: OutOption = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Pretrained encoder for speechnet (.safetensors).")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="For networks: auto, cpu or cuda.")] = "auto",
    mapping: rows.MapOption = None,
    jobs: rows.JobsOption = None,
) -> None:
    """Compute what is missing of a study.

    Each cell (a model, a protocol, a fold, a size, a seed) is written when it is done. A run may be stopped at any
    moment, and the same command goes on. A cell that fails is recorded, and tried again the next time.

    Examples:
      emovox study run studies/reference.toml -c ../shared/corpora

      emovox study run studies/reference.toml -c ../shared/corpora --part classical
    """
    from emovox.studies.running import run_study

    config, folder = _read(study, out)
    config.only(part or [])  # a wrong name is told before anything is read
    selection, _ = rows.load_rows(manifest, corpora, config.labels, mapping)
    with (
        rows.counted("Reading recordings") as reading,
        rows.counted("Changing recordings") as hearing,
        rows.cells_shown("Study") as progress,
    ):
        run_study(
            config,
            selection,
            folder,
            parts=part or [],
            weights=weights,
            device=device,
            jobs=jobs,
            reading=reading,
            hearing=hearing,
            progress=progress,
        )
    whole, failed = show_status(config, part or [], folder, common.Format.TABLE)
    if whole.failed or failed:
        raise typer.Exit(common.SOME_FAILED)


@app.command()
def status(
    study: StudyArgument,
    part: PartOption = None,
    out: OutOption = None,
    output: Annotated[common.Format, typer.Option("--format", "-f", help="How to print it.")] = common.Format.TABLE,
) -> None:
    """Show how many cells are done, running, left and failed, and how long the rest may take.

    It needs the results only, not the recordings.

    Examples:
      emovox study status studies/reference.toml

      emovox study status studies/reference.toml --format json
    """
    config, folder = _read(study, out)
    show_status(config, part or [], folder, output)


@app.command()
def report(
    study: StudyArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="HTML file; else report.html in the folder of the results.", show_default=False
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Folder of the results; else what the file says.", show_default=False),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown", help="Markdown file; its pictures go into NAME/pictures beside it.", show_default=False
        ),
    ] = None,
) -> None:
    """Make the report of a study, finished or not: one HTML page, and the same tables as Markdown.

    It needs the results only, not the recordings.

    Examples:
      emovox study report studies/reference.toml -o report.html

      emovox study report studies/reference.toml --markdown docs/results/reference.md
    """
    from emovox.studies.reading import read_study
    from emovox.studies.report.front import front
    from emovox.studies.report.markdown import write_markdown
    from emovox.studies.report.page import write_html
    from emovox.studies.report.sections import sections

    config, folder = _read(study, results)
    read = read_study(config, folder)
    page = out if out is not None else folder / "report.html"
    # The report tells how to make it again, but not how somebody's disk is laid out.
    source = study.name if study.is_absolute() else study.as_posix()
    found = sections(read, source=source)
    write_html(read, page, found=found)
    written = [page]
    if markdown is not None:
        write_markdown(read, markdown, pictures=markdown.with_suffix("") / "pictures", found=found)
        written.append(markdown)
    common.stdout().print(f"{front(read).finding}\nWritten: {', '.join(map(str, written))}", markup=False)


def _read(study: Path, out: Path | None) -> tuple[StudyConfig, Path]:
    from emovox.studies.config import read_config

    config = read_config(study)
    return config, out if out is not None else study.parent / config.results


def show_status(
    config: StudyConfig, names: list[str], folder: Path, output: common.Format
) -> tuple[Progress, list[Cell]]:
    """Print how far a study's parts are."""
    from emovox.studies.rows import read_rows
    from emovox.studies.running import plan_study
    from emovox.studies.status import status as count

    config.only(names)
    known = read_rows(folder)
    if known is None:
        raise ProtocolError("holds no study", path=folder, remedy="Begin it: emovox study run STUDY.toml -c CORPORA")
    whole, parts, failed = count(plan_study(config, known.table, parts=names), folder)
    if output is common.Format.JSON:
        failures = [{"cell": cell.key.stem, **(cell.error or {})} for cell in failed]
        common.print_json({**whole.as_dict(), "parts": [one.as_dict() for one in parts], "failures": failures})
    else:
        _print_table(whole, parts, failed)
    return whole, failed


def _print_table(whole: Progress, parts: list[Progress], failed: list[Cell]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("part", "done", "running", "left", "failed", "CPU time left"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for one in [*parts, whole]:
        numbers = (one.done, one.running, one.left, one.failed)
        style = "bold" if one is whole else ""
        table.add_row(one.name or "all", *map(str, numbers), _time(one.seconds_left), style=style)
    common.stdout().print(table)
    for cell in failed:
        common.warn(f"{cell.key.stem}: {(cell.error or {}).get('message', '')}")


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"
