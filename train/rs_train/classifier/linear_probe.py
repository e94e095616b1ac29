"""Stage 1 of hybrid transfer learning: the new top on a frozen backbone.

After Ferreira et al. 2018, the top is trained while the backbone stands still.  With a linear
top that is multinomial logistic regression on frozen features, so it is solved to its optimum
instead of by epochs: features are standardized, each photo counts as often as oversampling
would show it, and the L2 strength is the one of best validation macro-F1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.data.remembered import remembered_arrays
from rs_toolkit.metrics.classification import macro_f1
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo, PhotoCache

__all__ = ["Head", "features_folder", "fit_head", "frozen_features"]

_BATCH = 32
_VIEWS = 2  # as it is, and mirrored
_STRENGTHS = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Head:
    """A fitted linear top; ``strength`` is the inverse L2 strength C that was chosen.

    ``kernel`` (channels, classes) and ``bias`` (classes,) are float32, with the standardization
    folded in.  ``val_macro_f1`` is that of the validation photos, 0 to 1.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float
    val_macro_f1: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (n, classes) of features (n, channels)."""
        return features @ self.kernel + self.bias


def frozen_features(
    extractor: keras.Model,
    photos: list[Photo],
    root: Path,
    cache: PhotoCache,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return features of each photo as it is and mirrored, shape (n, 2, channels).

    Kept in :func:`features_folder`, one small file a photo, so that an interrupted pass goes on
    where it stopped and a second run embeds nothing.  ``root`` is the folder that the photos'
    paths start from.
    """

    def embedded(batch: list[Photo]) -> NDArray[np.float32]:
        # Always a full batch: a smaller one may be rounded differently.
        images = np.zeros((_BATCH, *extractor.input_shape[1:]), np.float32)
        pixels = cache.stacked(batch, lambda _: root)
        images[: len(batch)] = cache.preprocessing.model_input(pixels)
        views = [extractor.predict_on_batch(x) for x in (images, images[:, :, ::-1])]
        return np.stack(views, 1)[: len(batch)]

    folder = features_folder(extractor, cache)
    shape = (_VIEWS, int(extractor.output_shape[-1]))
    return remembered_arrays(photos, folder, shape, embedded, progress, "frozen features", _BATCH)


def features_folder(extractor: keras.Model, cache: PhotoCache) -> Path:
    """Return where features are kept: its name changes with any weight or with the pixels."""
    digest = hashlib.sha256()
    for weight in extractor.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    name = f"{digest.hexdigest()[:16]}-{cache.preprocessing.fingerprint()}"
    return cache.directory / "features" / name


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    val_features: NDArray[np.float32],
    val_labels: NDArray[np.int64],
    classes: int,
) -> Head:
    """Fit the linear top.

    Of the training photos it takes features (n, channels), class numbers (n,) and weights (n,)
    above 0.  The validation photos choose the L2 strength and nothing else.  A class without a
    training photo gets a bias that no photo overcomes.
    """
    from sklearn.linear_model import LogisticRegression

    mean = features.mean(0)
    scale = features.std(0) + 1e-6
    standard = (features - mean) / scale
    present = np.unique(labels)
    heads = []
    for strength in _STRENGTHS:
        solver = LogisticRegression(C=strength, max_iter=300)
        solver.fit(standard, labels, sample_weight=weights / weights.mean())
        coefficients, intercept = solver.coef_, solver.intercept_
        if len(present) == 2:
            # scikit-learn solves two classes with one row; split it evenly between them.
            coefficients = np.concatenate([-coefficients, coefficients]) / 2
            intercept = np.concatenate([-intercept, intercept]) / 2
        kernel = np.zeros((features.shape[1], classes))
        bias = np.full(classes, -20.0)
        kernel[:, present] = (coefficients / scale).T
        bias[present] = intercept - (coefficients / scale) @ mean
        head = Head(kernel.astype(np.float32), bias.astype(np.float32), strength, 0.0)
        score = macro_f1(val_labels, head.logits(val_features).argmax(1), classes)
        heads.append(replace(head, val_macro_f1=float(score)))
    return max(heads, key=lambda head: head.val_macro_f1)
