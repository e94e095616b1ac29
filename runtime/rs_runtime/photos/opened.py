"""Open an image's file with the one Pillow plugin that its format needs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

if TYPE_CHECKING:
    from PIL import ImageFile

__all__ = ["open_image", "without_pillow_limit"]

_limit_lock = threading.Lock()


def open_image(file: BinaryIO, kind: str) -> ImageFile.ImageFile:
    """Return the image in a file of format ``kind``, as photo_kind names it; decodes nothing."""
    # If formats are named, Pillow loads its basic plugins only; these are not among them.
    if kind == "TIFF":
        from PIL import TiffImagePlugin  # noqa: F401
    elif kind == "WEBP":
        from PIL import WebPImagePlugin  # noqa: F401
    elif kind == "AVIF":
        from PIL import AvifImagePlugin  # noqa: F401
    elif kind == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    # Only the header is read here.
    with without_pillow_limit():
        return Image.open(file, formats=[kind])


@contextlib.contextmanager
def without_pillow_limit() -> Iterator[None]:
    """Turn Pillow's own size limit off in the block, so that only MAX_PHOTO_PIXELS applies.

    When a file is opened or an image cropped, Pillow warns above 89 megapixels and raises an error
    above 179.
    """
    with _limit_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit
