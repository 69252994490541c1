"""Which files lie in a folder: recordings, other files, and what operating systems leave behind."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from emovox.audio import AUDIO_SUFFIXES
from emovox.errors import CorpusError


@dataclass
class Tree:
    """The files of a folder and of all folders in it.

    Attributes:
        audio: recordings, in order of their paths.
        other: how many other files there are, by ending (``.txt``; empty for none).
        leftovers: how many hidden files and copies of macOS' resource forks (``._a.wav``, ``__MACOSX``) there are.
        closed: folders that may not be read.
        seen_twice: links to folders that were already searched; they are not searched again.
    """

    audio: list[Path] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    leftovers: int = 0
    closed: list[Path] = field(default_factory=list)
    seen_twice: list[Path] = field(default_factory=list)


def list_files(root: Path) -> Tree:
    """List the files below `root`; links are followed, each real folder is searched once.

    Raises:
        CorpusError: if `root` is no folder or may not be read.
    """
    if not root.is_dir():
        missing = not os.path.lexists(root)
        raise CorpusError(
            "no such file or folder" if missing else "is not a folder",
            code="not_found" if missing else "not_a_folder",
            path=root,
            remedy="Check the path.",
        )
    tree = Tree()
    start = Path(os.path.abspath(root))  # noqa: PTH100 - resolve() would replace links, which users do not expect
    visited = {os.path.realpath(start)}

    def refused(error: OSError) -> None:
        tree.closed.append(Path(error.filename))

    for folder, folders, files in os.walk(start, followlinks=True, onerror=refused):
        folders[:] = [name for name in sorted(folders) if _enter(Path(folder, name), visited, tree)]
        for name in sorted(files):
            _add(Path(folder, name), tree)
    if start in tree.closed:
        raise CorpusError("may not be read", code="no_permission", path=root, remedy="Check its rights.")
    return tree


def _enter(folder: Path, visited: set[str], tree: Tree) -> bool:
    if folder.name == "__MACOSX":
        tree.leftovers += sum(len(files) for _, _, files in os.walk(folder))
        return False
    if folder.name.startswith("."):
        return False
    real = os.path.realpath(folder)
    if real in visited:
        tree.seen_twice.append(folder)
        return False
    visited.add(real)
    return True


def _add(file: Path, tree: Tree) -> None:
    if file.name.startswith("."):
        tree.leftovers += 1
    elif file.suffix.lower() in AUDIO_SUFFIXES:
        tree.audio.append(file)
    else:
        tree.other[file.suffix.lower()] += 1
