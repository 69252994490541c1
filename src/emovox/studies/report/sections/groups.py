"""The section on whom models work for: results by gender, corpus, language, intensity and speaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emovox.evaluation.groups import UNKNOWN, GroupScores, by_group
from emovox.evaluation.report import percent
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import REFERENCE_KINDS, best, on_unseen_speakers, own, planned, scores_of, under
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.missing import nothing_yet
from emovox.studies.report.pictures.speakers import speaker_strip
from emovox.studies.report.pictures.style import with_shapes
from emovox.studies.report.settings import INTERVAL_NOTE, OWN_NOTE, setting_notes, tested_classes
from emovox.studies.report.words import NOTHING, listed, model_names, uar_text, with_interval

TITLE = "For whom it works"

_COLUMNS: Mapping[str, str] = {
    "corpus": "by corpus",
    "gender": "by gender",
    "within": "by gender within a corpus",
    "language": "by language",
    "intensity": "by intensity, where the corpus tells it and the emotion has every one",
}
Found = Mapping[str, Mapping[tuple[str, str], GroupScores]]


def section(study: StudyResults) -> Section:
    """Show results by group for our own model, the best reference model and the best baseline."""
    chosen = choose(study)
    if not chosen:
        return nothing_yet(TITLE, under(planned(study, *REFERENCE_KINDS, "baselines"), "speaker"))
    named = {model_names(chosen)[one.title]: one for one in chosen}
    found = {name: {(group.column, group.value): group for group in grouped(one)} for name, one in named.items()}
    return Section(
        title=TITLE,
        finding=_finding(found),
        paragraphs=[
            "Every clip is tested once, by a model that never heard its speaker. Shown are emovox' own model, the best "
            "of the reference study's models and the best of the other baselines; the best are chosen by these same "
            "test figures, which flatters them a little.",
            "Groups differ in more than their name: corpora have their own texts, rooms and actors, and where one "
            "corpus speaks most of a group's clips, the group's figure is that corpus'. Gender is therefore also given "
            "within each corpus.",
            "With one or two speakers, a group's figure says how well these are recognised, and nothing of others.",
            *([OWN_NOTE] if own(chosen) is not None else []),
        ],
        content=[_table(chosen, found), _picture(chosen, found)],
        folded=[("Every speaker", [_speaker_table(chosen, found)])],
    )


def choose(study: StudyResults) -> list[Result]:
    """Take our own model, the best reference model and the best other baseline, those that are finished."""
    baselines = on_unseen_speakers(study, "baselines")
    ours = own(baselines)
    reference = best(on_unseen_speakers(study, *REFERENCE_KINDS))
    other = best([one for one in baselines if one is not ours])
    return [one for one in (ours, reference, other) if one is not None]


def grouped(result: Result) -> list[GroupScores]:
    """Measure a result by group; columns are those of the manifest, and ``within`` for gender within a corpus.

    Of ``intensity`` only emotions that occur at every one are taken; the others are in the group `UNKNOWN`.
    """
    taken = result.predictions()
    truth = result.truth(taken)
    values = {name: result.column(name, taken) for name in ("corpus", "gender", "language", "intensity", "speaker")}
    intensities = {name: set(values["intensity"][truth == name]) - {""} for name in result.labels}
    told = set(values["intensity"]) - {""}
    everywhere = [name for name, of_emotion in intensities.items() if of_emotion == told]
    # Neutral is never strong: with it, the two could not be compared.
    values["intensity"] = np.where(np.isin(truth, everywhere), values["intensity"], "")
    within = [
        f"{corpus}, {gender}" if gender else ""
        for corpus, gender in zip(values["corpus"], values["gender"], strict=True)
    ]
    return by_group(
        truth,
        taken.probabilities,
        np.asarray(result.labels)[taken.predicted],
        result.labels,
        values["speaker"],
        {**values, "within": within},
    )


def _finding(found: Found) -> str:
    texts = []
    for name, groups in found.items():
        corpora = {value: one.uar for (column, value), one in groups.items() if column == "corpus"}
        speakers = [one.uar for (column, value), one in groups.items() if column == "speaker" and value != UNKNOWN]
        told = ", ".join(f"{value} {percent(uar)} %" for value, uar in corpora.items())
        texts.append(
            f"{name}: {told}; single speakers from {percent(min(speakers))} to {percent(max(speakers))} %"
            if speakers
            else f"{name}: {told}"
        )
    return f"UAR on unseen speakers. {'. '.join(texts)}."


def _table(chosen: Sequence[Result], found: Found) -> Table:
    first = next(iter(found.values()))
    rows: list[list[str]] = [["all test clips", *_size(chosen[0]), *(uar_text(scores_of(one)) for one in chosen)]]
    groups: list[tuple[int, str]] = []
    missing: dict[str, str] = {}
    for column, heading in _COLUMNS.items():
        values = [value for of, value in first if of == column]
        if column == "intensity":
            values = [value for value in values if value != UNKNOWN]
        for number, value in enumerate(values):
            if number == 0:
                groups.append((len(rows), heading))
            one = first[column, value]
            if one.missing:
                missing[value] = listed(one.missing)
            mark = " \N{DAGGER}" if one.missing else ""
            figures = [_uar(groups_of.get((column, value))) for groups_of in found.values()]
            rows.append([value + mark, f"{one.clips:,}", str(one.speakers), *figures])
    return Table(
        title="UAR % on unseen speakers, by group",
        columns=["group", "clips", "speakers", *found],
        rows=rows,
        groups=groups,
        strong=[0],
        notes=[
            *setting_notes(chosen),
            INTERVAL_NOTE,
            *(_missing_note(missing) if missing else []),
        ],
    )


def _speaker_table(chosen: Sequence[Result], found: Found) -> Table:
    first = next(iter(found.values()))
    speakers = [value for column, value in first if column == "speaker"]
    rows = [
        [
            value,
            f"{first['speaker', value].clips:,}",
            *(
                percent(groups["speaker", value].uar) if ("speaker", value) in groups else NOTHING
                for groups in found.values()
            ),
        ]
        for value in speakers
    ]
    return Table(
        title="UAR % of each unseen speaker",
        columns=["speaker", "clips", *found],
        rows=rows,
        notes=[*setting_notes(chosen), "So few clips of one person give no useful interval."],
    )


def _picture(chosen: Sequence[Result], found: Found) -> Picture:
    taken = chosen[0].predictions()
    of_corpus = dict(zip(chosen[0].column("speaker", taken), chosen[0].column("corpus", taken), strict=True))
    strips: dict[str, dict[str, list[float]]] = {corpus: {} for corpus in sorted(set(of_corpus.values()))}
    for name, groups in found.items():
        for (column, value), one in groups.items():
            if column == "speaker" and value != UNKNOWN:
                strips[of_corpus[value]].setdefault(name, []).append(one.uar)
    classes = tested_classes(scores_of(chosen[0]))
    return Picture(
        svg=speaker_strip(strips, chance=1 / classes),
        caption="UAR of each unseen speaker, a mark each, by corpus and model; the line upwards is the median. "
        f"Guessing among {classes} emotions reaches the dashed line.",
        alternative="How far single speakers lie apart, by corpus and model; the folded table gives each speaker's "
        "figure.",
        legend=with_shapes(list(found)),
    )


def _size(result: Result) -> list[str]:
    scores = scores_of(result)
    return [f"{scores.clips:,}", str(scores.speakers)]


def _missing_note(missing: Mapping[str, str]) -> list[str]:
    told = "; ".join(f"{value} without {lacks}" for value, lacks in missing.items())
    return [f"\N{DAGGER} UAR over the emotions that occur; comparable only where the same are missing: {told}."]


def _uar(group: GroupScores | None) -> str:
    if group is None:
        return NOTHING
    if group.interval is None:
        return percent(group.uar)
    return with_interval(group.uar, group.interval.uar, group.interval.over)
