"""ConvNeXt (Liu et al. 2022, "A ConvNet for the 2020s") in layers that 8 bits can express.

It computes what keras.applications' ConvNeXt does, with three differences: the grouped convolution
is a depthwise one, because TensorFlow cannot train the other on CPUs; the dense layers are 1 x 1
convolutions, which engines quantize with one scale per channel; and the factors of layer scale are
part of the convolution before them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rs_train.classifier.imagenet import standardized

if TYPE_CHECKING:
    import keras

__all__ = ["BASE", "TINY", "convnext", "convnext_blocks", "scaled_convnext"]

# Blocks and channels of each stage.
TINY = ((3, 3, 9, 3), (96, 192, 384, 768))
BASE = ((3, 3, 27, 3), (128, 256, 512, 1024))
_EPSILON = 1e-6


def convnext(size: str) -> Callable[[int, str | None], keras.Model]:
    """Return a function that builds a ConvNeXt of keras.applications, without its top.

    ``size`` is ``Tiny`` or ``Base``.  The function takes the size in pixels and Keras' weights.
    """

    def network(imgsz: int, weights: str | None = None) -> keras.Model:
        import keras

        build = getattr(keras.applications, f"ConvNeXt{size}")
        settings: dict[str, Any] = {"include_preprocessing": False, "weights": weights}
        return build(input_shape=(imgsz, imgsz, 3), include_top=False, **settings)

    return network


def convnext_blocks(depths: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the blocks from input to output; each downsampling begins a block."""
    return ("stem", *(f"block{number + 1}" for number in range(sum(depths))), "top")


def scaled_convnext(
    name: str, depths: Sequence[int], widths: Sequence[int]
) -> Callable[[int], keras.Model]:
    """Return a function that builds a ConvNeXt with these blocks and channels in each stage."""

    def build(imgsz: int) -> keras.Model:
        from keras import Input, Model, layers

        inputs = Input((imgsz, imgsz, 3), name="photos")
        x = standardized(inputs)
        x = layers.Conv2D(widths[0], 4, strides=4, name="stem_conv")(x)
        x = _normalized(x, "stem")
        names = iter(convnext_blocks(depths)[1:])
        for stage, (depth, channels) in enumerate(zip(depths, widths, strict=True)):
            for place in range(depth):
                block = next(names)
                if stage and not place:
                    x = _normalized(x, f"{block}_down")
                    x = layers.Conv2D(channels, 2, strides=2, name=f"{block}_down_conv")(x)
                x = _block(x, block, channels)
        return Model(inputs, _normalized(x, next(names)), name=name)

    return build


def _block(x: Any, name: str, channels: int) -> Any:
    from keras import initializers, layers

    # Layer scale (Touvron et al. 2021) lets deep networks begin close to the identity.
    small = initializers.TruncatedNormal(stddev=1e-3)
    shortcut = x
    x = layers.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise")(x)
    x = _normalized(x, name)
    x = layers.Conv2D(4 * channels, 1, name=f"{name}_expand")(x)
    x = layers.Activation("gelu", name=f"{name}_gelu")(x)
    x = layers.Conv2D(channels, 1, kernel_initializer=small, name=f"{name}_project")(x)
    return layers.Add(name=f"{name}_add")([shortcut, x])


def _normalized(x: Any, name: str) -> Any:
    from keras import layers

    return layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm")(x)
