"""`emovox predict`: emotions of recordings."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from emovox.cli import common
from emovox.cli.common import Format
from emovox.errors import EmovoxError, ParameterError

if TYPE_CHECKING:
    from rich.progress import Progress

    from emovox.cli.predict_output import Kind, Writer
    from emovox.inference.recognizer import Failure, Prediction, Recognizer, Recording
    from emovox.inference.stream import TimelineSegment
    from emovox.inference.utterances import Utterance

STDIN = "-"


@dataclasses.dataclass(frozen=True)
class _Windows:
    """Options of a timeline; None where the user left the default."""

    window_s: float | None
    hop_s: float | None
    vad: bool | None

    def given(self) -> dict[str, float | bool]:
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value is not None}


def predict(
    paths: Annotated[list[str], typer.Argument(help="Recordings, folders of them, or - for one on stdin.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="FILE|NAME", help="Bundle to use. (default: emovox-base)")
    ] = None,
    output: Annotated[Format, typer.Option("--format", "-f", help="How to print the result.")] = Format.TABLE,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Emotions over time, for recordings of any length.")
    ] = False,
    utterances: Annotated[
        bool,
        typer.Option("--utterances", help="One emotion for each utterance: where somebody speaks, from when to when."),
    ] = False,
    window: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="With --timeline: length of a window. (default: 3)")
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(min=0.01, metavar="SECONDS", help="With --timeline: from start to start. (default: 1)"),
    ] = None,
    vad: Annotated[
        bool | None, typer.Option("--vad/--no-vad", help="With --timeline: pass over windows without speech.")
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="P", help="Less probable predictions are 'uncertain'.")
    ] = 0.0,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode. (default: processors, at most 4)")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the model. (default: processors, at most 4)")
    ] = None,
) -> None:
    """Recognise the emotions of recordings.

    Results are printed as they are found. The exit code is 0 if all recordings were read, 1 if some could not be
    (each is named in the result, the others are done), 2 for wrong use.
    """
    windows = _Windows(window, hop, vad)
    if windows.given() and not timeline:
        raise ParameterError("--window, --hop and --vad belong to --timeline", remedy="Add --timeline.")
    if timeline and utterances:
        raise ParameterError("--timeline and --utterances exclude each other", remedy="Run it twice.")
    from emovox.cli.predict_output import Kind
    from emovox.inference.recognizer import Recognizer, expand

    kind = Kind.TIMELINE if timeline else Kind.UTTERANCES if utterances else Kind.WHOLE
    recognizer = Recognizer(model, min_confidence=min_confidence, threads=threads)
    recordings = list(expand(_sources(paths)))
    failed = _run(recognizer, recordings, output, jobs, kind, windows)
    if failed:
        common.warn(f"{failed} of {len(recordings)} could not be used")
        raise typer.Exit(common.SOME_FAILED)


def _sources(paths: Sequence[str]) -> list[Recording]:
    if STDIN in paths and sys.stdin.isatty():
        raise ParameterError("nothing comes from stdin", remedy="Write: emovox predict - < recording.wav")
    return [sys.stdin.buffer if path == STDIN else path for path in paths]


def _run(
    recognizer: Recognizer,
    recordings: Sequence[Recording | Failure],
    output: Format,
    jobs: int | None,
    kind: Kind,
    windows: _Windows,
) -> int:
    from emovox.cli.predict_output import Kind, writer

    done = failed = 0
    with common.progress() as bars:
        stdout = common.stdout()
        # Where progress is drawn, lines must go through its console to stand above it.
        console = bars.console if stdout.is_terminal and not bars.disable else stdout
        names = [_name(recording) for recording in recordings]
        try:
            with writer(output, recognizer.meta, console, names, kind=kind) as out:
                if kind is Kind.WHOLE:
                    outcomes = _predictions(recognizer, recordings, jobs, out, bars)
                else:
                    parts = _finder(recognizer, kind, windows)
                    outcomes = _in_parts(parts, recordings, out, bars)
                with closing(outcomes):
                    for succeeded in outcomes:
                        done += 1
                        failed += not succeeded
        except KeyboardInterrupt:
            common.warn(f"Interrupted: {done} of {len(recordings)} were done")
            raise
    return failed


def _predictions(
    recognizer: Recognizer,
    recordings: Sequence[Recording | Failure],
    jobs: int | None,
    out: Writer,
    bars: Progress,
) -> Generator[bool, None, None]:
    """Write all predictions; yield for each whether it succeeded."""
    from emovox.inference.recognizer import Failure

    task = bars.add_task("Predicting", total=len(recordings))
    with closing(recognizer.predict_many(recordings, jobs=jobs)) as results:
        for recording, result in zip(recordings, results, strict=True):
            out.result(_named(result, _name(recording)))
            bars.advance(task)
            yield not isinstance(result, Failure)


Finder: TypeAlias = "Callable[[Recording, Callable[[float], None]], Iterator[TimelineSegment | Utterance]]"
"""Finds the parts of a recording, and tells how many seconds of it are done."""


def _finder(recognizer: Recognizer, kind: Kind, windows: _Windows) -> Finder:
    from emovox.cli.predict_output import Kind
    from emovox.inference.stream import timeline
    from emovox.inference.utterances import utterances

    def find_windows(recording: Recording, progress: Callable[[float], None]) -> Iterator[TimelineSegment]:
        for segment in timeline(recording, recognizer, **windows.given()):  # type: ignore[arg-type]
            progress(segment.end_s)
            yield segment

    def find_utterances(recording: Recording, progress: Callable[[float], None]) -> Iterator[Utterance]:
        return utterances(recording, recognizer, progress=progress)

    return find_windows if kind is Kind.TIMELINE else find_utterances


def _in_parts(
    find: Finder, recordings: Sequence[Recording | Failure], out: Writer, bars: Progress
) -> Generator[bool, None, None]:
    """Write the parts of all recordings; yield for each whether it succeeded."""
    from emovox.inference.recognizer import Failure

    for recording in recordings:
        failure = recording if isinstance(recording, Failure) else None
        if failure is not None:
            out.result(failure)
        else:
            failure = _parts(find, recording, out, bars)  # type: ignore[arg-type]
        yield failure is None


def _parts(find: Finder, recording: Recording, out: Writer, bars: Progress) -> Failure | None:
    from emovox.inference.recognizer import Failure

    name = _name(recording)
    task = bars.add_task(os.path.basename(name), total=None if bars.disable else _seconds(recording))  # noqa: PTH119 - a name for people
    begun, end_s, failure = False, 0.0, None

    def progress(seconds: float) -> None:
        nonlocal end_s
        end_s = seconds
        bars.update(task, completed=round(seconds))

    try:
        for part in find(recording, progress):
            if not begun:
                out.begin(name)
                begun = True
            out.segment(part)
    except EmovoxError as error:
        if isinstance(error, ParameterError):
            raise
        failure = Failure(name, error)
    if not begun and failure is None:  # nobody speaks
        out.begin(name)
        begun = True
    if begun:
        out.end(end_s, failure)
    elif failure is not None:
        out.result(failure)
    bars.remove_task(task)
    return failure


def _seconds(recording: Recording) -> float | None:
    """Length for the progress bar; None where only decoding would tell, or where that fails (reported later)."""
    from emovox import audio

    if not isinstance(recording, str | os.PathLike):
        return None
    try:
        return round(audio.duration_s(recording))
    except EmovoxError:
        return None


def _name(recording: Recording | Failure) -> str:
    from emovox.inference.recognizer import Failure

    if isinstance(recording, Failure):
        return recording.path or STDIN
    return os.fspath(recording) if isinstance(recording, str | os.PathLike) else STDIN


def _named(result: Prediction | Failure, name: str) -> Prediction | Failure:
    return dataclasses.replace(result, path=name)
