"""`emovox corpora download | synthesize | audit`: get recordings, make some, and find what is wrong with them."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emovox.cli import common
from emovox.errors import CorpusError, ParameterError

if TYPE_CHECKING:
    import pandas as pd

    from emovox.corpora.audit import AuditReport
    from emovox.corpora.download import Download
    from emovox.corpora.sources import Source
    from emovox.evaluation.protocols import EvaluationProtocol

_SHOWN = 20
_PROTOCOLS = ("random", "speaker", "loso", "corpus", "file")


def download(
    name: Annotated[str, typer.Argument(help="ravdess (speech and song), emodb, tess or cremad.")],
    folder: Annotated[Path, typer.Argument(help="Where to; the corpus gets a folder of its own in it.")] = Path(
        "corpora"
    ),
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Say that you accept the licence; otherwise you are asked.")
    ] = False,
    output: Annotated[common.Format, typer.Option("--format", "-f", help="table, or json for programs.")] = (
        common.Format.TABLE
    ),
) -> None:
    """Download a corpus from its official source; an interrupted download goes on from where it stopped."""
    from emovox.corpora.download import download as fetch
    from emovox.corpora.download import source

    _refuse_csv(output)
    origin = source(name)
    if not accept_licence:
        _ask(origin)
    with _byte_progress() as on_progress:
        result = fetch(origin, folder, accept_licence=True, progress=on_progress)
    if output is common.Format.JSON:
        common.print_json(_download_json(result))
        return
    console = common.stdout()
    console.print(
        f"{origin.title}\n  in {result.folder}: {result.files:,} file(s) fetched", markup=False, soft_wrap=True
    )
    if result.verified:
        console.print(f"  {result.verified:,} agree with their publisher's checksum")
    for record in result.recorded:
        how = "trusted at first use" if record.first else "the same as at first use"
        console.print(f"  no checksum is published; {how}, sha256 {record.sha256}", markup=False, soft_wrap=True)
    if result.archives:
        common.warn(f"The archives in {result.archives[0].parent} are no longer needed.")
    common.warn(f"Next: emovox corpora scan {result.folder}")


def synthesize(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")],
    speakers: Annotated[int, typer.Option(help="Number of voices, half of them female.")] = 8,
    sentences: Annotated[int, typer.Option(help="Number of texts, 1 to 8.")] = 4,
    takes: Annotated[int, typer.Option(help="How often each text is said in each emotion.")] = 1,
    seed: Annotated[int, typer.Option(help="Another seed gives other voices; the same one the same bytes.")] = 0,
) -> None:
    """Make a corpus of SYNTHETIC voices for tests and demonstrations; it says nothing about people."""
    from emovox.corpora import synthetic

    with common.progress() as bars:
        task = bars.add_task("Synthesising")
        paths = synthetic.synthesize(
            folder,
            speakers=speakers,
            sentences=sentences,
            takes=takes,
            seed=seed,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    common.stdout().print(
        f"{len(paths):,} SYNTHETIC clips (computed voices, not people) in {folder}", markup=False, soft_wrap=True
    )


def audit(
    source: Annotated[Path, typer.Argument(help="A manifest (.csv, .tsv, .parquet) or a folder of recordings.")],
    protocol: Annotated[
        list[str] | None,
        typer.Option("--protocol", "-p", help=f"Also check this split: {', '.join(_PROTOCOLS)}. May be repeated."),
    ] = None,
    folds: Annotated[str | None, typer.Option(help="For the protocol file: its list of folds.")] = None,
    output: Annotated[common.Format, typer.Option("--format", "-f", help="table, json, or csv (the copies).")] = (
        common.Format.TABLE
    ),
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 if a fault is found.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes; default one for each processor.")] = None,
) -> None:
    """Find what spoils an evaluation: copies of a recording, contradictory labels, splits that leak."""
    from emovox.corpora.audit import audit as check

    protocols = [(name, _protocol(name, folds)) for name in dict.fromkeys(protocol or ())]
    table = _read_table(source)
    splits = {name: list(kind.split(table)) for name, kind in protocols}
    with common.progress() as bars:
        tasks = {stage: bars.add_task(text, visible=False) for stage, text in _STAGES.items()}

        def on_progress(stage: str, done: int, total: int) -> None:
            bars.update(tasks[stage], completed=done, total=total, visible=True)

        report = check(table, splits=splits, jobs=jobs, progress=on_progress)
    if output is common.Format.JSON:
        common.print_json({"source": str(source), **report.to_json()})
    elif output is common.Format.CSV:
        _print_copies(report, table)
    else:
        _print_report(report, table)
    if report.failures or (strict and not report.clean):
        raise typer.Exit(common.SOME_FAILED)


_STAGES = {"reading": "Reading", "comparing": "Comparing"}


def _refuse_csv(output: common.Format) -> None:
    if output is common.Format.CSV:
        raise ParameterError("this command has no csv", remedy="Use --format json.")


def _ask(origin: Source) -> None:
    typer.echo(
        f"{origin.title}\n  from     {origin.homepage}\n  size     about {origin.size / 1e6:,.0f} MB\n"
        f"  licence  {origin.licence}  {origin.licence_url}\n           {origin.terms}",
        err=True,
    )
    if not sys.stdin.isatty():
        raise CorpusError(
            "nobody is here to accept the licence", code="licence", remedy="Read it, then add --accept-licence."
        )
    if not typer.confirm("Do you accept this licence?", err=True):
        raise CorpusError("the licence was not accepted; nothing was downloaded", code="licence")


@contextmanager
def _byte_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show megabytes while fetching and files while unpacking."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = common.stderr()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TextColumn("left"))
    with Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console.quiet or not console.is_terminal,
    ) as bars:
        texts = {"listing": "Asking for the list", "fetching": "Fetching", "unpacking": "Unpacking"}
        tasks = {
            stage: bars.add_task(text, total=None, visible=stage == "fetching", state="")
            for stage, text in texts.items()
        }

        def show(stage: str, done: int, total: int | None) -> None:
            scale, unit = (1.0, "files") if stage == "unpacking" else (1e6, "MB")
            state = f"{done / scale:,.0f}{'' if total is None else f'/{total / scale:,.0f}'} {unit}"
            bars.update(tasks[stage], completed=done, total=total, visible=True, state=state)

        yield show


def _download_json(result: Download) -> dict[str, Any]:
    return {
        "corpus": result.name,
        "folder": str(result.folder),
        "files": result.files,
        "verified": result.verified,
        "recorded": [
            {"file": str(record.file), "sha256": record.sha256, "first_use": record.first} for record in result.recorded
        ],
        "archives": [str(path) for path in result.archives],
    }


def _protocol(name: str, folds: str | None) -> EvaluationProtocol:
    from emovox.evaluation.protocols import PROTOCOLS, FileFolds

    if name not in PROTOCOLS:
        raise ParameterError(f"unknown protocol {name!r}", remedy=f"Use {', '.join(PROTOCOLS)}.")
    if name != "file":
        return PROTOCOLS[name]()
    if folds is None:
        raise ParameterError("the protocol 'file' needs its list", remedy="Give it with --folds FILE.")
    return FileFolds(folds)


def _read_table(source: Path) -> pd.DataFrame:
    """Give every recording, also those that no corpus knows: they can be compared all the same."""
    import pandas as pd

    from emovox import corpora, manifest
    from emovox.corpora.tree import list_files

    parts = []
    try:
        parts.append(corpora.scan(source, durations=False, keep_copies=True).table)
    except CorpusError as error:
        if error.code != "unrecognised":
            raise
    named = {path for part in parts for path in part["path"]}
    found = list_files(source).audio if source.is_dir() else []
    others = [{"path": str(path)} for path in found if str(path) not in named]
    if others:
        parts.append(manifest.build(others))
    return pd.concat(parts, ignore_index=True)


def _print_copies(report: AuditReport, table: pd.DataFrame) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(["group", "kind", "row", "path", "emotion", "speaker"])
    for number, group in enumerate(report.groups, start=1):
        for row, path in zip(group.rows, group.paths, strict=True):
            writer.writerow([number, group.kind, row, path, table["emotion"].iloc[row], table["speaker"].iloc[row]])


def _print_report(report: AuditReport, table: pd.DataFrame) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console = common.stdout()
    corpora = ", ".join(sorted(set(table["corpus"]) - {""})) or "no known corpus"
    console.print(f"{report.clips:,} clips ({corpora}); {report.candidates:,} pairs compared in detail", markup=False)
    if report.findings:
        summary = Table(box=SIMPLE_HEAD, pad_edge=False)
        summary.add_column("severity", no_wrap=True)
        summary.add_column("count", justify="right", no_wrap=True)
        summary.add_column("finding", overflow="fold")
        for line in report.findings:
            style = "red" if line.severity == "fault" else "yellow"
            summary.add_row(Text(line.severity, style), f"{line.count:,}", Text(line.message))
        console.print(summary)
    if report.clean:
        console.print("Nothing was found that spoils an evaluation.")
    _print_groups(report)
    for failure in report.failures[:_SHOWN]:
        common.warn(str(failure.error))
    if len(report.failures) > _SHOWN:
        common.warn(f"... and {len(report.failures) - _SHOWN:,} more; --format json names all.")


def _print_groups(report: AuditReport) -> None:
    console = common.stdout()
    groups = sorted(report.groups, key=lambda group: not (group.label_conflict or group.speaker_conflict))
    for group in groups[:_SHOWN]:
        notes = [group.kind]
        if group.label_conflict:
            notes.append(f"labelled {' and '.join(group.emotions)}")
        if group.speaker_conflict:
            notes.append(f"said by {' and '.join(group.speakers)}")
        console.print(f"The same recording ({', '.join(notes)}):", markup=False, soft_wrap=True)
        for path in group.paths:
            console.print(f"  {path}", markup=False, soft_wrap=True)
    if len(groups) > _SHOWN:
        common.warn(f"... and {len(groups) - _SHOWN:,} more; --format json or csv names all.")
