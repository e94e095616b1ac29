"""Thresholds on probabilities, fitted on validation photos: of a classifier, and of a filter.

A filter has two on its probability of an organism:

``not_organism``
    Photos below it are flagged.  The largest value up to 1/2 below which lie at most 1 % of the
    organisms, and at most 5 % of the organisms of any class with 10 photos or more; but no larger
    than it takes to have 99 % of the others below.
``organism``
    The smallest value, not below the other, at or above which 99 % of the photos are organisms;
    but no smaller than it takes to have 99 % of the organisms at or above it, up to 1/2.
    The 99 % hold for photos mixed as the validation photos are.

Between the two, the filter is undecided.  Where it makes no error on validation photos, photos
unlike both kinds fall into this gap: an elephant, to a filter that has seen birds and documents.
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
# At most one in so many organisms may be flagged: of all, and of a class.
_FLAGGED, _FLAGGED_IN_CLASS = 100, 20
# Of the others, at most one in so many need not be flagged.
_MISSED = 100
_PURITY = 0.99
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
    sure = min(_HIGHEST, _bound(probability[truth], _FLAGGED))
    large = (found for found in of_class if len(found) >= ENOUGH)
    bounds = [sure, *(_bound(found, _FLAGGED_IN_CLASS) for found in large)]
    if not truth.all():
        most = -_bound(-probability[~truth], _MISSED)
        bounds.append(float(np.nextafter(most, 1)))
    low = min(bounds)
    higher = np.append(probability[probability > low], low)
    pure = _purest(probability, truth, higher, _PURITY, 1)
    return {"not_organism": low, "organism": 1.0 if pure is None else max(sure, pure)}


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
    return _purest(rounded, np.asarray(right, bool), rounded, precision, _LEAST_ACCEPTED)


def _bound(values: Floats, one_in: int) -> float:
    """Return the largest value below which lies at most one in so many of the values."""
    return float(np.sort(values)[len(values) // one_in])


def _purest(
    scores: Floats, good: NDArray[np.bool_], thresholds: Floats, share: float, least: int
) -> float | None:
    """Return the lowest threshold that ``least`` scores reach, of which this share is good."""
    for threshold in np.unique(thresholds):
        above = good[scores >= threshold]
        if len(above) >= least and above.mean() >= share:
            return float(threshold)
    return None
