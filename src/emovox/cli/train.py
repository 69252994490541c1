"""`emovox train` and `emovox export`: from rows to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emovox.cli import common, rows
from emovox.errors import ParameterError

if TYPE_CHECKING:
    from emovox.evaluation.protocols import EvaluationProtocol
    from emovox.evaluation.runs import Trained
    from emovox.inference.bundle import BundleMetadata

MEASURED_BY_DEFAULT = "classical"
"""Family whose scores are measured unless told otherwise; the others take many times as long."""


def _is_bundle_name(path: Path) -> Path:
    if path.suffix.lower() != ".onnx":
        raise typer.BadParameter(f"{path} must end in .onnx")
    return path


BundleOption = Annotated[Path, typer.Option("--out", "-o", help="Bundle to write (.onnx).", callback=_is_bundle_name)]


def train(
    model: Annotated[str, typer.Argument(help="Name in the catalogue: `emovox models list`.", show_default=False)],
    out: BundleOption,
    manifest: rows.ManifestOption = None,
    corpora: rows.CorporaOption = None,
    parameters: rows.SetOption = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            "-p",
            help="How the recorded scores are measured: speaker, loso, corpus, random (may repeat) or none. "
            "[default: speaker; none for networks]",
            show_default=False,
        ),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Folds of the protocol speaker.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything that is drawn.")] = 7,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Folder for checkpoints and scores; a training that was broken off goes on there. "
            "[default: beside the bundle, ending in .run]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the model. [default: the file's]")] = None,
    labels: rows.LabelsOption = "seven",
    mapping: rows.MapOption = None,
    jobs: rows.JobsOption = None,
) -> None:
    """Train a model on all given recordings and write it as one bundle, with scores measured on unseen speakers.

    Examples:
      emovox train random-forest -c corpora -o forest.onnx

      emovox train cnn-1 -m rows.csv -o cnn.onnx --set epochs=50 --set early_stopping=true
    """
    from emovox.evaluation.choices import ModelChoice
    from emovox.evaluation.provenance import available_cores
    from emovox.evaluation.training import train as train_model
    from emovox.models.catalog import find

    spec = find(model)
    chosen = ModelChoice(spec.name, rows.parse_parameters(parameters))
    protocols = _measuring(protocol or (["speaker"] if spec.family == MEASURED_BY_DEFAULT else ["none"]), folds)
    selection, _ = rows.load_rows(manifest, corpora, labels, mapping)
    inputs = rows.load_inputs(selection, [spec.input], jobs)
    with rows.training_shown(spec.name) as (advance, learning):
        trained = train_model(
            chosen,
            inputs,
            out=out,
            run=run,
            protocols=protocols,
            name=name,
            seed=seed,
            jobs=jobs or available_cores(),
            show_epochs=common.stderr().is_terminal,
            progress=advance if protocols else None,
            learning=learning,
        )
    _tell(trained.meta, trained)
    if not protocols:
        common.warn("Its scores were not measured: add --protocol speaker, or test it with `emovox evaluate`.")
    if inputs.failures:
        raise typer.Exit(common.SOME_FAILED)


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="Folder of a network's training (.run), or a bundle.", show_default=False
        ),
    ],
    out: BundleOption,
    name: Annotated[str | None, typer.Option("--name", help="New name of the model.")] = None,
    version: Annotated[str | None, typer.Option("--model-version", help="New version of the model.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="New licence of the model.")] = None,
    card: Annotated[
        Path | None, typer.Option("--card", help="Markdown file that becomes the model card.", show_default=False)
    ] = None,
) -> None:
    """Make a bundle of a network's training, finished or broken off; or describe a bundle anew.

    Examples:
      emovox export cnn.run -o cnn.onnx

      emovox export forest.onnx -o forest-2.onnx --name forest --model-version 2 --card card.md
    """
    from emovox.evaluation.runs import export_run, redescribe

    trained = export_run(source, out) if Path(source).is_dir() else None
    changes = {"name": name, "version": version, "licence": licence}
    text = None if card is None else card.read_text(encoding="utf-8")
    if trained is None and Path(source).exists() and text is None and not any(changes.values()):
        raise ParameterError(
            "nothing is to be changed", remedy="Give --name, --model-version, --licence or --card; or copy the file."
        )
    meta = None if trained is None else trained.meta
    if meta is None or text is not None or any(changes.values()):
        meta = redescribe(out if trained else source, out, card=text, **changes)
    _tell(meta, trained, out)


def _tell(meta: BundleMetadata, trained: Trained | None, out: Path | None = None) -> None:
    path = out or (trained.path if trained else None)
    console = common.stdout()
    for score in meta.scores:
        low, high = score["uar_interval"]
        console.print(
            f"UAR {100 * score['uar']:.1f} % [{100 * low:.1f}, {100 * high:.1f}], accuracy "
            f"{100 * score['accuracy']:.1f} %: {score['description']}",
            markup=False,
        )
    size = f", {path.stat().st_size / 1e6:.1f} MB" if path is not None else ""
    console.print(f"Written: {path} ({meta.name} {meta.version}{size}). It permits: {meta.permits}.", markup=False)


def _measuring(names: list[str], folds: int) -> list[EvaluationProtocol]:
    from emovox.evaluation import protocols

    known: dict[str, EvaluationProtocol] = {
        "speaker": protocols.SpeakerFolds(n_splits=folds),
        "loso": protocols.LeaveOneSpeakerOut(),
        "corpus": protocols.LeaveOneCorpusOut(),
        "random": protocols.RandomSplit(),
    }
    if names == ["none"]:
        return []
    for name in names:
        if name not in known:
            raise ParameterError(f"scores cannot be measured by {name!r}", remedy=f"Use {', '.join(known)} or none.")
    return [known[name] for name in dict.fromkeys(names)]
