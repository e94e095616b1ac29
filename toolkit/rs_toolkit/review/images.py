"""Photos as the page shows them: small JPEGs that are made here, never the original files."""

from __future__ import annotations

import io
import math
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw

from rs_runtime.errors import PhotoError
from rs_runtime.photos.photo import cut, decode, read_photo
from rs_toolkit.data.photos import Photo, parse_box
from rs_toolkit.data.readers.reading import relative_path
from rs_toolkit.files import sha256_bytes

__all__ = ["SIDES", "render"]

SIDES = {"large": 1280, "small": 400}
"""Largest width or height in pixels, by the name of the size that the page asks for."""

_GREY = (128, 128, 128)
_QUALITY = 88


def render(photo: Photo, root: Path, side: int) -> bytes:
    """Return a photo as JPEG, upright, cut to its box, at most ``side`` pixels wide and high.

    A photo that cannot be shown becomes a grey picture that says why: its path leads out of
    ``root``, or its file is missing, damaged, changed, or beyond 200 MB or 200 megapixels.
    """
    try:
        image = _load(photo, root, side)
    except PhotoError as error:
        reason = str(error).removeprefix(f"{root / photo.path} ").removeprefix("photo in memory ")
        image = _placeholder(reason)
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _load(photo: Photo, root: Path, side: int) -> Image.Image:
    path, problem = relative_path(photo.path)
    if problem:
        raise PhotoError(problem)
    data = read_photo(root / path)
    if photo.sha256 and sha256_bytes(data) != photo.sha256:
        raise PhotoError("changed since it was indexed; run clean again")
    if photo.box is None:
        return decode(data, side)[0]
    left, top, width, height = parse_box(photo.box)
    image, _ = decode(data, math.ceil(side / min(width, height)))
    across, down = image.size
    x, y = math.floor(left * across), math.floor(top * down)
    right, bottom = math.ceil((left + width) * across), math.ceil((top + height) * down)
    return cut(image, (x, y, min(right, across), min(bottom, down)))


def _placeholder(reason: str) -> Image.Image:
    image = Image.new("RGB", (400, 300), _GREY)
    # Pillow's default font has few characters beyond ASCII.
    text = "\n".join(textwrap.wrap(reason.encode("ascii", "replace").decode(), 36)[:12])
    ImageDraw.Draw(image).multiline_text((16, 16), f"Cannot be shown:\n{text}", fill="white")
    return image
