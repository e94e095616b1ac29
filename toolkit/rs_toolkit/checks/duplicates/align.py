"""Laying one photo over another: the scale, shift, gain and offset that map it there best.

Gauss-Newton least squares (Lucas and Kanade 1981, with the gain of Evangelidis, Psarakis 2008) on
grey frames of 32 x 32 pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.hashes import greys

__all__ = ["Frames", "aligned", "correlation", "middle"]

Frames = NDArray[np.float32]

_COARSE = 32
_STEPS, _ROBUST_STEPS = 8, 14
# The grey levels by which a pixel may differ and still count by a quarter: less with every step.
_TOLERANCES = np.maximum(60 * 0.8 ** np.arange(_ROBUST_STEPS), 10).astype(np.float32)
# Height of the strips along the upper and the lower edge that hold bars, a share of the frame's.
_STRIP = 0.12
_SCALES, _SHIFTS, _STEP = (0.75, 1.33), (-0.25, 0.25), 0.1
_NOISE = 20.0  # grey levels squared


def aligned(
    first: NDArray[np.uint8], second: NDArray[np.uint8], *, overlaid: bool = False
) -> tuple[Frames, Frames, Frames]:
    """Return pairs of photos, one of each laid over the other, and where both have pixels.

    Takes uint8 grey pixels of shape (n, s, s), squashed; returns three float32 arrays of this
    shape: one photo, the other one moved (and mirrored where this fits better), and a mask of 0
    and 1.  Of two crops, the closer one is moved: enlarging the other would blur it.

    ``overlaid`` leaves out the upper and lower edge, where bars and captions are, and pixels that
    differ much (iteratively reweighted least squares), so that an overlay does not pull.
    """
    one, other = first.astype(np.float32), second.astype(np.float32)
    small, small_other = greys(first, _COARSE), greys(second, _COARSE)
    mirrored = correlation(small, small_other[:, :, ::-1]) > correlation(small, small_other)
    other[mirrored] = other[mirrored, :, ::-1]
    small_other[mirrored] = small_other[mirrored, :, ::-1]
    place = _align(small, small_other, overlaid)
    wider = place[:, 0] * place[:, 2] < 1
    one[wider], other[wider] = other[wider], one[wider]
    place[wider, 1::2] /= -place[wider, ::2]
    place[wider, ::2] = 1 / place[wider, ::2]
    return one, *_warp(other, place)


def correlation(first: Frames, second: Frames, inside: Frames | None = None) -> Frames:
    """Return the correlation of whole frames, (n,), which is lower where there is no structure."""
    mask = np.ones_like(first) if inside is None else inside
    total = np.maximum(mask.sum(axis=(1, 2)), 1)

    def mean(values: Frames) -> Frames:
        return np.asarray((mask * values).sum(axis=(1, 2)) / total, np.float32)

    a = first - mean(first)[:, None, None]
    b = second - mean(second)[:, None, None]
    return np.asarray(mean(a * b) / (np.sqrt(mean(a * a) * mean(b * b)) + _NOISE))


def middle(side: int) -> Frames:
    """Return a mask (side, side) of a frame without its upper and lower edge."""
    mask = np.ones((side, side), np.float32)
    strip = round(side * _STRIP)
    mask[:strip] = mask[side - strip :] = 0
    return mask


def _align(first: Frames, second: Frames, robust: bool) -> Frames:
    """Return (n, 4): vertical scale and shift, horizontal ones, that map second onto first.

    Coordinates run from -1 to 1.  Each step solves ``first = gain * (second + J d) + offset``,
    linear in (gain * d, gain, offset), for the change d of the four; J is their Jacobian.
    """
    count, side, _ = first.shape
    at = _coordinates(side)
    place = np.tile(np.array([1, 0, 1, 0], np.float32), (count, 1))
    solved = np.empty((0, 6), np.float32)
    for step in range(_ROBUST_STEPS if robust else _STEPS):
        moved, weight = _warp(second, place)
        if robust:
            weight *= middle(side)
        if robust and step:
            gain, offset = solved.T[4:, :, None, None]
            odd = (first - gain * moved - offset) / _TOLERANCES[step]
            weight /= (1 + odd * odd) ** 2
        down = np.gradient(moved, axis=1) * (side / 2) / place[:, 0, None, None]
        across = np.gradient(moved, axis=2) * (side / 2) / place[:, 2, None, None]
        columns = [down * at[:, None], down, across * at, across, moved, np.ones_like(moved)]
        design = np.stack(columns, axis=-1).reshape(count, side * side, 6)
        weighted = (design * weight.reshape(count, side * side, 1)).transpose(0, 2, 1)
        normal = weighted @ design
        # Damping (Levenberg 1944), for frames that do not determine every parameter.
        normal += np.eye(6, dtype=np.float32) * (1e-3 * normal + 1e-3)
        solved = np.linalg.solve(normal, weighted @ first.reshape(count, side * side, 1))[:, :, 0]
        place += np.clip(solved[:, :4] / np.maximum(solved[:, 4:5], 0.2), -_STEP, _STEP)
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
