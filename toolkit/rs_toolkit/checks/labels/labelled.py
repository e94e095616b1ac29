"""Arrays about labelled photos: numbers of their groups, features of length 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["group_numbers", "unit_rows"]


def group_numbers(groups: Sequence[str | None] | None, count: int) -> NDArray[np.int64]:
    """Return a number for each of ``count`` photos, equal for photos of one group.

    Parameters
    ----------
    groups : a name a photo; None, for one or for all of them, is a photo alone
    """
    names = [None] * count if groups is None else groups
    known: dict[str, int] = {}
    # Photos without a group get negative numbers, which no group has.
    raw = [
        -1 - row if name is None else known.setdefault(name, len(known))
        for row, name in enumerate(names)
    ]
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def unit_rows(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 rows of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(lengths > 0, lengths, 1), np.float32)
