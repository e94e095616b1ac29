"""Temperature scaling, and the probability from which answers are accepted."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rs_toolkit.errors import DataError

__all__ = ["acceptance_threshold", "fit_temperature"]

_LOW, _HIGH = 0.05, 20.0
_LEAST_ACCEPTED = 20
_PLACES = 10_000


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Fit the temperature T that minimises the negative log-likelihood of softmax(logits / T).

    The negative log-likelihood is convex in 1/T, hence has one minimum within 0.05 to 20.  The
    predicted class never changes.

    Parameters
    ----------
    logits : array of shape (n, classes)
        Outputs on photos that were not trained on (the validation photos).
    labels : integer array of shape (n,), 0 to classes - 1

    Returns
    -------
    float
        Temperature, 0.05 to 20; above 1 where the model was overconfident.

    Raises
    ------
    DataError
        No photos, shapes that do not fit, or logits that are not finite.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks, section 4.2.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    scores, truth = np.asarray(logits, np.float64), np.asarray(labels)
    if scores.ndim != 2 or not len(scores) or truth.shape != scores.shape[:1]:
        raise DataError(
            f"temperature: got logits {scores.shape} and labels {truth.shape}; wanted (n, classes) "
            "and (n,) with n >= 1; are there validation photos?"
        )
    if not np.isfinite(scores).all():
        raise DataError("temperature: some logits are not finite; the model is broken")

    def loss(log_t: float) -> float:
        likely = log_softmax(scores / np.exp(log_t), axis=1)
        return -float(np.take_along_axis(likely, truth[:, None], axis=1).mean())

    ends = float(np.log(_LOW)), float(np.log(_HIGH))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-10})
    # The search never reaches the ends; where the loss is flat, the lower end is as good.
    return float(np.exp(min((ends[0], found.x, ends[1]), key=loss)))


def acceptance_threshold(confidence: ArrayLike, right: ArrayLike, precision: float) -> float | None:
    """Return the lowest probability above which answers are right often enough.

    Of the thresholds that accept at least 20 of the photos given, it is the lowest one with the
    asked precision on them.  It is an estimate and no guarantee: the bound of the reference would
    refuse most answers after the few hundred photos that there are.

    Parameters
    ----------
    confidence : array of shape (n,), 0 to 1; the probability of each photo's answer
    right : boolean array of shape (n,), whether that answer was right
    precision : share of the accepted answers that must be right, above 0, at most 1

    Returns
    -------
    float or None
        Rounded down to 4 decimals; answers with this confidence or more are accepted.  None if no
        threshold is good enough.

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
