"""The gap: what models reach on a random split, on speakers and on corpora that they never heard, and what leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from emovox.evaluation.cells import TEST
from emovox.evaluation.leaks import Leak
from emovox.evaluation.report import percent
from emovox.studies.config import Kind
from emovox.studies.reading import Result, StudyResults
from emovox.studies.report.choosing import OWN_MODEL, final, is_plain, planned
from emovox.studies.report.elements import Section, Table
from emovox.studies.report.protocols import (
    CHANGE_NOTE,
    Models,
    Protocols,
    by_protocol,
    change,
    every,
    figure,
    protocol_picture,
    protocol_table,
)
from emovox.studies.report.settings import (
    INTERVAL_NOTE,
    OWN_NOTE,
    chance,
    epoch_notes,
    few_speakers,
    setting_notes,
    setting_paragraphs,
    weight_of,
)
from emovox.studies.report.words import NOTHING, listed, uar_text

STUDY_BEST = "adamax"
"""The optimiser with which the reference study's custom model is best; it stands for that model here."""

CLASSICAL, NETWORKS = "The study's classical models", "The study's networks"
BASELINES, OURS = "What a practitioner would try", "This package's own"
_GROUPS = (CLASSICAL, NETWORKS, BASELINES, OURS)


def section(study: StudyResults) -> Section:
    """Put the protocols side by side for each model, and say what training and test share in each."""
    groups = models(study)
    pictures = protocol_picture(
        study,
        groups,
        caption="The same models, tested three ways.",
        remarks=["Guessing reaches the dashed line."],
        alternative=headline(study),
    )
    return Section(
        title="The gap",
        finding=_finding(groups) or headline(study),
        paragraphs=[
            *setting_paragraphs(result for result in every(groups.values()) if result.cells),
            "All models of the study, the baselines on the same 180 features, and this package's own network. Each "
            "test clip counts once; figures are over all folds together.",
            *_cautions(study),
            *([OWN_NOTE] if OURS in groups else []),
        ],
        content=[*pictures, _table(study, groups), leak_table(study)],
        folded=[("Each unseen corpus by itself", [table]) for table in _corpus_tables(groups)],
    )


def _cautions(study: StudyResults) -> list[str]:
    """Say why intervals are wide and lopsided where few people speak much."""
    few = few_speakers(study.table)
    if not few:
        return []
    return [
        f"{weight_of(few, study.table)}; draws of speakers hold none or several of them, which makes intervals wide "
        "and lopsided. Figures over all corpora are to a large part those of these voices."
    ]


def models(study: StudyResults) -> dict[str, Models]:
    """Gather every model on its own features and all training rows, best on unseen speakers first, by group."""
    found: dict[str, dict[str, dict[str, Result]]] = {title: {} for title in _GROUPS}
    kinds: Sequence[tuple[Kind, str]] = (("classical", CLASSICAL), ("networks", NETWORKS), ("baselines", BASELINES))
    for kind, title in kinds:
        plain = [result for result in planned(study, kind) if is_plain(result)]
        for name, protocols in by_protocol(plain, lambda result: str(result.choice["name"])).items():
            found[OURS if name == OWN_MODEL else title].setdefault(name, protocols)
    custom = [
        result
        for result in planned(study, "optimizers")
        if result.choice["parameters"].get("optimizer") == STUDY_BEST
        and result.choice["parameters"].get("early_stopping")
    ]
    found[NETWORKS] |= by_protocol(custom, lambda result: f"{result.choice['name']} ({STUDY_BEST})")
    return {title: dict(sorted(of_group.items(), key=_rank)) for title, of_group in found.items() if of_group}


