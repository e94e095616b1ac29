"""Large TIFFs in bands of rows, each averaged at once: memory does not grow with the photo."""

from __future__ import annotations

import io
import itertools
import math
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rs_runtime.photos.levels import from_integers, low_bytes
from rs_runtime.photos.opened import load_image, open_image
from rs_runtime.photos.rgb import to_rgb
from rs_runtime.photos.room import claim_room, require_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["in_bands"]

_BAND_PIXELS = 1_000_000
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _STRIP_SIZES, _PLANES = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_SIZES = 322, 323, 324, 325
# What else tells how pixels are stored: fill order, predictor, colour map, further samples, their
# format, JPEG tables, and what YCbCr needs.
_FURTHER = (266, 317, 320, 338, 339, 347, 529, 530, 531, 532)
_COPIED = (_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, *_FURTHER)
_YCBCR, _OLD_JPEG = 6, 6
_SHORT, _LONG, _RATIONAL = 3, 4, 5

# Offset and size of what is compressed by itself: a strip or a tile.
_Unit = tuple[int, int]


def in_bands(image: Image.Image, data: bytes, by: int, where: str) -> Image.Image | None:
    """Return a TIFF in RGB, each ``by`` x ``by`` pixels averaged, not turned upright.

    ``image`` is the first frame of the file ``data``, opened but not loaded.  At the right and
    lower edge fewer pixels are averaged.  Integers of 16 bits are averaged before they become 8
    bits.  Returns None for a TIFF that cannot be read in parts: planes or floats, and files whose
    table of strips does not fit.

    Source: TIFF 6.0 (Adobe 1992), sections 3 and 15: each strip or tile is compressed by itself.
    """
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_PLANES, 1) != 1 or tags.get(_COMPRESSION, 1) == _OLD_JPEG:
        return None
    if image.mode == "F" or image.mode == "I":
        return None
    units = _units(tags, len(data))
    if units is None:
        return None
    parts = [_averaged(band, by, where) for band in _bands(tags, data, *units, by)]
    values = np.concatenate(parts)
    levels = values if values.dtype == np.uint8 else from_integers(values)
    return Image.fromarray(levels).convert("RGB")


def _units(tags: Any, size: int) -> tuple[list[_Unit], int, int] | None:
    """Return strips or tiles, how many stand side by side, and the rows of each."""
    width, length = tags[_WIDTH], tags[_LENGTH]
    tiled = _TILE_OFFSETS in tags
    offsets = tags.get(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, ())
    sizes = tags.get(_TILE_SIZES if tiled else _STRIP_SIZES, ())
    rows = tags.get(_TILE_LENGTH, 0) if tiled else min(tags.get(_STRIP_ROWS, length), length)
    beside = math.ceil(width / max(1, tags.get(_TILE_WIDTH, 0))) if tiled else 1
    if rows < 1 or len(offsets) != beside * math.ceil(length / rows) or len(sizes) != len(offsets):
        return None
    # Units that overlap would be copied more than once.
    if sum(sizes) > size or any(
        at + count > size for at, count in zip(offsets, sizes, strict=True)
    ):
        return None
    units = list(zip(offsets, sizes, strict=True))
    if tiled or tags.get(_COMPRESSION, 1) != 1 or tags.get(_PHOTOMETRIC) == _YCBCR:
        return units, beside, rows
    bits = tags.get(_BITS, (1,))
    row_bytes = (width * tags.get(_SAMPLES, 1) * bits[0] + 7) // 8
    lines = [rows] * (len(units) - 1) + [length - rows * (len(units) - 1)]
    if any(count < row_bytes * own for (_, count), own in zip(units, lines, strict=True)):
        return None
    # What is not compressed can be parted at each row.
    starts = ((at, own) for (at, _), own in zip(units, lines, strict=True))
    return [(at + row * row_bytes, row_bytes) for at, own in starts for row in range(own)], 1, 1


def _bands(
    tags: Any, data: bytes, units: list[_Unit], beside: int, rows: int, by: int
) -> Iterator[bytes]:
    """Yield the photo as TIFFs of a multiple of ``by`` rows each; the last may have fewer."""
    least = by // math.gcd(by, rows)
    many = _BAND_PIXELS // (tags[_WIDTH] * rows) // least * least
    step = max(least, many)
    for first in range(0, len(units), step * beside):
        chosen = units[first : first + step * beside]
        start = first // beside * rows
        yield _tiff(tags, data, chosen, rows, min(step * rows, tags[_LENGTH] - start))


