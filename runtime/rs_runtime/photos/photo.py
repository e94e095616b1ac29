"""Decode photos of any camera or program to upright RGB images."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from PIL import Image

from rs_runtime.errors import PhotoError, PhotoTooLargeError, UnreadablePhotoError, reason
from rs_runtime.photos import PIXELS_VERSION, room
from rs_runtime.photos.exif import Exif, read_exif
from rs_runtime.photos.formats import HEAD_BYTES, photo_kind, unsupported_kind
from rs_runtime.photos.opened import load_image, open_image, without_pillow_limit
from rs_runtime.photos.repair import completed_jpeg, has_blank_tail, row_hashes, without_texts
from rs_runtime.photos.rgb import to_rgb
from rs_runtime.photos.stored import photo_name
from rs_runtime.photos.upright import upright, upright_size

if TYPE_CHECKING:
    from PIL import ImageFile

__all__ = [
    "MAX_PHOTO_BYTES",
    "MAX_PHOTO_PIXELS",
    "PhotoInfo",
    "cut",
    "decode",
    "inspect",
    "read_photo",
]

MAX_PHOTO_BYTES = 200_000_000
MAX_PHOTO_PIXELS = 200_000_000

# A JPEG that lacks its last bytes is compared at a fraction of its size if both sides keep so many
# pixels.  It does not depend on the model, so that a photo is used at every size or at none.
_COMPARED_SIDE = 3000
# The least share of its rows with which a JPEG that lacks its last bytes is used.
_ENOUGH_ROWS = 0.95

# What Pillow's errors say about sound files of kinds that it does not know.
_UNSUPPORTED = (
    "unsupported",
    "not supported",
    "cannot handle",
    "unknown pixel mode",
    "unavailable",
)


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo is before preprocessing: its size in pixels, after the EXIF orientation.

    ``mode`` is Pillow's name of the stored colour mode, such as ``RGB`` or ``CMYK``.  ``note`` says
    what is missing of a photo that is used nevertheless, None where nothing is.  ``exif`` is None
    where the photo itself was not at hand.
    """

    width: int
    height: int
    mode: str
    note: str | None = None
    exif: Exif | None = field(default=None, compare=False)


def decode(
    source: Path | bytes, side: int, version: int = PIXELS_VERSION
) -> tuple[Image.Image, PhotoInfo]:
    """Decode a photo (of an animation or a document, the first frame) to upright RGB.

    ``source`` is a file, or a file's bytes.  A JPEG, and a TIFF of more than 20 megapixels, may be
    decoded at 1/2, 1/4 or 1/8 of its size if both sides keep at least ``side`` pixels; the image is
    then smaller than PhotoInfo says.
    ``version`` is :attr:`Preprocessing.pixels_version`.

    A JPEG that lacks its last bytes is used if at least 95 % of its rows can be decoded; PhotoInfo
    then has a note.

    Raises
    ------
    UnreadablePhotoError
        The photo is missing, empty, no image of the known formats, or damaged.
    PhotoTooLargeError
        Above 200 MB or 200 megapixels, or larger than the memory allows.
    """
    where = photo_name(source)
    data = source if isinstance(source, bytes) else read_photo(source, where)
    if len(data) > MAX_PHOTO_BYTES:
        raise PhotoTooLargeError(f"{where} is larger than {MAX_PHOTO_BYTES} bytes; shrink it")
    kind = _kind(data, where)
    # Pillow documents no closed set of exceptions for malformed files.
    try:
        return _decode(data, kind, side, where, version)
    except PhotoError:
        raise
    except Exception as error:
        raise _refusal(error, data, kind, where) from error


def inspect(source: Path | bytes) -> PhotoInfo:
    """Return what the head of a photo says of it, without decoding it; errors as for decode."""
    where = photo_name(source)
    if isinstance(source, bytes):
        return _inspect(io.BytesIO(source), where)
    _require_file(source, where)
    try:
        with source.open("rb") as file:
            return _inspect(file, where)
    except OSError as error:
        raise _unreadable(error, where) from error


