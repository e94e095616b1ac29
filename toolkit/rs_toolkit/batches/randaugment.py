"""RandAugment: a few operations, drawn at random for each photo, all of one magnitude.

References
----------
Cubuk, Zoph, Shlens, Le (2020), RandAugment: practical automated data augmentation with a reduced
search space; the ranges of the operations are those of Cubuk et al. (2019), AutoAugment, table 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

__all__ = ["OPERATIONS", "randaugment"]

_GREY = (128, 128, 128)  # what geometric operations show beyond the photo
_TURN, _SHEAR, _SHIFT, _ENHANCE = 30.0, 0.3, 0.45, 0.9  # at magnitude 10


def _moved(image: Image.Image, coefficients: tuple[float, ...]) -> Image.Image:
    bilinear = Image.Resampling.BILINEAR
    matrix = Image.Transform.AFFINE
    return image.transform(image.size, matrix, coefficients, bilinear, fillcolor=_GREY)


def _enhanced(kind: Callable[[Image.Image], Any]) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, level: kind(image).enhance(1 + _ENHANCE * level)


# Each takes a photo and a level from -1 to 1, whose sign is random.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, level: image,
    "autocontrast": lambda image, level: ImageOps.autocontrast(image),
    "equalize": lambda image, level: ImageOps.equalize(image),
    "rotate": lambda image, level: image.rotate(
        _TURN * level, Image.Resampling.BILINEAR, fillcolor=_GREY
    ),
    "solarize": lambda image, level: ImageOps.solarize(image, round(256 * (1 - abs(level)))),
    "posterize": lambda image, level: ImageOps.posterize(image, 8 - round(4 * abs(level))),
    "colour": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": lambda image, level: _moved(image, (1, _SHEAR * level, 0, 0, 1, 0)),
    "shear_y": lambda image, level: _moved(image, (1, 0, 0, _SHEAR * level, 1, 0)),
    "shift_x": lambda image, level: _moved(image, (1, 0, _SHIFT * level * image.width, 0, 1, 0)),
    "shift_y": lambda image, level: _moved(image, (1, 0, 0, 0, 1, _SHIFT * level * image.height)),
}


def randaugment(
    pixels: NDArray[np.uint8], count: int, magnitude: int, seed: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Change each photo of a batch by ``count`` operations, drawn anew with repetition.

    Parameters
    ----------
    pixels
        RGB (n, S, S, 3).
    magnitude
        0 (almost nothing) to 10.
    seed
        Integers (k,), 0 or more; equal ones give equal changes.
    """
    generator = np.random.default_rng(seed)
    operations = list(OPERATIONS.values())
    changed = np.empty_like(pixels)
    for row, photo in enumerate(pixels):
        image = Image.fromarray(photo)
        for number in generator.integers(len(operations), size=count):
            sign = 1 - 2 * int(generator.integers(2))
            image = operations[number](image, sign * magnitude / 10)
        changed[row] = np.asarray(image)
    return changed
