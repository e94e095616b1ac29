"""Conversion of a Keras 3 classifier to tf_keras, and weights by layer name to go back.

tensorflow-model-optimization needs tf_keras: with Keras 3, pruning raises an error and clustering
silently returns None.  So a model is rebuilt layer by layer.  A separable convolution becomes its
two halves, because TFLite and ONNX run it so, and the library can prune and quantize only these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rs_export.quantize.copies import copy_of
from rs_toolkit.errors import ExportError
from rs_toolkit.files import atomic_write

if TYPE_CHECKING:
    import keras

__all__ = ["Weights", "legacy_clone", "legacy_weights", "with_weights", "write_weights"]

Weights = dict[str, list[NDArray[np.float32]]]

_DEPTHWISE, _POINTWISE = "_depthwise", "_pointwise"
# The settings that decide what a layer computes.  Initializers are left out: weights are copied.
_CONVOLUTION = ("strides", "padding", "dilation_rate", "use_bias", "activation")
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "Conv2D": ("filters", "kernel_size", "groups", *_CONVOLUTION),
    "DepthwiseConv2D": ("kernel_size", "depth_multiplier", *_CONVOLUTION),
    "BatchNormalization": ("axis", "momentum", "epsilon", "center", "scale"),
    "Dense": ("units", "use_bias", "activation"),
    "Activation": ("activation",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "MaxPooling2D": ("pool_size", "padding", "strides"),
    "AveragePooling2D": ("pool_size", "padding", "strides"),
    "GlobalAveragePooling2D": ("keepdims",),
    "ZeroPadding2D": ("padding",),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "Rescaling": ("scale", "offset"),
    "Dropout": ("rate", "noise_shape"),
    "Reshape": ("target_shape",),
    "Add": (),
    "Multiply": (),
    "Flatten": (),
}
# Keras 3 computes relu6(x + 3) / 6, tf_keras 0.2 x + 0.5; it has no hard swish.
_OTHERS = ("hard_sigmoid", "hard_silu", "hard_swish")


def legacy_clone(model: keras.Model) -> Any:
    """Return a tf_keras model that computes what a functional Keras 3 model computes.

    Layers keep their names; a separable convolution NAME becomes ``NAME_depthwise`` and
    ``NAME_pointwise``.  Batch normalization is frozen.  ExportError: a layer's type is not known.
    """
    import tf_keras

    tensors: dict[int, Any] = {}
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            shape = tuple(layer.output.shape[1:])
            tensors[id(layer.output)] = tf_keras.Input(shape, name=layer.name)
            continue
        given = layer.input if isinstance(layer.input, list) else [layer.input]
        found = [tensors[id(tensor)] for tensor in given]
        x = found if len(found) > 1 else found[0]
        for twin in _twins(layer):
            x = twin(x)
        tensors[id(layer.output)] = x
    clone = tf_keras.Model(
        [tensors[id(tensor)] for tensor in model.inputs],
        [tensors[id(tensor)] for tensor in model.outputs],
        name=model.name,
    )
    for name, weights in legacy_weights(model).items():
        clone.get_layer(name).set_weights(weights)
    return clone


def legacy_weights(model: keras.Model) -> Weights:
    """Return a Keras 3 model's weights by the layer names of its :func:`legacy_clone`."""
    found: Weights = {}
    for layer in model.layers:
        weights = layer.get_weights()
        if _is_separable(layer):
            found[layer.name + _DEPTHWISE] = weights[:1]
            found[layer.name + _POINTWISE] = weights[1:]
        elif layer.weights:
            # Not Dropout, whose only state is that of a random generator.
            found[layer.name] = weights
    return found


def write_weights(path: Path, weights: Weights) -> None:
    """Write weights by layer to an ``.npz`` file, which :func:`with_weights` reads."""
    arrays: dict[str, Any] = {
        f"{name}/{number}": array
        for name, layer in weights.items()
        for number, array in enumerate(layer)
    }
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def with_weights(model: keras.Model, path: Path) -> keras.Model:
    """Return a copy of a Keras 3 model with the weights that :func:`write_weights` wrote.

    A damaged file can raise any exception.
    """
    weights: Weights = {}
    with np.load(path, allow_pickle=False) as stored:
        for key in stored.files:
            weights.setdefault(key.rpartition("/")[0], []).append(stored[key])
    copy = copy_of(model)
    for layer in copy.layers:
        if _is_separable(layer):
            depthwise = weights[layer.name + _DEPTHWISE]
            layer.set_weights([*depthwise, *weights[layer.name + _POINTWISE]])
        elif layer.name in weights:
            layer.set_weights(weights[layer.name])
    return copy


def _twins(layer: Any) -> list[Any]:
    """Return the new tf_keras layers that together compute what a Keras 3 layer computes."""
    config = layer.get_config()
    if not _is_separable(layer):
        return [_twin(type(layer).__name__, config, layer.name)]
    ends = {"use_bias": config["use_bias"], "activation": config["activation"]}
    middle = {"use_bias": False, "activation": "linear"}
    point = {"strides": 1, "kernel_size": 1, "dilation_rate": 1, "groups": 1}
    return [
        _twin("DepthwiseConv2D", {**config, **middle}, layer.name + _DEPTHWISE),
        _twin("Conv2D", {**config, **point, **ends}, layer.name + _POINTWISE),
    ]


def _twin(kind: str, config: Mapping[str, Any], name: str) -> Any:
    import tf_keras

    if kind not in _SETTINGS:
        raise ExportError(
            f"layer {name!r}: got a {kind}, which cannot be fine-tuned for export, wanted one of "
            f"{', '.join(_SETTINGS)}; choose recipes without c, qat, sp24 and sp above 50"
        )
    settings = {key: config[key] for key in _SETTINGS[kind]}
    if settings.get("activation") in _OTHERS:
        raise ExportError(
            f"layer {name!r}: got the activation {settings['activation']}, which tf_keras lacks or "
            "computes differently, so that the model cannot be fine-tuned for export; choose "
            "recipes without c, qat, sp24 and sp above 50"
        )
    trains = kind != "BatchNormalization"
    return getattr(tf_keras.layers, kind)(name=name, trainable=trains, **settings)


def _is_separable(layer: Any) -> bool:
    return type(layer).__name__ == "SeparableConv2D"
