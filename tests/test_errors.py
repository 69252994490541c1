"""Errors say what, where and what to do, also after a trip between processes."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from emovox import errors
from emovox.errors import AudioError, EmovoxError, MissingExtraError

CLASSES = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, EmovoxError)]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_a_worker_process(kind: type[EmovoxError]) -> None:
    error = kind("is 3 s long", code="too_short", path=Path("a b.wav"), remedy="Record more.")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert (twin.message, twin.code, twin.path, twin.remedy, str(twin)) == (
            *("is 3 s long", "too_short", "a b.wav", "Record more."),
            "a b.wav: is 3 s long. Record more.",
        )


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind("x").code for kind in CLASSES]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (AudioError("is silent"), "is silent"),
        (AudioError("is silent."), "is silent."),
        (AudioError("is silent.", remedy="Check it."), "is silent. Check it."),
        (AudioError("is silent", path="a.wav"), "a.wav: is silent"),
        (MissingExtraError.for_extra("deep", "speechnet"), "'emovox[deep]'"),
    ],
)
def test_text(error: EmovoxError, text: str) -> None:
    assert text in str(error)
