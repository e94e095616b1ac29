"""Fit how strange a photo is to a model: which share of validation photos is less strange."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rs_runtime.kit.sets import UnknownSpec
from rs_runtime.sets import unknown_score
from rs_toolkit.metrics.calibration import group_weights

__all__ = ["SCORE", "fit_unknown"]

SCORE = "max_logit"
_STEPS = 100


def fit_unknown(
    logits: ArrayLike, temperature: float, groups: ArrayLike | None = None
) -> UnknownSpec:
    """Fit the quantiles of the validation photos' scores, each group counting as one photo.

    Their labels are not needed: all show classes that the model knows.

    Parameters
    ----------
    logits, temperature
        (n, classes), n >= 1, of photos that were not trained on, and the fitted temperature.
    groups
        Integers (n,), equal for photos of the same group; None: each photo counts.
    """
    scores = unknown_score(np.asarray(logits), temperature, SCORE)
    weights = group_weights(groups, len(scores))
    values, places = np.unique(scores, return_inverse=True)
    shares = np.bincount(places, weights) / weights.sum()
    # A score's rank is the middle of its step: the lowest of 100 scores is the quantile 0.005.
    ranks = np.cumsum(shares) - shares / 2
    steps = np.linspace(0, 1, _STEPS + 1)
    return UnknownSpec(SCORE, tuple(np.interp(steps, ranks, values).tolist()))