def _inspect(file: BinaryIO, where: str) -> PhotoInfo:
    head = file.read(HEAD_BYTES)
    kind = _kind(head, where)
    file.seek(0)
    try:
        image = open_image(file, kind)
        width, height = upright_size(image, _stored_size(image))
        return PhotoInfo(width, height, image.mode, None, read_exif(image))
    except Exception as error:
        raise _refusal(error, head, kind, where) from error


def _kind(data: bytes, where: str) -> str:
    """Return Pillow's name of a photo's format; raise UnreadablePhotoError if it is not read."""
    if not data:
        raise UnreadablePhotoError(f"{where} is empty (0 bytes); copy it again from the camera")
    kind = photo_kind(data)
    if kind is None:
        known = "is no JPEG, PNG, TIFF, BMP, WebP or GIF image; convert it, or leave it out"
        raise UnreadablePhotoError(f"{where} {unsupported_kind(data) or known}")
    return kind


def _refusal(error: Exception, data: bytes, kind: str, where: str) -> PhotoError:
    """Return the error that says why a photo cannot be used, and what can be done about it."""
    if isinstance(error, MemoryError) or "out of memory" in str(error):
        return PhotoTooLargeError(f"{where} needs more memory than there is; shrink it")
    problem = reason(error)
    if any(text in problem.lower() for text in _UNSUPPORTED):
        return UnreadablePhotoError(
            f"{where} is a kind of {kind} that is not supported ({problem}); convert it to JPEG"
        )
    return UnreadablePhotoError(
        f"{where} cannot be decoded: {problem}; copy it again from the camera"
    )


def cut(image: Image.Image, edges: tuple[int, int, int, int]) -> Image.Image:
    """Crop an image from :func:`decode` to ``edges``: left, top, right, bottom, in pixels."""
    with without_pillow_limit():
        return image.crop(edges)


def read_photo(path: Path, name: str | None = None) -> bytes:
    """Return the bytes of a photo file.  Error messages call it ``name`` (default: its path).

    Raises
    ------
    UnreadablePhotoError
        The file is missing, no regular file, or not readable.
    PhotoTooLargeError
        It has more than 200 MB, or than the memory allows.
    """
    where = name or str(path)
    _require_file(path, where)
    try:
        with room.enough_memory(where), path.open("rb") as file:
            # Python reserves at once all that a call may return.
            size = min(os.fstat(file.fileno()).st_size, MAX_PHOTO_BYTES)
            data = file.read(size + 1)
            if len(data) > size:
                # It grows, or the system does not know its size.
                data += file.read(MAX_PHOTO_BYTES - size)
    except OSError as error:
        raise _unreadable(error, where) from error
    if len(data) > MAX_PHOTO_BYTES:
        raise PhotoTooLargeError(f"{where} is larger than {MAX_PHOTO_BYTES} bytes; shrink it")
    return data


def _require_file(path: Path, where: str) -> None:
    # os.path raises no error for impossible names, and isfile is false for devices.
    if not os.path.isfile(path):
        problem = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise UnreadablePhotoError(f"{where} {problem}; check the path")


def _unreadable(error: OSError, where: str) -> UnreadablePhotoError:
    problem = f"cannot be read: {error.strerror}; check its permissions and the disk"
    return UnreadablePhotoError(f"{where} {problem}")


def _decode(
    data: bytes, kind: str, side: int, where: str, version: int
) -> tuple[Image.Image, PhotoInfo]:
    if kind == "TIFF" and version > 2:
        found = _reduced_tiff(data, side, where)
        if found is not None:
            return found
    image, size, note = _loaded(data, kind, side, where)
    rgb = to_rgb(image, version)
    # Pillow keeps only the high bytes of RGB with 16 bits a channel: little of 14 bits or fewer.
    if version > 1 and image.mode == "RGB" and kind in ("PNG", "TIFF") and _is_dark(rgb):
        from rs_runtime.photos.levels import from_bytes, low_bytes

        low = low_bytes(data, kind)
        rgb = rgb if low is None else from_bytes(rgb, low)
    rgb, (width, height) = upright(rgb, image, size)
    return rgb, PhotoInfo(width, height, image.mode, note, read_exif(image))


