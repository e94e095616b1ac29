"""Oversampling rules: how often each photo is seen in an epoch.

After Langenkämper, van Kevelaer and Nattkemper 2018 ("Tackling the class imbalance problem of
deep learning-based mobile monitoring"), whose balancing rules set a target per class.  The
formula is not taken from that paper:

    target(c) = size(c) ** (1 - b) * size_max ** b
    size(c)   = sum of max(w_i for i in g) over the duplicate groups g of class c

Here w_i is the weight of a photo, size_max the size of the largest class, and b the balance: 0
keeps the sizes, 1/2 is square-root balancing, 1 makes every class as large as the largest.  A group
counts as one photo, however many copies it holds.  Without groups and weights, the size of a class
is its number of photos.

An epoch is expected to show a group target(c) * max(w_i) / size(c) times; photo i has the share
w_i / sum(w_j for j in g) of these.  Photos of weight 0 are never shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.data.photos import Photo
from rs_toolkit.errors import DataError

__all__ = ["Shares", "class_sizes", "class_targets", "epoch_order", "photo_weights"]

_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Shares:
    """How much each of n photos counts in training.

    ``groups`` are int64 (n,), 0 or more: photos with the same number are duplicates of each other.
    ``weights`` are float64 (n,), 0 to 1.
    """

    groups: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, photos: Sequence[Photo]) -> Shares:
        """Return the groups and weights of n photos; one without a group gets its own number.

        Raises
        ------
        DataError
            A weight is not from 0 to 1.
        """
        for photo in photos:
            if not 0 <= photo.weight <= 1:
                raise DataError(
                    f"{photo.path}: got weight {photo.weight}, wanted 0 to 1; clean again"
                )
        numbers: dict[str | int, int] = {}
        keys = [row if photo.group is None else photo.group for row, photo in enumerate(photos)]
        groups = [numbers.setdefault(key, len(numbers)) for key in keys]
        return cls(np.array(groups, np.int64), np.array([photo.weight for photo in photos], float))


def class_sizes(labels: NDArray[np.int64], shares: Shares) -> NDArray[np.float64]:
    """Return the size of each class, shape (max(labels) + 1,), by the module's formula.

    ``labels`` are the class numbers of n photos.
    """
    return _units(labels, shares).sizes


def class_targets(
    sizes: NDArray[np.int64] | NDArray[np.float64], balance: float
) -> NDArray[np.int64]:
    """Return how many photos of each class an epoch shows, by the module's formula.

    ``sizes`` has the shape (classes,), ``balance`` is from 0 to 1.  A class of size 0 has the
    target 0; every other class has a target of 1 or more.
    """
    largest = float(sizes.max(initial=0))
    targets = sizes.astype(np.float64) ** (1 - balance) * largest**balance
    return np.where(sizes > 0, np.maximum(1, np.rint(targets)), 0).astype(np.int64)


def photo_weights(labels: NDArray[np.int64], balance: float, shares: Shares) -> NDArray[np.float64]:
    """Return how often an epoch shows each photo on average: sample weights for a linear fit.

    ``labels`` are class numbers, ``balance`` is from 0 to 1.  The result has the shape (n,); it is
    0 for photos of weight 0, and above 0 for all others.
    """
    units = _units(labels, shares)
    sizes = np.where(units.sizes > 0, units.sizes, 1)
    per_size = class_targets(units.sizes, balance) / sizes
    totals = np.bincount(units.of_photo, weights=units.photo_weights)
    parts = units.photo_weights / totals[units.of_photo]
    weights = np.zeros(len(labels))
    weights[units.photos] = (per_size[units.labels] * units.weights)[units.of_photo] * parts
    return weights


def epoch_order(
    labels: NDArray[np.int64], balance: float, seed: int, epoch: int, shares: Shares
) -> NDArray[np.int64]:
    """Return the photo numbers of one epoch, int64, oversampled and shuffled.

    ``labels`` are class numbers (n,), ``balance`` is from 0 to 1.  The order depends only on the
    arguments, so that a resumed run sees the same photos.  Each class meets its target exactly.
    Each group is shown as often as the module's formula expects, rounded down or up at random, so
    equal groups of a class differ by at most one show.  The photos of a group take turns.

    Raises
    ------
    DataError
        No photo has a weight above 0.
    """
    units = _units(labels, shares)
    if not len(units.labels):
        raise DataError(
            f"got {len(labels)} training photos, all of weight 0; raise the weight of some"
        )
    generator = np.random.default_rng((seed, epoch))
    shown: list[NDArray[np.int64]] = []
    for number, target in enumerate(class_targets(units.sizes, balance)):
        if target:
            members = np.flatnonzero(units.labels == number)
            shown += _shows(members, units.weights[members], int(target), generator)
    photos = _take_turns(units, np.concatenate(shown), seed, epoch)
    return generator.permutation(photos)


@dataclass(frozen=True)
class _Units:
    """Units that are shown: the duplicate groups of each class, without photos of weight 0.

    ``labels`` and ``weights`` have the shape (units,), ``sizes`` (classes,).  ``photos`` (their
    numbers), ``photo_weights`` and ``of_photo`` (each photo's unit) have the shape (photos,) and
    are sorted by unit.
    """

    labels: NDArray[np.int64]
    weights: NDArray[np.float64]
    sizes: NDArray[np.float64]
    photos: NDArray[np.int64]
    photo_weights: NDArray[np.float64]
    of_photo: NDArray[np.int64]


def _units(labels: NDArray[np.int64], shares: Shares) -> _Units:
    live = np.flatnonzero(shares.weights > 0)
    names = labels[live] * (shares.groups.max(initial=0) + 1) + shares.groups[live]
    _, first, of_photo = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(of_photo, kind="stable")
    photos, of_photo = live[order], of_photo[order]
    weights = np.zeros(len(first))
    np.maximum.at(weights, of_photo, shares.weights[photos])
    classes = int(labels.max(initial=-1)) + 1
    of_unit = labels[live][first]
    # np.bincount returns integers if there are no photos.
    sizes = np.bincount(of_unit, weights, minlength=classes).astype(np.float64)
    return _Units(of_unit, weights, sizes, photos, shares.weights[photos], of_photo)


def _shows(
    units: NDArray[np.int64],
    weights: NDArray[np.float64],
    target: int,
    generator: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Return ``target`` units in several arrays, each as often as its weight asks, to within 1."""
    expected = target * weights / weights.sum()
    whole = np.floor(expected)
    rest = target - int(whole.sum())
    order = generator.permutation(len(units))
    if np.ptp(weights) == 0:
        # As fair as the general case, and needed to repeat the runs of earlier versions.
        chosen = order[:rest]
    else:
        # Systematic sampling in random order (Madow 1949) keeps probabilities and number exact.
        edges = np.append(0, np.cumsum((expected - whole)[order]))
        # Rounding errors must not change how many units are chosen.
        edges = np.minimum(edges, rest)
        edges[-1] = rest
        chosen = order[np.diff(np.floor(edges + generator.random())) > 0]
    repeated = [units[whole > number] for number in range(int(whole.max(initial=0)))]
    return [*repeated, units[chosen]]


def _take_turns(
    units: _Units, shown: NDArray[np.int64], seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return a photo for each time that a unit is shown, in proportion to the photos' weights.

    A unit that is shown k times is a line of length k; each of its photos is a segment, as long as
    its share of the weights.  The points start, start + 1, … choose photos.  After each epoch the
    start moves by the golden ratio, modulo 1, which covers the line evenly (Kronecker sequence).
    """
    shows = np.bincount(shown, minlength=len(units.labels))
    starts = (np.random.default_rng(seed).random(len(units.labels)) + epoch * _GOLDEN) % 1
    begins = np.searchsorted(units.of_photo, np.arange(len(units.labels)))
    ends = np.append(begins[1:], len(units.photos)) - 1
    sums = np.append(0, np.cumsum(units.photo_weights))
    totals = sums[ends + 1] - sums[begins]
    upper = (sums[1:] - sums[begins][units.of_photo]) * (shows / totals)[units.of_photo]
    upper[ends] = shows
    lower = np.append(0, upper[:-1])
    lower[begins] = 0
    start = starts[units.of_photo]
    counts = (np.ceil(upper - start) - np.ceil(lower - start)).astype(np.int64)
    photos = np.empty(len(shown), np.int64)
    photos[np.argsort(shown, kind="stable")] = np.repeat(units.photos, counts)
    return photos
