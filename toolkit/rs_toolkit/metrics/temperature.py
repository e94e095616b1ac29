"""Temperature scaling, and the probability from which answers are accepted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rs_toolkit.metrics.classification import check_logits

__all__ = ["acceptance_threshold", "fit_temperature"]

_LOW, _HIGH = 0.05, 20.0
_LEAST_ACCEPTED = 20
_PLACES = 10_000


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Fit the temperature T that minimises the negative log-likelihood of softmax(logits / T).

    T is 0.05 to 20, and above 1 where the model was overconfident.  The negative log-likelihood is
    convex in 1/T, hence has one minimum.  The predicted class never changes.  ``logits``, of shape
    (n, classes), and ``labels``, of shape (n,), are those of photos that were not trained on; they
    are checked by :func:`rs_toolkit.metrics.classification.check_logits`.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks, section 4.2.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    scores, truth = check_logits("temperature (of validation photos)", logits, labels)

    def loss(log_t: float) -> float:
        likely = log_softmax(scores / np.exp(log_t), axis=1)
        return -float(np.take_along_axis(likely, truth[:, None], axis=1).mean())

    ends = float(np.log(_LOW)), float(np.log(_HIGH))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-10})
    # The search never reaches the ends; where the loss is flat, the lower end is as good.
    return float(np.exp(min((ends[0], found.x, ends[1]), key=loss)))


def acceptance_threshold(confidence: ArrayLike, right: ArrayLike, precision: float) -> float | None:
    """Return the least confidence from which answers are right often enough; None if none is.

    Of the thresholds that accept at least 20 of the photos given, it is the lowest one with the
    asked precision on them, rounded down to 4 decimals.  It is an estimate and no guarantee: the
    bound of the reference would refuse most answers after the few hundred photos that there are.

    Parameters
    ----------
    confidence, right
        Probability of each photo's answer, (n,), 0 to 1, and whether it was right, bool (n,).
    precision
        Share of the accepted answers that must be right, above 0, at most 1.

    References
    ----------
    Geifman, El-Yaniv (2017), Selective classification for deep neural networks, section 3.
    """
    scores, good = np.asarray(confidence, np.float64), np.asarray(right, bool)
    # Rounded first: what is counted is what the rounded threshold accepts.
    rounded = np.floor(scores * _PLACES) / _PLACES
    for threshold in np.unique(rounded):
        accepted = good[rounded >= threshold]
        if len(accepted) >= _LEAST_ACCEPTED and accepted.mean() >= precision:
            return float(threshold)
    return None