def _reduced_tiff(data: bytes, side: int, where: str) -> tuple[Image.Image, PhotoInfo] | None:
    """Return a large TIFF at 1/2, 1/4 or 1/8 of its size; None for others."""
    image = _opened(data, "TIFF", where)
    by = max((by for by in (2, 4, 8) if by * side <= min(image.size)), default=1)
    if image.width * image.height <= room.LARGE_PIXELS or by == 1:
        return None
    from rs_runtime.photos.strips import in_bands

    rgb = in_bands(image, data, by, where)
    if rgb is None:
        return None
    rgb, (width, height) = upright(rgb, image, _stored_size(image))
    return rgb, PhotoInfo(width, height, image.mode, None, read_exif(image))


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height of an image that is not decoded yet, before it is turned."""
    # Pillow tells those of a TIFF, in some of its releases, as they are after that.
    tags = getattr(image, "tag_v2", {})
    return (tags[256], tags[257]) if image.format == "TIFF" else image.size


def _loaded(
    data: bytes, kind: str, side: int, where: str
) -> tuple[Image.Image, tuple[int, int], str | None]:
    """Return a decoded photo, its full width and height, and what is missing of it."""
    problem: Exception | None = None
    try:
        found = _load(data, kind, side, where)
    except (PhotoError, MemoryError):
        raise
    except Exception as error:
        if kind == "PNG":
            return *_load(without_texts(data), kind, side, where), None
        if kind != "JPEG":
            raise
        problem = error
    if problem is None and not (kind == "JPEG" and has_blank_tail(data)):
        return *found, None
    share, whole = _decoded_share(data, where)
    if problem is None and share == 1:
        return *found, None
    lack = f"lacks its last bytes; {share:.0%} of its rows are decoded"
    if share < _ENOUGH_ROWS:
        raise problem or UnreadablePhotoError(f"{where} {lack}; copy it again from the camera")
    return *_load(whole, kind, side, where), lack


def _decoded_share(data: bytes, where: str) -> tuple[float, bytes]:
    """Return the share of a JPEG's rows, 0 to 1, before its missing bytes, and a whole JPEG."""
    complete = completed_jpeg(data)
    if complete is None:
        return 0.0, data
    try:
        # One after the other, because each takes 4 bytes a pixel.
        rows, others = (row_hashes(_load(x, "JPEG", _COMPARED_SIDE, where)[0]) for x in complete)
    except PhotoError:
        raise
    except Exception:
        return 0.0, data
    differing = (row for row, other in enumerate(others) if other != rows[row])
    return next(differing, len(rows)) / len(rows), complete[0]


def _load(data: bytes, kind: str, side: int, where: str) -> tuple[Image.Image, tuple[int, int]]:
    image = _opened(data, kind, where)
    size = width, height = image.size
    image.draft(None, (side, side))
    # Of a progressive JPEG, libjpeg holds all coefficients, whatever the size that is asked for.
    pixels = width * height if "progressive" in image.info else image.width * image.height
    room.claim_room(pixels)
    room.require_memory(image, pixels, where)
    load_image(image)
    return image, size


def _opened(data: bytes, kind: str, where: str) -> ImageFile.ImageFile:
    image = open_image(io.BytesIO(data), kind)
    width, height = image.size
    if width * height > MAX_PHOTO_PIXELS:
        raise PhotoTooLargeError(
            f"{where} has {width} x {height} pixels, more than {MAX_PHOTO_PIXELS}; shrink it"
        )
    return image


def _is_dark(rgb: Image.Image) -> bool:
    extrema = cast("tuple[tuple[int, int], ...]", rgb.getextrema())
    return all(highest < 64 for _, highest in extrema)
