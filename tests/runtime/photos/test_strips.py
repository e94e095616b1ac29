"""Large TIFFs read in bands: the same pixels as from the whole photo, in little memory."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError
from rs_runtime.photos import photo, room, strips
from rs_runtime.photos.photo import decode, inspect

HEIGHT, WIDTH = 101, 77
BY = 4
SIDE = WIDTH // BY
LEVELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch) -> None:
    monkeypatch.setattr("rs_runtime.photos.room.LARGE_PIXELS", 1)
    # A few rows a band.
    monkeypatch.setattr(strips, "_BAND_PIXELS", WIDTH * 20)


def saved(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "TIFF", **options)
    return stream.getvalue()


def written(values: np.ndarray, order: str, tile: int | None, rows: int, packed: bool) -> bytes:
    """A TIFF that Pillow cannot write: tiles, strips of any height, 16 bits a channel."""
    height, width = values.shape[:2]
    values = values.reshape(height, width, -1)
    depth, samples = values.dtype.itemsize, values.shape[2]
    stored = values.astype(values.dtype.newbyteorder(order))
    if tile:
        padded = np.pad(stored, ((0, -height % tile), (0, -width % tile), (0, 0)), "edge")
        parts = [
            padded[top : top + tile, left : left + tile].tobytes()
            for top in range(0, height, tile)
            for left in range(0, width, tile)
        ]
    else:
        parts = [stored[top : top + rows].tobytes() for top in range(0, height, rows)]
    if packed:
        parts = [zlib.compress(part) for part in parts]
    file = io.BytesIO()
    file.write((b"II" if order == "<" else b"MM") + struct.pack(order + "HL", 42, 0))
    offsets = []
    for part in parts:
        offsets.append(file.tell())
        file.write(part)
    place, size = (324, 325) if tile else (273, 279)
    fields = [
        *((256, "L", [width]), (257, "L", [height]), (258, "H", [8 * depth] * samples)),
        *((259, "H", [8 if packed else 1]), (262, "H", [2 if samples == 3 else 1])),
        *((place, "L", offsets), (277, "H", [samples])),
        *((size, "L", [len(part) for part in parts]), (284, "H", [1])),
        *([(322, "L", [tile]), (323, "L", [tile])] if tile else [(278, "L", [rows])]),
    ]
    entries = []
    for tag, code, numbers in sorted(fields):
        content = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(content) > 4:
            at = file.tell()
            file.write(content)
            content = struct.pack(order + "L", at)
        kind = 3 if code == "H" else 4
        entries.append(
            struct.pack(order + "HHL", tag, kind, len(numbers)) + content.ljust(4, b"\0")
        )
    start = file.tell()
    file.write(struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4))
    data = bytearray(file.getvalue())
    data[4:8] = struct.pack(order + "L", start)
    return bytes(data)


def reduced(data: bytes) -> np.ndarray:
    return np.asarray(decode(data, SIDE)[0])


def whole(data: bytes, monkeypatch) -> np.ndarray:
    with monkeypatch.context() as patched:
        patched.setattr(photo, "_reduced_tiff", lambda *_: None)
        return np.asarray(decode(data, SIDE)[0].reduce(BY))


RGB = Image.fromarray(LEVELS)
IMAGES = {
    "RGB": RGB,
    "RGBA": Image.fromarray(np.dstack([LEVELS, LEVELS[..., :1]])),
    "CMYK": RGB.convert("CMYK"),
    "L": RGB.convert("L"),
    "LA": RGB.convert("LA"),
    "P": RGB.quantize(16),
    "1": RGB.convert("1"),
}


@pytest.mark.parametrize("mode", IMAGES)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "packbits", "jpeg"])
def test_bands_give_the_means_of_the_whole_photo(monkeypatch, mode, compression) -> None:
    if compression == "jpeg" and mode in ("P", "1", "LA", "RGBA"):
        pytest.skip("no JPEG of this mode")
    options = {"strip_size": 3000} if compression != "raw" else {}
    data = saved(IMAGES[mode], compression=compression, **options)
    assert np.array_equal(reduced(data), whole(data, monkeypatch))
    assert reduced(data).shape == (-(-HEIGHT // BY), -(-WIDTH // BY), 3)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("tile", [None, 16, 48])
@pytest.mark.parametrize("rows", [1, 7, HEIGHT])
def test_tiles_and_strips_of_any_height(monkeypatch, order, packed, tile, rows) -> None:
    data = written(LEVELS, order, tile, rows, packed)
    assert np.array_equal(reduced(data), whole(data, monkeypatch))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("samples", [1, 3])
def test_16_bits_are_averaged_before_they_become_8(order, packed, bits, samples) -> None:
    deep = LEVELS[..., :samples].astype(np.uint16) << (bits - 8)
    deep[:BY, :BY] = 2**bits - 1
    sums = [
        [deep[top : top + BY, left : left + BY].mean((0, 1)) for left in range(0, WIDTH, BY)]
        for top in range(0, HEIGHT, BY)
    ]
    wanted = np.floor(np.array(sums) + 0.5).astype(np.uint16) >> (bits - 8)
    found = reduced(written(deep, order, None, 5, packed))
    assert np.array_equal(found, np.broadcast_to(wanted, found.shape))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_are_turned_upright(monkeypatch, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(RGB, exif=exif)
    image, info = decode(data, SIDE)
    size = (HEIGHT, WIDTH) if orientation > 4 else (WIDTH, HEIGHT)
    assert (info.width, info.height) == size
    monkeypatch.setattr(photo, "_reduced_tiff", lambda *_: None)
    upright, known = decode(data, SIDE)
    assert (upright.size, known) == (size, info)
    # Blocks at the edges hold other pixels if the photo was turned before.
    inner = np.asarray(image.resize((8, 8))).astype(int)
    assert np.abs(inner - np.asarray(upright.resize((8, 8)))).max() < 40
    assert inspect(data) == info


def test_floats_planes_and_wrong_tables_are_read_whole(monkeypatch) -> None:
    floats = saved(Image.fromarray(LEVELS[..., 0].astype(np.float32)))
    assert reduced(floats).shape == LEVELS.shape
    data = written(LEVELS, "<", None, 7, False)
    # A strip that claims more bytes than the file has.
    size = struct.pack("<L", 7 * WIDTH * 3)
    wrong = data.replace(size, struct.pack("<L", 2**31), 1)
    assert wrong != data
    assert np.array_equal(reduced(wrong), LEVELS)


def test_damage_and_a_lack_of_memory_give_a_reason(monkeypatch) -> None:
    data = written(LEVELS, "<", None, 7, True)
    with pytest.raises(UnreadablePhotoError, match="cannot be decoded"):
        decode(data[:20] + bytes(200) + data[220:], SIDE)
    monkeypatch.setattr("rs_runtime.photos.room._free_bytes", lambda: 1000)
    with pytest.raises(PhotoTooLargeError, match=r"needs about .* MB are free; shrink it"):
        decode(data, SIDE)


def test_small_photos_and_older_models_take_every_pixel(monkeypatch) -> None:
    data = saved(RGB)
    assert decode(data, SIDE, version=2)[0].size == (WIDTH, HEIGHT)
    assert decode(data, WIDTH)[0].size == (WIDTH, HEIGHT)
    monkeypatch.setattr("rs_runtime.photos.room.LARGE_PIXELS", WIDTH * HEIGHT)
    assert decode(data, SIDE)[0].size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("mode", "options", "bytes_a_pixel"),
    [
        ("RGB", {"progressive": True, "subsampling": 2}, 3),
        ("RGB", {"progressive": True, "subsampling": 0}, 6),
        ("L", {"progressive": True}, 2),
        ("RGB", {}, 5),
    ],
)
def test_the_memory_that_a_jpeg_needs(mode, options, bytes_a_pixel) -> None:
    stream = io.BytesIO()
    RGB.convert(mode).save(stream, "JPEG", **options)
    assert room._needed_bytes(Image.open(stream), 1000) == 1000 * bytes_a_pixel