def _rank(item: tuple[str, Protocols]) -> tuple[float, ...]:
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
    whose = f"{len(both)}{of} models"
    if own:
        whose = f"{len(both)} of the study's {len(own)} models" if of else f"the study's {len(both)} models"
    known, unseen = (median(_uars(both, name)) for name in ("random", "speaker"))
    text = (
        f"On a random split, the median UAR of {whose} is {percent(known)} %; on speakers whom they never heard the "
        f"same models reach {percent(unseen)} %"
    )
    corpora = _uars(both, "corpus")
    if corpora:
        fewer = f" ({len(corpora)} of them)" if len(corpora) < len(both) else ""
        text += f", on corpora that they never heard{fewer} {percent(median(corpora))} %"
    return f"{text}; guessing gives {percent(chance(study))} %."


def _uars(some: Sequence[Protocols], protocol: str) -> list[float]:
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
        + _abroad(best, flat[best].get("corpus"))
    )


def _abroad(name: str, result: Result | None) -> str:
    """Say what a model reaches on unseen corpora together and on each; empty if it is not finished there."""
    scores = final(result)
    if result is None or scores is None:
        return ""
    taken = result.predictions()
    of_row = result.column("corpus", taken)
    each = [
        f"{corpus} {percent(result.measure(TEST, rows=taken.rows[of_row == corpus]).uar)} %"
        for corpus in sorted(set(of_row))
    ]
    return f" On corpora that it never heard {name} reaches {uar_text(scores)} %: {', '.join(each)}."


def _table(study: StudyResults, groups: Mapping[str, Models]) -> Table:
    return protocol_table(
        study,
        groups,
        [
            figure("random split %", "random", uar_text),
            figure("unseen speakers %", "speaker", uar_text),
            change("speaker"),
            figure("unseen corpora %", "corpus", uar_text),
            change("corpus"),
        ],
        title="UAR of every model under the three protocols",
        notes=[
            INTERVAL_NOTE,
            CHANGE_NOTE,
            *epoch_notes(dict(item for group in groups.values() for item in group.items())),
            *(_held_out_note(name) for name, one in groups.get(NETWORKS, {}).items() if _holds_out(one)),
        ],
    )


def _holds_out(protocols: Protocols) -> bool:
    return any(one.choice["held_out"] for one in protocols.values())


def _held_out_note(name: str) -> str:
    return f"{name}: with early stopping on a fifth of the training rows; it is fitted on the others only."


def _corpus_tables(groups: Mapping[str, Models]) -> list[Table]:
    """Give UAR on each unseen corpus, of models that are finished on all of them; no table without any."""
    done = {
        title: {name: one["corpus"] for name, one in models.items() if final(one.get("corpus"))}
        for title, models in groups.items()
    }
    results = [one for of_group in done.values() for one in of_group.values()]
    if not results:
        return []
    corpora = sorted(set(results[0].column("corpus", results[0].predictions())))
    rows: list[list[str]] = []
    headings = []
    for title, of_group in done.items():
        headings += [(len(rows), title)] if of_group else []
        rows += [[name, *_on_each(one, corpora)] for name, one in of_group.items()]
    missing = {name: listed(_untested(results[0], name)) for name in corpora}
    lacking = [f"{name} without {labels}" for name, labels in missing.items() if labels]
    return [
        Table(
            title="UAR % on each unseen corpus, by models that were trained on all others",
            columns=["model", *(f"{name} %" for name in corpora)],
            rows=rows,
            groups=headings,
            notes=[
                *setting_notes(results),
                INTERVAL_NOTE,
                *([f"Over the emotions that occur: {'; '.join(lacking)}."] if lacking else []),
                *epoch_notes({name: {"corpus": one} for of_group in done.values() for name, one in of_group.items()}),
            ],
        )
    ]


def _on_each(result: Result, corpora: Sequence[str]) -> list[str]:
    of_row = result.rows["corpus"].to_numpy(dtype=str)
    return [uar_text(result.measure(TEST, rows=np.flatnonzero(of_row == name))) for name in corpora]


def _untested(result: Result, corpus: str) -> list[str]:
    """Name the emotions that no clip of a corpus has."""
    taken = result.predictions()
    there = set(result.truth(taken)[result.column("corpus", taken) == corpus])
    return [label for label in result.labels if label not in there]


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
