"""Xception (Chollet 2017), and narrower versions of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["MINI_BLOCKS", "XCEPTION_BLOCKS", "scaled_xception", "xception"]

# Momentum of batch normalization.  With Keras' default of 0.99, the moving averages lag a hundred
# steps behind, which can be a whole epoch of a small data set.
_MOMENTUM = 0.9
_MIDDLE = range(5, 13)
XCEPTION_BLOCKS = tuple(f"block{number}" for number in range(1, 15))
MINI_BLOCKS = tuple(f"block{number}" for number in range(1, 15) if number not in _MIDDLE)


def xception(imgsz: int, weights: str | None = None) -> keras.Model:
    """Build the Xception of keras.applications without its classification layers."""
    import keras

    return keras.applications.Xception(
        weights=weights, include_top=False, input_shape=(imgsz, imgsz, 3)
    )


def scaled_xception(width: float, middle: Sequence[int] = _MIDDLE) -> Callable[[int], keras.Model]:
    """Return a function that builds Xception with channel counts times ``width``.

    Layers have the names of ``keras.applications.Xception``; the shortcuts, unnamed there, are
    called ``blockN_shortcut``.  Channel counts are rounded to multiples of 8, with which integer
    kernels are fastest.  ``middle`` are the block numbers of the middle flow, whose inputs and
    outputs have the same shape.
    """

    def channels(count: int) -> int:
        return max(8, round(count * width / 8) * 8)

    def build(imgsz: int) -> keras.Model:
        from keras import Input, Model, layers

        x = inputs = Input((imgsz, imgsz, 3))
        for name, count, strides in (("block1_conv1", 32, 2), ("block1_conv2", 64, 1)):
            x = layers.Conv2D(channels(count), 3, strides=strides, use_bias=False, name=name)(x)
            x = _relu(_normalized(x, name), name)
        for number, count in ((2, 128), (3, 256), (4, 728)):
            x = _down_block(x, number, (channels(count),) * 2, first_relu=number > 2)
        for number in middle:
            shortcut = x
            for part in (1, 2, 3):
                x = _separable(x, f"block{number}_sepconv{part}", channels(728))
            x = layers.Add(name=f"block{number}_add")([x, shortcut])
        x = _down_block(x, 13, (channels(728), channels(1024)), first_relu=True)
        for name, count in (("block14_sepconv1", 1536), ("block14_sepconv2", 2048)):
            x = _relu(_separable(x, name, channels(count), relu_before=False), name)
        return Model(inputs, x, name=f"xception_w{round(width * 100)}")

    return build


def _relu(x: Any, name: str) -> Any:
    from keras import layers

    return layers.Activation("relu", name=f"{name}_act")(x)


def _normalized(x: Any, name: str) -> Any:
    from keras import layers

    return layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_bn")(x)


def _separable(x: Any, name: str, count: int, *, relu_before: bool = True) -> Any:
    from keras import layers

    if relu_before:
        x = _relu(x, name)
    x = layers.SeparableConv2D(count, 3, padding="same", use_bias=False, name=name)(x)
    return _normalized(x, name)


def _down_block(x: Any, number: int, counts: tuple[int, int], *, first_relu: bool) -> Any:
    from keras import layers

    name = f"block{number}"
    shortcut = layers.Conv2D(
        counts[1], 1, strides=2, padding="same", use_bias=False, name=f"{name}_shortcut"
    )(x)
    shortcut = _normalized(shortcut, f"{name}_shortcut")
    x = _separable(x, f"{name}_sepconv1", counts[0], relu_before=first_relu)
    x = _separable(x, f"{name}_sepconv2", counts[1])
    x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return layers.Add(name=f"{name}_add")([x, shortcut])
