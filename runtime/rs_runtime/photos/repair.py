"""Make photos with small faults readable: bytes missing at the end, and oversized texts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["completed_jpeg", "has_blank_tail", "row_hashes", "without_texts"]

_END = b"\xff\xd9"
# A full disk or an empty battery leaves a tail of such bytes.
_BLANK, _BLANK_TAIL = b"\0\xff", 64
# Any bytes without 0xFF: decoded in place of the missing ones, they give other pixels than none do.
_NOISE = bytes(number * 73 % 251 for number in range(1, 4096))
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STRIP = 64
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9

_SIGNATURE_BYTES = 8
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})


def has_blank_tail(data: bytes) -> bool:
    """Return whether a JPEG may lack bytes at its end: blank ones are there, and no end before."""
    body = data.rstrip(_BLANK)
    return len(data) - len(body) >= _BLANK_TAIL and not body.endswith(_END)


def completed_jpeg(data: bytes) -> tuple[bytes, bytes] | None:
    """Return a JPEG without its end as two that have one; None if more than the last scan is cut.

    The first has nothing in place of the missing bytes, the second has noise.  Rows that depend on
    missing bytes differ between them.  (ITU-T T.81 defines markers and scans.)
    """
    body = data.rstrip(_BLANK)
    missing: set[tuple[int, int]] | None = None
    for marker, part in _segments(body):
        if marker in _START_OF_FRAME:
            components = part[6 : 6 + 3 * part[5] : 3]
            missing = {(item, place) for item in components for place in range(64)}
        elif marker == _START_OF_SCAN and missing is not None:
            count = part[0]
            if len(part) < 4 + 2 * count:
                return None
            first, last, bits = part[1 + 2 * count : 4 + 2 * count]
            if bits & 15 == 0:
                ids = part[1 : 1 + 2 * count : 2]
                missing -= {(item, place) for item in ids for place in range(first, last + 1)}
    if missing is None or missing:
        return None
    return body + _END, body + _NOISE + _END


def row_hashes(image: Image.Image) -> list[bytes]:
    """Return a hash of each row of pixels; copies few rows at a time."""
    hashes = []
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        data = strip.tobytes()
        row = len(data) // strip.height
        hashes += [
            hashlib.blake2b(data[start : start + row], digest_size=16).digest()
            for start in range(0, len(data), row)
        ]
    return hashes


def without_texts(data: bytes) -> bytes:
    """Return a PNG without its texts and colour profile, which do not change pixels here."""
    kept, place = [data[:_SIGNATURE_BYTES]], _SIGNATURE_BYTES
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] not in _TEXTS:
            kept.append(data[place:end])
        place = end
    return b"".join(kept)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield each whole marker segment of a JPEG: its marker, and its bytes without the length."""
    place = 2
    while (found := _NEXT_MARKER.search(data, place)) is not None:
        marker, start = data[found.end() - 1], found.end()
        place = start + int.from_bytes(data[start : start + 2], "big")
        part = data[start + 2 : place]
        least = {_START_OF_SCAN: 6}.get(marker, 9 if marker in _START_OF_FRAME else 0)
        if marker == _END_OF_IMAGE or place > len(data) or len(part) < least:
            return
        yield marker, part
