"""The tables of docs/results/unseen_voices.md and its like, made from what unseen_voices.py measured."""

from __future__ import annotations

from typing import Any

REMARKS = {
    "speaker": """Two speakers of TESS have 2,800 of these clips, so the pooled ECE is largely theirs. Where speakers
count alike, whatever the number of their clips, it is {} unadapted and {} adapted with 8.""",
    "ravdess": """Published on these folds, UAR: with frozen encoders Whisper-large-v3 75.3, WavLM-large 72.0,
HuBERT-large 70.0, wav2vec 2.0-base 54.3; a fine-tuned XLS-R of 300 million parameters about 82.""",
    "emodb": """Published, UAR: ComParE features and an SVM 77.1; a wav2vec 2.0 of 300 million parameters trained on a
large corpus of emotions, and an SVM, 93.4.""",
    "random": """The reference study gives 96.48 % accuracy on a random split of its own data. Such a split says how
well a model knows voices that it has heard.""",
}


RECIPES = {
    "speechnet": """The recipe of `emovox-base`, the packaged model (`speechnet`: frozen Whisper-base blocks,
their attention and units inside them, two linear discriminants, four augmented views) is trained anew in every
fold.""",
    "speechnet-small": """The recipe of `emovox-small`, the small packaged model (`speechnet-small`: Whisper-base's
convolutions, the attention of its first block and 512 units behind it, frozen, in 4 and 8 bits; linear discriminant,
four augmented views), is trained anew in every fold.""",
}

HISTORIES = {
    "speechnet": """**How the recipe was found.** In every fold the model is fitted to the training part alone. The
recipe itself (which blocks, with what attention gives in each, and units beside them; the mean without the standard
deviation; quiet and noisy ends left out; how much covariances are shrunk; cuts, babble and speed among the
augmentations; whose temperature is taken; how far few clips are trusted) was found by trying settings on these same
corpora, with these tables in view. So these are figures of development; what the recipe does on a corpus that nobody
has looked at, your own recordings will tell.""",
    "speechnet-small": """**How the recipe was found.** In every fold the model is fitted to the training part alone.
That the first block, without the layer that mixes its units, is enough was seen on these same corpora, unadapted and
adapted, and so was that five bits are as good as eight and four nearly so; which units are kept made no difference, and
the first ones were taken. Discriminant (its covariance shrunk a little less), augmentation, temperature and how far few
clips are trusted are as in `speechnet` ([unseen_voices.md](unseen_voices.md)). So these are figures of development,
too.""",
}


WHOLE = ("unadapted", *(f"adapted with {count} unlabelled clips" for count in (2, 8, 30, "all")))
"""Tests of whole clips, in the order of the columns."""

CALIBRATED = ("unadapted", "adapted with 8 unlabelled clips")
"""Those whose calibration is shown."""


def page(results: dict[str, Any], source: str) -> str:
    """Write the tables as Markdown; `source` is the name of the file that holds the results."""
    parts = results["parts"]
    known = [name for name in ("corpus", "speaker", "ravdess", "emodb", "tess", "random") if name in parts]
    sections = "\n".join(_section(kind, parts[kind]) for kind in known)
    model = results["model"]
    options = "" if model == "speechnet" else f" \\\n      --model {model} -o docs/results/{source}"
    return f"""# Voices that {model} never heard

Made by `benchmarks/unseen_voices.py` from [{source}]({source}):

    python benchmarks/unseen_voices.py ../shared/corpora \\
      --weights ../shared/weights/whisper-base-encoder-3.safetensors{options}

{RECIPES[model]} UAR is the mean recall of the
emotions that were tested, in per cent, with a 95 % interval from a bootstrap over speakers (over clips where there are
fewer than ten speakers, which makes it too narrow). ECE is the expected calibration error of the probabilities, in
per cent; their temperature comes from speakers of the training data.

**Unadapted** and **adapted** are different things. Adapted with n clips: each embedding is measured from n other clips
of the same speaker, drawn anew for each tested clip, whose labels nobody looks at (`emovox adapt`). With all clips it
is all of that speaker's, as `emovox predict --adapt auto` does.

{HISTORIES[model]}

{sections}"""


def _section(kind: str, part: dict[str, Any]) -> str:
    tests = part["results"]
    remark = REMARKS.get(kind, "")
    if kind == "speaker":
        measured = [tests[test]["all"]["ece_speakers_alike"] for test in CALIBRATED]
        remark = remark.format(*(f"{100 * value:.1f}" for value in measured))
    folds = list(tests["unadapted"])
    whole = [name for name in WHOLE if name in tests]
    lines = [f"## {part['title']}", "", f"Emotions: {', '.join(part['labels'])}.", ""]
    if remark:
        lines += [remark, ""]
    shown = folds if len(folds) <= 7 else ["all"]
    head = ["tested", "clips", "speakers", *whole, "ECE unadapted"]
    calibrated = [name for name in CALIBRATED if name in tests]
    if len(calibrated) > 1:
        head.append("ECE adapted with 8")
    lines += [_row(head), _row(["---"] * len(head))]
    for fold in shown:
        first = tests["unadapted"][fold]
        cells = [_uar(tests[name][fold]) for name in whole]
        calibration = [f"{100 * tests[name][fold]['ece']:.1f}" for name in calibrated]
        name = "**all together**" if fold == "all" else fold
        lines.append(_row([name, f"{first['clips']:,}", first["speakers"], *cells, *calibration]))
    changed = sorted(name for name in tests if name not in WHOLE)
    if changed:
        lines += ["", "Clips that were changed, and the same sample of clips as it is, unadapted:", ""]
        lines += [_row(["clips", "number", "UAR", "accuracy"]), _row(["---"] * 4)]
        for name in changed:
            scores = tests[name]["all"]
            label = name.removeprefix("unadapted, ")
            lines.append(_row([label, f"{scores['clips']:,}", _uar(scores), f"{100 * scores['accuracy']:.1f}"]))
    return "\n".join([*lines, ""])


def _uar(scores: dict[str, Any]) -> str:
    low, high = (f"{100 * scores[f'uar_{end}']:.1f}" for end in ("low", "high"))
    return f"{100 * scores['uar']:.1f} [{low}, {high}]"


def _row(cells: list[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
