"""`emovox corpora`: what corpora there are, and what lies in a folder."""

from __future__ import annotations

import csv
import math
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emovox.cli import common, corpora_data
from emovox.cli.common import Format
from emovox.errors import CorpusError, ParameterError

if TYPE_CHECKING:
    from emovox.corpora import ScanResult, Summary
    from emovox.manifest import Selection

app = typer.Typer(help="List, recognise, download and check corpora.", no_args_is_help=True)
for _command in (corpora_data.download, corpora_data.synthesize, corpora_data.audit):
    app.command()(_command)

_MANIFEST_SUFFIXES = (".csv", ".tsv", ".parquet")
_SHOWN, _SHOWN_FAILURES = 5, 20
_KINDS = {
    "name": "names not understood",
    "audio": "recordings not readable",
    "folder": "folders not readable",
    "copy": "further copies of an utterance",
}


@app.command("list")
def list_corpora(
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print the list.")] = Format.TABLE,
) -> None:
    """List the corpora that emovox reads."""
    from emovox.corpora import CORPORA

    rows: list[dict[str, Any]] = [
        {
            "name": corpus.name,
            "title": corpus.title,
            "language": corpus.language,
            "clips": [edition.clips for edition in corpus.editions],
            "speakers": len(corpus.editions[0].speakers) if corpus.editions else None,
            "licence": corpus.licence,
            "layout": corpus.layout,
            "url": corpus.url,
        }
        for corpus in CORPORA.values()
    ]
    if output is Format.JSON:
        common.print_json({"corpora": rows})
        return
    for row in rows:
        row["clips"] = " or ".join(f"{clips:,}" if output is Format.TABLE else str(clips) for clips in row["clips"])
    if output is Format.CSV:
        _print_csv(rows)
        return
    _print_table(rows, ("name", "language", "clips", "speakers", "licence", "layout"), numbers=("clips", "speakers"))


@app.command()
def scan(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Folder with corpora; or a .csv, .tsv or .parquet of recordings; or a db.yaml."
        ),
    ],
    manifest_file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the manifest: .csv, .tsv or .parquet.")
    ] = None,
    labels: Annotated[
        str, typer.Option(metavar="SET", help="seven, ravdess8, emodb7, esd5, a list such as angry,sad; or all.")
    ] = "seven",
    mapping: Annotated[
        list[str] | None, typer.Option("--map", metavar="A=B", help="Count emotion A as B, such as calm=neutral.")
    ] = None,
    keep_copies: Annotated[
        bool, typer.Option("--keep-copies", help="List every copy of an utterance, not only one.")
    ] = False,
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Do not open the recordings: fast, but without lengths and checks.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print what was found.")] = Format.TABLE,
) -> None:
    """Recognise the corpora in a folder, say what is missing or dropped, and write their manifest.

    The exit code is 0 if all recordings were understood, 1 if some were not (each is named, the others are done),
    2 for wrong use.
    """
    from emovox import emotions, manifest
    from emovox.corpora import scan as scan_corpora

    wanted = (
        (*emotions.EMOTIONS, *emotions.BEYOND_SEVEN) if labels.strip() == "all" else emotions.parse_label_set(labels)
    )
    renaming = emotions.parse_mapping(mapping or [])
    if manifest_file is not None and manifest_file.suffix.lower() not in _MANIFEST_SUFFIXES:
        raise ParameterError(
            f"cannot write a manifest called {manifest_file.name!r}",
            remedy="Let its name end in .csv, .tsv or .parquet.",
        )
    with common.progress() as bars:
        task = bars.add_task("Opening recordings", total=None)
        result = scan_corpora(
            folder,
            durations=not names_only,
            keep_copies=keep_copies,
            progress=lambda done, total: bars.update(task, completed=done, total=total),
        )
    selection = manifest.select_labels(result.table, wanted, mapping=renaming)
    if manifest_file is not None and len(selection.table):
        manifest.write(selection.table, manifest_file)
    _print_scan(result, selection, manifest_file, output)
    if len(result.table) and not len(selection.table):
        raise CorpusError(
            "leaves no recording with these labels",
            code="empty",
            path=folder,
            remedy="Keep all with --labels all, or see what was left out above.",
        )
    if result.failures:
        raise typer.Exit(common.SOME_FAILED)


def _print_scan(result: ScanResult, selection: Selection, manifest_file: Path | None, output: Format) -> None:
    from emovox.corpora import summarise

    summaries = summarise(result.table)
    written = manifest_file if manifest_file is not None and len(selection.table) else None
    if output is Format.JSON:
        common.print_json(_scan_json(result, selection, summaries, written))
        return
    if output is Format.CSV:
        _print_csv([_flat(summary) for summary in summaries])
    elif summaries:
        _print_summaries(summaries)
        _print_emotions(summaries)
    _print_left_out(result, selection, quiet=output is Format.CSV)
    if written is not None:
        common.warn(f"Wrote {len(selection.table):,} rows to {written}.")
    elif manifest_file is None and output is Format.TABLE:
        common.warn(f"{len(selection.table):,} recordings can be used; -o manifest.csv writes their manifest.")


