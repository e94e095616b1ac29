"""The background of a fixed camera, and how much a frame differs from it.

It works on thumbnails, with NumPy alone.  docs/decisions/0035-empty-frames-of-cameras.md says why
it is done so.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.photos.preprocess import Preprocessing

    Floats = NDArray[np.float32]

__all__ = ["SIDE", "Background", "light_of", "read_thumbnail", "thumbnail", "view_of"]

SIDE = 64
"""Width and height in pixels of the photo that thumbnails are made of."""

_BLOCK = 4
_BLOCKS = SIDE // _BLOCK
_LUMA, _CHROMA = SIDE * SIDE, _BLOCKS * _BLOCKS
_BYTES = _LUMA + 2 * _CHROMA
# Grey levels: chroma below which a frame has no colour, luma below which it is dark.
_GREY, _DARK = 4, 50
# Least noise of luma and chroma: that of a still scene in JPEG.
_LEAST_LUMA, _LEAST_CHROMA = 3.0, 2.0
# A bright spot counts by its area: from here on a pixel is only different.
_HIGHEST = 6.0
# The share of blocks, 5 of 256, that an animal at some distance covers.
_PLACES = 5
_SHIFT = 2


def view_of(preprocessing: Preprocessing) -> Preprocessing:
    """Return what makes a thumbnail's pixels of the photo that is decoded for a model."""
    return replace(preprocessing, size=SIDE, resize="squash")


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return the thumbnail of a photo, as base64 of 4,608 bytes.

    These are luma at 64 x 64, then blue and red chroma at 16 x 16, plus 128, as in JPEG (ITU-T
    T.871).  ``pixels`` are uint8, shape (64, 64, 3), RGB, of :func:`view_of`.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = [_blocks(part) + 128 for part in ((blue - luma) * 0.564, (red - luma) * 0.713)]
    parts = np.concatenate([part.ravel() for part in (luma, *chroma)])
    return base64.b64encode(np.clip(np.rint(parts), 0, 255).astype(np.uint8).tobytes()).decode()


