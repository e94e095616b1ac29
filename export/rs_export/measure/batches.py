"""Running a model on many photos, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["batches", "logits_of"]

_BATCH = 16


def batches(photos: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield photos, shape (n, S, S, 3), in order, at most 16 at a time."""
    for start in range(0, len(photos), _BATCH):
        yield photos[start : start + _BATCH]


def logits_of(model: Callable[[Any], Any], photos: NDArray[Any]) -> NDArray[np.float32]:
    """Return float32 logits (n, classes) of n >= 1 photos; ``model`` is called with batches."""
    return np.concatenate([np.asarray(model(part)) for part in batches(photos)]).astype(np.float32)
