"""What `emovox predict` prints: as a table, as JSON or as CSV, each result as soon as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from emovox.cli import show
from emovox.cli.common import Format

if TYPE_CHECKING:
    from rich.console import Console

    from emovox.inference.bundle import BundleMetadata
    from emovox.inference.recognizer import Failure, Prediction
    from emovox.inference.stream import TimelineSegment
    from emovox.inference.utterances import Utterance


class Kind(StrEnum):
    """What is told of a recording; parts have times. The value is the name that parts have in JSON."""

    WHOLE = "whole"
    TIMELINE = "timeline"
    UTTERANCES = "utterances"


class Writer(AbstractContextManager["Writer"], Protocol):
    """Where results go. A result is a prediction or failure, or begin, parts and end of a recording."""

    def result(self, result: Prediction | Failure) -> None:
        """Write what is known of one recording."""

    def begin(self, path: str | None) -> None:
        """Begin the parts of a recording."""

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        """Write the next window or utterance."""

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        """End the parts, at the recording's end or where it could not be read on."""


@dataclass(frozen=True)
class Adaptation:
    """How the model of a run is adapted.

    Attributes:
        clips: unlabelled clips of the reference that all results share; 0 without one.
        auto: each group of recordings has its own; results say how many clips it comes from.
    """

    clips: int = 0
    auto: bool = False

    def __str__(self) -> str:
        return "adapted to the recordings themselves" if self.auto else adapted(self.clips)


def adapted(clips: int) -> str:
    """Say in words what a result is adapted with.

    Example:
        >>> adapted(12), adapted(1), adapted(0)
        ('adapted: 12 clips', 'adapted: 1 clip', 'unadapted')
    """
    return f"adapted: {clips:,} clip{'' if clips == 1 else 's'}" if clips else "unadapted"


def writer(
    output: Format,
    meta: BundleMetadata,
    console: Console,
    names: Sequence[str],
    *,
    kind: Kind,
    adaptation: Adaptation,
) -> Writer:
    """Choose the writer for a format."""
    if output is Format.JSON:
        return _Json(meta, kind, adaptation)
    if output is Format.CSV:
        return _Csv(meta, kind, adaptation)
    return _Table(console, names, title=f"{meta.name} {meta.version}, {adaptation}", auto=adaptation.auto)


class _Quiet:
    """Context manager that leaves nothing to close."""

    def __enter__(self) -> Writer:
        return self  # type: ignore[return-value]  # its subclasses are writers

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _Table(_Quiet):
    def __init__(self, console: Console, names: Sequence[str], *, title: str, auto: bool) -> None:
        self._console = console
        self._title: str | None = title
        self._auto = auto
        self._ascii = console.options.ascii_only
        self._parts = 0
        others = show.EMOTION_WIDTH + 1 + (22 if auto else 0)
        self._width = show.name_width([show.printable(name) for name in names], console, others=others)

    def result(self, result: Prediction | Failure) -> None:
        from rich.text import Text

        from emovox.inference.recognizer import Failure

        line = Text(f"{show.name_cell(show.printable(result.path or '-'), self._width)}  ")
        if isinstance(result, Failure):
            line.append(f"failed: {show.printable(result.to_dict()['error']['message'])}", style="red")
        else:
            line += show.emotion_cells(result.emotion, result.confidence, ascii_only=self._ascii)
            if self._auto:
                line.pad_right(self._width + show.EMOTION_WIDTH - line.cell_len)
                line.append(f"  {adapted(result.adapted_clips)}", style="default not bold dim")
        self._print(line)

    def begin(self, path: str | None) -> None:
        self._parts = 0
        self._print(show.printable(path or "-"), style="bold")

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        from rich.text import Text

        self._parts += 1
        line = Text(f"  {show.clock(segment.start_s)} - {show.clock(segment.end_s)}  ")
        if segment.confidence is None:
            line.append("no speech", style="dim")
        else:
            line += show.emotion_cells(segment.emotion, segment.confidence, ascii_only=self._ascii)
        self._print(line)

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        if failure is not None:
            reason = show.printable(failure.to_dict()["error"]["message"])
            self._print(f"  failed after {show.clock(duration_s)}: {reason}", style="red")
        elif not self._parts:
            self._print("  no speech", style="dim")

    def _print(self, line: object, style: str | None = None) -> None:
        if self._title is not None:  # above the first result, so that nothing is printed where there is none
            title, self._title = show.printable(self._title), None
            self._print(title, style="dim")
        self._console.print(line, style=style, markup=False, soft_wrap=True)


