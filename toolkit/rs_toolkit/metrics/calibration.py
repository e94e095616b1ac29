"""Calibration: temperature scaling of logits, and Platt scaling of log odds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rs_toolkit.metrics.binary import check_scores
from rs_toolkit.metrics.classification import check_logits

__all__ = ["fit_platt", "fit_temperature"]

_COLDEST, _HOTTEST = 0.05, 20.0
# The temperatures that a kit may hold; see rs_runtime.kit.manifest.
_LOW, _HIGH = 1e-3, 1e3
_FLAT = 1e-9  # a derivative below this, relative to the largest score, counts as 0


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Fit the temperature T that minimises the negative log-likelihood of softmax(logits / T).

    T is 0.05 to 20, and above 1 if the model is overconfident.  It never changes the predicted
    class.  The negative log-likelihood is convex in 1/T, so it has one minimum.

    Parameters
    ----------
    logits, labels
        Of photos that were not trained on, (n, classes) and (n,); see :func:`check_logits`.

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

    ends = float(np.log(_COLDEST)), float(np.log(_HOTTEST))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-10})
    # The search never tries the ends.  If the loss is the same everywhere, take the lower end.
    return float(np.exp(min((ends[0], found.x, ends[1]), key=loss)))


def fit_platt(odds: ArrayLike, truth: ArrayLike) -> tuple[float, float]:
    """Fit temperature and bias so that ``sigmoid(odds / temperature + bias)`` is the probability.

    Minimises the cross-entropy with Platt's smoothed targets, ``(n1 + 1) / (n1 + 2)`` for the n1
    true photos and ``1 / (n0 + 2)`` for the n0 others, which keep the fit finite if the log odds
    separate both kinds perfectly.  The loss is convex in bias and 1 / temperature, so its
    derivatives have one root.  If the best temperature is out of range, the nearer end is taken:
    the highest temperature, for example, if the log odds say nothing about the truth.

    Parameters
    ----------
    odds, truth
        Log odds, and booleans, of photos that were not trained on, (n,); see :func:`check_scores`.

    Returns
    -------
    temperature, bias
        0.001 to 1000, and any finite number.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines, section 2.2; Lin, Lin, Weng
    (2007), A note on Platt's probabilistic outputs for support vector machines.
    """
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    scores, true = check_scores("Platt scaling", odds, truth)
    ones, zeros = int(true.sum()), int((~true).sum())
    targets = np.where(true, (ones + 1) / (ones + 2), 1 / (zeros + 2))
    unit = float(np.abs(scores).max())
    centre = float(logit(targets.mean()))

    def best_bias(slope: float) -> float:
        def excess(bias: float) -> float:
            return float(np.sum(expit(slope * scores + bias) - targets))

        reach = slope * unit + 1
        return float(brentq(excess, centre - reach, centre + reach))

    def pull(log_slope: float) -> float:
        slope = float(np.exp(log_slope))
        found = float(scores @ (expit(slope * scores + best_bias(slope)) - targets))
        return 0.0 if abs(found) <= _FLAT * unit * len(scores) else found

    ends = float(np.log(1 / _HIGH)), float(np.log(1 / _LOW))
    if pull(ends[0]) >= 0:
        slope = 1 / _HIGH
    elif pull(ends[1]) <= 0:
        slope = 1 / _LOW
    else:
        slope = float(np.exp(brentq(pull, *ends)))
    return 1 / slope, best_bias(slope)
