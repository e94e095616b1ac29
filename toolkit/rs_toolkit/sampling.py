"""Oversampling rules: how often each photo is seen in an epoch.

After Langenkämper, van Kevelaer and Nattkemper 2018 ("Tackling the class imbalance problem of
deep learning-based mobile monitoring"), whose balancing rules set a target per class.  Their
formulas were not at hand; ours is

    target(n) = n ** (1 - b) * n_max ** b

for a class of n photos, the largest class n_max and balance b: 0 keeps the counts, 1/2 is
square-root balancing, 1 makes every class as large as the largest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["class_targets", "epoch_order", "photo_weights"]


def class_targets(counts: NDArray[np.int64], balance: float) -> NDArray[np.int64]:
    """Return how many photos of each class an epoch shows.

    Parameters
    ----------
    counts
        Photos per class, shape (classes,); a class of none keeps a target of none.
    balance
        0 to 1; see the module's equation.
    """
    largest = counts.max(initial=0)
    targets = counts.astype(np.float64) ** (1 - balance) * float(largest) ** balance
    return np.where(counts > 0, np.rint(targets), 0).astype(np.int64)


def photo_weights(labels: NDArray[np.int64], balance: float) -> NDArray[np.float64]:
    """Return target / count of each photo's class: the weight that equals oversampling it."""
    counts = np.bincount(labels)
    targets = class_targets(counts, balance)
    return (targets / np.maximum(counts, 1))[labels]


def epoch_order(
    labels: NDArray[np.int64], balance: float, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return the photo numbers of one epoch, oversampled and shuffled.

    A function of (seed, epoch) alone, so that an interrupted run continues with the same
    photos.  Each class repeats all its photos as often as its target allows and draws the rest
    without replacement: no photo is seen twice more than another of its class.
    """
    generator = np.random.default_rng((seed, epoch))
    counts = np.bincount(labels)
    parts = []
    for number, target in enumerate(class_targets(counts, balance)):
        if target:
            members = np.flatnonzero(labels == number)
            repeats, rest = divmod(int(target), len(members))
            parts += [members] * repeats + [generator.permutation(members)[:rest]]
    return generator.permutation(np.concatenate(parts))
