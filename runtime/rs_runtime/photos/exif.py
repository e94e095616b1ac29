"""When, where and with which camera a photo was taken, as its EXIF data say.

Tags are those of Exif 3.0 (CIPA DC-008): 0x9003 DateTimeOriginal and its parts of a second
(0x9291) and offset from UTC (0x9011), the GPS folder at 0x8825, make, model and serial number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Exif", "read_exif"]

_EXIF_FOLDER, _GPS_FOLDER = 0x8769, 0x8825
_MAKE, _MODEL, _CHANGED, _SERIAL = 0x010F, 0x0110, 0x0132, 0xA431
# Each time with its parts of a second and its offset from UTC, the best first.
_TIMES = ((0x9003, 0x9291, 0x9011), (0x9004, 0x9292, 0x9012))
_TIME = re.compile(r"(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)")
_LONGEST = 100

T = TypeVar("T")


@dataclass(frozen=True)
class Exif:
    """What the EXIF data of a photo say; None for all that they do not say, or not plausibly.

    ``taken`` is the camera's time in ISO 8601, such as ``2025-03-09T06:30:12`` with up to six
    decimals of the second; with the offset from UTC, such as ``+02:00``, if the camera knew it.
    ``latitude`` (-90 to 90, north is positive) and ``longitude`` (-180 to 180, east is positive)
    are in degrees.
    """

    taken: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    make: str | None = None
    model: str | None = None
    serial: str | None = None


def read_exif(image: Image.Image) -> Exif:
    """Return what an open image's EXIF data say; damaged data say nothing, and raise nothing."""
    base = _sound(image.getexif)
    if not base:
        return Exif()
    inner = _sound(lambda: base.get_ifd(_EXIF_FOLDER)) or {}
    place = _sound(lambda: base.get_ifd(_GPS_FOLDER)) or {}
    where = _sound(lambda: (_degrees(place, 1, "NS", 90), _degrees(place, 3, "EW", 180)))
    # A place of 0, 0 is what cameras write that have not found their place.
    latitude, longitude = (None, None) if where is None or where == (0, 0) else where
    return Exif(
        _taken(base, inner),
        latitude,
        longitude,
        *(_text(item) for item in (base.get(_MAKE), base.get(_MODEL), inner.get(_SERIAL))),
    )


def _sound(read: Callable[[], T]) -> T | None:
    # Pillow documents no closed set of exceptions for damaged data.
    try:
        return read()
    except Exception:
        return None


def _taken(base: Any, inner: Any) -> str | None:
    for time, part, offset in _TIMES:
        if found := _time(inner.get(time), inner.get(part), inner.get(offset)):
            return found
    return _time(base.get(_CHANGED), None, None)


def _time(time: object, part: object, offset: object) -> str | None:
    match = _TIME.match(str(time))
    if match is None:
        return None
    try:
        whole = datetime(*map(int, match.groups())).isoformat()  # type: ignore[arg-type]
    except ValueError:
        return None
    decimals = (_text(part) or "").rstrip("0")[:6]
    known = _OFFSET.fullmatch(_text(offset) or "")
    hours = known is not None and int(known[2]) <= 14 and int(known[3]) < 60
    second = f".{decimals}" if decimals.isdecimal() and decimals.isascii() else ""
    return f"{whole}{second}{known[0] if known and hours else ''}"


def _degrees(place: Any, tag: int, signs: str, most: int) -> float:
    """Return a latitude or longitude in degrees; raise any error if it is not there."""
    degrees, minutes, seconds = (float(part) for part in place[tag + 1])
    found = degrees + minutes / 60 + seconds / 3600
    sign = signs.index(_text(place[tag]) or "none")
    if not (0 <= found <= most and minutes >= 0 and seconds >= 0):
        raise ValueError(f"{found} is out of range")
    return round(-found if sign else found, 7)


def _text(found: object) -> str | None:
    """Return a tag's text without control characters; None if there is none."""
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
    if not isinstance(text, str):
        return None
    return "".join(each for each in text if each.isprintable()).strip()[:_LONGEST] or None
