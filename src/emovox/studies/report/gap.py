"""The gap: what models reach on a random split, on speakers and on corpora that they never heard, and what leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from emovox.evaluation.leaks import Leak
from emovox.evaluation.report import percent
from emovox.studies.config import Kind
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import by_protocol, is_plain, planned
from emovox.studies.report.drawing import Row, points
from emovox.studies.report.elements import Picture, Section, Table
from emovox.studies.report.phrases import INTERVAL_NOTE, NOTHING, PROTOCOLS, epoch_notes, uar_text
from emovox.studies.report.wording import (
    CHANGE_NOTE,
    LEAK_HEADING,
    LEGEND,
    ONLY_WHOLE_NOTE,
    best_row,
    cell,
    chance,
    change_text,
    described,
    final,
    leak_rows,
    points_of,
)

STUDY_BEST = "adamax"
"""The optimiser with which the reference study's custom model is best; it stands for that model here."""

CLASSICAL, NETWORKS = "The study's classical models", "The study's networks"
BASELINES, OURS = "What a practitioner would try", "This package's own"
_GROUPS = (CLASSICAL, NETWORKS, BASELINES, OURS)

Models = Mapping[str, Mapping[str, Result]]
"""Results of each model by the name of the protocol."""


def section(study: StudyResults) -> Section:
    """Put the protocols side by side for each model, and say what training and test share in each."""
    groups = models(study)
    results = [result for of_group in groups.values() for result in _every(list(of_group.values()))]
    rows = [
        (title, [Row(name, points_of(protocols)) for name, protocols in of_group.items() if points_of(protocols)])
        for title, of_group in groups.items()
    ]
    drawn = [(title, some) for title, some in rows if some]
    content: list[Picture | Table] = []
    if drawn:
        content.append(
            Picture(
                svg=points(drawn, label="UAR, per cent", chance=chance(study)),
                legend=LEGEND,
                caption="The same models, tested three ways. Lines: 95 % intervals by bootstrap over speakers. "
                f"Guessing reaches the dashed line. {ONLY_WHOLE_NOTE}",
                alternative=headline(study),
            )
        )
    content += [_table(study, groups), leak_table(study)]
    return Section(
        title="The gap",
        finding=_finding(groups) or headline(study),
        paragraphs=[
            *described(result for result in results if result.cells),
            "All models of the study, the baselines on the same 180 features, and this package's own network. Each "
            "test clip counts once; figures are over all folds together.",
        ],
        content=content,
    )


def models(study: StudyResults) -> dict[str, Models]:
    """Gather every model on its own features and all training rows, best on unseen speakers first, by group."""
    found: dict[str, dict[str, dict[str, Result]]] = {title: {} for title in _GROUPS}
    kinds: Sequence[tuple[Kind, str]] = (("classical", CLASSICAL), ("networks", NETWORKS), ("baselines", BASELINES))
    for kind, title in kinds:
        plain = [result for result in planned(study, kind) if is_plain(result)]
        for name, protocols in by_protocol(plain, lambda result: str(result.choice["name"])).items():
            found[OURS if name == "speechnet" else title].setdefault(name, protocols)
    custom = [
        result
        for result in planned(study, "optimizers")
        if result.choice["parameters"].get("optimizer") == STUDY_BEST
        and result.choice["parameters"].get("early_stopping")
    ]
    found[NETWORKS] |= by_protocol(custom, lambda result: f"{result.choice['name']} ({STUDY_BEST})")
    return {title: dict(sorted(of_group.items(), key=_rank)) for title, of_group in found.items() if of_group}


def _rank(item: tuple[str, Mapping[str, Result]]) -> tuple[float, ...]:
    """Order by unseen speakers, then by the random split; what is not finished comes last."""
    scores = [final(item[1].get(name)) for name in ("speaker", "random")]
    return tuple(0.0 if one is None else -one.uar for one in scores)


def headline(study: StudyResults) -> str:
    """State the gap in a sentence: the median of the study's own models under each protocol."""
    groups = models(study)
    own = [one for title in (CLASSICAL, NETWORKS) for one in groups.get(title, {}).values()]
    some = own or [one for group in groups.values() for one in group.values()]
    both = [one for one in some if final(one.get("random")) and final(one.get("speaker"))]
    if not both:
        return "No model is finished both on the random split and on unseen speakers: the gap is not known yet."
    of = "" if len(both) == len(some) else f" of {len(some)}"
    whose = f"{len(both)}{of} models{' of the study' if own else ''}"
    known, unseen = (median(_uars(both, name)) for name in ("random", "speaker"))
    text = (
        f"On a random split, {whose} reach a median UAR of {percent(known)} %; on speakers whom they never heard the "
        f"same models reach {percent(unseen)} %"
    )
    corpora = _uars(both, "corpus")
    if corpora:
        fewer = f" ({len(corpora)} of them)" if len(corpora) < len(both) else ""
        text += f", on corpora that they never heard{fewer} {percent(median(corpora))} %"
    return f"{text}; guessing gives {chance(study):.1f} %."


