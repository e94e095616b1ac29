"""Stage 1 of hybrid transfer learning: a new linear layer on a frozen backbone.

As in Ferreira et al. 2018, the new layer is trained while the backbone is frozen.  This is
multinomial logistic regression on the backbone's features, so a solver finds the optimum and no
epochs are needed.  Features are standardized, each photo is weighted by how often oversampling
would show it, and the strength of the L2 penalty is chosen by validation macro-F1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.metrics.classification import macro_f1
from rs_train.classifier.logistic import solve_path

__all__ = ["STRENGTHS", "Head", "fit_head", "rows_of_views"]

# scikit-learn's C
STRENGTHS = (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_MISSES = 2  # strengths in a row that are no better than the best
_LEAST_SCALE = 0.1  # of the median scale
_SHARE = 0.99  # of the variance of the photos is kept (decision 0020)
_SMALL = 3_000_000_000  # rows * channels * classes: one thread is then faster on a busy machine
_ABSENT_BIAS = -20.0


@dataclass(frozen=True)
class Head:
    """A fitted linear layer.

    ``kernel`` (channels, classes) and ``bias`` (classes,) are float32 and take features that are
    not standardized.  ``strength`` is the chosen C, the inverse strength of the L2 penalty.
    ``val_macro_f1`` is macro-F1 on the validation photos, 0 to 1.  ``at_edge`` says whether the
    strength is the first or last of several that were to be tried.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float
    val_macro_f1: float
    at_edge: bool

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (n, classes) of features (n, channels)."""
        return features @ self.kernel + self.bias


def rows_of_views(
    features: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]:
    """Return features, labels and weights for :func:`fit_head`, with a row for each view.

    Takes features of n photos, (n, views, channels), with labels and weights (n,); photos of weight
    0 are left out.
    """
    used, views = weights > 0, features.shape[1]
    rows = features[used].reshape(-1, features.shape[-1])
    return rows, np.repeat(labels[used], views), np.repeat(weights[used], views)


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    val_features: NDArray[np.float32],
    val_labels: NDArray[np.int64],
    classes: int,
    strengths: Sequence[float] = STRENGTHS,
    views: int = 1,
) -> Head:
    """Fit the linear layer.

    A class without a training photo gets a kernel of 0 and a bias of -20, so that it is practically
    never predicted.  Of strengths with the same macro-F1, that of the lower validation loss is
    chosen.

    Parameters
    ----------
    features, labels, weights
        Of the n training photos: (n, channels); class numbers (n,); weights (n,) above 0.
    val_features, val_labels
        Of the validation photos, which are used only to choose the L2 penalty.
    classes
        Number of classes.
    strengths
        Inverse strengths of the L2 penalty to choose from, in rising order.
    views
        So many rows in a row are views of one training photo.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if features.size * classes < _SMALL else None, "blas"):
        heads = _heads(features, labels, weights, classes, strengths, views)
        return _best(heads, val_features, val_labels)


def _best(
    heads: Iterator[Head], val_features: NDArray[np.float32], val_labels: NDArray[np.int64]
) -> Head:
    """Return the head with the best score; the search ends after ``_MISSES`` that are no better."""
    best, best_score, misses = None, (-np.inf, -np.inf), 0
    for head in heads:
        score = _score(head.logits(val_features), val_labels)
        if best is None or score > best_score:
            best, best_score, misses = replace(head, val_macro_f1=score[0]), score, 0
        else:
            misses += 1
        if misses == _MISSES:
            break
    assert best is not None
    return best


def _heads(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    classes: int,
    strengths: Sequence[float],
    views: int = 1,
) -> Iterator[Head]:
    """Yield the head of each strength, computed when it is asked for."""
    weights = weights / weights.mean()
    mean = np.average(features, 0, weights).astype(np.float32)
    scale = _scales(features).astype(np.float32)
    standard = features - mean
    standard /= scale
    present, numbers = np.unique(labels, return_inverse=True)
    solutions = solve_path(standard, numbers, weights, strengths, views=views, share=_SHARE)
    for strength, (coefficients, intercept) in zip(strengths, solutions, strict=True):
        edge = len(strengths) > 1 and strength in (strengths[0], strengths[-1])
        kernel = np.zeros((features.shape[1], classes), np.float32)
        bias = np.full(classes, _ABSENT_BIAS, np.float32)
        kernel[:, present] = coefficients / scale[:, None]
        bias[present] = intercept - mean @ kernel[:, present]
        yield Head(kernel, bias, strength, 0.0, edge)


def _scales(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the standard deviations (channels,) of features, raised to a share of their median.

    A feature that hardly varies in training would otherwise be enlarged without limit, and where it
    varies in other photos, it would decide their class.
    """
    spread = features.std(0, dtype=np.float64)
    alive = spread[spread > 0]
    return np.maximum(spread, _LEAST_SCALE * np.median(alive)) if len(alive) else spread + 1


def _score(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Return macro-F1, and the mean log-probability of the true class, which decides ties."""
    from scipy.special import log_softmax

    own = log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return macro_f1(labels, logits.argmax(1), logits.shape[1]), float(own.mean())