def read_thumbnail(text: str) -> NDArray[np.uint8]:
    """Return the values of :func:`thumbnail`, uint8 (4608,).

    Raises
    ------
    ValueError
        The text is not a thumbnail.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = b""
    if len(found) != _BYTES:
        raise ValueError(f"a thumbnail must be base64 of {_BYTES} bytes, got {text[:20]!r}…")
    return np.frombuffer(found, np.uint8)


def light_of(frame: NDArray[np.uint8]) -> str:
    """Return the light of a thumbnail's values: ``grey``, ``dark`` or ``day``.

    Infrared photos are ``grey``, and so are fog and snow without colour; others are ``dark`` if
    their mean luma is below 50.
    """
    colour = np.abs(frame[_LUMA:].astype(np.float32) - 128).reshape(2, _CHROMA).sum(axis=0)
    if np.median(colour) < _GREY:
        return "grey"
    return "dark" if frame[:_LUMA].mean() < _DARK else "day"


class Background:
    """What a camera sees without what comes and goes: the median of frames, and their noise.

    The noise is 1.4826 times the median absolute deviation, at least 3 grey levels of luma and 2
    of chroma.  ``frames`` are values of thumbnails, shape (n, 4608), n at least 1.
    """

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        values = frames.astype(np.float32)
        median: Floats = np.median(values, axis=0).astype(np.float32)
        noise = 1.4826 * np.median(np.abs(values - median), axis=0)
        self._plain = median[:_LUMA].reshape(SIDE, SIDE)
        self._luma = np.pad(self._plain, _SHIFT, mode="edge")
        # A pixel may have moved to the next one: it has to differ from these too.
        self._low, self._high = _near(np.pad(self._luma, 1, mode="edge"))
        luma = np.maximum(noise[:_LUMA], _LEAST_LUMA).reshape(SIDE, SIDE)
        # What a camera that moved shows beside the background is not known, so it never differs.
        self._luma_noise = np.pad(luma, _SHIFT, constant_values=np.inf)
        # A block of chroma is larger than any shift: it has to differ from those around it, and
        # the outermost do not count.
        self._chroma = (median[_LUMA:] - 128).reshape(2, _BLOCKS, _BLOCKS)
        self._chroma_range = _near(np.pad(self._chroma, ((0, 0), (1, 1), (1, 1)), mode="edge"))
        self._chroma_noise = np.maximum(noise[_LUMA:], _LEAST_CHROMA).reshape(2, _BLOCKS, _BLOCKS)
        rim = np.ones((_BLOCKS, _BLOCKS), bool)
        rim[1:-1, 1:-1] = False
        self._chroma_noise[:, rim] = np.inf

    def score(self, frame: NDArray[np.uint8]) -> float:
        """Return how much a frame, uint8 (4608,), differs: 0 to 6, in units of the noise.

        Brightness, contrast and white balance are aligned first, and shifts of up to 2 pixels.
        Of the 256 blocks of a frame, it is the mean of the 5 that differ most.
        """
        values = frame.astype(np.float32)
        luma, chroma = values[:_LUMA].reshape(SIDE, SIDE), values[_LUMA:] - 128
        part = self._moved(luma, *_aligned(luma, self._plain))
        gain, offset = _aligned(luma, self._luma[part])
        blocks = np.maximum(
            self._luma_blocks(luma, part, gain, offset), self._chroma_blocks(chroma, gain)
        )
        return float(np.sort(blocks, axis=None)[-_PLACES:].mean())

    def _luma_blocks(
        self, luma: Floats, part: tuple[slice, slice], gain: float, offset: float
    ) -> Floats:
        over = luma - (gain * self._high[part] + offset)
        under = gain * self._low[part] + offset - luma
        differs = np.maximum(np.maximum(over, under), 0) / self._luma_noise[part]
        return _blocks(np.minimum(differs, _HIGHEST))

    def _moved(self, luma: Floats, gain: float, offset: float) -> tuple[slice, slice]:
        """Return the part of the padded background that a frame shows."""
        steps = range(2 * _SHIFT + 1)
        parts = [(slice(y, y + SIDE), slice(x, x + SIDE)) for y in steps for x in steps]
        # An animal differs everywhere; it must not decide.
        apart = [np.minimum(np.abs(luma - gain * self._luma[p] - offset), 20).mean() for p in parts]
        return parts[int(np.argmin(apart))]

    def _chroma_blocks(self, chroma: Floats, gain: float) -> Floats:
        low, high = self._chroma_range
        seen = chroma.reshape(self._chroma.shape)
        # The white balance moves all blocks alike.
        seen = seen - np.median(seen - gain * self._chroma, axis=(1, 2), keepdims=True)
        differs = np.maximum(np.maximum(seen - gain * high, gain * low - seen), 0)
        worst = (differs / self._chroma_noise).max(axis=0)
        return np.asarray(np.minimum(worst, _HIGHEST), np.float32)


def _near(padded: Floats) -> tuple[Floats, Floats]:
    """Return the least and the highest of each value and its 8 neighbours, without the rim."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(-2, -1))
    return windows.min(axis=(-2, -1)), windows.max(axis=(-2, -1))


def _blocks(values: Floats) -> Floats:
    found = values.reshape(_BLOCKS, _BLOCK, _BLOCKS, _BLOCK).mean(axis=(1, 3))
    return np.asarray(found, np.float32)


def _aligned(luma: Floats, background: Floats) -> tuple[float, float]:
    """Return gain and offset that make the background like a frame, apart from what is new in it.

    Least squares on the 70 % of the pixels that fit best, four times.
    """
    seen, known = luma.ravel(), background.ravel()
    keep = np.ones(len(seen), bool)
    gain, offset = 1.0, 0.0
    for _ in range(4):
        x, y = known[keep], seen[keep]
        spread = float(x.var())
        slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread >= 1 else 1.0
        gain = min(max(slope, 0.5), 2.0)
        offset = float(y.mean()) - gain * float(x.mean())
        apart = np.abs(seen - gain * known - offset)
        keep = apart <= np.quantile(apart, 0.7)
    return gain, offset
