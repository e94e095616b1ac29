"""Calibration: temperature scaling of logits, and Platt scaling of log odds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rs_toolkit.metrics.binary import check_scores
from rs_toolkit.metrics.classification import check_logits

__all__ = ["fit_platt", "fit_temperature", "group_weights"]

_COLDEST, _HOTTEST = 0.05, 20.0
_PRIOR = 4.0  # S in fit_temperature
# The temperatures that a kit may hold; see rs_runtime.kit.manifest.
_LOW, _HIGH = 1e-3, 1e3
_FLAT = 1e-9  # a derivative below this, relative to the largest score, counts as 0


def fit_temperature(logits: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None) -> float:
    """Fit the temperature T of softmax(logits / T) to the true classes; T is 0.05 to 20.

    T is above 1 if the model is overconfident, and never changes the predicted class.  It is the
    mode of the posterior: with b = 1 / T, the minimum over b of

        sum over groups of the mean of -log softmax(b * logits)[label] + S * (b - 1 - log b).

    The second term is a gamma prior on b with its mode at 1, where it is as narrow as after S
    observations of unit information, S = 4.  A few hundred photos outweigh it.  Without it, photos
    that the model all names right would make T as low as is allowed, and any answer sure.  Both
    terms are convex in b, so there is one minimum.

    Parameters
    ----------
    logits, labels
        Of photos that were not trained on, (n, classes) and (n,); see :func:`check_logits`.
    groups
        Integers (n,), equal for photos of the same group (burst, near-duplicates), which count as
        one photo together; None: each photo counts.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger (2017), On calibration of modern neural networks, section 4.2;
    Gelman, Carlin, Stern, Dunson, Vehtari, Rubin (2013), Bayesian Data Analysis, sections 2.6, 13.1
    (conjugate gamma priors, posterior modes).
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    scores, truth = check_logits("temperature (of validation photos)", logits, labels)
    weights = group_weights(groups, len(truth))

    def loss(log_t: float) -> float:
        slope = float(np.exp(-log_t))
        likely = np.take_along_axis(log_softmax(scores * slope, axis=1), truth[:, None], axis=1)
        return _PRIOR * (slope - 1 + log_t) - float(weights @ likely[:, 0])

    ends = float(np.log(_COLDEST)), float(np.log(_HOTTEST))
    found = minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-10})
    # The search never tries the ends.
    return float(np.exp(min((ends[0], found.x, ends[1]), key=loss)))


def group_weights(groups: ArrayLike | None, photos: int) -> NDArray[np.float64]:
    """Return weights (n,) that sum to 1 in each group; without groups, every weight is 1."""
    if groups is None:
        return np.ones(photos)
    _, places, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return np.asarray(1 / sizes[places])


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
