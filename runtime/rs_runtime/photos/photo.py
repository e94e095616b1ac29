"""Decode photos of any camera or program to upright RGB images."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError, reason

__all__ = [
    "MAX_PHOTO_BYTES",
    "MAX_PHOTO_PIXELS",
    "PHOTO_SUFFIXES",
    "PhotoInfo",
    "cut",
    "decode",
    "photo_suffix",
    "read_photo",
]

MAX_PHOTO_BYTES = 200_000_000
MAX_PHOTO_PIXELS = 200_000_000

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"}
)

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_limit_lock = threading.Lock()


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo is before preprocessing: its size in pixels, after the EXIF orientation.

    ``mode`` is Pillow's name of the stored colour mode, such as ``RGB`` or ``CMYK``.
    """

    width: int
    height: int
    mode: str


def photo_suffix(data: bytes) -> str | None:
    """Return the suffix of the format that a file's first bytes show; None if it is unknown."""
    kind = _kind(data)
    short = {"JPEG": "jpg", "TIFF": "tif"}
    return None if kind is None else f".{short.get(kind, kind.lower())}"


def decode(source: Path | bytes, side: int) -> tuple[Image.Image, PhotoInfo]:
    """Decode a photo (of an animation or a document, the first frame) to upright RGB.

    ``source`` is a file, or a file's bytes.  A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size
    if both sides keep at least ``side`` pixels; the image is then smaller than PhotoInfo says.

    Raises
    ------
    UnreadablePhotoError
        The photo is missing, empty, no image of the known formats, or damaged.
    PhotoTooLargeError
        Above 200 MB or 200 megapixels.
    """
    where = "photo in memory" if isinstance(source, bytes) else f"photo {str(source)!r}"
    data = source if isinstance(source, bytes) else read_photo(source, where)
    if not data:
        raise UnreadablePhotoError(f"{where} is empty (0 bytes); copy it again from the camera")
    if len(data) > MAX_PHOTO_BYTES:
        raise PhotoTooLargeError(f"{where} is larger than {MAX_PHOTO_BYTES} bytes; shrink it")
    # Pillow documents no closed set of exceptions for malformed files.
    try:
        return _decode(data, side, where)
    except (PhotoTooLargeError, UnreadablePhotoError):
        raise
    except Image.DecompressionBombError as error:
        raise PhotoTooLargeError(f"{where} is too large: {reason(error)}; shrink it") from error
    except Exception as error:
        raise UnreadablePhotoError(
            f"{where} cannot be decoded: {reason(error)}; copy it again from the camera"
        ) from error


def cut(image: Image.Image, edges: tuple[int, int, int, int]) -> Image.Image:
    """Crop an image from :func:`decode` to ``edges``: left, top, right, bottom, in pixels."""
    with _without_pillow_limit():
        return image.crop(edges)


@contextlib.contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Turn Pillow's own size limit off, so that only MAX_PHOTO_PIXELS applies.

    When a file is opened or an image cropped, Pillow warns above 89 megapixels and raises an error
    above 179.
    """
    with _limit_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def read_photo(path: Path, name: str | None = None) -> bytes:
    """Return the bytes of a photo file.  Error messages call it ``name`` (default: its path).

    Raises
    ------
    UnreadablePhotoError
        The file is missing, no regular file, or not readable.
    PhotoTooLargeError
        It has more than 200 MB.
    """
    where = name or str(path)
    # os.path raises no error for impossible names, and isfile is false for devices.
    if not os.path.isfile(path):
        problem = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise UnreadablePhotoError(f"{where} {problem}; check the path")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PHOTO_BYTES + 1)
    except OSError as error:
        raise UnreadablePhotoError(
            f"{where} cannot be read: {error.strerror}; check its permissions and the disk"
        ) from error
    if len(data) > MAX_PHOTO_BYTES:
        raise PhotoTooLargeError(f"{where} is larger than {MAX_PHOTO_BYTES} bytes; shrink it")
    return data


def _decode(data: bytes, side: int, where: str) -> tuple[Image.Image, PhotoInfo]:
    image = _open(data, where)
    width, height = image.size
    if width * height > MAX_PHOTO_PIXELS:
        raise PhotoTooLargeError(
            f"{where} has {width} x {height} pixels, more than {MAX_PHOTO_PIXELS}; shrink it"
        )
    mode = image.mode
    image.draft(None, (side, side))
    image.load()
    orientation = _orientation(image)
    rgb = _to_rgb(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
        if orientation >= 5:
            width, height = height, width
    return rgb, PhotoInfo(width, height, mode)


def _kind(data: bytes) -> str | None:
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)


def _open(data: bytes, where: str) -> Image.Image:
    kind = _kind(data)
    if kind is None:
        raise UnreadablePhotoError(
            f"{where} is no JPEG, PNG, TIFF, BMP, WebP or GIF image; convert it, or leave it out"
        )
    # If formats are named, Pillow loads its basic plugins only; these two are not among them.
    if kind == "TIFF":
        from PIL import TiffImagePlugin  # noqa: F401
    elif kind == "WEBP":
        from PIL import WebPImagePlugin  # noqa: F401
    # Only the header is read here.
    with _without_pillow_limit():
        return Image.open(io.BytesIO(data), formats=[kind])


def _orientation(image: Image.Image) -> int:
    # A photo with sound pixels is used even if its EXIF data are damaged.
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        floats = np.nan_to_num(np.asarray(image), posinf=0.0, neginf=0.0)
        unit = 255.0 if floats.max(initial=0.0) <= 1.0 else 1.0
        levels = np.clip(floats * unit, 0, 255).round().astype(np.uint8)
        return Image.fromarray(levels).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", layers.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")
