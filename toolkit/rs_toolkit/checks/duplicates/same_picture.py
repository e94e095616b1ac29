"""Whether two photos show the same picture, also after resizing, compression or cropping.

A copy may be smaller, compressed, brighter or darker, or cropped by a few percent, and the subject
may have moved a little (a burst).  Another animal before the same background (a camera trap) is a
different picture, however similar hash and features are.  So 64 x 64 grey pixels are compared:

1. *Align.*  Find the scale, shift, gain and offset that map one photo onto the other best, by
   Gauss-Newton least squares (Lucas and Kanade 1981, with the gain of Evangelidis, Psarakis 2008).
2. *Compare locally.*  Windows of 12 x 12 pixels are correlated, each at its best shift of at
   most 2 pixels (3 % of the frame).  The worst window counts, so that a new animal is noticed,
   however small it is.  The correlation is the structure term of SSIM (Wang et al. 2004),
   ``(cov + c) / (sd * sd' + c)``; c, a variance of noise, makes windows without structure agree.

The similarity is the lower of the worst window's correlation and the whole frame's, which is close
to 0 for frames without structure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.hashes import greys

__all__ = ["THUMBNAIL", "picture_similarity"]

Frames = NDArray[np.float32]

THUMBNAIL = 64
"""Width and height in pixels of the frames that are compared."""

_COARSE = 32
_STEPS = 8
_SCALES, _SHIFTS, _STEP = (0.75, 1.33), (-0.25, 0.25), 0.1
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
    one, other = first.astype(np.float32), second.astype(np.float32)
    small, small_other = greys(first, _COARSE), greys(second, _COARSE)
    mirrored = _correlation(small, small_other[:, :, ::-1]) > _correlation(small, small_other)
    other[mirrored] = other[mirrored, :, ::-1]
    small_other[mirrored] = small_other[mirrored, :, ::-1]
    place = _align(small, small_other)
    # Of two crops, the closer one is shrunk: enlarging the other would blur it.
    wider = place[:, 0] * place[:, 2] < 1
    one[wider], other[wider] = other[wider], one[wider]
    place[wider, 1::2] /= -place[wider, ::2]
    place[wider, ::2] = 1 / place[wider, ::2]
    moved, inside = _warp(other, place)
    similarity = _correlation(one, moved, inside)
    close = np.flatnonzero(similarity >= least)
    worst = _worst_window(one[close], moved[close], inside[close])
    similarity[close] = np.minimum(similarity[close], worst)
    return np.asarray(np.maximum(similarity, 0), np.float32)


def _correlation(first: Frames, second: Frames, inside: Frames | None = None) -> Frames:
    """Return the correlation of whole frames, (n,), which is lower where there is no structure."""
    mask = np.ones_like(first) if inside is None else inside
    total = np.maximum(mask.sum(axis=(1, 2)), 1)

    def mean(values: Frames) -> Frames:
        return np.asarray((mask * values).sum(axis=(1, 2)) / total, np.float32)

    a = first - mean(first)[:, None, None]
    b = second - mean(second)[:, None, None]
    return np.asarray(mean(a * b) / (np.sqrt(mean(a * a) * mean(b * b)) + _NOISE))


def _align(first: Frames, second: Frames) -> Frames:
    """Return (n, 4): vertical scale and shift, horizontal ones, that map second onto first.

    Coordinates run from -1 to 1.  Each step solves ``first = gain * (second + J d) + offset``,
    linear in (gain * d, gain, offset), for the change d of the four; J is their Jacobian.
    """
    count, side, _ = first.shape
    at = _coordinates(side)
    place = np.tile(np.array([1, 0, 1, 0], np.float32), (count, 1))
    for _ in range(_STEPS):
        moved, inside = _warp(second, place)
        down = np.gradient(moved, axis=1) * (side / 2) / place[:, 0, None, None]
        across = np.gradient(moved, axis=2) * (side / 2) / place[:, 2, None, None]
        columns = [down * at[:, None], down, across * at, across, moved, np.ones_like(moved)]
        design = np.stack(columns, axis=-1).reshape(count, side * side, 6)
        weighted = (design * inside.reshape(count, side * side, 1)).transpose(0, 2, 1)
        normal = weighted @ design
        # Damping (Levenberg 1944), for frames that do not determine every parameter.
        normal += np.eye(6, dtype=np.float32) * (1e-3 * normal + 1e-3)
        solved = np.linalg.solve(normal, weighted @ first.reshape(count, side * side, 1))[:, :, 0]
        gain = np.maximum(solved[:, 4:5], 0.2)
        place += np.clip(solved[:, :4] / gain, -_STEP, _STEP)
        place[:, ::2] = np.clip(place[:, ::2], *_SCALES)
        place[:, 1::2] = np.clip(place[:, 1::2], *_SHIFTS)
    return place


def _coordinates(side: int) -> Frames:
    return ((np.arange(side, dtype=np.float32) + 0.5) * 2 / side - 1).astype(np.float32)


def _warp(frames: Frames, place: Frames) -> tuple[Frames, Frames]:
    """Return scaled and shifted frames, and masks that are 1 where these have pixels, else 0.

    Both are (n, s, s).  Interpolation is bilinear and separable: a matrix product for each axis.
    """
    side = frames.shape[1]
    cells = np.arange(side)
    matrices, masks = [], []
    for scale, shift in (place[:, :2].T, place[:, 2:].T):
        source = (scale[:, None] * _coordinates(side) + shift[:, None] + 1) * side / 2 - 0.5
        weights = np.maximum(1 - np.abs(source[:, :, None] - cells), 0)
        weights /= np.maximum(weights.sum(axis=2, keepdims=True), 1e-6)
        matrices.append(weights.astype(np.float32))
        masks.append(((source >= -0.5) & (source <= side - 0.5)).astype(np.float32))
    moved = matrices[0] @ frames @ matrices[1].transpose(0, 2, 1)
    return moved, masks[0][:, :, None] * masks[1][:, None, :]


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