def _uars(some: Sequence[Mapping[str, Result]], protocol: str) -> list[float]:
    scores = [final(one.get(protocol)) for one in some]
    return [one.uar for one in scores if one is not None]


def _finding(groups: Mapping[str, Models]) -> str:
    """Say how much models lose from the random split to unseen speakers, and which is best there."""
    flat = {name: protocols for group in groups.values() for name, protocols in group.items()}
    unseen = {name: scores for name, one in flat.items() if (scores := final(one.get("speaker")))}
    known = {name: scores for name in unseen if (scores := final(flat[name].get("random")))}
    if not known:
        return ""
    lost = {name: 100 * (known[name].uar - unseen[name].uar) for name in known}
    least, most = (choose(lost, key=lambda name: lost[name]) for choose in (min, max))
    best = max(unseen, key=lambda name: unseen[name].uar)
    return (
        f"From the random split to unseen speakers the UAR of {len(lost)} models falls by {lost[least]:.1f} points "
        f"({least}) to {lost[most]:.1f} points ({most}). Best on unseen speakers: {best}, {uar_text(unseen[best])} %."
    )


def _table(study: StudyResults, groups: Mapping[str, Models]) -> Table:
    rows: list[list[str]] = []
    heads: list[tuple[int, str]] = []
    for title, group in groups.items():
        heads.append((len(rows), title))
        for name, one in group.items():
            known, unseen, foreign = (one.get(protocol) for protocol in PROTOCOLS)
            texts = [cell(known, uar_text), cell(unseen, uar_text), change_text(known, unseen)]
            rows.append([name, *texts, cell(foreign, uar_text), change_text(known, foreign)])
    flat = [one for group in groups.values() for one in group.values()]
    heads.append((len(rows), LEAK_HEADING))
    rows += leak_rows(study, _every(flat), ["random", "speaker", "", "corpus", ""])
    return Table(
        title="UAR of every model under the three protocols",
        columns=["model", "random split %", "unseen speakers %", "change", "unseen corpora %", "change"],
        rows=rows,
        groups=heads,
        strong=best_row([one.get("speaker") for one in flat]),
        notes=[
            INTERVAL_NOTE,
            CHANGE_NOTE,
            *epoch_notes(dict(item for group in groups.values() for item in group.items())),
        ],
    )


def _every(models: Sequence[Mapping[str, Result]]) -> list[Result]:
    return [result for protocols in models for result in protocols.values()]


def leak_table(study: StudyResults) -> Table:
    """Count for every protocol of the study what training and test share: speakers, sentences, copies."""
    sentences = {
        one.task.key.protocol: str(one.cell.protocol["sentence"]) for plan in study.plans for one in plan.cells
    }
    rows = []
    for key, sentence in sentences.items():
        leak = study.leak(key)
        texts = [NOTHING] * 4 if leak is None else _leak_texts(leak, looked=study.copies is not None)
        rows.append([key, sentence, str(len(study.folds(key))), *texts])
    notes = [
        "Counted in test clips, all folds together. A sentence counts only within its corpus: in acted corpora all "
        "speakers say the same few, so a model can know every sentence of a speaker whom it never heard."
    ]
    if study.copies is None:
        notes.append("Copies: nobody has looked for them in this study yet; its next run does (or see the audit).")
    else:
        notes.append(
            "Copies: test clips of which training holds the same recording, found by the audit of the sound itself; "
            f"among these {len(study.table):,} clips it finds {_copies(study.copies)}."
        )
    return Table(
        title="What leaks: what training and test share under each protocol",
        columns=["protocol", "division", "folds", "test clips", "speaker known", "sentence known", "copies"],
        rows=rows,
        notes=notes,
    )


def _leak_texts(leak: Leak, *, looked: bool) -> list[str]:
    def share(count: int, unknown: int) -> str:
        told = f"{percent(count / leak.clips)} % ({count:,})"
        return f"{told}; {unknown:,} unknown" if unknown else told

    return [
        f"{leak.clips:,}",
        share(leak.speaker_clips, leak.unknown_speaker_clips),
        share(leak.sentence_clips, leak.unknown_sentence_clips),
        f"{leak.copied_clips:,}" if looked else "not counted",
    ]


def _copies(groups: Sequence[Sequence[int]]) -> str:
    if not groups:
        return "none"
    return f"{len(groups):,} recording{'s that occur' if len(groups) > 1 else ' that occurs'} more than once"
