"""`emovox adapt`: a reference of a speaker, a microphone or a room, from recordings without labels."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emovox.cli import common
from emovox.errors import AdaptationError, ManifestError, ParameterError

if TYPE_CHECKING:
    from emovox.inference.adaptation import Heard
    from emovox.inference.recognizer import Recognizer
    from emovox.inference.recordings import Recording
    from emovox.inference.results import Failure

STDIN = "-"
PASSED_OVER = ("silent", "too_short", "empty")
"""Codes of recordings in which there is nothing to adapt to, which is no fault."""


def adapt(
    clips: Annotated[list[str], typer.Argument(help="Recordings, folders of them, or - for one on stdin.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Reference to write, by custom .npz.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE|NAME",
            help="Bundle to adapt: its file, or a name of `emovox models list`. (default: emovox-base)",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Threads that decode. (default: processors, at most 4)")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the model. (default: processors, at most 4)")
    ] = None,
) -> None:
    """Adapt a model to a speaker, a microphone or a room, without labels.

    Give 8 clips or more of what is to be recognised later, in mixed moods: 8 give most of the gain, 30 nearly all. A
    reference of one emotion only takes this emotion for the voice, and harms. The file holds no sound, but a trait of
    the voice: treat it as personal data.

    The exit code is 0 if all recordings were read, 1 if some could not be (the file is made of the others), 2 for
    wrong use. Silent and very short recordings are named and passed over.

    Examples:
      emovox adapt me/*.wav -o me.npz

      emovox predict new/ --adapt me.npz
    """
    _check_out(out, force=force)
    from emovox.inference.adaptation import ENOUGH_CLIPS, gather
    from emovox.inference.recognizer import Recognizer, expand

    recognizer = Recognizer(model, threads=threads)
    recognizer.bundle.require_adaptable()
    recordings = list(expand(_sources(clips)))
    heard, failed = _hear(recognizer, recordings, jobs)
    reference = gather(heard, recognizer.bundle)
    if reference is None:
        common.warn(f"{out} is not written: none of the {len(recordings)} recordings can be adapted to")
        raise typer.Exit(common.SOME_FAILED)
    if reference.clips < ENOUGH_CLIPS:
        common.warn(f"{_count(reference.clips, 'clip')} only: {ENOUGH_CLIPS} or more give most of the gain")
    reference.save(out)
    told = f"{_count(reference.clips, 'clip')}, {reference.seconds:.1f} s, for {reference.model}"
    common.stdout().print(f"{out}: {told}", markup=False, soft_wrap=True)
    if failed:
        common.warn(f"{failed} of {len(recordings)} could not be used")
        raise typer.Exit(common.SOME_FAILED)


def speakers(manifest: Path) -> dict[str, str]:
    """Read who speaks in which recording.

    Raises:
        ManifestError: if it is no manifest, or names two speakers for one recording.
    """
    from emovox import manifest as table

    found: dict[str, str] = {}
    rows = table.read(manifest)
    for path, speaker in zip(rows["path"], rows["speaker"], strict=True):
        if speaker and found.setdefault(path, speaker) != speaker:
            raise ManifestError(
                f"names two speakers for {path}: {found[path]} and {speaker}",
                path=manifest,
                remedy="Cut that recording into one a speaker.",
            )
    return found


def _check_out(out: Path, *, force: bool) -> None:
    if out.is_dir():
        raise ParameterError("is a folder", path=out, remedy="Name a file.")
    if out.exists() and not force:
        raise AdaptationError(
            "is there already", code="exists", path=out, remedy="Name another file, or overwrite it with --force."
        )


def _sources(paths: Sequence[str]) -> list[Recording]:
    if STDIN in paths and sys.stdin.isatty():
        raise ParameterError("nothing comes from stdin", remedy="Write: emovox adapt - -o me.npz < recording.wav")
    return [sys.stdin.buffer if path == STDIN else path for path in paths]


def _hear(
    recognizer: Recognizer, recordings: Sequence[Recording | Failure], jobs: int | None
) -> tuple[list[Heard], int]:
    """Hear all recordings and name those that are of no use; also give how many could not be read."""
    from emovox.inference.adaptation import SHORTEST_CLIP_S
    from emovox.inference.log_ratios import telling
    from emovox.inference.recognizer import Failure

    heard: list[Heard] = []
    notes: list[str] = []
    failed = done = 0
    with common.progress() as bars, closing(recognizer.hear_many(recordings, jobs=jobs)) as items:
        task = bars.add_task("Listening", total=len(recordings))
        try:
            for recording, item in zip(recordings, items, strict=True):
                done += 1
                bars.advance(task)
                if isinstance(item, Failure):
                    faulty = item.error.code not in PASSED_OVER
                    failed += faulty
                    reason = item.to_dict()["error"]["message"]
                    notes.append(f"{_name(recording)}: {'failed' if faulty else 'passed over'}: {reason}")
                elif item.duration_s < SHORTEST_CLIP_S:
                    notes.append(f"{_name(recording)}: passed over: is shorter than {SHORTEST_CLIP_S} s")
                elif not telling(item.probabilities).any():
                    notes.append(f"{_name(recording)}: passed over: is no voice")
                else:
                    heard.append(item)
        except KeyboardInterrupt:
            common.warn(f"{done} of {len(recordings)} were heard; no reference was written")
            raise
    for note in notes:
        common.warn(note)
    return heard, failed


def _name(recording: Recording | Failure) -> str:
    from emovox.cli import show
    from emovox.inference.recognizer import Failure

    if isinstance(recording, Failure):
        return show.printable(recording.path or STDIN)
    return show.printable(os.fspath(recording)) if isinstance(recording, str | os.PathLike) else STDIN


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
