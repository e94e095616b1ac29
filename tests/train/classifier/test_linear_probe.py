from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.progress import Progress
from rs_train.classifier import linear_probe
from rs_train.classifier.embed import frozen_features
from rs_train.classifier.linear_probe import STRENGTHS, fit_head


def blobs(classes: int, count: int = 40, seed: int = 0):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(9).normal(0, 3, (classes, 6))
    labels = np.arange(count) % classes
    return (centres[labels] + generator.normal(0, 1, (count, 6))).astype(
        "float32"
    ) * 7 + 100, labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_head_separates_what_is_separable(classes) -> None:
    x, y = blobs(classes)
    val_x, val_y = blobs(classes, seed=1)
    head = fit_head(x, y, np.ones(len(y)), val_x, val_y, classes)
    test_x, test_y = blobs(classes, seed=2)
    assert (head.logits(test_x).argmax(1) == test_y).mean() >= 0.9


@pytest.mark.parametrize("classes", [2, 3])
def test_folded_standardization_gives_scikit_learns_probabilities(classes) -> None:
    from sklearn.linear_model import LogisticRegression

    from rs_toolkit.metrics.classification import softmax

    x, y = blobs(classes)
    head = fit_head(x, y, np.ones(len(y)), x, y, classes)
    standard = (x - x.mean(0)) / (x.std(0) + 1e-6)
    solver = LogisticRegression(C=head.strength, max_iter=300).fit(standard, y)
    assert np.allclose(softmax(head.logits(x)), solver.predict_proba(standard), atol=1e-3)


def test_a_class_without_training_photos_is_never_predicted() -> None:
    x, y = blobs(3)
    head = fit_head(x, y, np.ones(len(y)), x, y, 4)
    assert 3 not in head.logits(x).argmax(1)


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_a_feature_that_is_dead_in_training_decides_nothing_where_it_is_alive(noise) -> None:
    x, y = blobs(3)
    generator = np.random.default_rng(0)
    dead = 5 + noise * generator.normal(0, 1, (len(x), 1))
    val_x, val_y = blobs(3, seed=1)
    alive = generator.normal(5, 3, (len(val_x), 1))
    wide, val_wide = (np.hstack(pair).astype("float32") for pair in ((x, dead), (val_x, alive)))
    head = fit_head(wide, y, np.ones(len(y)), val_wide, val_y, 3)
    assert (head.logits(val_wide).argmax(1) == val_y).mean() >= 0.9
    assert np.abs(head.kernel[6]).max() * 10 < np.abs(head.logits(wide)).max()


def test_features_that_never_vary_give_the_shares_of_the_classes() -> None:
    x, y = np.full((6, 2), 3.0, np.float32), np.array([0, 0, 0, 1, 1, 2])
    head = fit_head(x, y, np.ones(6), x, y, 3)
    assert np.allclose(np.exp(head.logits(x))[0] * 6 / np.exp(head.logits(x))[0].sum(), [3, 2, 1])


def steps(monkeypatch, right: list[int]) -> list[int]:
    """Let the head of each strength be right for so many of ten photos; return those computed."""
    computed = []

    def path(*_, **__):
        for number, count in enumerate(right):
            computed.append(number)
            kernel = np.zeros((10, 2))
            kernel[:count, 1] = 1
            kernel[count:, 0] = 1
            yield kernel, np.array([0, 0.5])

    monkeypatch.setattr(linear_probe, "solve_path", path)
    return computed


@pytest.mark.parametrize(
    ("right", "best", "computed"),
    [
        ([3, 5, 9, 8, 7, 10], 2, 5),
        ([3, 5, 9, 8, 10, 7], 4, 6),
        ([9, 8, 7, 10, 10, 10], 0, 3),
        ([3, 5, 6, 7, 8, 9], 5, 6),
    ],
)
def test_search_ends_when_two_weaker_penalties_are_worse(
    monkeypatch, right, best, computed
) -> None:
    seen = steps(monkeypatch, right)
    x = np.eye(10, dtype=np.float32)
    y = np.arange(10) % 2
    strengths = STRENGTHS[: len(right)]
    head = fit_head(x, y, np.ones(10), x, np.ones(10, np.int64), 2, strengths)
    assert head.strength == STRENGTHS[best]
    assert len(seen) == computed
    assert head.at_edge == (best in (0, 5))


def test_a_small_problem_has_one_thread_and_none_is_taken_from_what_follows() -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def threads() -> set[int]:
        return {row["num_threads"] for row in threadpool_info() if row["user_api"] == "blas"}

    x, y = blobs(3)
    seen = []
    with threadpool_limits(2, "blas"), pytest.MonkeyPatch.context() as patched:
        score = linear_probe._score
        patched.setattr(
            linear_probe, "_score", lambda *given: seen.append(threads()) or score(*given)
        )
        fit_head(x, y, np.ones(len(y)), x, y, 3, STRENGTHS[:1])
        assert seen == [{1}]
        assert threads() == {2}


def test_of_strengths_with_equal_scores_the_lower_validation_loss_decides() -> None:
    x, y = blobs(3)
    head = fit_head(x * 3, y, np.ones(len(y)), x * 3, y, 3)
    assert head.val_macro_f1 == 1
    assert head.strength == STRENGTHS[-1]


def test_features_are_embedded_once(tmp_path, monkeypatch) -> None:
    import keras

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    photos = [
        Photo(path=f"{n}.png", taxon=Taxon(), common_name=None, group=None, sha256=f"{n:064x}")
        for n in range(40)
    ]
    asked = []

    def pixels(self: PhotoCache, photo: Photo, root: Path):
        asked.append(photo.path)
        return np.full((8, 8, 3), int(photo.sha256, 16), np.uint8)

    monkeypatch.setattr(PhotoCache, "pixels", pixels)
    cache = PhotoCache(tmp_path, Preprocessing(size=8))
    first = frozen_features(model, photos[:34], tmp_path, cache, Progress())
    again = frozen_features(model, photos, tmp_path, cache, Progress())
    assert asked == [f"{n}.png" for n in range(40)]
    assert first.shape == (34, 2, 3)
    assert np.array_equal(first, again[:34])
