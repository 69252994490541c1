"""What `emovox listen` shows: moving bars, plain lines, or lines of JSON."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from emovox.cli import show
from emovox.inference.live import Update
from emovox.palette import colour

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from emovox.inference.bundle import BundleMetadata
    from emovox.inference.utterances import Utterance

_QUIETEST_DB = -60.0
_METER = 20
_TIMES_WIDTH = len("0:00:01.0 - 0:00:02.9")
_WIDEST_BAR = 40
_HOLD_S = 2.0


class Screen(AbstractContextManager["Screen"], Protocol):
    """Where events go."""

    def show(self, event: Update | Utterance) -> None:
        """Show an event."""

    def end(self, duration_s: float) -> None:
        """Show that nothing more comes."""


def screen(as_json: bool, meta: BundleMetadata, console: Console, *, adapting: bool = False) -> Screen:
    """Choose what suits the output; `adapting` results say from how much speech they are measured."""
    if as_json:
        return _Json(meta)
    return _Bars(meta, console, adapting) if console.is_terminal else _Lines(console, adapting)


def adapted_to(seconds: float) -> str:
    """Say what results are measured from.

    Example:
        >>> adapted_to(0.0), adapted_to(22.6)
        ('unadapted', 'adapted to 23 s of this voice')
    """
    return f"adapted to {max(1, round(seconds)):,} s of this voice" if seconds else "unadapted"


class _Quiet:
    """Context manager that leaves nothing to close."""

    def __enter__(self) -> Screen:
        return self  # type: ignore[return-value]  # its subclasses are screens

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class _Json(_Quiet):
    """The messages of docs/stream.md, a line each."""

    def __init__(self, meta: BundleMetadata) -> None:
        self._utterances = 0
        self._write("ready", {"version": 1, "model": meta.summary()})

    def show(self, event: Update | Utterance) -> None:
        if isinstance(event, Update):
            self._write("update", event.to_dict())
        else:
            self._write("utterance", {"index": self._utterances, **event.to_dict()})
            self._utterances += 1

    def end(self, duration_s: float) -> None:
        self._write("bye", {"utterances": self._utterances, "duration_s": round(duration_s, 6)})

    def _write(self, kind: str, members: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps({"type": kind, **members}) + "\n")
        sys.stdout.flush()


class _Lines(_Quiet):
    """A line for each utterance."""

    def __init__(self, console: Console, adapting: bool) -> None:
        self._console = console
        self._adapting = adapting
        self._utterances = 0

    def show(self, event: Update | Utterance) -> None:
        if not isinstance(event, Update):
            self._utterances += 1
            line = _line(event, self._console)
            if self._adapting:
                line.pad_right(_TIMES_WIDTH + show.EMOTION_WIDTH - line.cell_len)
                line.append(f"  {adapted_to(event.adapted_s)}", style="dim not bold")
            self._console.print(line, soft_wrap=True)
            self._console.file.flush()

    def end(self, duration_s: float) -> None:  # noqa: ARG002
        if not self._utterances:
            self._console.print("no speech")


class _Bars(_Lines):
    """Lines, and below them bars that move."""

    def __init__(self, meta: BundleMetadata, console: Console, adapting: bool) -> None:
        super().__init__(console, adapting)
        from rich.live import Live

        self._labels = meta.labels
        self._last = Update(time_s=0.0, level_db=-100.0, speech=False)
        self._shown: dict[str, float] = {}  # the probabilities that the bars show
        self._shown_at = -_HOLD_S
        self._fresh = False
        # It is drawn when there is something new, at once and over itself: nothing flickers.
        self._live = Live(self._view(), console=console, auto_refresh=False, transient=True, vertical_overflow="crop")

    def __enter__(self) -> Screen:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, event: Update | Utterance) -> None:
        if isinstance(event, Update):
            self._last = event
            if event.probabilities is not None:
                self._keep(event.probabilities, event.time_s)
            self._fresh = event.speech
        else:
            self._keep(event.probabilities, self._last.time_s)
            super().show(event)
        self._live.update(self._view(), refresh=True)

    def _keep(self, probabilities: dict[str, float], time_s: float) -> None:
        self._shown, self._shown_at = probabilities, time_s

    def _view(self) -> RenderableType:
        from rich.text import Text

        ascii_only = self._console.options.ascii_only
        view = Text(no_wrap=True, overflow="crop")
        view.append_text(_status(self._last, ascii_only=ascii_only)).append("\n")
        width = min(_WIDEST_BAR, max(10, self._console.width - show.NAME_WIDTH - 12))
        old = not self._last.speech and self._last.time_s - self._shown_at > _HOLD_S
        best = max(self._shown, key=lambda label: self._shown[label], default=None)
        for label in self._labels:
            share = 0.0 if old else self._shown.get(label, 0.0)
            view.append_text(_row(label, share, width, best=label == best and not old, ascii_only=ascii_only))
        known = f"{adapted_to(self._last.adapted_s)}; " if self._adapting else ""
        view.append(f"{known}Ctrl-C ends", style="dim")
        return view


def _row(label: str, share: float, width: int, *, best: bool, ascii_only: bool) -> Text:
    from rich.text import Text

    row = Text(f" {label:<{show.NAME_WIDTH}} ", style="bold" if best else "")
    row.append(f"{share:>4.0%} ", style="" if best else "dim")
    row.append(show.bar(share, width=width, ascii_only=ascii_only), style=f"{colour(label)} not bold")
    return row.append("\n")


def _status(update: Update, *, ascii_only: bool) -> Text:
    from rich.text import Text

    level = min(max((update.level_db - _QUIETEST_DB) / -_QUIETEST_DB, 0.0), 1.0)
    dot = "*" if ascii_only else "●"
    status = Text(f" {dot} speech   " if update.speech else "   no speech", style="bold" if update.speech else "dim")
    status.append(f"  {show.clock(update.time_s)}  ", style="not bold not dim")
    status.append(f"{show.bar(level, width=_METER, ascii_only=ascii_only):<{_METER}}", style="green not bold not dim")
    return status.append(f" {update.level_db:>4.0f} dB", style="dim not bold")


def _line(utterance: Utterance, console: Console) -> Text:
    from rich.text import Text

    line = Text(f"{show.clock(utterance.start_s)} - {show.clock(utterance.end_s)}  ")
    cells = show.emotion_cells(utterance.emotion, utterance.confidence, ascii_only=console.options.ascii_only)
    return line.append_text(cells)