class _Csv(_Quiet):
    _COLUMNS: Mapping[Kind, Sequence[str]] = {
        Kind.WHOLE: ("emotion", "confidence", "duration_s", "adapted_clips"),
        Kind.TIMELINE: ("start_s", "end_s", "emotion", "confidence", "speech", "adapted_clips"),
        Kind.UTTERANCES: ("start_s", "end_s", "emotion", "confidence", "adapted_clips"),
    }

    def __init__(self, meta: BundleMetadata, kind: Kind, adaptation: Adaptation) -> None:
        self._labels = meta.labels
        self._clips = adaptation.clips
        self._path: str | None = None
        self._parts = 0
        columns = self._columns = self._COLUMNS[kind]
        self._rows = show.CsvRows(["path", *columns, *meta.labels, "error_code", "error_message"])
        self._blank = [None] * (len(columns) + len(meta.labels))

    def result(self, result: Prediction | Failure) -> None:
        from emovox.inference.recognizer import Failure

        if isinstance(result, Failure):
            self._failed(result)
            return
        values = result.to_dict()
        values["emotion"] = values["emotion"] or show.UNCERTAIN
        head = [values["path"], *(values[column] for column in self._columns)]
        self._rows.add([*head, *(values["probabilities"][label] for label in self._labels), None, None])

    def begin(self, path: str | None) -> None:
        self._path, self._parts = path, 0

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        self._parts += 1
        values = segment.to_dict()
        values["emotion"] = values["emotion"] or (None if segment.confidence is None else show.UNCERTAIN)
        values["adapted_clips"] = self._clips
        head = [self._path, *(values[column] for column in self._columns)]
        self._rows.add([*head, *(values["probabilities"].get(label) for label in self._labels), None, None])

    def end(self, duration_s: float, failure: Failure | None = None) -> None:  # noqa: ARG002 - the rows say it
        if failure is not None:
            self._failed(failure)
        elif not self._parts:  # so that no recording is missing
            self._rows.add([self._path, *self._blank, None, None])

    def _failed(self, failure: Failure) -> None:
        error = failure.to_dict()["error"]
        self._rows.add([failure.path, *self._blank, error["code"], error["message"]])


class _Json:
    """One document that is whole even where Ctrl-C ends the work."""

    _CLOSING, _CLOSING_PARTS = "\n]}\n", "\n]}\n]}\n"

    def __init__(self, meta: BundleMetadata, kind: Kind, adaptation: Adaptation) -> None:
        self._kind = kind
        clips = None if adaptation.auto else adaptation.clips
        about = f'"model": {show.json_value(meta.summary())},\n"adapted_clips": {show.json_value(clips)}'
        head = f'{{\n{about},\n"results": ['
        self._text = show.JsonText(head + self._CLOSING)
        self._separator = f"{head}\n"  # what stands before the next result
        self._segment_separator = "\n"

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, BrokenPipeError):
            self._text.close()

    def result(self, result: Prediction | Failure) -> None:
        self._text.add(self._separator + show.json_value(result.to_dict()), closing=self._CLOSING)
        self._separator = ",\n"

    def begin(self, path: str | None) -> None:
        head = f'{self._separator}{{"path": {show.json_value(path)}, "{self._kind}": ['
        self._text.add(head, closing=self._CLOSING_PARTS)
        self._separator, self._segment_separator = ",\n", "\n"

    def segment(self, segment: TimelineSegment | Utterance) -> None:
        text = self._segment_separator + show.json_value(segment.to_dict())
        self._text.add(text, closing=self._CLOSING_PARTS)
        self._segment_separator = ",\n"

    def end(self, duration_s: float, failure: Failure | None = None) -> None:
        fault = "" if failure is None else f', "error": {show.json_value(failure.to_dict()["error"])}'
        self._text.add(f'\n], "duration_s": {round(duration_s, 6)}{fault}}}', closing=self._CLOSING)
