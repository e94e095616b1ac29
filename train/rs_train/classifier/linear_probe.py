"""Stage 1 of hybrid transfer learning: a new linear layer on a frozen backbone.

As in Ferreira et al. 2018, the new layer is trained while the backbone is frozen.  This is
multinomial logistic regression on the backbone's features, so a solver finds the optimum and no
epochs are needed.  Features are standardized, each photo is weighted by how often oversampling
would show it, and the strength of the L2 penalty is chosen by validation macro-F1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.metrics.classification import macro_f1

__all__ = ["STRENGTHS", "Head", "fit_head"]

STRENGTHS = (0.001, 0.01, 0.1)  # scikit-learn's C


@dataclass(frozen=True)
class Head:
    """A fitted linear layer.

    ``kernel`` (channels, classes) and ``bias`` (classes,) are float32 and take features that are
    not standardized.  ``strength`` is the chosen C, the inverse strength of the L2 penalty.
    ``val_macro_f1`` is macro-F1 on the validation photos, 0 to 1.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float
    val_macro_f1: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (n, classes) of features (n, channels)."""
        return features @ self.kernel + self.bias


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    val_features: NDArray[np.float32],
    val_labels: NDArray[np.int64],
    classes: int,
    strengths: Sequence[float] = STRENGTHS,
) -> Head:
    """Fit the linear layer.

    A class without a training photo gets a kernel of 0 and a bias of -20, so that it is practically
    never predicted.

    Parameters
    ----------
    features, labels, weights
        Of the n training photos: (n, channels); class numbers (n,); weights (n,) above 0.
    val_features, val_labels
        Of the validation photos, which are used only to choose the L2 penalty.
    classes
        Number of classes.
    strengths
        Inverse strengths of the L2 penalty to choose from.
    """
    from sklearn.linear_model import LogisticRegression

    mean = features.mean(0)
    scale = features.std(0) + 1e-6
    standard = (features - mean) / scale
    present = np.unique(labels)
    heads = []
    for strength in strengths:
        solver = LogisticRegression(C=strength, max_iter=300)
        solver.fit(standard, labels, sample_weight=weights / weights.mean())
        coefficients, intercept = solver.coef_, solver.intercept_
        if len(present) == 2:
            # For two classes scikit-learn gives one row of coefficients: half goes to each class.
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
