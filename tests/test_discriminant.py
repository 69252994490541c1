"""The discriminant against scikit-learn's, and what it makes of speakers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from emovox.models.discriminant import add_discriminants, fit_discriminant, speaker_offsets


def voices(seed: int, *, offset: float = 4.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six speakers of three emotions, each speaker beside the others by an offset."""
    random = np.random.default_rng(seed)
    classes, speakers = np.tile(np.arange(3), 60), np.repeat(np.arange(6), 30)
    rows = random.normal(size=(180, 8)) + 3 * random.normal(size=(3, 8))[classes]
    return rows + offset * random.normal(size=(6, 8))[speakers], classes, speakers


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_without_speakers_it_is_scikit_learns(seed: int, shrinkage: float) -> None:
    rows, classes, _ = voices(seed)
    found = fit_discriminant(rows, classes, np.ones(len(rows)), shrinkage=shrinkage).logits(rows)
    scaled = StandardScaler().fit_transform(rows)
    # scikit-learn scales columns by the spread within classes before it shrinks: make that 1 beforehand.
    within = np.sqrt(np.mean([scaled[classes == one].var(axis=0) for one in range(3)], axis=0))
    library = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=[1 / 3] * 3).fit(scaled, classes)
    covariance = np.mean([np.cov(scaled[classes == one].T, bias=True) for one in range(3)], axis=0)
    assert np.allclose(np.sqrt(np.diag(covariance)), within)
    level = np.trace(covariance) / len(covariance)
    shrunk = (1 - shrinkage) * covariance + shrinkage * level * np.eye(len(covariance))
    means = np.stack([scaled[classes == one].mean(axis=0) for one in range(3)])
    expected = scaled @ np.linalg.solve(shrunk, means.T) - 0.5 * np.einsum(
        "ij,ji->i", means, np.linalg.solve(shrunk, means.T)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert (library.predict(scaled) == found.argmax(axis=1)).mean() > 0.97


@given(st.integers(0, 10_000))
def test_weights_count_like_copies(seed: int) -> None:
    rows, classes, speakers = voices(seed)
    copies = np.random.default_rng(seed).integers(1, 4, size=len(rows))
    weighted = fit_discriminant(rows, classes, copies.astype(float))
    copied = fit_discriminant(*(np.repeat(item, copies, axis=0) for item in (rows, classes)), np.ones(copies.sum()))
    np.testing.assert_allclose(weighted.logits(rows), copied.logits(rows), rtol=1e-7, atol=1e-7)
    del speakers


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_offsets_are_found_even_where_speakers_have_other_emotions(seed: int) -> None:
    random = np.random.default_rng(seed)
    classes, speakers = np.tile(np.arange(3), 60), np.repeat(np.arange(6), 30)
    kept = (speakers != 2) | (classes != 0)  # one speaker is never angry
    truth = random.normal(size=(6, 5))
    rows = (random.normal(size=(3, 5))[classes] + truth[speakers])[kept]
    found = speaker_offsets(rows, classes[kept], speakers[kept], np.ones(kept.sum()))
    of_each = np.stack([found[speakers[kept] == one][0] for one in range(6)])
    difference = of_each - of_each.mean(axis=0) - (truth - truth.mean(axis=0))
    assert np.abs(difference).max() < 0.05 * np.abs(truth).max()


def test_with_speakers_it_serves_centred_voices_better() -> None:
    rows, classes, speakers = voices(3, offset=6.0)
    unknown, truth, _ = voices(3, offset=0.0)
    plain, knowing = (
        fit_discriminant(rows, classes, np.ones(len(rows)), speakers=given, shrinkage=0.1) for given in (None, speakers)
    )
    centred = unknown - unknown.mean(axis=0)
    right = [(layer.logits(centred + layer.mean).argmax(axis=1) == truth).mean() for layer in (plain, knowing)]
    assert right[1] >= right[0]
    assert right[1] > 0.9


def test_one_speaker_of_one_emotion_does_no_harm() -> None:
    rows, classes, speakers = voices(1)
    alone = np.where(classes == 0, 0, speakers + 1)  # everything angry is said by one who is never anything else
    layer = fit_discriminant(rows, classes, np.ones(len(rows)), speakers=alone)
    assert np.isfinite(layer.logits(rows)).all()


def test_shrunk_wholly_it_compares_distances() -> None:
    rows, classes, _ = voices(5)
    layer = fit_discriminant(rows, classes, np.ones(len(rows)), shrinkage=1.0)
    scaled = StandardScaler().fit_transform(rows)
    means = np.stack([scaled[classes == one].mean(axis=0) for one in range(3)])
    nearest = np.square(scaled[:, None] - means).sum(axis=2).argmin(axis=1)
    assert (layer.logits(rows).argmax(axis=1) == nearest).mean() > 0.99


@given(st.integers(0, 10_000), st.floats(0, 2), st.floats(0, 2))
def test_added_layers_add_their_logits(seed: int, first: float, second: float) -> None:
    rows, classes, speakers = voices(seed)
    parts = (rows[:, :5], rows[:, 5:])
    layers = [fit_discriminant(part, classes, np.ones(len(rows)), speakers=speakers) for part in parts]
    expected = first * layers[0].logits(parts[0]) + second * layers[1].logits(parts[1])
    np.testing.assert_allclose(add_discriminants(layers, (first, second)).logits(rows), expected, rtol=1e-6, atol=1e-8)
