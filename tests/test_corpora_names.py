"""What the names of recordings say: official names, the reference study's, and names that are neither."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovox import emotions
from emovox.corpora import CORPORA, FileNameError, Utterance
from emovox.corpora.base import stem

FIELDS = ("corpus", "speaker", "gender", "language", "emotion", "native_label", "sentence", "intensity")


def read(path: str) -> tuple[str, ...]:
    """The manifest's fields of the one corpus that reads a path."""
    rows = []
    for corpus in CORPORA.values():
        utterance = corpus.utterance(Path(path))
        if utterance is not None:
            rows.append(corpus.row(Path(path), utterance))
    assert len(rows) == 1, f"{path} is read by {[row['corpus'] for row in rows]}"
    return tuple(str(rows[0][field]) for field in FIELDS)


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=lambda corpus: corpus.name)
def test_official_counts_add_up(corpus) -> None:  # type: ignore[no-untyped-def]
    for edition in corpus.editions:
        if edition.emotions:
            assert sum(edition.emotions.values()) == edition.clips
        assert set(edition.emotions) <= {*emotions.EMOTIONS, *emotions.BEYOND_SEVEN}
        assert len(set(edition.speakers)) == len(edition.speakers)
    assert [edition.clips for edition in corpus.editions] == sorted(edition.clips for edition in corpus.editions)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        # Official names
        ("Actor_12/03-01-05-02-01-02-12.wav", "ravdess ravdess-12 female en angry angry 01 strong"),
        ("Actor_01/03-01-02-01-02-01-01.wav", "ravdess ravdess-01 male en calm calm 02 normal"),
        ("Actor_12/03-02-06-01-02-01-12.flac", "ravdess-song ravdess-12 female en fear fearful 02 normal"),
        ("Actor_03/01-01-08-01-01-01-03.mp4", "ravdess ravdess-03 male en surprise surprised 01 normal"),
        ("YAF_pleasant_surprised/YAF_back_ps.wav", "tess tess-YAF female en surprise pleasant_surprise back -"),
        ("OAF_neutral/OA_bite_neutral.wav", "tess tess-OAF female en neutral neutral bite -"),
        ("wav/16b10Lb.wav", "emodb emodb-16 female de boredom boredom b10 -"),
        ("WAV/03A01FA.WAV", "emodb emodb-03 male de happy happiness a01 -"),
        ("0011/Angry/0011_000351.wav", "esd esd-0011 male en angry Angry en-001 -"),
        ("0003/Surprise/evaluation/0003_001750.wav", "esd esd-0003 female zh surprise Surprise zh-350 -"),
        ("0015_000702.wav", "esd esd-0015 female en happy Happy en-002 -"),
        ("AudioWAV/1001_DFA_ANG_XX.wav", "cremad cremad-1001 male en angry anger DFA -"),
        ("AudioWAV/1002_IEO_HAP_LO.wav", "cremad cremad-1002 female en happy happy IEO low"),
        ("AudioWAV/1040_ITH_SAD_X.wav", "cremad cremad-1040 male en sad sad ITH -"),
        ("DC/a01.wav", "savee savee-DC male en angry anger a01 -"),
        ("kl/su15.wav", "savee savee-KL male en surprise surprise su15 -"),
        ("ALL/JK_n30.wav", "savee savee-JK male en neutral neutral n30 -"),
        ("f2/gio-f2-b3.wav", "emovo emovo-f2 female it happy gioia b3 -"),
        ("m3/tri-m3-n5.wav", "emovo emovo-m3 male it sad tristezza n5 -"),
        ("liuchanhg/angry/201.wav", "casia casia-liuchanhg female zh angry angry 201 -"),
        ("zhaozuoxiang/Surprise/250.wav", "casia casia-ZhaoZuoxiang male zh surprise surprise 250 -"),
        ("不同文本100/Zhe.Wang/normal/301.wav", "casia casia-wangzhe male zh neutral normal neutral-301 -"),
        ("202-neutral-zhaoquanyin.wav", "casia casia-zhaoquanyin female zh neutral neutral 202 -"),
        # The reference study's names
        ("RAVDESS/12_01_02_01_dogs-sitting_angry.wav", "ravdess ravdess-12 female en angry angry 02 strong"),
        ("RAVDESS/07_01_01_02_kids-talking_ps.wav", "ravdess ravdess-07 male en surprise surprised 01 normal"),
        ("RAVDESS/03-01-02-01-01-02-12_calm.wav", "ravdess ravdess-12 female en calm calm 01 normal"),
        ("RAVDESS/25_01_01_01_back_ps.wav", "tess - female en surprise pleasant_surprise back -"),
        ("RAVDESS/26_01_01_01_youth_fear.wav", "tess - female en fear fear youth -"),
        ("ESD/0001_000001_neutral.wav", "esd esd-0001 female zh neutral Neutral zh-001 -"),
        ("EmoDB/a03b02_happy.wav", "emodb emodb-03 male de happy happiness b02 -"),
        ("EmoDB/03a01Fa_happy.wav", "emodb emodb-03 male de happy happiness a01 -"),
        ("CUSTOM/1055_IEO_disgust_HI.wav", "cremad cremad-1055 female en disgust disgust IEO high"),
        ("CUSTOM/5.9.disgust-03.wav", "custom - - - disgust disgust - -"),
        ("CUSTOM/OAF_back_fear.wav", "tess tess-OAF female en fear fear back -"),
    ],
)
def test_names(path: str, expected: str) -> None:
    assert read(path) == tuple("" if word == "-" else word for word in expected.split())


