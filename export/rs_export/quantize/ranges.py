"""Ranges of activations: which values the 256 steps of eight bits are spread over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["activation_ranges"]

# Share of a photo's values that each end of a percentile range leaves out.
_TAIL = 1e-4


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
    lows, highs = found[..., 0].min(axis=0), found[..., 1].max(axis=0)
    return {name: (float(lows[i]), float(highs[i])) for i, name in enumerate(names)}


def _range(values: NDArray[Any], kind: str) -> tuple[float, float]:
    if kind != "percentile":
        return float(values.min()), float(values.max())
    flat = values.ravel()
    left_out = int(_TAIL * flat.size)
    ordered = np.partition(flat, (left_out, flat.size - 1 - left_out))
    return float(ordered[left_out]), float(ordered[-1 - left_out])
