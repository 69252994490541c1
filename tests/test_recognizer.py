"""From recordings to predictions, in every form that a recording can have."""

from __future__ import annotations

import gc
import io
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from bundles import LoudnessModel, waveform_meta, write_waveform_bundle
from sklearn.tree import DecisionTreeClassifier

import emovox
from emovox import audio
from emovox.audio import Limits, Waveform
from emovox.emotions import EMOTIONS
from emovox.errors import AudioError, BundleError, ParameterError
from emovox.features.classic import CLASSIC_VERSION, classic
from emovox.inference import recognizer as recognizer_module
from emovox.inference.bundle import Bundle, BundleMetadata
from emovox.inference.recognizer import Failure, Prediction, Recognizer
from emovox.models.export import bundle_bytes

RATE = 16_000
Floats = npt.NDArray[np.float32]


def loudness(**options: Any) -> Recognizer:
    changes = {key: options.pop(key) for key in ("max_seconds", "labels") if key in options}
    meta = waveform_meta(**changes)
    return Recognizer(Bundle(bundle_bytes(LoudnessModel(meta.labels), meta)), **options)


def classic_recognizer(**changes: Any) -> Recognizer:
    """A tree that has learned to tell two made-up sounds by their features."""
    generator = np.random.default_rng(0)
    noises = [generator.normal(scale=0.1, size=8_000).astype(np.float32) for _ in range(4)]
    tones = [(0.3 * np.sin(np.arange(8_000) / k)).astype(np.float32) for k in range(2, 6)]
    X = np.stack([classic(sound, RATE) for sound in (*noises, *tones)])
    model = DecisionTreeClassifier(random_state=0).fit(X, ["angry"] * 4 + ["sad"] * 4)
    meta = BundleMetadata(name="tree", labels=("angry", "sad"), input="classic", **changes)
    return Recognizer(Bundle(bundle_bytes(model, meta)))


@pytest.fixture
def recordings(tmp_path: Path, voice: Floats) -> Path:
    """A folder with good recordings, bad ones between them, and a file that is none of our business."""
    folder = tmp_path / "recordings"
    (folder / "deep").mkdir(parents=True)
    for number, gain in enumerate((0.2, 0.5, 1.0)):
        soundfile.write(folder / f"{number}.wav", voice * gain, RATE)
    soundfile.write(folder / "deep" / "stereo.flac", np.stack([voice, voice], axis=1), RATE)
    (folder / "0b.mp3").write_bytes(b"")
    (folder / "1b.wav").write_text("no sound")
    (folder / "notes.txt").write_text("hello")
    return folder


def test_prediction_is_what_the_model_says(tmp_path: Path, voice: Floats) -> None:
    path = tmp_path / "voice.wav"
    soundfile.write(path, voice, RATE, subtype="FLOAT")
    result = loudness().predict(path)
    np.testing.assert_allclose(list(result.probabilities.values()), LoudnessModel().expected(voice), atol=1e-5)
    assert list(result.probabilities) == list(EMOTIONS)
    assert result.emotion == max(result.probabilities, key=lambda label: result.probabilities[label])
    assert result.confidence == max(result.probabilities.values())
    assert result.duration_s == 2.0
    assert result.path == str(path)


def test_all_forms_of_a_recording_give_the_same(tmp_path: Path, voice: Floats) -> None:
    path = tmp_path / "voice.wav"
    soundfile.write(path, voice, RATE, subtype="FLOAT")
    data = path.read_bytes()
    recognizer = loudness()
    wanted = recognizer.predict(path).probabilities
    with path.open("rb") as file:
        assert recognizer.predict(file).probabilities == wanted
    assert recognizer.predict(str(path)).probabilities == wanted
    assert recognizer.predict(data).probabilities == wanted
    assert recognizer.predict(io.BytesIO(data)).probabilities == wanted
    assert recognizer.predict(voice, rate=RATE).probabilities == wanted
    assert recognizer.predict(np.stack([voice, voice], axis=1), rate=RATE).probabilities == wanted
    assert recognizer.predict(Waveform(voice, RATE)).probabilities == wanted
    assert recognizer.predict(data).path is None


def test_other_rates_are_brought_to_the_models(voice: Floats) -> None:
    import soxr

    recognizer = loudness()
    high = soxr.resample(voice, RATE, 44_100)
    wanted = recognizer.predict(voice, rate=RATE)
    result = recognizer.predict(high, rate=44_100)
    np.testing.assert_allclose(list(result.probabilities.values()), list(wanted.probabilities.values()), atol=0.01)
    assert result.duration_s == pytest.approx(2.0, abs=1e-3)


