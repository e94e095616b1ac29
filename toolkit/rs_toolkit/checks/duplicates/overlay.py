"""Whether two photos are the same picture but for an overlay: a watermark, a caption, an info bar.

An overlay consists of strokes, on a bar along an edge at times; between the strokes, the picture is
as it was.  An animal that another frame of a fixed camera does not show covers a compact patch.  So
128 x 128 grey pixels (strokes are lost in fewer) are compared:

1. *Align* the photos, and match gain and offset, by the pixels that agree.
2. *Mark what changed*: pixels beyond the range of their neighbours in the other photo.
3. *Leave out bars*: rows along the upper or lower edge of which most pixels changed.
4. *Judge the rest*: no strong spot wider than a stroke, no region mostly covered, long outlines
   for the area, and all brighter or all darker (else, as of two overlays, much longer outlines).

The limits were chosen by hand on photos of birds with drawn overlays, among them birds that
``benchmarks/near_duplicates.py`` reports, and on a few pairs of a field camera at night.
An animal passes for an overlay if it is narrower than 2 % of the frame, or as thin as a large
letter with an outline as long as a word's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.align import Frames, aligned, correlation, middle

__all__ = ["DETAIL", "overlay_similarity"]

Masks = NDArray[np.bool_]

DETAIL = 128
"""Width and height in pixels of the frames that are compared."""

# What counts as a change: a share of the picture's standard deviation, within these grey levels.
_CHANGE, _CHANGES = 0.18, (2.0, 10.0)
_NEIGHBOUR = 0.6  # of a pixel: what alignment may be off
_TOLERANCES = np.maximum(40 * 0.7 ** np.arange(12), 6).tolist()  # grey levels, by step
_GAINS = (0.4, 2.5)
# Bars: height as a share of the frame, changed share of a row, and share of such rows.
_BAR, _ROW, _ROWS = 0.2, 0.6, 0.9
# Specks, as along edges: radius in pixels, share of the frame.
_SPECK, _SPECKS = 1.5, 0.01
# Strokes: radius in pixels; share of a window that they may cover; length of their outline in
# sides of the frame, and in pixels per pixel of area; share that is brighter, or darker.
_STROKE, _WINDOW, _COVERED, _OUTLINE, _THIN, _ONE_SIDED = 3.7, DETAIL // 8, 0.75, 0.8, 0.6, 0.9
_TWO_OUTLINE, _TWO_THIN = 4.0, 0.9
# Width is that of what changed by at least this share of the strongest changes: between small
# letters, the picture is mixed with them.
_CORE, _STRONGEST = 0.4, 0.9


def overlay_similarity(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Frames:
    """Return how similar pairs of photos are beside an overlay; 0 where more than that differs.

    Takes uint8 grey pixels of shape (n, 128, 128), squashed; returns float32 of shape (n,), 0 to 1:
    the correlation of the pixels that no overlay covers, away from the upper and lower edge.
    """
    one, moved, inside = aligned(first, second, overlaid=True)
    other = _relit(moved, one, inside)
    change = _change(one, other) * inside
    # In a dark picture, an animal differs by a few grey levels.
    contrast = one.std(axis=(1, 2), where=(inside * middle(DETAIL)) > 0)
    changed = np.abs(change) > np.clip(_CHANGE * contrast, *_CHANGES)[:, None, None]
    seen = (inside > 0) & ~_bars(changed | (inside == 0))
    changed &= seen
    alike = correlation(one, other, seen & ~changed & (middle(DETAIL) > 0))
    return np.asarray(np.where(_strokes(changed, change, seen), np.maximum(alike, 0), 0))


def _relit(moved: Frames, one: Frames, inside: Frames) -> Frames:
    """Return ``moved`` with the gain and offset that make most of its pixels equal those of one."""
    weight, relit = inside, moved
    for tolerance in _TOLERANCES:
        total = weight.sum(axis=(1, 2)) + 1e-3
        levels = [(weight * frame).sum(axis=(1, 2)) / total for frame in (one, moved)]
        a, b = (f - m[:, None, None] for f, m in zip((one, moved), levels, strict=True))
        # Damped towards 1, for frames without structure.
        gain = ((weight * a * b).sum(axis=(1, 2)) + total) / (
            (weight * b * b).sum(axis=(1, 2)) + total
        )
        relit = b * np.clip(gain, *_GAINS)[:, None, None] + levels[0][:, None, None]
        weight = inside / (1 + ((one - relit) / tolerance) ** 2) ** 2
    return relit


def _change(one: Frames, other: Frames) -> Frames:
    """Return how far ``other`` is above (or below, negative) what is near in one, or vice versa."""
    low, high = _range(one)
    other_low, other_high = _range(other)
    above = np.maximum(np.maximum(other - high, other_low - one), 0)
    below = np.maximum(np.maximum(low - other, one - other_high), 0)
    return np.where(above > below, above, -below)


def _range(frames: Frames) -> tuple[Frames, Frames]:
    """Return the lowest and highest value between each pixel and its four neighbours."""
    low, high = frames, frames
    for axis in (1, 2):
        for step in (-1, 1):
            near = frames + _NEIGHBOUR * (np.roll(frames, step, axis) - frames)
            low, high = np.minimum(low, near), np.maximum(high, near)
    return low, high


def _bars(changed: Masks) -> Masks:
    """Return masks (n, s, s) of the bars along the upper and lower edges."""
    side = changed.shape[1]
    height = int(side * _BAR)
    rows = changed.mean(axis=2) >= _ROW
    bars = np.zeros_like(changed)
    for flip in (1, -1):
        share = rows[:, ::flip][:, :height].cumsum(axis=1) / np.arange(1, height + 1)
        full = share >= _ROWS
        count = np.where(full.any(axis=1), height - full[:, ::-1].argmax(axis=1), 0)
        bars[:, ::flip] |= (np.arange(side) < count[:, None])[:, :, None]
    return bars


def _strokes(changed: Masks, change: Frames, seen: Masks) -> Masks:
    """Return (n,): whether what changed consists of strokes, of specks, or of nothing."""
    area = changed.sum(axis=(1, 2))
    outline = sum(np.diff(changed, axis=axis).sum(axis=(1, 2)) for axis in (1, 2))
    brighter = (changed & (change > 0)).sum(axis=(1, 2))
    side = changed.shape[1]
    one_sided = np.maximum(brighter, area - brighter) >= _ONE_SIDED * area
    drawn = (outline >= _THIN * area) & (outline >= _OUTLINE * side) & one_sided
    drawn |= (outline >= _TWO_THIN * area) & (outline >= _TWO_OUTLINE * side)
    drawn &= (_covered(changed, seen) <= _COVERED) & ~_wider(_core(changed, change), _STROKE)
    specks = (area < _SPECKS * side**2) & ~_wider(changed, _SPECK)
    return np.asarray(drawn | specks)


def _core(changed: Masks, change: Frames) -> Masks:
    """Return masks of the pixels that changed most."""
    strongest = [
        np.quantile(np.abs(size[mask]), _STRONGEST) if mask.any() else 0.0
        for mask, size in zip(changed, change, strict=True)
    ]
    return changed & (np.abs(change) >= _CORE * np.array(strongest)[:, None, None])


def _covered(changed: Masks, seen: Masks) -> Frames:
    """Return the highest share that is changed of any window, (n,)."""
    from scipy.ndimage import uniform_filter

    window = (1, _WINDOW, _WINDOW)
    part = uniform_filter(changed.astype(np.float32), window)
    whole = uniform_filter(seen.astype(np.float32), window)
    share = np.where(whole > 0.6, part / np.maximum(whole, 1e-6), 0)
    return np.asarray(share.max(axis=(1, 2)))


def _wider(changed: Masks, radius: float) -> Any:
    """Return (n,): whether a disc of this radius fits into what changed."""
    from scipy.ndimage import binary_erosion

    reach = np.arange(-int(radius), int(radius) + 1)
    disc = reach**2 + reach[:, None] ** 2 <= radius**2
    return binary_erosion(changed, disc[None], border_value=1).any(axis=(1, 2))
