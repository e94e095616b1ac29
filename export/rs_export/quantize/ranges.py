"""Ranges of activations, over which the 256 steps of eight bits are spread, and their photos."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["activation_ranges", "class_balanced"]

# Share of a photo's values that each end of a percentile range leaves out.
_TAIL = 1e-4


def class_balanced(labels: ArrayLike, count: int, seed: int = 0) -> NDArray[np.intp]:
    """Choose ``count`` calibration photos so that rare classes count as much as common ones.

    One random photo of each class, then a second of each, and so on; the last round takes a
    random part of the classes.  Returns their positions in ``labels``, which has shape (n,), each
    at most once: shape (min(count, n),).
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
    """Return the lowest and highest value to represent of every activation.

    Parameters
    ----------
    names : of the activations
    photos : for each photo (or batch, for ``extremes``) the values of each activation, of any
        shape; read one at a time, because all activations of all photos do not fit into memory
    kind : ``extremes``: all values; ``percentile``: all but each photo's outermost 0.01 % at either
        end, which is nothing where an activation has fewer than 10,000 values
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
