"""Turn photos upright, as the camera recorded its orientation."""

from __future__ import annotations

from PIL import Image

__all__ = ["upright", "upright_size"]

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


def upright(
    rgb: Image.Image, image: Image.Image, size: tuple[int, int]
) -> tuple[Image.Image, tuple[int, int]]:
    """Turn ``rgb`` as the EXIF data of ``image`` say; also return width and height after that.

    ``size`` is the stored width and height, of which ``rgb`` may be a smaller version.
    """
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return rgb, upright_size(image, size)


def upright_size(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height of an image of ``size``, turned as its EXIF data say."""
    return (size[1], size[0]) if _orientation(image) in (5, 6, 7, 8) else size


def _orientation(image: Image.Image) -> int:
    # A photo with sound pixels is used even if its EXIF data are damaged.
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:
        return 1
