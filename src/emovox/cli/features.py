"""`emovox features`: a feature set of many recordings as one file."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emovox.cli import common
from emovox.cli.common import Format
from emovox.errors import EmovoxError, ParameterError

if TYPE_CHECKING:
    from emovox.features import Extraction, FeatureSet

ENDINGS = (".npy", ".npz", ".parquet")


def features(
    paths: Annotated[list[str], typer.Argument(help="Recordings, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A .npy, .npz or .parquet to write.")],
    set_name: Annotated[
        str, typer.Option("--set", "-s", help="Feature set: classic, egemaps, compare or logmel.")
    ] = "classic",
    output_format: Annotated[Format, typer.Option("--format", "-f", help="How to print what became of each.")] = (
        Format.TABLE
    ),
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes. (default: one for each processor)")] = None,
    store: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where values are kept. (default: the user's cache)")
    ] = None,
) -> None:
    """Compute the features of recordings and write them as one file.

    A row a recording, in the order given; folders are searched to the bottom in order of names.
    A recording that cannot be used is named, and its row stays: NaN, or no frames. Then the exit code is 1.

    .npy: array (recordings, features), for sets that give a vector a clip.
    .npz: an array for each row, named by its number from 0, for all sets.
    .parquet: columns path, error and the features by name, for sets that give a vector a clip.

    Values are kept on disk by the recordings' content: a second run, or one after an interruption, computes only
    what is new.
    """
    from emovox.features import FeatureStore, feature_set

    wanted = feature_set(set_name)
    _check_output(output, wanted)
    files, empty = _find(paths)
    done = 0
    with common.progress() as bars:
        bar = bars.add_task(wanted.name, total=len(files))

        def show(count: int, _total: int) -> None:
            nonlocal done
            done = count
            bars.update(bar, completed=count)

        try:
            extraction = FeatureStore(store).extract(files, wanted.name, jobs=jobs, progress=show)
        except KeyboardInterrupt:
            common.warn(f"{done} of {len(files)} were done; the same command goes on from there.")
            raise
    _write(output, files, wanted, extraction)
    _report(output_format, output, files, wanted, extraction)
    if extraction.failures or empty:
        raise typer.Exit(common.SOME_FAILED)


def _check_output(output: Path, wanted: FeatureSet) -> None:
    ending = output.suffix.lower()
    if ending not in ENDINGS:
        raise ParameterError(
            f"cannot write features as {ending or 'a file without an ending'}",
            path=output,
            remedy=f"Name a file that ends in {', '.join(ENDINGS)}.",
        )
    if ending != ".npz" and not wanted.per_clip:
        raise ParameterError(
            f"{wanted.name} gives a matrix a clip, each of another length, which {ending} cannot hold",
            path=output,
            remedy="Write a .npz.",
        )
    if output.is_dir():
        raise ParameterError("is a folder", path=output, remedy="Name a file.")
    if ending == ".parquet":
        import pyarrow.parquet  # noqa: F401 - what is missing is said before the work, not after it
    folder = output.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(f"its folder cannot be made ({error.strerror})", path=output) from error
    if not os.access(folder, os.W_OK):
        raise ParameterError("cannot be written: its folder is read-only", path=output, remedy="Choose another.")


def _find(paths: Sequence[str]) -> tuple[list[Path], int]:
    """List the recordings, and count the folders that hold none."""
    from emovox import audio

    files: list[Path] = []
    empty = 0
    for path in paths:
        found = list(audio.find_audio([path]))
        if not found:
            common.warn(f"{path}: holds no recordings")
            empty += 1
        files += found
    if not files:
        raise ParameterError("no recordings were found", remedy="Name recordings, or folders that hold some.")
    return files, empty


def _write(output: Path, files: Sequence[Path], wanted: FeatureSet, extraction: Extraction) -> None:
    """Write the file in one step: a reader never sees half of it, and an old one stays if this fails."""
    partial = output.with_name(f".{output.stem}.{os.getpid()}.partial{output.suffix.lower()}")
    try:
        _write_as(partial, files, wanted, extraction)
        partial.replace(output)
    except OSError as error:
        common.warn(
            f"{output}: cannot be written ({error.strerror or error}). The values are kept in the store: "
            "make room or name another file, and the same command writes them at once."
        )
        raise typer.Exit(common.SOME_FAILED) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_as(file: Path, files: Sequence[Path], wanted: FeatureSet, extraction: Extraction) -> None:
    import numpy as np

    if file.suffix == ".npy":
        np.save(file, extraction.values, allow_pickle=False)
    elif file.suffix == ".npz":
        rows: dict[str, Any] = {str(row): values for row, values in enumerate(extraction.values)}
        np.savez(file, allow_pickle=False, **rows)
    else:
        import pyarrow
        import pyarrow.parquet

        errors = {row: str(error) for row, error in extraction.failures}
        values = np.asarray(extraction.values)
        columns: dict[str, Any] = {
            "path": [str(path) for path in files],
            "error": pyarrow.array([errors.get(row) for row in range(len(files))], pyarrow.string()),
            **{name: values[:, column] for column, name in enumerate(wanted.names)},
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), file)


def _report(
    output_format: Format, output: Path, files: Sequence[Path], wanted: FeatureSet, extraction: Extraction
) -> None:
    failures = dict(extraction.failures)
    if output_format is Format.JSON:
        common.print_json(
            {
                "output": str(output),
                "set": {"name": wanted.name, "version": wanted.version, "features": list(wanted.names)},
                "rows": [_row(path, failures.get(row)) for row, path in enumerate(files)],
            }
        )
    elif output_format is Format.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(["row", "path", "error", "message"])
        for row, path in enumerate(files):
            error = failures.get(row)
            writer.writerow([row, path, *(("", "") if error is None else (error.code, error.message))])
    else:
        for row, error in failures.items():
            common.warn(f"row {row}: {error}")
        shape = f"{len(files):,} x {wanted.size}" if wanted.per_clip else f"{len(files):,} arrays"
        kept = f", {extraction.reused:,} of them computed before" if extraction.reused else ""
        common.stdout().print(f"{output}: {wanted.name}, {shape}{kept}", markup=False, soft_wrap=True)
    if failures:
        common.warn(f"{len(failures)} of {len(files)} could not be used; their rows are empty")


def _row(path: Path, error: EmovoxError | None) -> dict[str, Any]:
    if error is None:
        return {"path": str(path)}
    return {"path": str(path), "error": {"code": error.code, "message": error.message}}
