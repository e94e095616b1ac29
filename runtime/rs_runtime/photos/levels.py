"""Integers of more than 8 bits, and floats, to 8 bits."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rs_runtime.photos.opened import load_image, open_image
from rs_runtime.photos.repair import without_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_bytes", "from_integers", "grey", "low_bytes"]

# A float image whose values cover less than this share of the usual range is spread over it.
_NARROW = 0.25
# The share of values above 1 that are glints in an image of the range 0 to 1.
_GLINTS = 0.01


def grey(image: Image.Image, version: int) -> Image.Image:
    """Return an image of integers (mode I or I;16) or floats (F) with 8 bits, mode L.

    ``version`` is :attr:`Preprocessing.pixels_version`.
    """
    convert = _from_floats if image.mode == "F" else from_integers
    return Image.fromarray(convert(np.asarray(image), version))


def from_bytes(high: Image.Image, low: Image.Image) -> Image.Image:
    """Return the RGB image whose 16-bit values have these high and low bytes."""
    values = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
    return Image.fromarray(from_integers(values))


def low_bytes(data: bytes, kind: str) -> Image.Image | None:
    """Return the low bytes of RGB with 16 bits a channel; None for other photos."""
    image = open_image(io.BytesIO(without_texts(data) if kind == "PNG" else data), kind)
    tiles = []
    for tile in image.tile:
        raw, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        # N is the order of this machine, as libtiff gives it.
        order = sys.byteorder[0].upper() if raw == "RGB;16N" else str(raw)[-1]
        if raw not in ("RGB;16N", "RGB;16L", "RGB;16B"):
            return None
        swapped = "RGB;16B" if order == "L" else "RGB;16L"
        tiles.append(tile._replace(args=(swapped, *rest) if rest else swapped))
    image.tile = tiles
    load_image(image)
    return image


def from_integers(values: NDArray[np.integer[Any]], version: int = 2) -> NDArray[np.uint8]:
    """Return integers of any number of bits as 8 bits."""
    if version == 1:
        return (np.clip(values, 0, 65535) >> 8).astype(np.uint8)
    values = np.maximum(values, 0)
    return (values >> (_bits(values.max(initial=0)) - 8)).astype(np.uint8)


def _from_floats(values: NDArray[np.float32], version: int) -> NDArray[np.uint8]:
    if version == 1:
        known = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        unit = 255.0 if known.max(initial=0.0) <= 1.0 else 1.0
        return np.clip(known * unit, 0, 255).round().astype(np.uint8)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low >= 0 and high > 1 and _NARROW <= np.quantile(finite, 1 - _GLINTS) <= 1:
        high = 1.0
    black, white = 0.0, 1.0 if high <= 1 else 2.0 ** _bits(high) - 1
    if low < high and (low < 0 or high - low < _NARROW * white):
        black, white = low, high
    with np.errstate(over="ignore", invalid="ignore"):
        levels = (values - black) * (255 / (white - black))
    levels = np.nan_to_num(levels, nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(levels, 0, 255).round().astype(np.uint8)


def _bits(highest: Any) -> int:
    """Return the bits of a sensor that gives such values: an even number, at least 8."""
    return max(8, (int(highest).bit_length() + 1) // 2 * 2)
