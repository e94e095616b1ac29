"""Copies of Keras models, and parts of their layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["copy_of", "depthwise_half", "kernels", "marked_copy", "marks"]

# Converters put layer names into the names of operations.  This mark ends a layer's name, so that
# "conv2d." is not found in "conv2d_1.".  TensorFlow allows it in names, and Keras never uses it.
_MARK = "."


def copy_of(model: keras.Model, change: Callable[[Any], Any] | None = None) -> keras.Model:
    """Return a copy of a model with its weights; ``change`` makes the new layer of each layer."""
    import keras

    copy = keras.models.clone_model(model, clone_function=change)
    # Layer by layer: the order of a model's weights depends on which layers are frozen.
    for one, other in zip(model.layers, copy.layers, strict=True):
        other.set_weights(one.get_weights())
    return copy


def marked_copy(model: keras.Model) -> keras.Model:
    """Return a copy whose layers :func:`marks` can find in a converted graph."""

    def marked(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, "name": config["name"] + _MARK})

    return copy_of(model, marked)


def marks(model: keras.Model, layers: Sequence[str]) -> tuple[str, ...]:
    """Return texts that occur only in the names of operations that came from these layers.

    The converted model must be a :func:`marked_copy` of ``model``.
    """
    found = [name + _MARK for name in layers]
    if any(model.get_layer(name).output is model.outputs[0] for name in layers):
        # TFLite names the graph's output after the function call that it came from.
        found.append("StatefulPartitionedCall")
    return tuple(found)


def depthwise_half(layer: Any, x: Any) -> Any:
    """Return ``x``, (n, S, S, channels), after the depthwise half of a separable convolution."""
    import keras

    settings = {key: getattr(layer, key) for key in ("strides", "padding", "dilation_rate")}
    return keras.ops.depthwise_conv(x, layer.depthwise_kernel, **settings)


def kernels(model: keras.Model, layers: Sequence[str]) -> tuple[NDArray[np.float32], ...]:
    """Return the kernels of layers, each of shape (outputs, weights per output).

    The weights of an output are in ONNX's order: input channels, rows, columns.  A separable
    convolution has two kernels.
    """
    found = []
    for layer in model.layers:
        for weight in layer.get_weights() if layer.name in layers else ():
            if weight.ndim == 4:
                # Depthwise: (rows, columns, channels, 1).
                kernel = weight.swapaxes(2, 3) if weight.shape[3] == 1 else weight
                found.append(kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[3], -1))
            elif weight.ndim == 2:
                found.append(weight.T)
    return tuple(found)