def _tiff(tags: Any, data: bytes, units: list[_Unit], rows: int, length: int) -> bytes:
    """Return a TIFF of ``length`` rows that holds only these strips or tiles."""
    order = ">" if tags.prefix == b"MM" else "<"
    fields = {tag: _field(order, tags.tagtype[tag], tags[tag]) for tag in _COPIED if tag in tags}

    def numbers(tag: int, *values: int) -> None:
        fields[tag] = _field(order, _LONG, values)

    numbers(_WIDTH, tags[_WIDTH])
    numbers(_LENGTH, length)
    if _TILE_OFFSETS in tags:
        numbers(_TILE_WIDTH, tags[_TILE_WIDTH])
        numbers(_TILE_LENGTH, rows)
        offsets, sizes = _TILE_OFFSETS, _TILE_SIZES
    else:
        numbers(_STRIP_ROWS, rows)
        offsets, sizes = _STRIP_OFFSETS, _STRIP_SIZES
    counts = [count for _, count in units]
    numbers(sizes, *counts)
    # The header has 8 bytes, and the pixels follow it.
    ends = list(itertools.accumulate(counts, initial=8))
    numbers(offsets, *ends[:-1])
    start = ends[-1] + ends[-1] % 2
    head = struct.pack(order + "2sHL", tags.prefix, 42, start)
    pixels = b"".join(data[at : at + count] for at, count in units)
    return b"".join((head, pixels, bytes(start - ends[-1]), _directory(order, fields, start)))


def _field(order: str, kind: int, value: Any) -> tuple[int, int, bytes]:
    """Return the type, the number of values, and the bytes of a field."""
    if isinstance(value, bytes):
        return kind, len(value), value
    values = value if isinstance(value, tuple) else (value,)
    if kind == _RATIONAL:
        parts = [int(part) for item in values for part in (item.numerator, item.denominator)]
        return kind, len(values), struct.pack(f"{order}{len(parts)}L", *parts)
    kind, code = (_SHORT, "H") if kind == _SHORT else (_LONG, "L")
    return kind, len(values), struct.pack(f"{order}{len(values)}{code}", *values)


def _directory(order: str, fields: dict[int, tuple[int, int, bytes]], start: int) -> bytes:
    """Return a TIFF's directory that stands at ``start``, with the values that do not fit in it."""
    entries, values = [], b""
    after = start + 2 + 12 * len(fields) + 4
    for tag, (kind, count, content) in sorted(fields.items()):
        place = content.ljust(4, b"\0")
        if len(content) > 4:
            place = struct.pack(order + "L", after + len(values))
            values += content + bytes(len(content) % 2)
        entries.append(struct.pack(order + "HHL", tag, kind, count) + place)
    return struct.pack(order + "H", len(fields)) + b"".join(entries) + bytes(4) + values


def _averaged(band: bytes, by: int, where: str) -> NDArray[Any]:
    """Return the means of blocks of a TIFF: uint16 where it has 16 bits of a known kind."""
    image = open_image(io.BytesIO(band), "TIFF")
    claim_room(image.width * image.height)
    require_memory(image, image.width * image.height, where)
    load_image(image)
    if image.mode.startswith("I;16"):
        return _means(np.asarray(image), by)
    if image.mode == "RGB":
        low = low_bytes(band, "TIFF")
        if low is not None:
            return _means(np.asarray(image).astype(np.uint16) << 8 | np.asarray(low), by)
    return np.asarray(to_rgb(image, 2).reduce(by))


def _means(values: NDArray[Any], by: int) -> NDArray[np.uint16]:
    height, width = values.shape[:2]
    rows, columns = range(0, height, by), range(0, width, by)
    sums = np.add.reduceat(values, rows, axis=0, dtype=np.uint32)
    sums = np.add.reduceat(sums, columns, axis=1)
    high = np.minimum(by, height - np.arange(0, height, by))
    wide = np.minimum(by, width - np.arange(0, width, by))
    counts = (
        np.outer(high, wide).astype(np.uint32).reshape(*sums.shape[:2], *(1,) * (sums.ndim - 2))
    )
    return ((sums + counts // 2) // counts).astype(np.uint16)
