"""The baseline: a plain network of five convolutions, which no pretrained weights help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

__all__ = ["BASELINE_BLOCKS", "baseline_cnn"]

_CHANNELS = (32, 64, 128, 256, 512)
BASELINE_BLOCKS = tuple(f"block{number}" for number in range(1, len(_CHANNELS) + 1))


def baseline_cnn(divisor: int = 1) -> Callable[[int], keras.Model]:
    """Return a function that builds the network, with channel counts divided by ``divisor``.

    It has five blocks of a 3 x 3 convolution, batch normalization, ReLU and 2 x 2 pooling.
    """

    def build(imgsz: int) -> keras.Model:
        from keras import Input, Model, layers

        x = inputs = Input((imgsz, imgsz, 3), name="photos")
        for name, count in zip(BASELINE_BLOCKS, _CHANNELS, strict=True):
            channels = count // divisor
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
            x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
            x = layers.ReLU(name=f"{name}_act")(x)
            x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        return Model(inputs, x, name="baseline_cnn")

    return build
