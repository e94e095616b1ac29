from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

import rs_runtime.photos.photo
from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError
from rs_runtime.photos.formats import PHOTO_SUFFIXES, photo_suffix
from rs_runtime.photos.photo import read_photo
from rs_runtime.photos.preprocess import Preprocessing

SMALL = Preprocessing(size=32)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def scene() -> Image.Image:
    """Four flat corners, so that orientation and channel order show."""
    image = Image.new("RGB", (80, 60), (200, 40, 40))
    image.paste((40, 200, 40), (40, 0, 80, 30))
    image.paste((40, 40, 200), (0, 30, 40, 60))
    return image


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_lossless_formats_give_the_same_pixels(scene, kind) -> None:
    expected = np.asarray(scene.resize((32, 32), Image.Resampling.BILINEAR))
    pixels, info = SMALL.load_with_info(encode(scene, kind))
    assert pixels.dtype == np.uint8 and pixels.shape == (32, 32, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 2
    assert (info.width, info.height) == (80, 60)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(scene, kind) -> None:
    difference = SMALL.load(encode(scene, kind)).astype(int) - SMALL.load(encode(scene))
    assert np.abs(difference).mean() < 5


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("P", "PNG"), ("RGBA", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("1", "PNG"), ("CMYK", "TIFF")],
)
def test_colour_modes_equal_their_rgb_conversion(scene, mode, kind) -> None:
    image = scene.convert(mode)
    pixels, info = SMALL.load_with_info(encode(image, kind))
    assert info.mode == mode
    assert np.array_equal(pixels, SMALL.load(encode(image.convert("RGB"))))