def test_feature_models_get_features_at_the_files_own_rate(tmp_path: Path) -> None:
    recognizer = classic_recognizer()
    tone = (0.3 * np.sin(np.arange(8_000) / 4)).astype(np.float32)
    assert recognizer.predict(tone, rate=RATE).emotion == "sad"
    assert recognizer.predict(np.random.default_rng(9).normal(scale=0.1, size=8_000), rate=RATE).emotion == "angry"
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone, 22_050, subtype="FLOAT")
    wanted = recognizer.bundle.run(classic(tone, 22_050)[None])[0]
    assert list(recognizer.predict(path).probabilities.values()) == wanted.tolist()


def test_features_of_another_version_are_refused() -> None:
    assert classic_recognizer(feature_version=str(CLASSIC_VERSION)).meta.input == "classic"
    with pytest.raises(BundleError) as caught:
        classic_recognizer(feature_version="0 of long ago")
    assert caught.value.code == "other_features"


def test_long_recordings_are_cut_in_equal_parts_and_averaged(voice: Floats) -> None:
    long = np.concatenate([voice, voice * 0.1, voice[:16_000]])
    parts = np.array_split(long, 3)
    wanted = np.average([LoudnessModel().expected(part) for part in parts], axis=0, weights=[len(p) for p in parts])
    result = loudness(max_seconds=2.0).predict(long, rate=RATE)
    np.testing.assert_allclose(list(result.probabilities.values()), wanted, atol=1e-5)
    assert result.duration_s == 5.0


def test_feature_models_never_see_hours_at_once(voice: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognizer_module, "LONGEST_FEATURES_S", 1.5)
    seen: list[int] = []
    recognizer = classic_recognizer()
    compute = recognizer._features
    assert compute is not None
    monkeypatch.setattr(
        recognizer, "_features", lambda samples, rate: (seen.append(len(samples)), compute(samples, rate))[1]
    )
    recognizer.predict(voice, rate=RATE)
    assert seen == [16_000, 16_000]


def test_unsure_predictions_have_no_emotion(voice: Floats) -> None:
    sure = loudness().predict(voice, rate=RATE)
    unsure = loudness(min_confidence=min(1.0, sure.confidence + 0.01)).predict(voice, rate=RATE)
    assert unsure.emotion is None
    assert unsure.to_dict()["emotion"] is None
    assert unsure.probabilities == sure.probabilities
    assert loudness(min_confidence=sure.confidence).predict(voice, rate=RATE).emotion == sure.emotion


def test_wrong_use_is_told(voice: Floats, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="rate"):
        loudness().predict(voice)
    with pytest.raises(ParameterError, match="rate"):
        loudness().predict(tmp_path / "a.wav", rate=8_000)
    with pytest.raises(ParameterError, match="min_confidence"):
        loudness(min_confidence=1.5)
    with pytest.raises(ParameterError, match="jobs"):
        list(loudness().predict_many([], jobs=0))
    with pytest.raises(AudioError) as caught:
        loudness().predict(tmp_path)
    assert caught.value.code == "is_directory"
    with pytest.raises(AudioError) as caught:
        loudness().predict(np.zeros(16_000, np.float32), rate=RATE)
    assert caught.value.code == "silent"


def test_bad_files_of_a_folder_are_reported_and_the_others_done(recordings: Path) -> None:
    results = list(loudness().predict_many([recordings, recordings / "missing.wav"]))
    names = [(Path(result.path or "").name, type(result).__name__) for result in results]
    assert names == [
        ("0.wav", "Prediction"),
        ("0b.mp3", "Failure"),
        ("1.wav", "Prediction"),
        ("1b.wav", "Failure"),
        ("2.wav", "Prediction"),
        ("stereo.flac", "Prediction"),
        ("missing.wav", "Failure"),
    ]
    failures = [result for result in results if isinstance(result, Failure)]
    assert [failure.error.code for failure in failures] == ["empty", "not_audio", "not_found"]
    assert failures[0].to_dict().keys() == {"path", "error"}
    assert failures[0].to_dict()["error"].keys() == {"code", "message"}


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_many_give_what_each_gives_alone_in_order(recordings: Path, jobs: int) -> None:
    recognizer = loudness()
    paths = [recordings / f"{number}.wav" for number in (2, 0, 1, 0, 2)]
    assert list(recognizer.predict_many(paths, jobs=jobs)) == [recognizer.predict(path) for path in paths]


def test_a_folder_may_be_named_alone_and_an_empty_one_fails(recordings: Path, tmp_path: Path) -> None:
    assert len(list(loudness().predict_many(recordings))) == 6
    empty = tmp_path / "empty"
    empty.mkdir()
    (result,) = loudness().predict_many(str(empty))
    assert isinstance(result, Failure)
    assert (result.path, result.error.code) == (str(empty), "no_recordings")
    assert list(loudness().predict_many([])) == []


