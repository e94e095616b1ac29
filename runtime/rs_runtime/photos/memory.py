"""Photos that a program holds already: Pillow images and arrays."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError, reason
from rs_runtime.photos.exif import read_exif
from rs_runtime.photos.photo import MAX_PHOTO_PIXELS, PhotoInfo
from rs_runtime.photos.rgb import to_rgb
from rs_runtime.photos.room import claim_room, require_memory
from rs_runtime.photos.stored import IN_MEMORY
from rs_runtime.photos.upright import upright

__all__ = ["decode_in_memory"]

# Pillow reads an image's file when its pixels are wanted, and gives wrong ones if two threads want
# them at once.  Different images seldom share one of these locks.
_LOCKS = tuple(threading.Lock() for _ in range(64))


def decode_in_memory(
    source: Image.Image | NDArray[Any], version: int
) -> tuple[Image.Image, PhotoInfo]:
    """Return an image or array as upright RGB, as :func:`rs_runtime.photos.photo.decode` does.

    Parameters
    ----------
    source
        A Pillow image, turned as its EXIF data say; or an array: uint8 (height, width),
        (height, width, 3) in RGB or (height, width, 4) in RGBA, uint16 or float32 (height, width).
    version
        :attr:`Preprocessing.pixels_version`.

    Raises
    ------
    UnreadablePhotoError
        The array is none of these, or the image cannot be decoded.
    PhotoTooLargeError
        Above 200 megapixels, or larger than the memory allows.
    """
    image = source if isinstance(source, Image.Image) else _from_array(source)
    width, height = image.size
    if width * height > MAX_PHOTO_PIXELS:
        raise PhotoTooLargeError(
            f"{IN_MEMORY} has {width} x {height} pixels, more than {MAX_PHOTO_PIXELS}; shrink it"
        )
    claim_room(width * height)
    require_memory(image, width * height, IN_MEMORY)
    try:
        with _LOCKS[id(image) // 16 % len(_LOCKS)]:
            image.load()
            rgb, (width, height) = upright(to_rgb(image, version), image, image.size)
            exif = read_exif(image)
    except MemoryError as error:
        raise PhotoTooLargeError(f"{IN_MEMORY} needs more memory than there is") from error
    except Exception as error:
        raise UnreadablePhotoError(f"{IN_MEMORY} cannot be decoded: {reason(error)}") from error
    return rgb, PhotoInfo(width, height, image.mode, exif=exif)


def _from_array(array: NDArray[Any]) -> Image.Image:
    form = (array.dtype.name, array.shape[2:])
    grey = form in (("uint8", ()), ("uint16", ()), ("float32", ()))
    if array.ndim in (2, 3) and array.size and (grey or form in (("uint8", (3,)), ("uint8", (4,)))):
        return Image.fromarray(np.ascontiguousarray(array))
    raise UnreadablePhotoError(
        f"array must be uint8 (height, width), (height, width, 3) or (height, width, 4), or uint16 "
        f"or float32 (height, width); got {array.dtype.name} {array.shape}"
    )
