"""Open an image's file with the one Pillow plugin that its format needs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from rs_runtime.photos.room import LARGE_PIXELS
from rs_runtime.stderr import quiet_libraries

if TYPE_CHECKING:
    from PIL import ImageFile

__all__ = ["load_image", "open_image", "without_pillow_limit"]

_limit_lock = threading.Lock()


def open_image(file: BinaryIO, kind: str) -> ImageFile.ImageFile:
    """Return the image in a file of format ``kind``, as photo_kind names it; decodes nothing."""
    if kind == "HEIF":
        from pillow_heif import register_heif_opener

        register_heif_opener()
    elif kind not in Image.OPEN:
        name = "WebP" if kind == "WEBP" else kind.capitalize()
        import_module(f"PIL.{name}ImagePlugin")
    file.seek(0)
    # Image.open would import five plugins first, and its errors do not say what is wrong.
    with without_pillow_limit():
        found: ImageFile.ImageFile = Image.OPEN[kind][0](file, "")
    return found


def load_image(image: ImageFile.ImageFile) -> None:
    """Decode an image from :func:`open_image`."""
    with contextlib.ExitStack() as stack:
        if image.format == "TIFF":
            # libtiff writes to standard error.
            stack.enter_context(quiet_libraries())
            # Of a TIFF, Pillow looks at the size once more.
            if image.width * image.height > LARGE_PIXELS:
                stack.enter_context(without_pillow_limit())
        image.load()


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