def test_memory_forms_in_a_batch(voice: Floats, recordings: Path) -> None:
    data = (recordings / "2.wav").read_bytes()
    waveform, file, broken = loudness().predict_many([Waveform(voice, RATE), io.BytesIO(data), b"nothing"])
    assert isinstance(waveform, Prediction)
    assert isinstance(file, Prediction)
    assert isinstance(broken, Failure)
    assert broken.path is None


def test_unexpected_errors_do_not_end_a_batch(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = audio.load

    def fails_sometimes(source: Any, **options: Any) -> Waveform:
        if str(source).endswith("1.wav"):
            raise MemoryError("no room")
        return load(source, **options)

    monkeypatch.setattr(audio, "load", fails_sometimes)
    paths = [recordings / f"{number}.wav" for number in range(3)]
    first, second, third = loudness().predict_many(paths)
    assert isinstance(first, Prediction)
    assert isinstance(third, Prediction)
    assert isinstance(second, Failure)
    assert second.error.code == "unexpected"
    assert "no room" in second.to_dict()["error"]["message"]


def test_what_the_model_cannot_process_is_a_failure(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = loudness()

    def refuse(values: Any) -> Floats:
        raise BundleError("cannot process this input", code="failed")

    monkeypatch.setattr(recognizer.bundle, "run", refuse)
    (result,) = recognizer.predict_many([recordings / "0.wav"])
    assert isinstance(result, Failure)
    assert result.error.code == "failed"
    assert "loudness" in result.error.message


def test_only_a_few_recordings_are_held_at_a_time(voice: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = loudness()
    started = []
    prepare = recognizer._prepare
    monkeypatch.setattr(recognizer, "_prepare", lambda source: (started.append(1), prepare(source))[1])
    results = recognizer.predict_many((Waveform(voice, RATE) for _ in range(50)), jobs=2)
    for taken in range(1, 20):
        next(results)
        time.sleep(0.01)
        assert len(started) <= taken + 2
    results.close()


def test_leaving_early_ends_the_threads(recordings: Path) -> None:
    before = threading.active_count()
    results = loudness().predict_many([recordings / "0.wav"] * 100, jobs=3)
    next(results)
    results.close()
    gc.collect()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_threads_may_share_a_recognizer(voice: Floats) -> None:
    recognizer = loudness()
    wanted = [recognizer.predict(voice * gain, rate=RATE) for gain in (0.1, 0.4, 0.9)]
    found: dict[int, list[Prediction]] = {}

    def work(number: int) -> None:
        found[number] = [recognizer.predict(voice * gain, rate=RATE) for gain in (0.1, 0.4, 0.9)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == wanted for number in range(4))


def test_limits_are_the_callers(voice: Floats) -> None:
    with pytest.raises(AudioError) as caught:
        loudness(limits=Limits(max_duration_s=1.0)).predict(voice, rate=RATE)
    assert caught.value.code == "too_long"


def test_public_surface(tmp_path: Path, voice: Floats) -> None:
    path = write_waveform_bundle(tmp_path / "model.onnx")
    result = emovox.predict(voice, rate=RATE, bundle=path)
    assert isinstance(result, emovox.Prediction)
    assert emovox.Recognizer(path).predict(voice, rate=RATE) == result
    assert emovox.EMOTIONS == EMOTIONS
    assert set(emovox.__all__) <= set(dir(emovox))
    assert all(getattr(emovox, name) is not None for name in emovox.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        emovox.nothing  # noqa: B018


def test_formats_people_have(tmp_path: Path, corpora_dir: Path) -> None:
    """Phones record m4a, browsers webm: the answer is that of the same clip as WAV, up to what the codecs change."""
    import av

    clip = audio.load(corpora_dir / "emodb" / "wav" / "03a01Fa.opus", rate=48_000)
    soundfile.write(tmp_path / "clip.wav", clip.samples, clip.rate)
    soundfile.write(tmp_path / "clip.flac", clip.samples, clip.rate)
    soundfile.write(tmp_path / "clip.mp3", clip.samples, clip.rate)
    soundfile.write(tmp_path / "clip.ogg", clip.samples, clip.rate)
    for name, codec in (("clip.m4a", "aac"), ("clip.mp4", "aac"), ("clip.webm", "libopus")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=clip.rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(clip.samples[None], format="fltp", layout="mono")
            frame.sample_rate = clip.rate
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
    results = {Path(str(result.path)).suffix: result for result in loudness().predict_many(tmp_path)}
    assert len(results) == 7
    wanted = np.array(list(loudness().predict(tmp_path / "clip.wav").probabilities.values()))
    for suffix, result in results.items():
        assert isinstance(result, Prediction), suffix
        np.testing.assert_allclose(list(result.probabilities.values()), wanted, atol=0.02, err_msg=suffix)
