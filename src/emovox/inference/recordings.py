"""The forms in which a recording can be given."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from emovox import audio
from emovox.audio import Waveform
from emovox.errors import AudioError
from emovox.inference.results import Failure

Recording: TypeAlias = audio.Source | Waveform
"""A path, the bytes of a file, a binary file object, or a waveform in memory."""


def expand(sources: Iterable[Recording | Failure]) -> Iterator[Recording | Failure]:
    """Replace folders by the recordings in them; a folder without any becomes a failure."""
    for source in sources:
        if not isinstance(source, str | os.PathLike) or not Path(source).is_dir():
            yield source
            continue
        empty = True
        for path in audio.find_audio([source]):
            empty = False
            yield path
        if empty:
            error = AudioError(
                "holds no recordings",
                code="no_recordings",
                path=source,
                remedy="Give a folder with WAV, FLAC, OGG, Opus, MP3, m4a or webm files, or name the files.",
            )
            yield Failure(os.fspath(source), error)


def name_of(source: Recording) -> str | None:
    """Name of a recording: its path, if it has one."""
    return None if isinstance(source, Waveform) else audio.source_name(source)
