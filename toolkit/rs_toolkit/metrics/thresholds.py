"""Thresholds on probabilities, fitted on validation photos: of a classifier, and of a filter.

A filter has two on its probability of an organism:

``not_organism``
    Photos below it are flagged: at most 1 % of the organisms, and at most 5 % of the organisms of
    any class with 10 photos or more.  It is at most 1/2, and no larger than it takes to have 98 %
    of the others below.
``organism``
    At most 2 % of the others reach it.  It is at least as large as the value, up to 1/2, that 99 %
    of the organisms reach.

Between the two, the filter is undecided.  Where it makes no error on validation photos, photos
unlike both kinds fall into this gap: an elephant, to a filter that has seen birds and documents.

The limits hold for new photos on average, if they are like the validation photos: one in n + 1 is
below the smallest of n (split conformal prediction: Vovk, Gammerman, Shafer 2005, "Algorithmic
Learning in a Random World"; from fewer than 99 organisms, 1 % cannot be promised).  They are shares
of one kind of photo, so it does not matter how many frames of a camera are empty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rs_toolkit.errors import DataError
from rs_toolkit.metrics.binary import ENOUGH
from rs_toolkit.metrics.calibration import group_weights

__all__ = ["acceptance_threshold", "fit_thresholds", "right_share_limits"]

Floats = NDArray[np.float64]

_HIGHEST = 0.5
# At most one in so many new organisms may be flagged: of all, and of a class.
_FLAGGED, _FLAGGED_IN_CLASS = 100, 20
# At most one in so many others may pass for an organism, which does less harm.
_PASSED = 50
# How often the limit that a threshold is fitted by may be too high, and either limit of an interval
# wrong.
_DOUBT, _DOUBT_OF_LIMITS = 0.1, 0.025
_PLACES = 10_000


def fit_thresholds(
    probability: Floats, truth: NDArray[np.bool_], classes: Sequence[str | None]
) -> dict[str, float]:
    """Return the thresholds ``not_organism`` and ``organism``; see the module.

    ``probability`` is the calibrated one of an organism, 0 to 1, (n,), of validation photos, and
    ``truth`` whether they show one; ``classes`` are None for photos in no protected class.

    Raises
    ------
    DataError
        There is no organism.
    """
    if not truth.any():
        raise DataError(
            f"thresholds: none of {len(truth)} validation photos shows an organism; add some"
        )
    names = np.array(classes, object)
    of_class = [probability[truth & (names == name)] for name in set(classes) - {None}]
    large = (found for found in of_class if len(found) >= ENOUGH)
    sure = min(_HIGHEST, _bound(probability[truth], _FLAGGED))
    # Just above all but 2 % of the others.
    clear = sure if truth.all() else np.nextafter(-_bound(-probability[~truth], _PASSED), 1)
    low = min(sure, clear, *(_bound(found, _FLAGGED_IN_CLASS) for found in large))
    return {"not_organism": float(low), "organism": float(max(sure, clear))}


def acceptance_threshold(
    confidence: ArrayLike, right: ArrayLike, precision: float, groups: ArrayLike | None = None
) -> float | None:
    """Return the least confidence from which answers are right often enough; None if none is.

    It is the lowest threshold, rounded down to 4 decimals, for which the accepted photos give two
    independent reasons to expect at least ``precision``:

    - the share of right answers is at least ``precision`` with a confidence of 90 %: the lower
      limit of Clopper and Pearson.  For a precision of 0.9 it takes at least 22 answers without a
      wrong one, 38 with one wrong, 52 with two;
    - the mean confidence, a calibrated probability, is at least ``precision`` too.  This keeps the
      search over many thresholds from finding one that holds by luck.

    Each group of photos counts as one observation: the mean of its accepted photos.

    Parameters
    ----------
    confidence, right
        Probability of each photo's answer, (n,), 0 to 1, and whether it was right, bool (n,).
    precision
        Share of the accepted answers that must be right, above 0, at most 1; nothing shows that
        all are right, so that for 1 the result is None.
    groups
        Integers (n,), equal for photos of the same group; None: each photo is its own group.

    References
    ----------
    Geifman, El-Yaniv (2017), Selective classification for deep neural networks, section 3;
    Clopper, Pearson (1934), The use of confidence or fiducial limits.
    """
    # Rounded first: what is counted is what the rounded threshold accepts.
    rounded = np.floor(np.asarray(confidence, np.float64) * _PLACES) / _PLACES
    order = np.argsort(-rounded, kind="stable")
    names = np.arange(len(order)) if groups is None else np.asarray(groups)
    hits, total, sure = (
        _group_sums(np.asarray(values, np.float64)[order], names[order])
        for values in (right, np.ones(len(order)), rounded)
    )
    enough = (_lower_limit(hits, total, _DOUBT) >= precision) & (sure >= precision * total)
    # Photos of equal confidence are accepted together.
    enough[:-1] &= np.diff(rounded[order]) < 0
    return float(rounded[order][enough].min()) if enough.any() else None


def right_share_limits(right: ArrayLike, groups: ArrayLike | None = None) -> tuple[float, float]:
    """Return limits between which the share of right answers is with a confidence of 95 %, 0 to 1.

    They are those of Clopper and Pearson, with each group of photos as one observation, the share
    of its answers that are right.  Parameters as for :func:`acceptance_threshold`; n may be 0.
    """
    hits = np.asarray(right, np.float64)
    weights = group_weights(groups, len(hits))
    total, good = np.array([weights.sum()]), np.array([weights @ hits])
    low = _lower_limit(good, total, _DOUBT_OF_LIMITS)
    return float(low[0]), float(1 - _lower_limit(total - good, total, _DOUBT_OF_LIMITS)[0])


def _lower_limit(hits: Floats, total: Floats, doubt: float) -> Floats:
    """Return the lower limit of a share of which ``hits`` of ``total`` were observed."""
    from scipy.stats import beta

    # Of no hits it is 0; the beta quantile is not defined there.
    return np.where(hits > 0, beta.ppf(doubt, np.maximum(hits, 1e-9), total - hits + 1), 0.0)


def _group_sums(values: Floats, groups: NDArray[np.int64]) -> Floats:
    """Return, for the first 1, 2, … n photos, the sum over groups of the mean of their values."""
    by_group = np.argsort(groups, kind="stable")
    first = np.diff(groups[by_group], prepend=-1) != 0
    first[:1] = True
    starts = np.flatnonzero(first)
    start = starts[np.cumsum(first) - 1] if len(starts) else starts
    sums = np.cumsum(values[by_group])
    before = (sums - values[by_group])[start]
    means = (sums - before) / (np.arange(len(values)) - start + 1)
    steps = np.empty(len(values))
    steps[by_group] = np.where(first, means, np.diff(means, prepend=0.0))
    return np.cumsum(steps)


def _bound(values: Floats, one_in: int) -> float:
    """Return the largest of the values that at most one in so many new ones is below."""
    return float(np.sort(values)[max(0, (len(values) + 1) // one_in - 1)])
