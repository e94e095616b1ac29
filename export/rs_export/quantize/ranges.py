"""Calibration: the choice of calibration photos, and the ranges of activations on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["activation_ranges", "class_balanced"]

# Share of a photo's values that a percentile range leaves out at each end.
_TAIL = 1e-4


def class_balanced(labels: ArrayLike, count: int, seed: int = 0) -> NDArray[np.intp]:
    """Choose ``count`` calibration photos so that rare classes count as much as common ones.

    One random photo of each class is chosen, then a second of each, and so on; the last round may
    reach only some classes, at random.  Returns positions in ``labels`` (n,), without repetition,
    shape (min(count, n),).
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


def activation_ranges(
    names: Sequence[str], photos: Iterable[Sequence[NDArray[Any]]], kind: str
) -> dict[str, tuple[float, float]]:
    """Return each activation's range: its lowest and highest value that 8 bits shall represent.

    Parameters
    ----------
    names : names of the activations
    photos : for each photo (or batch, for ``extremes``) the values of each activation, of any
        shape; an iterator saves memory, which cannot hold the activations of all photos
    kind : ``extremes``: from the lowest to the highest value; ``percentile``: the same without each
        photo's outermost 0.01 % of values at either end (none below 10,000 values)
    """
    rows = [[_range(values, kind) for values in photo] for photo in photos]
    found = np.asarray(rows, np.float64)
    lows, highs = found[..., 0].min(axis=0).tolist(), found[..., 1].max(axis=0).tolist()
    return dict(zip(names, zip(lows, highs, strict=True), strict=True))


def _range(values: NDArray[Any], kind: str) -> tuple[float, float]:
    if kind != "percentile":
        return float(values.min()), float(values.max())
    flat = values.ravel()
    left_out = int(_TAIL * flat.size)
    ordered = np.partition(flat, (left_out, flat.size - 1 - left_out))
    return float(ordered[left_out]), float(ordered[-1 - left_out])