@pytest.mark.parametrize(
    "path",
    [
        "27_01_01_01_back_ps.wav",  # no third speaker of TESS
        "12_01_02_01_back_angry.wav",  # RAVDESS has no such text
        "25_01_02_01_dogs-sitting_angry.wav",  # TESS neither
        "a01.wav",  # SAVEE only in a speaker's folder
        "xy/a01.wav",
        "0021_000001.wav",  # ESD has twenty speakers
        "a04b02_happy.wav",  # EmoDB has no speaker 04
        "5.9.hello-03.wav",
        "OAF_back.wav",
        "1_happy.wav",
        "",
    ],
)
def test_names_of_no_corpus(path: str) -> None:
    assert all(corpus.utterance(Path(path)) is None for corpus in CORPORA.values())


@pytest.mark.parametrize(
    ("corpus", "path", "part"),
    [
        ("ravdess", "03-01-09-01-01-01-01.wav", "no emotion 09"),
        ("ravdess", "03-01-01-01-01-01-25.wav", "no actor 25"),
        ("ravdess", "03-03-01-01-01-01-01.wav", "no vocal channel 03"),
        ("ravdess", "02-01-01-01-01-01-01.mp4", "video without sound"),
        ("ravdess", "03-01-02-01-01-01-01_sad.wav", "calm by its code and sad at its end"),
        ("emodb", "99a01Fa.wav", "no speaker 99"),
        ("emodb", "03a03Fa.wav", "no text a03"),
        ("esd", "0011_001751.wav", "000001 to 001750"),
        ("esd", "0011/Fear/0011_000001.wav", "no emotion 'fear'"),
        ("cremad", "1092_DFA_ANG_XX.wav", "no actor 1092"),
        ("cremad", "1001_XYZ_ANG_XX.wav", "no sentence XYZ"),
        ("cremad", "1001_DFA_SUR_XX.wav", "no emotion SUR"),
        ("savee", "DC/a16.wav", "01 to 15"),
        ("casia", "wangzhe/bored/201.wav", "no emotion 'bored'"),
    ],
)
def test_impossible_names(corpus: str, path: str, part: str) -> None:
    with pytest.raises(FileNameError, match=part) as caught:
        CORPORA[corpus].utterance(Path(path))
    assert caught.value.path is not None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_esd_label_table(tmp_path: Path, encoding: str) -> None:
    """Without a folder of the emotion the speaker's table tells it, in any of the encodings that are about."""
    table = tmp_path / "0001.txt"
    table.write_text("0001_000005\t打远一看\t惊喜\n0001_000006\t今天 天气\tSad\n", encoding=encoding)
    (tmp_path / "wav").mkdir()
    labels = []
    for number in (5, 6, 7):
        said = CORPORA["esd"].utterance(tmp_path / "wav" / f"0001_{number:06}.wav")
        assert said is not None
        labels.append(said.emotion)
    assert labels == ["surprise", "sad", "neutral"]  # what the table lacks follows the official numbering


def test_copies_of_an_utterance_share_its_key() -> None:
    ravdess, song, tess = (CORPORA[name] for name in ("ravdess", "ravdess-song", "tess"))
    names = (
        "Actor_12/03-01-05-02-02-01-12.wav",
        "03-01-05-02-02-01-12 (1).opus",
        "03-01-05-02-02-01-12_angry - Copy.wav",
        "01-01-05-02-02-01-12.mp4",
        "12_01_02_01_dogs-sitting_angry.wav",
    )
    assert len({_key(ravdess.utterance(Path(name))) for name in names}) == 1
    other = song.utterance(Path("03-02-05-02-02-01-12.wav"))
    assert _key(other) != _key(ravdess.utterance(Path(names[0])))
    assert _key(tess.utterance(Path("OAF_back_sad.wav"))) != _key(tess.utterance(Path("YAF_back_sad.wav")))


def _key(utterance: Utterance | None) -> str:
    assert utterance is not None
    return utterance.key


def test_actors_of_cremad() -> None:
    genders = Counter(
        said.gender
        for number in range(1001, 1092)
        if (said := CORPORA["cremad"].utterance(Path(f"{number}_DFA_ANG_XX")))
    )
    assert genders == {"male": 48, "female": 43}  # as its makers state


@given(st.text(max_size=30), st.lists(st.text(max_size=8), max_size=3))
def test_any_name_is_read_refused_or_passed_over(name: str, folders: list[str]) -> None:
    path = Path(*(part.replace("\0", "") for part in folders), name.replace("\0", "") + ".wav")
    for corpus in CORPORA.values():
        try:
            utterance = corpus.utterance(path)
        except FileNameError:
            continue
        assert utterance is None or utterance.emotion in {*emotions.EMOTIONS, *emotions.BEYOND_SEVEN}


@given(
    channel=st.sampled_from(["01", "02"]),
    emotion=st.integers(1, 8),
    intensity=st.integers(1, 2),
    statement=st.integers(1, 2),
    repetition=st.integers(1, 2),
    actor=st.integers(1, 24),
)
def test_renamed_ravdess_says_what_the_official_name_says(
    channel: str, emotion: int, intensity: int, statement: int, repetition: int, actor: int
) -> None:
    corpus = CORPORA["ravdess" if channel == "01" else "ravdess-song"]
    official = f"03-{channel}-{emotion:02}-{intensity:02}-{statement:02}-{repetition:02}-{actor:02}.wav"
    word = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "ps")[emotion - 1]
    text = ("kids-talking", "dogs-sitting")[statement - 1]
    renamed = f"{actor:02}_{channel}_{intensity:02}_{repetition:02}_{text}_{word}.wav"
    assert corpus.utterance(Path(official)) == corpus.utterance(Path(renamed)) is not None


def test_marks_of_copies() -> None:
    for name in ("a (1).wav", "a - Copy.wav", "a - Copy (2).wav", "a copy.wav", "a copy 3.wav", "a_copy.wav", "a.wav"):
        assert stem(Path(name)) == "a"
