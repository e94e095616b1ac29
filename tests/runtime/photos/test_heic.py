"""Formats of phones: HEIC and AVIF with an extra, and MPO, told by content."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.folder import unsupported
from rs_runtime.photos.formats import photo_kind, photo_suffix, unsupported_suffix
from rs_runtime.photos.photo import decode, inspect
from rs_runtime.photos.preprocess import Preprocessing

ORIENTATION = 0x0112


def encoded(kind: str, orientation: int = 1, **options: object) -> bytes:
    """A photo, 120 x 80 pixels as stored: a blue left half beside a red one."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    elif kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = Image.new("RGB", (120, 80), "red")
    image.paste("blue", (0, 0, 60, 80))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stream = io.BytesIO()
    image.save(stream, kind, exif=exif.tobytes(), **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize(
    ("orientation", "size", "blue"),
    [
        (1, (120, 80), (10, 40)),
        (3, (120, 80), (110, 40)),
        (6, (80, 120), (40, 10)),
        (8, (80, 120), (40, 110)),
    ],
)
def test_photos_of_phones_are_upright(kind, orientation, size, blue) -> None:
    data = encoded(kind, orientation)
    assert photo_kind(data[:32]) == kind and photo_suffix(data[:32]) in (".heic", ".avif")
    image, info = decode(data, 64)
    assert image.size == (info.width, info.height) == size
    red, _, at = image.getpixel(blue)
    assert at > 200 and red < 50
    head = inspect(data)
    assert (head.width, head.height) == size


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_they_are_told_by_content(kind, tmp_path) -> None:
    data = encoded(kind)
    pixels = Preprocessing(32).load(data)
    for name in ("a.heic", "a.AVIF", "a.jpg", "a.hif"):
        (tmp_path / name).write_bytes(data)
        assert unsupported(tmp_path / name) is None
        assert np.array_equal(Preprocessing(32).load(tmp_path / name), pixels)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_damaged_ones_are_refused(kind, one_line) -> None:
    data = encoded(kind)
    for damaged in (data[:40], data[: len(data) // 2], data[:-20]):
        with pytest.raises(UnreadablePhotoError) as caught:
            decode(damaged, 64)
        assert "cannot be decoded" in one_line(str(caught.value))


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avif"])
def test_without_the_extra_the_reason_names_it(brand, tmp_path, without_extras) -> None:
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(99)
    with pytest.raises(UnreadablePhotoError, match=r'pip install "rs-toolkit\[heic\]"'):
        decode(data, 64)
    (tmp_path / "a.heic").write_bytes(data)
    assert "rs-toolkit[heic]" in str(unsupported(tmp_path / "a.heic"))
    assert "rs-toolkit[heic]" in str(unsupported_suffix(".AVIF"))
    assert "convert it to JPEG" in str(unsupported_suffix(".hif"))


def test_a_general_brand_is_made_precise_by_the_others(without_extras) -> None:
    start = b"\0\0\0\x1cftypmif1\0\0\0\0"
    for brands, title in ((b"mif1avifmiaf", "an AVIF"), (b"mif1heicmiaf", "a HEIC")):
        with pytest.raises(UnreadablePhotoError, match=f"is {title} image"):
            decode(start + brands + bytes(99), 64)


def test_the_first_picture_of_an_mpo_is_read(tmp_path: Path) -> None:
    """Cameras with two lenses, and phones with a depth map, write JPEGs of several pictures."""
    second = Image.new("RGB", (120, 80), "green")
    data = encoded("MPO", 6, save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(data)).n_frames == 2 and photo_kind(data) == "JPEG"
    pixels, info = Preprocessing(8).load_with_info(data)
    assert (info.width, info.height, info.note) == (80, 120, None)
    # As JPEG they are decoded at a fraction of their size.
    assert decode(data, 8)[0].size == (10, 15)
    assert np.array_equal(pixels, Preprocessing(8).load(encoded("JPEG", 6)))
