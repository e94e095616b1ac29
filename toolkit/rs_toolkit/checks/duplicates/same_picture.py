"""Whether two photos show the same picture, also after resizing, compression or cropping.

A copy may be smaller, compressed, brighter or darker, or cropped by a few percent, and the subject
may have moved a little (a burst).  Another animal before the same background (a camera trap) is a
different picture, however similar hash and features are.  So 64 x 64 grey pixels are compared:

1. *Align* them (:mod:`rs_toolkit.checks.duplicates.align`).
2. *Compare locally.*  Windows of 12 x 12 pixels are correlated, each at its best shift of at
   most 2 pixels (3 % of the frame).  The worst window counts, so that a new animal is noticed,
   however small it is.  The correlation is the structure term of SSIM (Wang et al. 2004),
   ``(cov + c) / (sd * sd' + c)``; c, a variance of noise, makes windows without structure agree.

The similarity is the lowest of the worst window's correlation, the whole frame's, and that of its
middle without upper and lower edge.  The last two are close to 0 for frames without structure.
Copies with a watermark or the like fail; :mod:`rs_toolkit.checks.duplicates.overlay` finds these.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.align import Frames, aligned, correlation, middle

__all__ = ["THUMBNAIL", "picture_similarity"]

THUMBNAIL = 64
"""Width and height in pixels of the frames that are compared."""

_WINDOW, _STRIDE, _MOTION = 12, 4, 2
_NOISE = 20.0  # grey levels squared


def picture_similarity(
    first: NDArray[np.uint8], second: NDArray[np.uint8], least: float = 0.0
) -> Frames:
    """Return how similar pairs of photos are, as they are or with one mirrored.

    Takes uint8 grey pixels of shape (n, 64, 64), squashed; returns float32 similarities of shape
    (n,), 0 (different) to 1 (the same).  Pairs that cannot reach ``least`` are not compared
    locally: they get an upper bound of their similarity that is below ``least``.
    """
    one, moved, inside = aligned(first, second)
    # Of two dark frames that share a bright bar, only the bar would be compared.
    similarity = np.minimum(
        correlation(one, moved, inside), correlation(one, moved, inside * middle(THUMBNAIL))
    )
    close = np.flatnonzero(similarity >= least)
    worst = _worst_window(one[close], moved[close], inside[close])
    similarity[close] = np.minimum(similarity[close], worst)
    return np.asarray(np.maximum(similarity, 0), np.float32)


def _worst_window(first: Frames, second: Frames, inside: Frames) -> Frames:
    """Return the lowest correlation of any window, (n,), each at its best shift of the second."""
    count, side, _ = first.shape
    starts = np.arange(0, side - _WINDOW + 1, _STRIDE)
    cells = np.arange(side)
    member = (cells >= starts[:, None]) & (cells < starts[:, None] + _WINDOW)
    windows = member.astype(np.float32)

    def total(values: Frames) -> Frames:
        return np.asarray(windows @ values @ windows.T)

    # Centred on zero, because sums of squares in float32 lose precision otherwise.
    a = first - first.mean(axis=(1, 2), keepdims=True)
    b = (second - second.mean(axis=(1, 2), keepdims=True)) * inside
    margin = ((0, 0), (_MOTION, _MOTION), (_MOTION, _MOTION))
    # Windows with more than a tenth outside the aligned frame do not count.
    whole = total(inside) > 0.9 * _WINDOW**2
    b, inside = np.pad(b, margin), np.pad(inside, margin)
    best = np.full((count, len(starts), len(starts)), -1, np.float32)
    for y in range(2 * _MOTION + 1):
        for x in range(2 * _MOTION + 1):
            seen, there = (f[:, y : y + side, x : x + side] for f in (inside, b))
            size = total(seen)
            n, masked = np.maximum(size, 1), a * seen
            mean_a, mean_b = total(masked) / n, total(there) / n
            var_a = np.maximum(total(masked * a) / n - mean_a**2, 0)
            var_b = np.maximum(total(there * there) / n - mean_b**2, 0)
            cov = total(a * there) / n - mean_a * mean_b
            agreed = (cov + _NOISE) / (np.sqrt(var_a * var_b) + _NOISE)
            best = np.maximum(best, np.where(size > _WINDOW**2 / 2, agreed, -1))
    return np.asarray(np.where(whole, best, 1).min(axis=(1, 2)), np.float32)
