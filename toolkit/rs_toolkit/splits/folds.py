"""Folds for cross-fitting: each photo is judged by a model that was trained on the other folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["deal_folds", "judged_folds"]


def deal_folds(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    folds: int,
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return each photo's fold, (n,): 0 to ``folds`` - 1.

    A group stays in one fold.  The groups of a class, in random order, go to the folds in turn; a
    group of several classes counts as one of its first photo's.

    Parameters
    ----------
    labels, groups
        Class numbers and group numbers of n photos, (n,); groups count from 0 without a gap.
    """
    import numpy as np

    _, first = np.unique(groups, return_index=True)
    order = generator.permutation(len(first))
    order = order[np.argsort(labels[first[order]], kind="stable")]
    dealt = np.empty(len(first), np.int64)
    dealt[order] = np.arange(len(first)) % folds
    return dealt[groups]


def judged_folds(
    labels: NDArray[np.int64], folds: NDArray[np.int64], learned: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the folds with -1 for photos that no fold's model can name, (n,).

    These are photos whose class no other fold can teach: it has none of the ``learned`` photos,
    bool (n,), from which models learn.
    """
    import numpy as np

    taught = np.zeros((int(labels.max(initial=-1)) + 1, int(folds.max(initial=-1)) + 1), np.int64)
    np.add.at(taught, (labels[learned], folds[learned]), 1)
    elsewhere = taught.sum(1)[labels] - taught[labels, folds]
    return np.where(elsewhere > 0, folds, -1)
