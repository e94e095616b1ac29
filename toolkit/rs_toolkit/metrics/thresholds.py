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

__all__ = ["acceptance_threshold", "fit_thresholds"]

Floats = NDArray[np.float64]

_HIGHEST = 0.5
# At most one in so many new organisms may be flagged: of all, and of a class.
_FLAGGED, _FLAGGED_IN_CLASS = 100, 20
# At most one in so many others may pass for an organism, which does less harm.
_PASSED = 50
_LEAST_ACCEPTED = 20
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
    # Rounded first: what is counted is what the rounded threshold accepts.
    rounded = np.floor(np.asarray(confidence, np.float64) * _PLACES) / _PLACES
    for threshold in np.unique(rounded):
        accepted = np.asarray(right, bool)[rounded >= threshold]
        if len(accepted) >= _LEAST_ACCEPTED and accepted.mean() >= precision:
            return float(threshold)
    return None


def _bound(values: Floats, one_in: int) -> float:
    """Return the largest of the values that at most one in so many new ones is below."""
    return float(np.sort(values)[max(0, (len(values) + 1) // one_in - 1)])
