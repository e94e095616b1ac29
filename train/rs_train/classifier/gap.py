"""Training photos on which overfitting is measured: as many of each class as validation has.

The training loss does not show it: it is that of augmented and oversampled photos, under dropout,
and of a model that changed meanwhile.  Nor does macro-F1 of all training photos, because it depends
on how many photos each class has.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.batches.oversampling import Shares

__all__ = ["comparable_rows"]


def comparable_rows(
    labels: NDArray[np.int64], shares: Shares, val_labels: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Return the numbers of training photos that are compared with the validation photos, sorted.

    Of each class, whole groups are taken in random order, as in a split, until there are as many
    photos as in validation; the last group is cut, and a class may have fewer photos.  Photos of
    weight 0, which training does not show, are left out.

    Parameters
    ----------
    labels, shares
        Class numbers of the n training photos, (n,), with their groups and weights.
    val_labels
        Class numbers of the validation photos, (m,); at most m numbers are returned.
    """
    generator = np.random.default_rng(seed)
    # Photos of a group get the same number, drawn at random; sorted by it they stay together.
    order = generator.permutation(int(shares.groups.max(initial=-1)) + 1)[shares.groups]
    chosen: list[NDArray[np.int64]] = []
    for number, count in zip(*np.unique(val_labels, return_counts=True), strict=True):
        rows = np.flatnonzero((labels == number) & (shares.weights > 0))
        chosen.append(rows[np.argsort(order[rows], kind="stable")][:count])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
