"""Photos with more than 8 bits: scaled by the range that their values need."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing

SMALL = Preprocessing(size=32)
BEFORE = replace(SMALL, pixels_version=1)
LEVELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
LEVELS[0, 0] = 255


def encode(values: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, kind)
    return stream.getvalue()


def deep_png(values: np.ndarray) -> bytes:
    """An RGB PNG with 16 bits a channel, which Pillow cannot write."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = (
        (b"IHDR", struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0)),
        *((b"IDAT", zlib.compress(rows)), (b"IEND", b"")),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_any_bit_depth_in_16_bits_gives_its_levels(bits, kind) -> None:
    grey = LEVELS[..., 0]
    pixels = SMALL.load(encode((grey << (bits - 8)).astype(np.uint16), kind))
    assert np.array_equal(pixels, np.repeat(grey[..., None], 3, 2))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_rgb_of_any_bit_depth_in_16_bits_gives_its_levels(bits) -> None:
    assert np.array_equal(SMALL.load(deep_png(LEVELS << (bits - 8))), LEVELS)


def test_a_dark_photo_of_8_bits_stays_dark() -> None:
    dark = (LEVELS // 16).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(SMALL.load(encode(dark, kind)), dark)


@pytest.mark.parametrize("white", [1.0, 255.0, 4095.0, 65535.0])
def test_floats_of_the_usual_ranges_give_their_levels(white) -> None:
    grey = LEVELS[..., 0]
    pixels = SMALL.load(encode((grey / 255 * white).astype(np.float32), "TIFF"))
    assert np.array_equal(pixels, np.repeat(grey[..., None], 3, 2))


def test_glints_and_gaps_do_not_darken_a_float_image() -> None:
    values = (LEVELS[..., 0] / 255).astype(np.float32)
    values[0, :4] = (1.2, np.nan, np.inf, -np.inf)
    pixels = SMALL.load(encode(values, "TIFF"))[..., 0]
    assert np.array_equal(pixels[1:], LEVELS[1:, :, 0])
    assert list(pixels[0, :4]) == [255, 0, 255, 0]


@pytest.mark.parametrize(("low", "high"), [(280.0, 310.0), (-20.0, 40.0), (0.01, 0.05)])
def test_floats_of_another_range_are_spread_over_it(low, high) -> None:
    grey = LEVELS[..., 0].copy()
    grey[0, 1] = 0
    values = (low + grey / 255 * (high - low)).astype(np.float32)
    difference = SMALL.load(encode(values, "TIFF"))[..., 0].astype(int) - grey
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("value", [-5.0, 0.0, 0.5, 100.0, float("nan"), 3e38])
def test_a_uniform_float_image_is_uniform(value) -> None:
    pixels = SMALL.load(encode(np.full((32, 32), value, np.float32), "TIFF"))
    assert len(set(pixels.ravel())) == 1


def test_older_models_keep_the_pixels_that_they_were_trained_with() -> None:
    integers = encode(np.full((32, 32), 2000, np.uint16), "PNG")
    floats = encode(np.full((32, 32), 1000.0, np.float32), "TIFF")
    assert set(BEFORE.load(integers).ravel()) == {2000 // 256}
    assert set(BEFORE.load(deep_png(np.full((32, 32, 3), 2000))).ravel()) == {2000 // 256}
    assert set(BEFORE.load(floats).ravel()) == {255}
    # Caches keep them apart, and those of earlier releases are still right for version 1.
    assert BEFORE.fingerprint() != SMALL.fingerprint()
    saved = SMALL.to_dict()
    del saved["pixels_version"]
    assert Preprocessing.from_dict(saved) == BEFORE
    assert Preprocessing.from_dict(SMALL.to_dict()) == SMALL
