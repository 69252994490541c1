"""`emovox demo`: the main job from end to end on real recordings, in minutes and without torch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emovox.cli import common, evaluate, rows, show
from emovox.errors import BundleError, CorpusError

if TYPE_CHECKING:
    import pandas as pd

    from emovox.inference.recognizer import Recognizer
    from emovox.manifest import Selection

CLIPS_A_GROUP = 3
"""Recordings taken of each speaker and emotion, so that it is done in minutes."""
SHOWN = 2
"""Predictions shown for each emotion."""


def demo(
    corpora: Annotated[
        Path | None,
        typer.Option(
            "--corpora",
            "-c",
            help="Folder with corpora. Where there is none, EmoDB is downloaded; offline, voices are synthesised.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for recordings, results and the report.")] = Path(
        "emovox-demo"
    ),
    full: Annotated[bool, typer.Option("--full", help="Use every recording; takes many times as long.")] = False,
    jobs: rows.JobsOption = None,
) -> None:
    """Show what emovox does: recognise emotions, compare eight models honestly, write a report."""
    started = time.perf_counter()
    folder, origin = _recordings(corpora, out)
    selection, labels = rows.load_rows(None, folder, "seven", None)
    chosen, remark = (selection, "every recording") if full else choose(selection)
    speakers = chosen.table["speaker"].nunique()
    _say("1. Recordings", f"{origin}: {len(chosen.table):,} clips, {speakers} speakers; {remark}.")
    predict_some(chosen.table)
    page = _compare(chosen, labels, remark, out, jobs)
    common.stdout().print(f"\nReport: {page}\nTook {time.perf_counter() - started:.0f} s.", markup=False, style="bold")


def choose(selection: Selection, *, clips: int = CLIPS_A_GROUP) -> tuple[Selection, str]:
    """Take some clips of each corpus, speaker and emotion, evenly spread over the names; always the same ones.

    Returns:
        The selection, and a sentence about it.
    """
    import dataclasses

    table = selection.table.sort_values("path", kind="stable")
    groups = table.groupby(["corpus", "speaker", "emotion"], sort=True)
    place, size = groups.cumcount(), groups["path"].transform("size")
    # The clip with number `place` opens a new one of `clips` equal parts of its group.
    opens = (place * clips // size) != ((place - 1) * clips // size)
    taken = table[opens | (size <= clips)].sort_index().reset_index(drop=True)
    remark = f"up to {clips} of each speaker and emotion, of {len(selection.table):,}"
    return dataclasses.replace(selection, table=taken), remark


def predict_some(table: pd.DataFrame, *, bundle: str | None = None) -> None:
    """Show what a model (None: the packaged one) makes of a few recordings, beside the truth."""
    from emovox.evaluation.bundles import trained_on
    from emovox.inference.recognizer import Recognizer

    try:
        recognizer = Recognizer(bundle)
    except BundleError as error:
        _say("2. Predictions", f"There is no packaged model here to predict with ({error.code}).")
        return
    meta = recognizer.meta
    _say("2. Predictions", f"The model {meta.name} {meta.version} on a few of them:")
    _prediction_table(table, recognizer)
    known = trained_on(meta, table)
    if known:
        common.stdout().print(
            f"! It was trained on {', '.join(known)}, with these very speakers, so these hits prove nothing. "
            + ("What it does with unseen speakers:" if meta.scores else "It records no scores of its own."),
            style="yellow",
            markup=False,
        )
    for score in meta.scores:
        low, high = score["uar_interval"]
        common.stdout().print(
            f"  UAR {100 * score['uar']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]: {score['description']}",
            markup=False,
        )


def _prediction_table(table: pd.DataFrame, recognizer: Recognizer) -> None:
    from rich.table import Table

    from emovox.inference.recognizer import Failure

    some = some_of_each(table)
    console = common.stdout()
    ascii_only = not (console.encoding or "").lower().startswith("utf")
    printed = Table(box=None, padding=(0, 1, 0, 0))
    # What may be cut in a narrow terminal stands last.
    for column in ("", "truth", "prediction", "speaker", "recording"):
        printed.add_column(column, no_wrap=True, min_width=26 if column == "prediction" else max(5, len(column)))
    right = 0
    with rows.counted("Predicting") as advance:
        for number, found in enumerate(recognizer.predict_many(list(some["path"]))):
            path, speaker, truth = some.iloc[number][["path", "speaker", "emotion"]]
            name = Path(path).name
            if isinstance(found, Failure):
                printed.add_row("", truth, found.error.message, speaker, show.printable(name))
            else:
                right += found.emotion == truth
                cells = show.emotion_cells(found.emotion, found.confidence, ascii_only=ascii_only)
                verdict = "right" if found.emotion == truth else "wrong"
                printed.add_row(verdict, truth, cells, speaker, show.printable(name))
            advance(number + 1, len(some))
    console.print(printed)
    console.print(f"{right} of {len(some)} right.")


def some_of_each(table: pd.DataFrame, *, count: int = SHOWN) -> pd.DataFrame:
    """Take `count` recordings of each emotion, of different corpora and speakers as far as there are."""
    import numpy as np

    shuffled = table.sample(frac=1, random_state=np.random.RandomState(7)).drop_duplicates(["emotion", "speaker"])
    # First the first speaker of every corpus, then the second of every corpus, and so on.
    turn = shuffled.groupby(["emotion", "corpus"]).cumcount()
    ordered = shuffled.iloc[np.lexsort((np.arange(len(turn)), turn, shuffled["emotion"]))]
    return ordered.groupby("emotion").head(count)


def _compare(chosen: Selection, labels: tuple[str, ...], remark: str, out: Path, jobs: int | None) -> Path:
    """Evaluate the eight classical models under the random and the speaker protocol, and write the report."""
    from emovox.evaluation.protocols import RandomSplit, SpeakerFolds
    from emovox.evaluation.provenance import available_cores
    from emovox.evaluation.report import write_html
    from emovox.evaluation.study import evaluate as evaluate_models
    from emovox.manifest import fingerprint

    models, _ = evaluate.split_models(["classical"])
    _say(
        "3. Comparison",
        f"{len(models)} models as the reference study had them: once on a random split, once on unseen speakers.",
    )
    inputs = rows.load_inputs(chosen, ["classic"], jobs)
    notes = {"selection": f"demonstration: {remark}", "dropped": dict(chosen.dropped)}
    with rows.cells_shown() as advance:
        results = evaluate_models(
            models,
            inputs,
            [RandomSplit(), SpeakerFolds()],
            out=out / f"results-{fingerprint(inputs.table)[:8]}",
            labels=labels,
            jobs=jobs or available_cores(),
            notes=notes,
            progress=advance,
        )
    evaluate.show(results, evaluate.TABLE)
    page = out / "report.html"
    write_html(results, page, title="emovox demonstration")
    return page


def _recordings(corpora: Path | None, out: Path) -> tuple[Path, str]:
    """Find recordings: a folder, else a download, else voices made on the spot."""
    if corpora is not None and corpora.is_dir():
        return corpora, f"Corpora in {corpora}"
    if corpora is not None:
        common.warn(f"There are no corpora at {corpora}.")
    try:
        return _download(out / "recordings"), "EmoDB, downloaded"
    except CorpusError as error:
        common.warn(f"EmoDB cannot be downloaded: {error}")
    folder = out / "recordings" / "synthetic"
    common.warn("So the demonstration runs on SYNTHETIC voices: its figures say nothing about recognising emotion.")
    return _synthesise(folder), "SYNTHETIC voices, made on the spot"


def _download(folder: Path) -> Path:
    from emovox.corpora.download import download, source

    origin = source("emodb")
    common.warn(f"Downloading {origin.title} ({origin.size / 1e6:.0f} MB); licence: {origin.licence}. {origin.terms}")
    with rows.counted("Downloading EmoDB") as advance:
        done = download(origin, folder, accept_licence=True, progress=lambda _, part, all_: advance(part, all_ or 0))
    return done.folder


def _synthesise(folder: Path) -> Path:
    from emovox.corpora.synthetic import synthesize

    with rows.counted("Synthesising voices") as advance:
        synthesize(folder, speakers=12, sentences=2, progress=advance)
    return folder


def _say(title: str, text: str) -> None:
    console = common.stdout()
    console.print(f"\n{title}", style="bold")
    console.print(text, markup=False)
