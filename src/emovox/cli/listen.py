"""`emovox listen`: watch emotions move while somebody speaks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emovox.cli import common
from emovox.errors import ParameterError

if TYPE_CHECKING:
    from emovox.cli.listen_output import Screen
    from emovox.cli.microphone import Block
    from emovox.inference.live import LiveRecognizer

STDIN = "-"


class ListenFormat(StrEnum):
    """How `emovox listen` prints what it hears."""

    TABLE = "table"
    JSON = "json"


def listen(
    source: Annotated[
        str | None,
        typer.Option(
            "--input", "-i", metavar="FILE", help="Play a recording (- for stdin) instead of listening to a microphone."
        ),
    ] = None,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="With --input: as fast as it goes, not as fast as it was spoken.")
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME|NUMBER", help="Microphone to use. (default: the system's)", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE|NAME",
            help="Bundle to use: its file, or a name of `emovox models list`. (default: emovox-base)",
        ),
    ] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Get used to the voice: measure each utterance from those before it.")
    ] = False,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure from a reference of `emovox adapt`; --adapt starts from it."),
    ] = None,
    output: Annotated[
        ListenFormat, typer.Option("--format", "-f", help="Bars and a line an utterance, or a line of JSON an event.")
    ] = ListenFormat.TABLE,
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="P", help="Less probable emotions are 'uncertain'.")
    ] = 0.0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the model. (default: processors, at most 4)")
    ] = None,
) -> None:
    """Watch the emotion of speech while it is spoken. Ctrl-C ends it.

    In a terminal bars move with what is said, and each utterance leaves a line. Elsewhere only the lines are printed.

    Examples:
      emovox listen

      emovox listen --adapt

      emovox listen --input talk.mp3 --format json
    """
    if source is not None and device is not None:
        raise ParameterError("--input and --device exclude each other")
    if at_once and source is None:
        raise ParameterError("--at-once belongs to --input", remedy="Name a recording with --input.")
    from emovox.cli.listen_output import screen
    from emovox.inference.live import LiveRecognizer
    from emovox.inference.recognizer import Recognizer

    with _opened(source, device, at_once=at_once) as (rate, blocks):
        recognizer = Recognizer(model, min_confidence=min_confidence, threads=threads, adapt=reference)
        adapting = adapt or reference is not None
        live = LiveRecognizer(recognizer, rate=rate, adapt=adapt)
        with screen(output is ListenFormat.JSON, recognizer.meta, common.stdout(), adapting=adapting) as out:
            _listen(live, blocks, out)


def _opened(
    source: str | None, device: str | None, *, at_once: bool
) -> AbstractContextManager[tuple[int, Iterator[Block]]]:
    from emovox.cli.microphone import from_file, from_microphone

    if source is None:
        return from_microphone(device)
    if source == STDIN and sys.stdin.isatty():
        raise ParameterError("nothing comes from stdin", remedy="Write: emovox listen --input - < recording.wav")
    return from_file(sys.stdin.buffer if source == STDIN else source, at_once=at_once)


def _listen(live: LiveRecognizer, blocks: Iterator[Block], out: Screen) -> None:
    with suppress(KeyboardInterrupt):  # the usual end
        for block in blocks:
            for event in live.hear(block.samples, behind=block.behind):
                out.show(event)
    for event in live.finish():
        out.show(event)
    out.end(live.duration_s)