def test_cmyk_jpeg_is_not_inverted(scene) -> None:
    pixels = SMALL.load(encode(scene.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - SMALL.load(encode(scene))).mean() < 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind) -> None:
    values = np.full((40, 40), 40_000, np.uint16)
    assert set(SMALL.load(encode(Image.fromarray(values), kind)).ravel()) == {40_000 // 256}


@pytest.mark.parametrize(("value", "expected"), [(0.5, 128), (100.0, 100)])
def test_float_images_are_unit_or_byte_ranged(value, expected) -> None:
    image = Image.fromarray(np.full((40, 40), value, np.float32))
    assert set(SMALL.load(encode(image, "TIFF")).ravel()) == {expected}


def test_alpha_is_composited_on_white() -> None:
    clear = Image.new("RGBA", (40, 40), (10, 20, 30, 0))
    assert SMALL.load(encode(clear)).min() == 255


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_gives_the_upright_pixels(scene, kind, orientation) -> None:
    undo = {
        2: "FLIP_LEFT_RIGHT",
        3: "ROTATE_180",
        4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE",
        6: "ROTATE_90",
        7: "TRANSVERSE",
        8: "ROTATE_270",
    }
    turned = scene
    if orientation in undo:
        turned = scene.transpose(Image.Transpose[undo[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels, info = SMALL.load_with_info(encode(turned, kind, exif=exif))
    assert np.array_equal(pixels, SMALL.load(encode(scene, kind)))
    assert (info.width, info.height) == (80, 60)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_refuse_a_sound_photo(scene) -> None:
    pixels = SMALL.load(encode(scene, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage"))
    assert np.array_equal(pixels, SMALL.load(encode(scene, "JPEG")))


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(300, 3), (3, 300), (1, 1), (32, 32)])
def test_any_aspect_ratio_fills_the_input(resize, size) -> None:
    pixels = Preprocessing(size=32, resize=resize).load(encode(Image.new("RGB", size, "red")))
    assert pixels.shape == (32, 32, 3)


def test_crop_takes_the_centre_and_pad_keeps_everything() -> None:
    image = Image.new("RGB", (90, 30), "red")
    image.paste((0, 0, 255), (30, 0, 60, 30))
    crop = Preprocessing(size=30, resize="crop").load(encode(image))
    pad = Preprocessing(size=30, resize="pad").load(encode(image))
    assert (crop == (0, 0, 255)).all()
    assert tuple(pad[0, 0]) == (127, 127, 127) and tuple(pad[15, 0]) == (255, 0, 0)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((0.0, 0.0, 1.0, 1.0), (0, 0, 80, 60)),
        ((0.25, 0.5, 0.5, 0.25), (20, 30, 60, 45)),
        ((0.1, 0.2, 0.3, 0.4), (8, 12, 32, 36)),
        ((0.75, 0.9, 0.25, 0.1), (60, 54, 80, 60)),
        # 40.6 to 41.2 and 30.5 to 31.4 pixels.
        ((0.5075, 0.5083, 0.0075, 0.015), (41, 30, 42, 31)),
        ((0.993, 0.99, 0.007, 0.01), (79, 59, 80, 60)),
    ],
)
def test_a_box_is_a_photo_of_its_own(resize, box, pixels) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    prep = Preprocessing(size=32, resize=resize)
    part, info = prep.load_with_info(encode(image), box)
    assert np.array_equal(part, prep.load(encode(image.crop(pixels))))
    assert np.array_equal(part, prep.load(encode(image), box))
    assert (info.width, info.height) == (80, 60)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_box_is_of_the_upright_photo(scene, orientation) -> None:
    turn = {3: "ROTATE_180", 6: "ROTATE_90", 8: "ROTATE_270"}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = encode(scene.transpose(Image.Transpose[turn]), exif=exif)
    box = (0.5, 0.0, 0.5, 0.5)
    assert set(map(tuple, SMALL.load(turned, box).reshape(-1, 3))) == {(40, 200, 40)}


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("box", [(0.5, 0.5, 0.05, 0.05), (0.1, 0.5, 0.8, 0.05)])
def test_a_box_of_a_jpeg_keeps_its_detail(orientation, box) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((1600, 1200), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(image, "JPEG", quality=95, exif=exif)
    full = Image.open(io.BytesIO(data))
    if orientation == 6:
        full = full.transpose(Image.Transpose.ROTATE_270)
    edges = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    crop = full.crop(tuple(round(e * s) for e, s in zip(edges, full.size * 2, strict=True)))
    assert np.array_equal(SMALL.load(data, box), SMALL.load(encode(crop)))
    # What the detail is worth: without regard to the box, libjpeg would skip 7 of 8 pixels.
    full = Image.open(io.BytesIO(data))
    full.draft(None, (64, 64))
    assert full.size == (200, 150)


def test_a_box_of_a_large_photo_is_cut(scene, monkeypatch) -> None:
    # Pillow refuses to cut more than twice its own limit; only our limit on pixels counts.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    part, info = SMALL.load_with_info(encode(scene), (0.0, 0.0, 1.0, 0.5))
    assert part.shape == (32, 32, 3) and info.width * info.height > 400
    assert Image.MAX_IMAGE_PIXELS == 100
    monkeypatch.setattr("rs_runtime.photos.photo.MAX_PHOTO_PIXELS", 100)
    with pytest.raises(PhotoTooLargeError, match="more than 100"):
        SMALL.load(encode(scene), (0.0, 0.0, 0.01, 0.01))


@pytest.mark.parametrize("box", [(0.5, 0.5, 0.005, 0.5), (0.5, 0.5, 0.5, 0.008)])
def test_a_box_below_a_pixel_is_refused(scene, one_line, box) -> None:
    with pytest.raises(UnreadablePhotoError) as caught:
        SMALL.load(encode(scene), box)
    assert "has less than one pixel of 80 x 60" in one_line(str(caught.value))


@pytest.mark.parametrize(
    "box",
    [
        *((0.5, 0, 0.6, 1), (-0.1, 0, 0.5, 1), (0, 0, 0, 1), (0, 0, 1, -1)),
        *((float("nan"), 0, 1, 1), (0, 0, 1, float("nan")), (0, 0, float("inf"), 1)),
    ],
)
def test_a_box_outside_the_photo_is_a_mistake_of_the_caller(scene, box) -> None:
    with pytest.raises(ValueError, match="within 0 to 1"):
        SMALL.load(encode(scene), box)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        *(("JPEG", ".jpg"), ("PNG", ".png"), ("TIFF", ".tif"), ("GIF", ".gif")),
        *(("BMP", ".bmp"), ("WEBP", ".webp")),
    ],
)
def test_suffixes_by_content(scene, kind, suffix) -> None:
    assert photo_suffix(encode(scene, kind)) == suffix
    assert suffix in PHOTO_SUFFIXES
    assert photo_suffix(b"RIFF....WAVE") is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.9])
