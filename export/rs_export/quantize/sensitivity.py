"""Sensitivity of each layer to rounding, measured one layer at a time.

One layer with a kernel is rounded while all others stay in float32.  Its kernel has one scale per
output channel.  Its input, and the values between the halves of a separable convolution, have one
scale per tensor.  The sensitivity is the power of the error in the logits divided by the variance
of the logits, similar to the analyses of Wu et al. 2020 ("Integer Quantization for Deep Learning
Inference", section 5.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.measure.batches import logits_of
from rs_export.quantize.copies import copy_of

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["Sensitivity", "most_sensitive", "sensitivity_table"]

_PHOTOS = 32
_KINDS = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Dense")


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivity of one layer, with its name and number of weights.

    ``noise`` is the mean square error of the logits divided by their variance, 0 or more.
    """

    layer: str
    weights: int
    noise: float


def sensitivity_table(model: keras.Model, inputs: NDArray[np.float32]) -> tuple[Sensitivity, ...]:
    """Measure every layer with a kernel; the result has the most sensitive first.

    ``model`` is functional and is not changed.  ``inputs`` are calibration photos as model inputs,
    float32 (n, S, S, 3), of which the first 32 are used.
    """
    import keras

    inputs = inputs[:_PHOTOS]
    layers = [layer for layer in model.layers if type(layer).__name__ in _KINDS]
    switches = keras.Variable(np.zeros(len(layers), np.float32), trainable=False)
    places = {layer.name: place for place, layer in enumerate(layers)}
    copy = copy_of(model, lambda layer: _copied(layer, places.get(layer.name), switches))
    plain = logits_of(copy.predict_on_batch, inputs)
    power = float(np.mean((plain - plain.mean(axis=0)) ** 2)) or 1.0
    rows = []
    for place, layer in enumerate(layers):
        switches.assign(np.eye(len(layers), dtype=np.float32)[place])
        noise = float(np.mean((logits_of(copy.predict_on_batch, inputs) - plain) ** 2)) / power
        rows.append(Sensitivity(layer.name, int(layer.count_params()), noise))
    return tuple(sorted(rows, key=lambda row: -row.noise))


def most_sensitive(table: Sequence[Sensitivity], share: float) -> tuple[str, ...]:
    """Return layers in the order of a table that together have at most ``share`` of its weights.

    A layer that would exceed the share is skipped.
    """
    room = share * sum(row.weights for row in table)
    chosen = []
    for row in table:
        if row.weights <= room:
            room -= row.weights
            chosen.append(row.layer)
    return tuple(chosen)


def _copied(layer: Any, place: int | None, switches: Any) -> Any:
    """Return a new layer, which rounds while the switch at ``place`` is 1; never if it is None."""
    kind = type(layer)
    if place is None:
        return kind.from_config(layer.get_config())

    class Rounding(kind):  # type: ignore[misc, valid-type]
        def call(self, inputs: Any, **_: Any) -> Any:
            return _apply(self, inputs, switches[place])

    return Rounding.from_config(layer.get_config())


def _apply(layer: Any, x: Any, on: Any) -> Any:
    """Compute a layer's outputs, rounded if ``on`` is 1, in float32 if it is 0."""
    from keras import ops

    def rounded(values: Any, axes: tuple[int, ...] | None) -> Any:
        widest = ops.max(ops.absolute(values), axis=axes, keepdims=True)
        step = ops.maximum(widest, 1e-9) / 127.0
        return values + on * (ops.round(values / step) * step - values)

    def applied(function: Any, kernel: Any, axes: tuple[int, ...], **settings: Any) -> Any:
        return function(rounded(x, None), rounded(kernel, axes), **settings)

    kind, names = type(layer).__mro__[1].__name__, ("strides", "padding", "dilation_rate")
    full = {key: getattr(layer, key) for key in names if kind != "Dense"}
    if kind == "Dense":
        x = applied(ops.matmul, layer.kernel, (0,))
    elif kind == "SeparableConv2D":
        x = applied(ops.depthwise_conv, layer.depthwise_kernel, (0, 1, 3), **full)
        x = applied(ops.conv, layer.pointwise_kernel, (0, 1, 2), padding="valid")
    elif kind == "DepthwiseConv2D":
        x = applied(ops.depthwise_conv, layer.kernel, (0, 1, 3), **full)
    else:
        x = applied(ops.conv, layer.kernel, (0, 1, 2), **full)
    if layer.use_bias:
        x = x + layer.bias
    return layer.activation(x) if layer.activation is not None else x
