"""The probability that a label is wrong, given a classifier's probabilities for the photo.

The model: a share e of the labels is wrong, and a wrong label is any of the other classes with
equal probability.  A photo that shows class k with probability p(k) then has the label y with
probability

    L(y) = (1 - e) p(y) + e (1 - p(y)) / (K - 1)

for K classes, and by Bayes' rule its label is wrong with probability

    doubt(y) = e (1 - p(y)) / (K - 1) / L(y).

This is the symmetric noise of Natarajan, Dhillon, Ravikumar, Tewari (2013), "Learning with noisy
labels"; e is found by expectation maximization (Dempster, Laird, Rubin 1977).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["fit_share", "label_doubt", "log_likelihood", "own_probability"]

Floats = NDArray[np.float64]

_START, _STEPS, _CLOSE = 0.1, 200, 1e-6


def own_probability(probabilities: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return the probability of each photo's label, (n,), from (n, classes) and labels (n,)."""
    return np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]


def label_doubt(own: Floats, classes: int, share: float) -> Floats:
    """Return the probability that each label is wrong, (n,), 0 to 1.

    ``own`` are the probabilities p(y) of the labels, (n,), above 0; ``classes`` is their number K,
    2 or more; ``share`` is the share e of wrong labels, 0 to 1.
    """
    wrong = share * (1 - own) / (classes - 1)
    return np.asarray(wrong / ((1 - share) * own + wrong))


def fit_share(own: Floats, classes: int) -> float:
    """Return the most likely share e of wrong labels; parameters as in :func:`label_doubt`."""
    share = _START
    for _ in range(_STEPS):
        before, share = share, float(np.mean(label_doubt(own, classes, share)))
        if abs(share - before) < _CLOSE:
            break
    return share


def log_likelihood(own: Floats, classes: int, share: float) -> float:
    """Return the mean of log L(y) over the labels; parameters as in :func:`label_doubt`."""
    return float(np.mean(np.log((1 - share) * own + share * (1 - own) / (classes - 1))))
