"""Planted faults: unusual formats, damaged files, near-duplicates, pictures of no organism."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from rs_toolkit.sample.background import HABITATS, background
from rs_toolkit.sample.draw import camera, photo_size
from rs_toolkit.sample.overlays import OVERLAYS, overlaid
from rs_toolkit.sample.shapes import Rng

__all__ = ["PAPER", "RESIZED", "encode", "jpeg", "near_duplicate", "non_organism"]

_ORIENTATION = 0x0112
# Stored pixels are turned so that applying the EXIF orientation shows the photo upright.
_TURNS = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
PAPER, _INK = (246, 246, 242), (50, 50, 56)
# Width and height of a resized near-duplicate, as shares of those of its original.
RESIZED = (0.6, 0.85)


def jpeg(image: Image.Image, quality: int = 85, **options: Any) -> bytes:
    """Encode as JPEG."""
    return _encoded(image, "JPEG", quality=quality, **options)


def _encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def encode(rng: Rng, image: Image.Image, fault: str) -> bytes:
    """Encode an RGB picture in the format of ``fault``; a plain JPEG for any other name."""
    if fault in ("grayscale", "cmyk"):
        return jpeg(image.convert("CMYK" if fault == "cmyk" else "L"))
    if fault in ("palette_png", "palette_gif"):
        few = image.quantize(int(rng.choice([32, 64, 128])))
        return _encoded(few, "PNG" if fault == "palette_png" else "GIF")
    if fault == "rgba":
        return _encoded(_faded(rng, image), "PNG")
    if fault == "sixteen_bit":
        gray = np.asarray(image.convert("L"), dtype=np.uint16)
        return _encoded(Image.fromarray(gray * 257), "PNG")
    if fault == "exif_rotated":
        exif = Image.Exif()
        exif[_ORIENTATION] = int(rng.choice(list(_TURNS)))
        return jpeg(image.transpose(_TURNS[exif[_ORIENTATION]]), exif=exif)
    if fault == "truncated":
        # As if copying the file had been interrupted.
        data = jpeg(image)
        return data[: int(len(data) * rng.uniform(0.45, 0.75))]
    return b"" if fault == "zero_byte" else jpeg(image, int(rng.integers(80, 91)))


def _faded(rng: Rng, image: Image.Image) -> Image.Image:
    """Make the corners of a picture transparent."""
    x = np.linspace(-1, 1, image.width)
    y = np.linspace(-1, 1, image.height)[:, None]
    power = float(rng.choice([4, 6, 10]))
    alpha = np.clip((1.15 - np.abs(x) ** power - np.abs(y) ** power) * 6, 0, 1)
    faded = image.convert("RGBA")
    faded.putalpha(Image.fromarray((alpha * 255).astype(np.uint8)))
    return faded


def near_duplicate(rng: Rng, data: bytes, how: str) -> bytes:
    """Return a changed copy of a photo file; ``how`` is one of :data:`plan.NEAR_WAYS`."""
    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    if how == "recompressed":
        return jpeg(image, int(rng.integers(35, 60)))
    if how == "resized":
        share = rng.uniform(*RESIZED)
        size = (round(image.width * share), round(image.height * share))
        return jpeg(image.resize(size, Image.Resampling.BICUBIC))
    if how == "cropped":
        left, top, right, bottom = rng.uniform(0.02, 0.08, 4)
        edges = np.array([left, top, 1 - right, 1 - bottom]) * [*image.size, *image.size]
        return jpeg(image.crop(tuple(map(round, edges.tolist()))))
    if how in OVERLAYS:
        return jpeg(overlaid(rng, image, how))
    light = float(rng.choice([0.72, 0.8, 1.2, 1.3]))
    return jpeg(image.point([min(255, round(v * light)) for v in range(256)] * 3))


def non_organism(rng: Rng, kind: str) -> Image.Image:
    """Draw a picture without an organism; ``kind`` is one of :data:`plan.NON_ORGANISMS`."""
    size = photo_size(rng)
    if kind == "landscape":
        return camera(rng, background(rng, HABITATS[int(rng.integers(len(HABITATS)))], size))
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    {"document": _document, "chart": _chart, "screenshot": _screenshot}[kind](rng, draw, *size)
    grain = rng.standard_normal((size[1], size[0], 3)) * 1.5
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def _text(rng: Rng, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """Draw lines of bars that look like words."""
    left, top, right, bottom = box
    for y in range(top, bottom - 3, 7):
        x, end = left, right - int(rng.integers(0, max(2, (right - left) // 3)))
        while x < end:
            word = int(rng.integers(4, 18))
            draw.rectangle((x, y, min(x + word, end), y + 2), fill=_INK)
            x += word + 4


def _document(rng: Rng, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.rectangle((14, 12, 14 + width // 2, 18), fill=_INK)
    _text(rng, draw, (14, 28, width - 12, height - 10))


def _chart(rng: Rng, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    draw.line([(18, 10), (18, height - 16), (width - 8, height - 16)], fill=_INK, width=2)
    count = int(rng.integers(4, 9))
    step = (width - 32) / count
    for k in range(count):
        top = int(rng.uniform(0.12, 0.8) * height)
        left = round(22 + k * step)
        colour = tuple(int(v) for v in rng.integers(50, 210, 3))
        draw.rectangle((left, top, round(left + step * 0.7), height - 17), fill=colour)


def _screenshot(rng: Rng, draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    tint = tuple(int(v) for v in rng.integers(40, 170, 3))
    draw.rectangle((0, 0, width, 14), fill=tint)
    for k, dot in enumerate(((232, 92, 84), (236, 188, 72), (104, 190, 96))):
        draw.ellipse((4 + 9 * k, 4, 10 + 9 * k, 10), fill=dot)
    side = width // 4
    draw.rectangle((0, 15, side, height), fill=(222, 224, 230))
    _text(rng, draw, (5, 22, side - 4, height // 2))
    draw.rectangle((side + 8, 24, width - 10, 24 + height // 4), fill=tint)
    _text(rng, draw, (side + 8, 34 + height // 4, width - 10, height - 8))
