"""Photo file to model input: the one definition that training, export and the field share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.kit.preprocessing_spec import PIXELS_VERSION, PreprocessingSpec
from rs_runtime.photos.photo import PhotoInfo, cut, decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PIXELS_VERSION", "Box", "PhotoInfo", "Preprocessing", "load_each"]

Box = tuple[float, float, float, float]
"""Part of an upright photo: left, top, width, height, fractions of its sides, 0 to 1."""

_PAD_COLOUR = (127, 127, 127)
_REDUCING_GAP = 2.0


class Preprocessing(PreprocessingSpec):
    """The preprocessing that a specification describes; its parameters and errors are the same."""

    @classmethod
    def of(cls, spec: PreprocessingSpec) -> Preprocessing:
        """Return what does the work that a manifest's specification describes."""
        return cls(spec.size, spec.resize, spec.scale, spec.offset)

    def load(self, source: Path | bytes, box: Box | None = None) -> NDArray[np.uint8]:
        """Return only the pixels of :meth:`load_with_info`."""
        return self.load_with_info(source, box)[0]

    def load_with_info(
        self, source: Path | bytes, box: Box | None = None
    ) -> tuple[NDArray[np.uint8], PhotoInfo]:
        """Decode one photo, upright, in RGB, at the model's size.

        Parameters
        ----------
        source
            A file, or a file's bytes, in JPEG, PNG, TIFF, BMP, WebP or GIF (first frame).
        box
            The part to take as if it were the whole photo, cut at the nearest pixels.

        Returns
        -------
        pixels
            uint8, shape (size, size, 3), RGB.  Alpha is composited on white; 16-bit values are
            divided by 256; a float image is taken as 0 to 1 if it nowhere exceeds 1, else as
            0 to 255.  Resized by Pillow's antialiased bilinear filter.
        info
            The photo's own size and colour mode, without regard to the box.

        Raises
        ------
        UnreadablePhotoError
            Missing, empty, no image of these formats, damaged, or the box has less than a pixel.
        PhotoTooLargeError
            Above 200 MB or 200 megapixels.
        ValueError
            The box is not within the photo.
        """
        side = self.size * _REDUCING_GAP
        if box is not None:
            # Both sides of the box, not only of the photo, must be left long enough.
            side /= min(_checked(box)[2:])
        image, info = decode(source, math.ceil(side))
        if box is not None:
            image = _cut(image, info, box)
        return self._pixels(image), info

    def model_input(self, pixels: Any) -> Any:
        """Return ``pixels * scale + offset`` in float32.

        ``pixels`` are a NumPy array of any number type or a float32 TensorFlow tensor, 0 to 255.
        """
        if isinstance(pixels, np.ndarray):
            return pixels.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        return pixels * self.scale + self.offset

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        width, height = image.size
        box = (0.0, 0.0, float(width), float(height))
        target = (self.size, self.size)
        if self.resize == "crop":
            side = min(width, height)
            left, top = (width - side) / 2, (height - side) / 2
            box = (left, top, left + side, top + side)
        elif self.resize == "pad":
            shrink = self.size / max(width, height)
            target = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        resized = image.resize(target, Image.Resampling.BILINEAR, box, _REDUCING_GAP)
        if self.resize == "pad":
            canvas = Image.new("RGB", (self.size, self.size), _PAD_COLOUR)
            canvas.paste(resized, ((self.size - target[0]) // 2, (self.size - target[1]) // 2))
            resized = canvas
        return np.array(resized, dtype=np.uint8)


def load_each(
    source: Path | bytes, preprocessings: Sequence[Preprocessing]
) -> list[NDArray[np.uint8]]:
    """Decode a photo once, for several models; PhotoError as in :meth:`Preprocessing.load`.

    Return uint8, shape (size, size, 3), for each of ``preprocessings``, at least one: for the
    largest size just what :meth:`Preprocessing.load` gives.  For a smaller one libjpeg might have
    halved a JPEG once more; these pixels then come from the finer image and differ slightly.
    """
    largest = max(preprocessing.size for preprocessing in preprocessings)
    image, _ = decode(source, math.ceil(largest * _REDUCING_GAP))
    return [preprocessing._pixels(image) for preprocessing in preprocessings]


def _checked(box: Box) -> Box:
    left, top, width, height = box
    edges = (left, top, left + width, top + height)
    # NaN compares false; left + width may exceed 1 by a rounding.
    if not (all(0 <= edge <= 1 + 1e-9 for edge in edges) and width > 0 and height > 0):
        raise ValueError(f"box must be left, top, width, height within 0 to 1, got {box!r}")
    return box


def _cut(image: Image.Image, info: PhotoInfo, box: Box) -> Image.Image:
    left, top, width, height = box
    if not (round(width * info.width) and round(height * info.height)):
        raise UnreadablePhotoError(
            f"box {', '.join(f'{part:g}' for part in box)} has less than one pixel of "
            f"{info.width} x {info.height}; give a larger one, or none"
        )
    x0, x1 = _span(left, left + width, image.width)
    y0, y1 = _span(top, top + height, image.height)
    return cut(image, (x0, y0, x1, y1))


def _span(start: float, end: float, pixels: int) -> tuple[int, int]:
    """Return the first pixel and the one after the last, at least one pixel apart."""
    first = min(round(start * pixels), pixels - 1)
    return first, max(first + 1, min(round(end * pixels), pixels))
