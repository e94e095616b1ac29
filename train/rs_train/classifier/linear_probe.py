"""Stage 1 of hybrid transfer learning: the new top on a frozen backbone.

After Ferreira et al. 2018, the top is trained while the backbone stands still.  With a linear
top that is multinomial logistic regression on frozen features, so it is solved to its optimum
instead of by epochs: features are standardized, each photo counts as often as oversampling
would show it, and the L2 strength is the one of best validation macro-F1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.metrics.classification import macro_f1

__all__ = ["Head", "fit_head"]

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
