"""Input in ImageNet's mean and standard deviation, and the networks that want it so.

Every backbone takes pixels in [-1, 1], so that the photos of all of them are prepared alike.  A
network that was trained on pixels standardized per channel begins with a layer that does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["build_efficientnet_v2", "efficientnet_v2", "efficientnet_v2_blocks", "standardized"]

# Of red, green and blue in [0, 1], as keras.applications and torchvision have them.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# EfficientNetV2-B0 (Tan and Le 2021): blocks of each stage, and what B1 to B3 multiply them by.
_REPEATS = (1, 2, 2, 3, 5, 8)
_DEPTHS = (1.0, 1.1, 1.2, 1.4)


def standardized(inputs: Any) -> Any:
    """Turn (N, S, S, 3) in [-1, 1] into units of ImageNet's deviations from its mean."""
    from keras import layers

    scale = [0.5 / deviation for deviation in _DEVIATION]
    offset = [(0.5 - mean) / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)]
    return layers.Rescaling(scale, offset, name="standardize")(inputs)


def efficientnet_v2(number: int) -> Callable[[int, str | None], keras.Model]:
    """Return a function that builds EfficientNetV2-B0 to B3 of keras.applications without its top.

    The network takes pixels standardized per channel.
    """

    def network(imgsz: int, weights: str | None = None) -> keras.Model:
        return _network(number, weights, input_shape=(imgsz, imgsz, 3))

    return network


def build_efficientnet_v2(number: int) -> Callable[[int], keras.Model]:
    """Return a function that builds :func:`efficientnet_v2` for pixels in [-1, 1]."""

    def build(imgsz: int) -> keras.Model:
        from keras import Input, Model

        inputs = Input((imgsz, imgsz, 3), name="photos")
        network = _network(number, None, input_tensor=standardized(inputs))
        # Its own input is a list of one.
        return Model(inputs, network.output, name=network.name)

    return build


def efficientnet_v2_blocks(number: int) -> tuple[str, ...]:
    """Return the names of the blocks from input to output: stem, block1a … block6h, top."""
    counts = [math.ceil(_DEPTHS[number] * repeats) for repeats in _REPEATS]
    blocks = [
        f"block{stage}{chr(ord('a') + place)}"
        for stage, count in enumerate(counts, 1)
        for place in range(count)
    ]
    return ("stem", *blocks, "top")


def _network(number: int, weights: str | None, **ends: Any) -> keras.Model:
    import keras

    build = getattr(keras.applications, f"EfficientNetV2B{number}")
    return build(include_top=False, include_preprocessing=False, weights=weights, **ends)
