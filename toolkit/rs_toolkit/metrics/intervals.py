"""Intervals of scores, by drawing groups of photos anew.

Photos of one group (a burst, near-duplicates) tell nearly the same, so that whole groups are drawn:
the cluster bootstrap.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["Estimate", "macro_f1_draws", "macro_f1_estimate", "share_estimate"]

Floats = NDArray[np.float64]

_ROUNDS = 1000
_TAIL = 0.025
_DEVIATIONS = 1.96  # of a normal distribution, which has 95 % within
_CELLS = 2**23  # most cells of one table of draws in memory


@dataclass(frozen=True)
class Estimate:
    """A score on n photos, and the limits of its 95 % interval; None where there is one group."""

    value: float
    low: float | None
    high: float | None


def share_estimate(hits: ArrayLike, groups: ArrayLike) -> Estimate | None:
    """Return the share of hits, 0 to 1; None if there is no photo.

    The limits are percentiles of the share in 1,000 draws of the groups, with replacement.  Where
    every photo is a hit, or none is, all draws are alike; then the limits are those of Clopper and
    Pearson, with each group as one observation.

    Parameters
    ----------
    hits, groups
        Whether each photo is a hit, and its group, an integer; both (n,).

    References
    ----------
    Davison, Hinkley (1997), Bootstrap methods and their application, section 3.8;
    Clopper, Pearson (1934), The use of confidence or fiducial limits.
    """
    found, place = np.asarray(hits, np.float64), _places(groups)
    if not len(found):
        return None
    value, count = float(found.mean()), int(place.max()) + 1
    if count == 1:
        return Estimate(value, None, None)
    if value in (0.0, 1.0):
        bound = _TAIL ** (1 / count)
        return Estimate(value, bound, 1.0) if value else Estimate(value, 0.0, 1 - bound)
    table = np.stack([np.bincount(place, found), np.bincount(place)], axis=1)
    sums = _drawn(count, 2, lambda weights: weights @ table)
    low, high = np.quantile(sums[:, 0] / sums[:, 1], (_TAIL, 1 - _TAIL))
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def macro_f1_estimate(
    truth: ArrayLike, predicted: ArrayLike, classes: int, groups: ArrayLike
) -> Estimate | None:
    """Return the mean F1 of the classes that have photos, 0 to 1; None if there is no photo.

    The limits are 1.96 standard deviations of the score in 1,000 draws away from the value.  A draw
    repeats photos, and so has fewer different ones of each class: its score lies lower, so that
    percentiles of draws would miss the true score (benchmarks/results/intervals.md).  Where all
    photos are right, or none is, the limits are those of :func:`share_estimate`.

    Parameters
    ----------
    truth, predicted, groups
        Class numbers, 0 to classes - 1, and groups of the photos, integers (n,).

    References
    ----------
    Davison, Hinkley (1997), Bootstrap methods and their application, sections 2.3 and 3.8.
    """
    place = _places(groups)
    if not len(place):
        return None
    right = np.asarray(truth) == np.asarray(predicted)
    if right.all() or not right.any():
        return share_estimate(right, place)
    value, draws = macro_f1_draws(truth, predicted, classes, place)
    if not len(draws):
        return Estimate(value, None, None)
    away = _DEVIATIONS * float(draws.std())
    return Estimate(value, max(0.0, value - away), min(1.0, value + away))


def macro_f1_draws(
    truth: ArrayLike, predicted: ArrayLike, classes: int, groups: ArrayLike
) -> tuple[float, Floats]:
    """Return macro-F1, and that of 1,000 draws of the groups; of none where there is one group.

    A class that a draw has no photo of is left out of its mean.  Parameters are those of
    :func:`macro_f1_estimate`; there must be a photo.
    """
    true, given, place = np.asarray(truth), np.asarray(predicted), _places(groups)
    count = int(place.max()) + 1
    right = true == given
    support, named, hits = (
        _counts(place[kept], numbers[kept], count, classes)
        for numbers, kept in ((true, ...), (given, ...), (true, right))
    )

    def scores(weights: Floats) -> Floats:
        one, two, both = (_product(weights, part) for part in (support, named, hits))
        there = one > 0
        f1 = np.where(there, 2 * both / np.maximum(one + two, 1), 0)
        return np.asarray(f1.sum(axis=1) / there.sum(axis=1))[:, None]

    value = float(scores(np.ones((1, count)))[0, 0])
    return value, np.empty(0) if count == 1 else _drawn(count, classes, scores)[:, 0]


def _places(groups: ArrayLike) -> NDArray[np.int64]:
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)


def _counts(place: Any, numbers: Any, groups: int, classes: int) -> csr_array:
    """Return how often each group has each number, (groups, classes)."""
    from scipy.sparse import coo_array

    ones = np.ones(len(place))
    return coo_array((ones, (place, numbers)), shape=(groups, classes)).tocsr()


def _product(weights: Floats, table: csr_array) -> Floats:
    return np.asarray((table.T @ weights.T).T)


def _drawn(groups: int, width: int, scores: Callable[[Floats], Floats]) -> Floats:
    """Return the scores of every draw; ``scores`` takes how often each group is in each draw."""
    generator = np.random.default_rng(0)
    shares = np.full(groups, 1 / groups)
    step = max(1, _CELLS // max(groups, width))
    return np.concatenate(
        [
            scores(generator.multinomial(groups, shares, min(step, _ROUNDS - start)).astype(float))
            for start in range(0, _ROUNDS, step)
        ]
    )
