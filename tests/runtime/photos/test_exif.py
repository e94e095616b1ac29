"""What the EXIF data of a photo say of when, where and with which camera it was taken."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from rs_runtime.photos.exif import Exif, read_exif
from rs_runtime.photos.photo import decode

GPS = {1: "S", 2: (1.0, 30.0, 36.0), 3: "E", 4: (36.0, 45.0, 0.0)}
CAMERA = {0x010F: "Reconyx\0", 0x0110: "HC 600"}
TIME = {0x9003: "2025:03:09 06:30:12"}


def photo(base=(), inner=(), place=(), kind="JPEG") -> bytes:
    image, exif = Image.new("RGB", (40, 30)), Image.Exif()
    exif.update(dict(base))
    for folder, tags in ((0x8769, inner), (0x8825, place)):
        exif.get_ifd(folder).update(dict(tags))
        # Pillow's writer of TIFF looks here.
        exif[folder] = exif.get_ifd(folder)
    file = io.BytesIO()
    image.save(file, kind, exif=exif)
    return file.getvalue()


def read(*args, **kwargs) -> Exif:
    found = decode(photo(*args, **kwargs), 8)[1].exif
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_that_a_camera_says_is_read(kind) -> None:
    inner = {**TIME, 0x9291: "250", 0x9011: "+03:00", 0xA431: "H600-7"}
    assert read(CAMERA, inner, GPS, kind) == Exif(
        "2025-03-09T06:30:12.25+03:00", -1.51, 36.75, "Reconyx", "HC 600", "H600-7"
    )


def test_a_photo_without_exif_says_nothing() -> None:
    assert read_exif(Image.new("RGB", (2, 2))) == Exif()


def test_times_are_taken_in_the_order_of_what_they_mean() -> None:
    changed = {0x0132: "2026:01:01 00:00:00"}
    assert read(changed, TIME).taken == "2025-03-09T06:30:12"
    assert read(changed, {0x9004: "2024:12:31 23:59:59"}).taken == "2024-12-31T23:59:59"
    assert read(changed).taken == "2026-01-01T00:00:00"


@pytest.mark.parametrize("time", ["0000:00:00 00:00:00", "2025:13:01 00:00:00", "    ", "morning"])
def test_a_time_that_was_never_is_none(time) -> None:
    assert read(inner={0x9003: time}).taken is None


@pytest.mark.parametrize(("part", "offset"), [("x5", "+99:00"), ("", "later"), ("٣", "Z")])
def test_damaged_parts_of_a_time_are_left_out(part, offset) -> None:
    assert read(inner={**TIME, 0x9291: part, 0x9011: offset}).taken == "2025-03-09T06:30:12"


@pytest.mark.parametrize(
    "change",
    [
        {1: "X"},
        {2: (91.0, 0.0, 0.0)},
        {4: (181.0, 0.0, 0.0)},
        {2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)},
    ],
)
def test_an_impossible_place_is_none(change) -> None:
    found = read(place={**GPS, **change})
    assert (found.latitude, found.longitude) == (None, None)


def test_degrees_that_are_divided_by_zero_are_none() -> None:
    whole = photo(place={**GPS, 2: (79.0, 0.0, 0.0)})
    one, zero = struct.pack("<2L", 79, 1), struct.pack("<2L", 79, 0)
    assert whole.count(one) == 1
    found = decode(whole.replace(one, zero), 8)[1].exif
    assert found is not None and found.latitude is None


def test_half_a_place_is_none() -> None:
    assert read(place={key: GPS[key] for key in (1, 2)}).latitude is None


def test_control_characters_and_long_texts_are_cut() -> None:
    found = read({0x010F: "A\x1b[31m\nB", 0x0110: "x" * 1000})
    assert found.make == "A[31mB"
    assert found.model == "x" * 100


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_raises_nothing() -> None:
    whole = photo(CAMERA, TIME, GPS)
    start = whole.index(b"Exif\0\0")
    for place in range(start + 6, start + 200):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        read_exif(Image.open(io.BytesIO(bytes(damaged))))
