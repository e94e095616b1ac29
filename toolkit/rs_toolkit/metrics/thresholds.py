"""Two thresholds on a filter's probability of an organism, fitted on validation photos.

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

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.errors import DataError
from rs_toolkit.metrics.binary import ENOUGH

__all__ = ["fit_thresholds"]

_HIGHEST = 0.5
# At most one in so many organisms may be flagged: of all, and of a class.
_FLAGGED, _FLAGGED_IN_CLASS = 100, 20
# Of the others, at most one in so many need not be flagged.
_MISSED = 100
_PURITY = 0.99


def fit_thresholds(
    probability: NDArray[np.float64], truth: NDArray[np.bool_], classes: Sequence[str | None]
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
    of_class: dict[str, list[float]] = defaultdict(list)
    for p, true, name in zip(probability.tolist(), truth, classes, strict=True):
        if true and name is not None:
            of_class[name].append(p)
    sure = min(_HIGHEST, _bound(probability[truth], _FLAGGED))
    large = (np.array(found) for found in of_class.values() if len(found) >= ENOUGH)
    bounds = [sure, *(_bound(found, _FLAGGED_IN_CLASS) for found in large)]
    if not truth.all():
        most = -_bound(-probability[~truth], _MISSED)
        bounds.append(float(np.nextafter(most, 1)))
    low = min(bounds)
    return {"not_organism": low, "organism": max(sure, _purest(probability, truth, low))}


def _bound(values: NDArray[np.float64], one_in: int) -> float:
    """Return the largest value below which lies at most one in so many of the values."""
    return float(np.sort(values)[len(values) // one_in])


def _purest(probability: NDArray[np.float64], truth: NDArray[np.bool_], low: float) -> float:
    """Return the smallest of ``low`` and the probabilities above it that is pure enough, else 1."""
    for value in np.unique(np.append(probability[probability > low], low)):
        above = truth[probability >= value]
        if len(above) and above.mean() >= _PURITY:
            return float(value)
    return 1.0
