"""`emovox predict`: emotions of recordings."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from emovox.cli import common, show
from emovox.cli.adapt import speakers
from emovox.cli.common import Format
from emovox.errors import EmovoxError, ParameterError

if TYPE_CHECKING:
    from rich.progress import Progress

    from emovox.cli.predict_output import Kind, Writer
    from emovox.inference.groups import Member
    from emovox.inference.recognizer import Recognizer
    from emovox.inference.recordings import Recording
    from emovox.inference.results import Failure, Prediction
    from emovox.inference.stream import TimelineSegment
    from emovox.inference.utterances import Utterance

STDIN = "-"
AUTO = "auto"
NAMED_GROUPS = 3
"""So many groups are named in a hint; of more their number is told."""


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
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE|NAME",
            help="Bundle to use: its file, or a name of `emovox models list`. (default: emovox-base)",
        ),
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
    adapt: Annotated[
        str | None,
        typer.Option(
            "--adapt",
            metavar="FILE|auto",
            help="Measure from a reference of `emovox adapt`; or auto: from the mean of each folder or speaker.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="With --adapt auto: table that names the speakers."),
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

    Examples:
      emovox predict talk.wav more/ --format csv

      emovox predict recordings/ --adapt auto
    """
    windows = _Windows(window, hop, vad)
    if windows.given() and not timeline:
        raise ParameterError("--window, --hop and --vad belong to --timeline", remedy="Add --timeline.")
    if timeline and utterances:
        raise ParameterError("--timeline and --utterances exclude each other", remedy="Run it twice.")
    auto = adapt == AUTO
    if manifest is not None and not auto:
        raise ParameterError("--manifest belongs to --adapt auto", remedy="Add --adapt auto.")
    if auto and (timeline or utterances):
        raise ParameterError(
            "--adapt auto is for one answer a recording",
            remedy="Make a reference with `emovox adapt`, and give that to --adapt.",
        )
    from emovox.cli.predict_output import Kind
    from emovox.inference.groups import members
    from emovox.inference.recognizer import Recognizer

    kind = Kind.TIMELINE if timeline else Kind.UTTERANCES if utterances else Kind.WHOLE
    reference = None if auto else adapt
    recognizer = Recognizer(model, min_confidence=min_confidence, threads=threads, adapt=reference)
    if auto:
        recognizer.bundle.require_adaptable()
    recordings = members(_sources(paths), None if manifest is None else speakers(manifest))
    failed = _run(recognizer, recordings, output, jobs, kind, windows, auto=auto)
    if failed:
        common.warn(f"{failed} of {len(recordings)} could not be used")
        raise typer.Exit(common.SOME_FAILED)


def _sources(paths: Sequence[str]) -> list[Recording]:
    if STDIN in paths and sys.stdin.isatty():
        raise ParameterError("nothing comes from stdin", remedy="Write: emovox predict - < recording.wav")
    return [sys.stdin.buffer if path == STDIN else path for path in paths]


def _run(
    recognizer: Recognizer,
    members: Sequence[Member],
    output: Format,
    jobs: int | None,
    kind: Kind,
    windows: _Windows,
    *,
    auto: bool,
) -> int:
    from emovox.cli.predict_output import Adaptation, Kind, writer

    adaptation = Adaptation(clips=0 if recognizer.reference is None else recognizer.reference.clips, auto=auto)
    recordings = [member.source for member in members]
    clips: dict[str, int] = {}
    done = failed = 0
    with common.progress() as bars:
        stdout = common.stdout()
        # Where progress is drawn, lines must go through its console to stand above it.
        console = bars.console if stdout.is_terminal and not bars.disable else stdout
        names = [_name(recording) for recording in recordings]
        try:
            with writer(output, recognizer.meta, console, names, kind=kind, adaptation=adaptation) as out:
                if auto:
                    outcomes = _adapted(recognizer, members, jobs, out, bars, clips)
                elif kind is Kind.WHOLE:
                    outcomes = _predictions(recognizer, recordings, jobs, out, bars)
                else:
                    parts = _finder(recognizer, kind, windows)
                    outcomes = _in_parts(parts, recordings, out, bars)
                with closing(outcomes):
                    for succeeded in outcomes:
                        done += 1
                        failed += not succeeded
        except KeyboardInterrupt:
            common.warn(f"{done} of {len(recordings)} were done")
            raise
    _warn_of_small_groups(clips)
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


def _adapted(
    recognizer: Recognizer,
    members: Sequence[Member],
    jobs: int | None,
    out: Writer,
    bars: Progress,
    clips: dict[str, int],
) -> Generator[bool, None, None]:
    """Write all predictions, each adapted to its group; yield for each whether it succeeded.

    How many clips a group was adapted with is noted in `clips`.
    """
    from emovox.inference.groups import predict_members
    from emovox.inference.recognizer import Failure

    task = bars.add_task("Listening", total=len(members))

    def progress(heard: int, _total: int) -> None:
        bars.update(task, completed=heard)

    results = predict_members(recognizer, members, jobs=jobs, progress=progress)
    for member, result in zip(members, results, strict=True):
        out.result(_named(result, _name(member.source)))
        if not isinstance(result, Failure):
            clips[member.group] = result.adapted_clips
        yield not isinstance(result, Failure)


def _warn_of_small_groups(clips: Mapping[str, int]) -> None:
    from emovox.inference.adaptation import ENOUGH_CLIPS

    alone = [name for name, count in clips.items() if not count]
    small = [f"{name or STDIN} ({count})" for name, count in clips.items() if 0 < count < ENOUGH_CLIPS]
    hints = {
        "unadapted, because that takes two clips of half a second or more": alone,
        f"adapted with few clips; {ENOUGH_CLIPS} or more give most of the gain": small,
    }
    for hint, names in hints.items():
        if names:
            told = ", ".join(show.printable(name or STDIN) for name in names[:NAMED_GROUPS])
            more = f" and {len(names) - NAMED_GROUPS:,} more" if len(names) > NAMED_GROUPS else ""
            common.warn(f"{told}{more}: {hint}")


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