def test_truncated_photos_are_refused(one_line, kind, keep) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(UnreadablePhotoError) as caught:
        SMALL.load(data[: int(len(data) * keep)])
    one_line(str(caught.value))


@pytest.mark.parametrize("data", [b"", b"GIF", b"hello", b"\xff\xd8\xff", b"%PDF-1.7\n", b"BM" * 9])
def test_non_images_are_refused(one_line, tmp_path, data) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(UnreadablePhotoError) as caught:
        SMALL.load(path)
    assert "photo.jpg" in one_line(str(caught.value))


@pytest.mark.parametrize("name", ["absent.jpg", ".", "new\nline.jpg", "nul\0.jpg", "x" * 300])
def test_bad_paths_are_refused_in_one_line(one_line, tmp_path, name) -> None:
    with pytest.raises(UnreadablePhotoError) as caught:
        SMALL.load(tmp_path / name)
    one_line(str(caught.value))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_pixel_limit_stops_bombs_before_decoding(one_line) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PhotoTooLargeError, match="60000 x 60000") as caught:
        SMALL.load(png_claiming(60_000, 60_000))
    one_line(str(caught.value))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_byte_limit(monkeypatch, tmp_path, scene) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encode(scene))
    monkeypatch.setattr(rs_runtime.photos.photo, "MAX_PHOTO_BYTES", 50)
    with pytest.raises(PhotoTooLargeError, match="50 bytes"):
        SMALL.load(path)


def test_reading_a_file_takes_no_more_memory_than_it_has_bytes(tmp_path) -> None:
    path = tmp_path / "small.jpg"
    path.write_bytes(b"x" * 1000)
    tracemalloc.start()
    try:
        assert read_photo(path) == b"x" * 1000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("told", [0, 3, 999])
def test_a_file_that_grows_is_read_whole(tmp_path, monkeypatch, told) -> None:
    path = tmp_path / "grows.jpg"
    path.write_bytes(b"x" * 1000)
    real = os.fstat
    monkeypatch.setattr(
        "os.fstat", lambda number: os.stat_result([*real(number)[:6], told, *real(number)[7:]])
    )
    assert read_photo(path) == b"x" * 1000
    monkeypatch.setattr(rs_runtime.photos.photo, "MAX_PHOTO_BYTES", 999)
    with pytest.raises(PhotoTooLargeError):
        read_photo(path)


def test_model_input_maps_bytes_to_the_unit_range() -> None:
    values = SMALL.model_input(np.array([0, 255], np.uint8))
    assert values.dtype == np.float32
    assert np.allclose(values, [-1, 1], atol=1e-6)


def test_dict_round_trip_and_fingerprint() -> None:
    other = Preprocessing(64, "crop", 1.0, 0.0)
    assert Preprocessing.from_dict({**other.to_dict(), "later": 1}) == other
    assert Preprocessing(scale=1.0).fingerprint() == Preprocessing().fingerprint()
    different = {p.fingerprint() for p in (SMALL, other, Preprocessing(64), Preprocessing())}
    assert len(different) == 4


@pytest.mark.parametrize(
    "change",
    [
        *({"size": 0}, {"size": 1e9}, {"size": True}, {"resize": "x"}, {"scale": "1"}),
        *({"offset": float("nan")}, {"scale": None}),
    ],
)
def test_bad_values_are_refused(change) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        Preprocessing.from_dict({**SMALL.to_dict(), **change})


def test_shared_edge_cases_load_or_say_why(one_line, shared) -> None:
    files = sorted((shared / "data" / "edge_cases").iterdir())
    bad = [path for path in files if "truncated" in path.name or path.suffix == ".md"]
    assert len(files) > len(bad) > 0
    for path in files:
        if path in bad:
            with pytest.raises(UnreadablePhotoError) as caught:
                SMALL.load(path)
            assert path.name in one_line(str(caught.value))
        else:
            assert SMALL.load(path).std() > 0
