from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.progress import Progress
from rs_train.classifier.embed import frozen_features
from rs_train.classifier.linear_probe import fit_head


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