def _scan_json(
    result: ScanResult, selection: Selection, summaries: list[Summary], written: Path | None
) -> dict[str, Any]:
    return {
        "source": str(result.source),
        "recordings": len(result.table),
        "kept": len(selection.table),
        "manifest": None if written is None else str(written),
        "corpora": [summary.to_dict() for summary in summaries],
        "outside_labels": dict(selection.dropped),
        "mapped": dict(selection.mapped),
        "problems": [
            {"kind": problem.kind, "path": problem.path, "message": problem.message} for problem in result.problems
        ],
        "other_files": dict(result.other_files),
        "leftovers": result.leftovers,
        "seen_twice": [str(path) for path in result.seen_twice],
    }


def _print_summaries(summaries: list[Summary]) -> None:
    rows = [
        {
            "corpus": summary.name,
            "clips": f"{summary.clips:,}",
            "official": "" if summary.official_clips is None else f"{summary.official_clips:,}",
            "seconds": "" if math.isnan(summary.seconds) else f"{summary.seconds:,.0f}",
            "speakers": _speakers(summary),
            "missing of the official release": _missing(summary),
        }
        for summary in summaries
    ]
    _print_table(rows, tuple(rows[0]), numbers=("clips", "official", "seconds", "speakers"))


def _print_emotions(summaries: list[Summary]) -> None:
    from emovox.emotions import BEYOND_SEVEN, EMOTIONS

    known = (*EMOTIONS, *BEYOND_SEVEN)
    found = {emotion for summary in summaries for emotion in summary.emotions}
    rows = [
        {"emotion": emotion, **{summary.name: f"{summary.emotions.get(emotion, 0):,}" for summary in summaries}}
        for emotion in (*(emotion for emotion in known if emotion in found), *sorted(found.difference(known)))
    ]
    names = tuple(summary.name for summary in summaries)
    _print_table(rows, ("emotion", *names), numbers=names)


def _speakers(summary: Summary) -> str:
    if not summary.without_speaker:
        return str(summary.speakers)
    return f"{summary.speakers} ({summary.without_speaker:,} clips of unknown)"


def _missing(summary: Summary) -> str:
    if summary.complete is None:
        return "no official size known"
    if summary.complete:
        return "nothing" if summary.missing_clips == 0 else f"nothing; {-summary.missing_clips:,} more than stated"
    parts = [f"{summary.missing_clips:,} clips"] if summary.missing_clips > 0 else []
    if summary.missing_speakers:
        shown = ", ".join(summary.missing_speakers[:_SHOWN])
        more = len(summary.missing_speakers) - _SHOWN
        parts.append(f"speakers {shown}{f' and {more} more' if more > 0 else ''}")
    else:
        parts.extend(f"{clips:,} {emotion}" for emotion, clips in summary.missing_emotions.items())
    return "; ".join(parts)


def _print_left_out(result: ScanResult, selection: Selection, *, quiet: bool) -> None:
    """Say what is not in the manifest and why: failures on stderr, the rest with the result."""
    say = common.warn if quiet else lambda line: common.stdout().print(line, markup=False, soft_wrap=True)
    for emotion, count in sorted(selection.mapped.items()):
        say(f"Counted as another emotion: {count:,} {emotion}")
    for emotion, count in sorted(selection.dropped.items()):
        say(f"Left out: {count:,} {emotion or 'without a label'} (outside the label set)")
    for kind, count in Counter(problem.kind for problem in result.problems).items():
        say(f"Left out: {_KINDS[kind]}: {count:,}")
        shown = _SHOWN_FAILURES if kind in ("audio", "folder") else _SHOWN
        for problem in [problem for problem in result.problems if problem.kind == kind][:shown]:
            say(f"  {problem.path}: {problem.message}")
        if count > shown:
            say(f"  and {count - shown:,} more; --format json names all")
    if result.other_files:
        kinds_of_file = ", ".join(f"{count:,} {ending or 'unnamed'}" for ending, count in result.other_files.items())
        say(f"Passed over: other files ({kinds_of_file})")
    if result.leftovers:
        say(f"Passed over: {result.leftovers:,} hidden files and macOS leftovers")
    for link in result.seen_twice:
        say(f"Passed over: {link} (a link to a folder that was searched already)")


def _flat(summary: Summary) -> dict[str, Any]:
    values = summary.to_dict()
    values["seconds"] = "" if math.isnan(summary.seconds) else round(summary.seconds, 3)
    values["missing_speakers"] = " ".join(summary.missing_speakers)
    for field in ("emotions", "missing_emotions"):
        values[field] = " ".join(f"{emotion}={clips}" for emotion, clips in values[field].items())
    return values


def _print_csv(rows: list[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]) if rows else [])
    writer.writeheader()
    writer.writerows(rows)


def _print_table(rows: list[dict[str, Any]], columns: tuple[str, ...], *, numbers: tuple[str, ...]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text("" if row[column] is None else str(row[column])) for column in columns))
    common.stdout().print(table)
