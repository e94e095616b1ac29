"""Stage 1 of hybrid transfer learning: the new top on a frozen backbone.

After Ferreira et al. 2018, the top is trained while the backbone stands still.  With a linear
top that is multinomial logistic regression on frozen features, so it is solved to its optimum
instead of by epochs: features are standardized, each photo counts as often as oversampling
would show it, and the L2 strength is the one of best validation macro-F1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.data.remembered import known_arrays, remembered_arrays
from rs_toolkit.metrics.classification import macro_f1
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_runtime.photos.preprocess import Preprocessing
    from rs_toolkit.data.photos import Photo

__all__ = [
    "Head",
    "cached_features",
    "features_folder",
    "fit_head",
    "frozen_features",
    "model_fingerprint",
]

_VIEWS = 2  # as it is, and mirrored
_STRENGTHS = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class Head:
    """A fitted linear top.

    Attributes
    ----------
    kernel, bias
        float32 of shapes (channels, classes) and (classes,); standardization is folded in.
    strength
        Inverse L2 strength C that was chosen.
    val_macro_f1
        Its macro-F1 on the validation photos, 0 to 1.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float
    val_macro_f1: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (n, classes) of features (n, channels)."""
        return features @ self.kernel + self.bias


def model_fingerprint(model: keras.Model) -> str:
    """Return 16 hexadecimal digits that change with any weight of the model."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()[:16]


def frozen_features(
    extractor: keras.Model,
    photos: list[Photo],
    pixels: Callable[[Photo], NDArray[np.uint8]],
    preprocessing: Preprocessing,
    cache_dir: Path,
    progress: Progress,
    batch_size: int = 32,
) -> NDArray[np.float32]:
    """Return features of each photo as it is and mirrored, shape (n, 2, channels).

    Cached by content hash below a folder named by the model's and the preprocessing's
    fingerprints, one small file a photo, so that an interrupted pass goes on where it stopped
    and a second run embeds nothing.
    """

    def embedded(batch: list[Photo]) -> NDArray[np.float32]:
        # Every batch has the same shape, lest a photo's features depend on what else is missing.
        images = np.zeros((batch_size, *extractor.input_shape[1:]), np.float32)
        images[: len(batch)] = preprocessing.model_input(np.stack([pixels(x) for x in batch]))
        views = [extractor.predict_on_batch(x) for x in (images, images[:, :, ::-1])]
        return np.stack(views, 1)[: len(batch)]

    folder = features_folder(extractor, preprocessing, cache_dir)
    shape = (_VIEWS, int(extractor.output_shape[-1]))
    return remembered_arrays(
        photos, folder, shape, embedded, progress, "frozen features", batch_size
    )


def features_folder(extractor: keras.Model, preprocessing: Preprocessing, cache_dir: Path) -> Path:
    """Return where :func:`frozen_features` keeps its files."""
    name = f"{model_fingerprint(extractor)}-{preprocessing.fingerprint()}"
    return cache_dir / "features" / name


def cached_features(photos: list[Photo], folder: Path) -> NDArray[np.float32] | None:
    """Return what :func:`frozen_features` left in a folder, without its model; None unless every
    photo's is there."""
    found = known_arrays(photos, folder)
    return found if found is not None and found.ndim == 3 else None


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    val_features: NDArray[np.float32],
    val_labels: NDArray[np.int64],
    classes: int,
) -> Head:
    """Fit the linear top.

    Parameters
    ----------
    features, labels, weights
        Training photos: (n, channels) features, (n,) class numbers, (n,) weights above 0.
    val_features, val_labels
        Validation photos, which choose the L2 strength and nothing else.
    classes
        Number of classes; those without a training photo get a bias no photo overcomes.
    """
    from sklearn.linear_model import LogisticRegression

    mean = features.mean(0)
    scale = features.std(0) + 1e-6
    standard = (features - mean) / scale
    present = np.unique(labels)
    best: Head | None = None
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
        if best is None or score > best.val_macro_f1:
            best = Head(head.kernel, head.bias, strength, float(score))
    assert best is not None
    return best
