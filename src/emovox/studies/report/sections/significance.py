"""The section on which models differ on unseen speakers, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emovox.evaluation.cells import TEST, Array
from emovox.evaluation.metrics import MINIMUM_SPEAKERS
from emovox.evaluation.significance import SIGNIFICANCE, Comparison, compare
from emovox.studies.config import Kind
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import REFERENCE_KINDS, best, on_unseen_speakers, own, planned, scores_of, under
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import nothing_yet
from emovox.studies.report.pictures.differences import differences_picture
from emovox.studies.report.pictures.style import with_shapes
from emovox.studies.report.settings import INTERVAL_NOTE, OWN_NOTE, few_speakers, setting_notes, weight_of
from emovox.studies.report.words import NOTHING, difference_text, listed, model_name, model_names, p_value, uar_text

TITLE = "Which models differ"

DRAWS = 10_000
_KINDS: tuple[Kind, ...] = ("classical", "networks", "optimizers", "baselines")


@dataclass(frozen=True, eq=False)
class Contest:
    """Models on the same test clips of unseen speakers.

    Attributes:
        results: of which every fold is finished, the highest UAR first.
        names: for people, in the same order.
        rows: row numbers of the clips, shape (n,).
        predicted: labels, shape (n,), by the name of the model.
    """

    results: Sequence[Result]
    names: Sequence[str]
    rows: Array
    predicted: dict[str, Array]

    def compare(
        self, models: Sequence[str], *, against: str | None = None, without: Sequence[str] = ()
    ) -> list[Comparison]:
        """Compare some models on all clips, or on those of other corpora than `without`."""
        table = self.results[0].rows.iloc[self.rows]
        kept = ~table["corpus"].isin(list(without)).to_numpy()
        return compare(
            table["emotion"].to_numpy(dtype=str)[kept],
            {name: self.predicted[name][kept] for name in models},
            self.results[0].labels,
            table["speaker"].to_numpy(dtype=str)[kept],
            against=against,
            draws=DRAWS,
        )


def section(study: StudyResults) -> Section:
    """Show which models differ: all against the best reference model and against ours, and the classical ones."""
    results = on_unseen_speakers(study, *_KINDS)
    if len(results) < 2:
        return nothing_yet(TITLE, under(planned(study, *_KINDS), "speaker"))
    field = contest(results)
    few = few_speakers(results[0].rows.iloc[field.rows])
    references = [one for one in on_unseen_speakers(study, *REFERENCE_KINDS) if one.title in _titles(field)]
    chosen = [_name(field, one) for one in (best(references), own(results)) if one is not None]
    families = {name: field.compare(field.names, against=name) for name in dict.fromkeys(chosen)}
    classical = [name for name in field.names if name in _classical_names(study, field)]
    content: list[Table | Picture] = []
    if families:
        content += [_against_picture(field, families), _against_table(field, families)]
    pairs = {"all corpora": field.compare(classical)} if len(classical) > 1 else {}
    if pairs and few:
        pairs[f"without {listed(few)}"] = field.compare(classical, without=few)
    if pairs:
        content.append(_pairs_picture(pairs))
    folded: list[tuple[str, list[Table | Picture]]] = []
    if families and few:
        others = {name: field.compare(field.names, against=name, without=few) for name in families}
        folded.append((f"All models without {listed(few)}", [_against_table(field, others, without=few)]))
    if pairs:
        folded.append(("Every pair of the classical models", [_pairs_table(field, pairs)]))
    return Section(
        title=TITLE,
        finding=_finding(families, pairs),
        paragraphs=[
            "All models are tested on the same clips of unseen speakers, each fold's test speakers by models that "
            f"never heard them. The p-value says how often a difference as large comes up in {DRAWS:,} draws in which "
            "each speaker's two results are swapped by chance (a sign for each speaker, Rademacher), as they might "
            "as well be if the models were equally good.",
            f"Holm's correction is for all comparisons of one column; a difference counts where p after it is at most "
            f"{SIGNIFICANCE}. Intervals are by bootstrap over speakers, both models on the same draws, and not "
            f"corrected. So many draws give no p below {1 / (1 + DRAWS):.4f}, which Holm's correction multiplies by up "
            "to the number of comparisons. No difference shown is not equality shown.",
            *_cautions(field, few, references),
            *_left_out(study),
        ],
        content=content,
        folded=folded,
    )


def contest(results: Sequence[Result]) -> Contest:
    """Put results side by side that were predicted on the same rows as the first one; others are left out."""
    rows = np.sort(results[0].predictions().rows)
    ordered = sorted(results, key=lambda one: -scores_of(one).uar)
    same = [one for one in ordered if np.array_equal(np.sort(one.predictions().rows), rows)]
    named = model_names(same)
    predicted = {}
    for one in same:
        taken = one.predictions()
        predicted[named[one.title]] = np.asarray(one.labels)[taken.predicted[np.argsort(taken.rows)]]
    return Contest(same, [named[one.title] for one in same], rows, predicted)


def _cautions(field: Contest, few: Sequence[str], references: Sequence[Result]) -> list[str]:
    table = field.results[0].rows.iloc[field.rows]
    texts = []
    if table["speaker"].nunique() < MINIMUM_SPEAKERS or (table["speaker"] == "").any():
        texts.append("Too few speakers are known, so clips are drawn instead: p is too small and intervals too narrow.")
    if few:
        texts.append(
            f"{weight_of(few, table)}, so a difference hangs on each of them more than on others, and is the harder to "
            "show; everything is therefore also given without their test clips."
        )
    if references:
        texts.append("The best reference model was chosen by these same figures, which flatters it a little.")
    if own(field.results) is not None:
        texts.append(OWN_NOTE)
    held_out = [name for name, one in zip(field.names, field.results, strict=True) if one.choice["held_out"]]
    if held_out:
        texts.append(
            f"Of these, {listed(sorted({name.partition(',')[0] for name in held_out}))} had a fifth of the training "
            "speakers held out; networks with a number of epochs in their name were trained for at most so many, "
            "others for 100."
        )
    return texts


def _left_out(study: StudyResults) -> list[str]:
    """Name the models of which some fold is missing."""
    waiting = [
        one
        for one in under(planned(study, *_KINDS), "speaker")
        if not one.complete and one.choice["size"] == 1 and one.planned
    ]
    return (
        [f"Left out, because some fold is not computed: {'; '.join(model_name(one) for one in waiting)}."]
        if waiting
        else []
    )


def _finding(families: dict[str, list[Comparison]], pairs: dict[str, list[Comparison]]) -> str:
    texts = []
    for name, comparisons in families.items():
        better = sum(1 for one in comparisons if one.different and one.difference > 0)
        worse = sum(1 for one in comparisons if one.different and one.difference < 0)
        texts.append(
            f"Against {name}, {len(comparisons)} models: {better} better, {worse} worse, "
            f"{len(comparisons) - better - worse} not told apart."
        )
    for where, comparisons in pairs.items():
        told = sum(one.different for one in comparisons)
        texts.append(f"Of {len(comparisons)} pairs of classical models {told} differ ({where}).")
    return " ".join(texts)


def _against_table(field: Contest, families: dict[str, list[Comparison]], *, without: Sequence[str] = ()) -> Table:
    kept = np.flatnonzero(~field.results[0].rows["corpus"].isin(list(without)).to_numpy())
    found = {name: {one.first: one for one in comparisons} for name, comparisons in families.items()}
    rows = []
    for name, result in zip(field.names, field.results, strict=True):
        row = [name, uar_text(result.measure(TEST, rows=kept) if without else scores_of(result))]
        for comparisons in found.values():
            one = comparisons.get(name)
            row += [_difference(one), p_value(one.p_holm)] if one else [NOTHING, NOTHING]
        rows.append(row)
    heads = [head for name in families for head in (f"less {name}, points", "p (Holm)")]
    return Table(
        title="Models on unseen speakers, and their differences from two of them"
        + (f"; tested clips of {listed(without)} left out" if without else ""),
        columns=["model", "UAR %", *heads],
        rows=rows,
        strong=[place for place, name in enumerate(field.names) if name in families],
        notes=[
            *setting_notes(field.results),
            f"{INTERVAL_NOTE} * differs after Holm's correction for the {len(field.names) - 1} comparisons of the "
            "column.",
        ],
    )


def _pairs_table(field: Contest, pairs: dict[str, list[Comparison]]) -> Table:
    columns = [head for where in pairs for head in (f"difference, {where}", "p", "p (Holm)")]
    rows = []
    for together in zip(*pairs.values(), strict=True):
        row = [f"{together[0].first} less {together[0].second}"]
        for one in together:
            row += [_difference(one), p_value(one.p), p_value(one.p_holm)]
        rows.append(row)
    return Table(
        title="Differences in UAR between classical models on unseen speakers, in points",
        columns=["pair", *columns],
        rows=rows,
        notes=[*setting_notes(field.results), "* differs after Holm's correction for all pairs of the column."],
    )


def _against_picture(field: Contest, families: dict[str, list[Comparison]]) -> Picture:
    return Picture(
        svg=differences_picture(
            field.names,
            {f"less {name}": {"": {one.first: one for one in found}} for name, found in families.items()},
        ),
        caption="UAR on unseen speakers less that of the model over each panel, in points, with 95 % intervals. "
        "Filled: differs after Holm's correction for all models of the panel; hollow: not told apart.",
        alternative="Differences of all models from the best reference model and from our own; the table gives the "
        "figures.",
    )


def _pairs_picture(pairs: dict[str, list[Comparison]]) -> Picture:
    rows = [f"{one.first} \N{MINUS SIGN} {one.second}" for one in next(iter(pairs.values()))]
    series = {where: dict(zip(rows, comparisons, strict=True)) for where, comparisons in pairs.items()}
    return Picture(
        svg=differences_picture(rows, {"every pair of the classical models": series}),
        caption="Differences in UAR on unseen speakers between classical models, in points, with 95 % intervals. "
        "Filled: differs after Holm's correction for all pairs.",
        alternative="Differences of all pairs of classical models; the folded table gives the figures.",
        legend=with_shapes(list(pairs)),
    )


def _difference(one: Comparison) -> str:
    return difference_text(one) + (" *" if one.different else "")


def _titles(field: Contest) -> list[str]:
    return [one.title for one in field.results]


def _name(field: Contest, result: Result) -> str:
    return field.names[_titles(field).index(result.title)]


def _classical_names(study: StudyResults, field: Contest) -> list[str]:
    titles = [one.title for one in on_unseen_speakers(study, "classical")]
    return [_name(field, one) for one in field.results if one.title in titles]
