"""Which training photos represent the data while activation ranges are measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["class_balanced"]


def class_balanced(labels: ArrayLike, count: int, seed: int = 0) -> NDArray[np.intp]:
    """Choose ``count`` photos so that rare classes count as much as common ones.

    One random photo of each class, then a second of each, and so on; the last round takes a
    random part of the classes.

    Returns
    -------
    Positions in ``labels``, which has shape (n,): each at most once, shape (min(count, n),).
    """
    truth = np.asarray(labels)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(truth))
    turn = np.zeros(len(truth), np.intp)
    for label in np.unique(truth):
        members = order[truth[order] == label]
        turn[members] = np.arange(len(members))
    # A stable sort keeps the random order within each turn.
    return order[np.argsort(turn[order], kind="stable")][:count]
