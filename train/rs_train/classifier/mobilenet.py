"""Half a MobileNetV2 (Sandler et al. 2018) and MobileNetV3-Large (Howard et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = [
    *("V2_BLOCKS", "V3_BLOCKS", "build_half_mobilenet_v2", "build_mobilenet_v3"),
    *("half_mobilenet_v2", "mobilenet_v3"),
]

_MOMENTUM = 0.9
V2_BLOCKS = tuple(f"block{number}" for number in range(1, 17))
# MobileNetV3-Large, table 1 of the paper: kernel size, stride, channels inside the block, channels
# inside squeeze-and-excitation (0: there is none), channels out, activation.
_ROWS = (
    (3, 1, 16, 0, 16, "relu"),
    (3, 2, 64, 0, 24, "relu"),
    (3, 1, 72, 0, 24, "relu"),
    (5, 2, 72, 24, 40, "relu"),
    (5, 1, 120, 32, 40, "relu"),
    (5, 1, 120, 32, 40, "relu"),
    (3, 2, 240, 0, 80, "hard_swish"),
    (3, 1, 200, 0, 80, "hard_swish"),
    (3, 1, 184, 0, 80, "hard_swish"),
    (3, 1, 184, 0, 80, "hard_swish"),
    (3, 1, 480, 120, 112, "hard_swish"),
    (3, 1, 672, 168, 112, "hard_swish"),
    (5, 2, 672, 168, 160, "hard_swish"),
    (5, 1, 960, 240, 160, "hard_swish"),
    (5, 1, 960, 240, 160, "hard_swish"),
)
V3_BLOCKS = ("stem", *(f"block{number}" for number in range(1, 16)), "top")


def half_mobilenet_v2(imgsz: int, weights: str | None = None) -> keras.Model:
    """Build the MobileNetV2 of keras.applications with half of the channels, without its top."""
    import keras

    return keras.applications.MobileNetV2(
        input_shape=(imgsz, imgsz, 3), alpha=0.5, include_top=False, weights=weights
    )


def build_half_mobilenet_v2(imgsz: int) -> keras.Model:
    """Build :func:`half_mobilenet_v2` with a shorter memory of batch normalization.

    Its only activation is ReLU6; MobileNetV3's hard-swish loses more accuracy in 8 bits.
    """
    import keras

    network = half_mobilenet_v2(imgsz)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    return keras.Model(network.input, network.output, name="mobilenetv2_w50")


def mobilenet_v3(imgsz: int, weights: str | None = None) -> keras.Model:
    """Build the MobileNetV3-Large of keras.applications without its top, for inputs in [-1, 1]."""
    import keras

    return keras.applications.MobileNetV3Large(
        input_shape=(imgsz, imgsz, 3),
        include_top=False,
        include_preprocessing=False,
        weights=weights,
    )


def build_mobilenet_v3(imgsz: int) -> keras.Model:
    """Build MobileNetV3-Large; it computes what :func:`mobilenet_v3` does.

    It is built here because in keras.applications the hard sigmoid is no layer, so that a model
    could not be copied layer by layer, which exports need.
    """
    from keras import Input, Model

    inputs = Input((imgsz, imgsz, 3), name="photos")
    x = _normalized(_convolved(inputs, "stem_conv", 16, 3, strides=2), "stem_conv", "hard_swish")
    for name, row in zip(V3_BLOCKS[1:], _ROWS, strict=False):
        x = _block(x, name, *row)
    x = _normalized(_convolved(x, "top_conv", 960, 1), "top_conv", "hard_swish")
    return Model(inputs, x, name="mobilenetv3_large")


def _block(
    x: Any,
    name: str,
    kernel: int,
    strides: int,
    inside: int,
    squeezed: int,
    channels: int,
    activation: str,
) -> Any:
    """Apply an inverted residual block with squeeze-and-excitation (Hu et al. 2018)."""
    from keras import initializers, layers

    # Not 0: TensorFlow leaves such a bias out, and then tf2onnx fails at the constant that the hard
    # sigmoid adds to the convolution.
    small = initializers.RandomNormal(stddev=1e-3)
    shortcut, width = x, x.shape[-1]
    if inside != width:
        x = _convolved(x, f"{name}_expand", inside, 1)
        x = _normalized(x, f"{name}_expand", activation)
    x = layers.DepthwiseConv2D(
        kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_depthwise"
    )(x)
    x = _normalized(x, f"{name}_depthwise", activation)
    if squeezed:
        gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
        gate = layers.Conv2D(squeezed, 1, activation="relu", name=f"{name}_reduce")(gate)
        gate = layers.Conv2D(inside, 1, bias_initializer=small, name=f"{name}_excite")(gate)
        gate = layers.Activation("hard_sigmoid", name=f"{name}_gate")(gate)
        x = layers.Multiply(name=f"{name}_scale")([x, gate])
    x = _normalized(_convolved(x, f"{name}_project", channels, 1), f"{name}_project")
    if strides > 1 or channels != width:
        return x
    return layers.Add(name=f"{name}_add")([shortcut, x])


def _convolved(x: Any, name: str, channels: int, kernel: int, strides: int = 1) -> Any:
    from keras import layers

    return layers.Conv2D(
        channels, kernel, strides=strides, padding="same", use_bias=False, name=name
    )(x)


def _normalized(x: Any, name: str, activation: str = "") -> Any:
    from keras import layers

    x = layers.BatchNormalization(momentum=_MOMENTUM, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_act")(x) if activation else x
