"""The model card that goes into a bundle: what it is, what it was trained and tested on, what it is not for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from emovox.inference.bundle import BundleMetadata

_NOT_FOR = """\
The corpora hold acted emotion, said on request into a good microphone. What people feel in life sounds different, and
a voice does not tell what somebody feels. Do not use it to judge people: not in hiring, at work, in schools, by police,
in court or at borders, not for diagnoses. Its errors differ between speakers, languages and microphones; measure them
on your own recordings first."""


def permits(licences: Iterable[str]) -> str:
    """Say in plain words what a model may be used for, from the licences of what it was trained on.

    It is careful and no legal advice: one corpus for research only makes the model one for research only.

    Example:
        >>> permits(["CC0-1.0"])
        'any use, as far as the licences of the training corpora go'
        >>> permits(["CC0-1.0", "CC BY-NC-SA 4.0"])
        'non-commercial use only: a training corpus (CC BY-NC-SA 4.0) allows no other'
    """
    known = list(licences)
    strict = [text for text in known if _NON_COMMERCIAL.search(text)]
    if strict:
        return f"non-commercial use only: a training corpus ({strict[0]}) allows no other"
    if not known or not all(_OPEN.search(text) for text in known):
        return "ask whoever made the training recordings; their licence is not known to be open"
    return "any use, as far as the licences of the training corpora go"


_NON_COMMERCIAL = re.compile(r"\bNC\b|non-?commercial|research|academic", re.IGNORECASE)
_OPEN = re.compile(r"\bCC0\b|\bCC[ -]BY\b|\bODbL\b|public domain|\bMIT\b|\bApache\b", re.IGNORECASE)


def model_card(meta: BundleMetadata) -> str:
    """Write the card of a bundle as Markdown, from its description."""
    training = meta.training
    lines = [
        f"# {meta.name} {meta.version}",
        "",
        f"Recognises {len(meta.labels)} emotions in speech ({', '.join(meta.labels)}). "
        f"Model: {training.get('model', 'unknown')} of emovox {training.get('emovox', '')}.".rstrip(),
        "",
        "## Training data",
        "",
        *_corpora_table(training.get("corpora", ())),
        "",
        *_pretrained(training),
        *_epochs(training),
        "## Measured",
        "",
        *_scores_table(meta.scores),
        "",
        "## Licence",
        "",
        f"{meta.licence or 'None stated'}. Permits: {meta.permits or 'not stated'}.",
        "",
        "## Not for",
        "",
        _NOT_FOR,
        "",
    ]
    return "\n".join(lines)


def _corpora_table(corpora: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"| {corpus.get('name') or 'unnamed'}{' (synthetic)' if corpus.get('synthetic') else ''} "
        f"| {corpus.get('clips', '')} | {corpus.get('speakers', '')} | {corpus.get('licence') or 'unknown'} |"
        for corpus in corpora
    ]
    return ["| corpus | clips | speakers | licence |", "|---|---|---|---|", *rows] if rows else ["Not stated."]


def _pretrained(training: Mapping[str, Any]) -> list[str]:
    origin = training.get("pretrained")
    if not origin:
        return []
    return [f"Starts from pretrained weights: {origin['source']} ({origin['licence']}).", ""]


def _epochs(training: Mapping[str, Any]) -> list[str]:
    done, wanted = training.get("epochs"), training.get("epochs_wanted")
    if done is None or wanted is None or done >= wanted:
        return []
    return [f"Training was broken off after {done} of at most {wanted} epochs.", ""]


def _scores_table(scores: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"| {score['description']} | {100 * score['uar']:.1f} "
        f"[{100 * score['uar_interval'][0]:.1f}, {100 * score['uar_interval'][1]:.1f}] over {score['interval_over']} "
        f"| {100 * score['accuracy']:.1f} | {score['weighted_f1']:.3f} | {score['ece']:.3f} |"
        for score in scores
    ]
    if not rows:
        return ["Nothing: its quality is unknown."]
    return [
        "On models of the same kind, each trained on a part of the rows and tested on the rest, as the protocol says.",
        "",
        "| what | UAR % (95 %) | accuracy % | weighted F1 | ECE |",
        "|---|---|---|---|---|",
        *rows,
    ]
