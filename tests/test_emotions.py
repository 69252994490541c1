"""The one vocabulary."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox.emotions import BEYOND_SEVEN, EMOTIONS, LABEL_SETS, normalise, parse_label_set, parse_mapping
from emovox.errors import ParameterError

ALL = (*EMOTIONS, *BEYOND_SEVEN)


def test_seven_in_one_order() -> None:
    assert EMOTIONS == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert not set(EMOTIONS) & set(BEYOND_SEVEN)


@pytest.mark.parametrize("name", LABEL_SETS)
def test_label_sets(name: str) -> None:
    labels = parse_label_set(name)
    assert labels == tuple(sorted(labels))
    assert set(labels) <= set(ALL)
    assert parse_label_set(", ".join(reversed(labels))) == labels


@pytest.mark.parametrize(
    ("native", "emotion"),
    [
        # As the corpora of the reference study and their folders spell them.
        *(("Angry", "angry"), ("ANG", "angry"), ("Wut", "angry"), ("Ärger", "angry"), ("rabbia", "angry")),
        *(("Disgust", "disgust"), ("DIS", "disgust"), ("Ekel", "disgust"), ("fearful", "fear"), ("Angst", "fear")),
        *(("Happiness", "happy"), ("gioia", "happy"), ("NEU", "neutral"), ("Sadness", "sad"), ("tristezza", "sad")),
        *(("ps", "surprise"), ("pleasant_surprised", "surprise"), ("Pleasant-Surprise", "surprise")),
        *(("calm", "calm"), ("bored", "boredom"), (" Langeweile ", "boredom"), ("xyz", None), ("", None)),
    ],
)
def test_spellings(native: str, emotion: str | None) -> None:
    for form in ("NFC", "NFD"):
        for text in (native, native.upper(), native.lower()):
            assert normalise(unicodedata.normalize(form, text)) == emotion


@given(st.text())
def test_any_text_is_known_or_not(text: str) -> None:
    assert normalise(text) in (*ALL, None)


@given(st.sets(st.sampled_from(ALL), min_size=2), st.randoms())
def test_the_order_of_a_label_set_does_not_depend_on_the_user(labels: set[str], random) -> None:  # type: ignore[no-untyped-def]
    given_order = sorted(labels)
    random.shuffle(given_order)
    assert parse_label_set(",".join(given_order)) == tuple(sorted(labels))


def test_label_sets_in_other_words() -> None:
    assert parse_label_set("Sadness, anger,") == ("angry", "sad")


@pytest.mark.parametrize("text", ["", ",", "sad", "sad,sad", "sad,sadness", "sad,puzzled", "eight"])
def test_label_sets_that_cannot_be(text: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_label_set(text)
    assert caught.value.remedy


def test_mapping() -> None:
    assert parse_mapping([]) == {}
    assert parse_mapping(["Calm = neutral", "bored=sad", "calm=neutral"]) == {"calm": "neutral", "boredom": "sad"}


@pytest.mark.parametrize("item", ["calm", "calm=", "=sad", "calm=xyz", "xyz=sad", "calm=sad=happy"])
def test_mappings_that_cannot_be(item: str) -> None:
    with pytest.raises(ParameterError, match="cannot read the mapping"):
        parse_mapping([item])


def test_mappings_that_contradict_each_other() -> None:
    with pytest.raises(ParameterError, match="calm is mapped to neutral and to sad"):
        parse_mapping(["calm=neutral", "calm=sad"])
