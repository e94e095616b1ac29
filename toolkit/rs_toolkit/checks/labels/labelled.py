"""Arrays about labelled photos, checked at the door: a row, a label and a group a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["check_labelled", "group_numbers", "unit_rows"]


def check_labelled(
    table: ArrayLike, labels: ArrayLike, classes: int | None = None
) -> tuple[NDArray[Any], NDArray[np.int64], int]:
    """Return the table (n, m), the labels (n,) and the number of classes.

    Parameters
    ----------
    table : array of finite numbers, shape (n, m), n and m 1 or more
    labels : integer array of shape (n,), 0 to classes - 1
    classes : default: the highest label and one

    Raises
    ------
    DataError
        They are anything else.
    """
    values, given = np.asarray(table), np.asarray(labels)
    if values.ndim != 2 or given.shape != values.shape[:1] or not values.size:
        raise DataError(
            f"labelled photos: got a table {values.shape} and labels {given.shape}; "
            "wanted (n, m) and (n,), n and m 1 or more"
        )
    if values.dtype.kind not in "fiu" or given.dtype.kind not in "iu":
        raise DataError(
            f"labelled photos: got a table of {values.dtype} and labels of {given.dtype}; "
            "wanted numbers and class numbers"
        )
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise DataError(f"labelled photos: row {row} is not finite; compute the table anew")
    classes = int(given.max()) + 1 if classes is None else classes
    if given.min() < 0 or given.max() >= classes:
        raise DataError(
            f"labelled photos: got class numbers {given.min()} to {given.max()}, wanted 0 to "
            f"{classes - 1}; do the labels belong to these classes?"
        )
    return values, given.astype(np.int64), classes


def group_numbers(groups: Sequence[str | None] | None, count: int) -> NDArray[np.int64]:
    """Return a number for each of ``count`` photos, equal for photos of one group.

    Parameters
    ----------
    groups : a name a photo; None, for one or for all of them, is a photo alone

    Raises
    ------
    DataError
        There are not as many names as photos.
    """
    names = [None] * count if groups is None else list(groups)
    if len(names) != count:
        raise DataError(f"labelled photos: got {len(names)} groups, wanted one for each of {count}")
    known: dict[str, int] = {}
    # Lone photos get negative numbers first, so that no name can meet them.
    raw = [
        -1 - row if name is None else known.setdefault(str(name), len(known))
        for row, name in enumerate(names)
    ]
    return np.unique(raw, return_inverse=True)[1].astype(np.int64)


def unit_rows(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 rows of length 1; rows of zeros stay."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    return np.asarray(table / np.where(lengths > 0, lengths, 1), np.float32)
