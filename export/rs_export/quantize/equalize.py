"""Cross-layer equalization: weights that compute the same function but lose less in 8 bits.

Activations are quantized with one scale per tensor.  Where one channel's range is a hundred times
that of another, the narrow channel keeps only one or two bits.  Between two linear layers, even
with a ReLU in between, the first can divide a channel by any positive factor if the second
multiplies by it.  Weights have one scale per output channel, so such factors cost them nothing.

Two kinds of pairs are equalized, where no other layer uses the output in between: the two halves of
a separable convolution; and batch normalization, then ReLU, with the depthwise half that follows.

After Nagel et al. 2019 ("Data-Free Quantization Through Weight Equalization and Bias Correction",
section 4.1), with ranges measured on photos instead of taken from the weights, as Xiao et al. 2022
("SmoothQuant") do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.measure.batches import batches
from rs_export.quantize.copies import copy_of, depthwise_half

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["equalize"]

# Smallest factor: a channel that is near 0 on the calibration photos may not be on others.
_LEAST = 0.02


def equalize(model: keras.Model, inputs: NDArray[np.float32]) -> keras.Model:
    """Return a copy of a functional model that computes the same, with channels of similar range.

    Ranges are measured on ``inputs``, calibration photos as model inputs, float32 (n, S, S, 3).
    A model without a separable convolution is returned itself.
    """
    import keras

    separable = [x for x in model.layers if isinstance(x, keras.layers.SeparableConv2D)]
    if not separable:
        return model
    copy = copy_of(model)
    fed, between = _ranges(copy, separable, inputs)
    for layer in separable:
        twin = copy.get_layer(layer.name)
        depthwise, pointwise, *bias = twin.get_weights()
        factors = _factors(between[layer.name])
        depthwise = depthwise / factors[None, None, :, None]
        pointwise = pointwise * factors[None, None, :, None]
        before = _normalization_before(copy, twin)
        if before is not None:
            factors = _factors(fed[layer.name])
            gamma, beta, *statistics = before.get_weights()
            before.set_weights([gamma / factors, beta / factors, *statistics])
            depthwise = depthwise * factors[None, None, :, None]
        twin.set_weights([depthwise, pointwise, *bias])
    return copy


def _factors(ranges: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return factors to divide channels by, at least 0.02, that give all the widest range."""
    shares = ranges / max(float(ranges.max()), 1e-12)
    return np.asarray(np.maximum(shares, _LEAST), np.float32)


def _ranges(
    model: keras.Model, layers: list[Any], inputs: NDArray[np.float32]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Return channels' largest magnitudes by layer: of its input, and between its halves."""
    import keras

    def widest(values: Any) -> Any:
        return keras.ops.max(keras.ops.absolute(values), axis=(1, 2))

    values = []
    for twin in (model.get_layer(layer.name) for layer in layers):
        values += [twin.input, depthwise_half(twin, twin.input)]
    # In one graph: layer by layer, the activations of Xception at 299 px would need 10 GB.
    probe = keras.Model(model.inputs[0], [widest(tensor) for tensor in values])
    parts = [probe.predict_on_batch(part) for part in batches(inputs)]
    found = [np.concatenate(part).max(axis=0) for part in zip(*parts, strict=True)]
    names = [layer.name for layer in layers]
    return dict(zip(names, found[::2], strict=True)), dict(zip(names, found[1::2], strict=True))


def _normalization_before(model: keras.Model, layer: Any) -> Any | None:
    """Return the batch normalization that feeds only this layer, through one ReLU; else None."""
    import keras

    activation = _source(model, layer)
    before: Any = _source(model, activation) if _is_relu(activation) else None
    is_normal = isinstance(before, keras.layers.BatchNormalization)
    return before if is_normal and before.scale and before.center else None


def _is_relu(layer: Any) -> bool:
    import keras

    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.negative_slope and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu


def _source(model: keras.Model, layer: Any) -> Any:
    """Return the layer before this one, or None if other layers use its output too."""
    import keras

    tensor = layer.input
    ends = [*model.outputs, *(end for x in model.layers for end in keras.tree.flatten(x.input))]
    if sum(end is tensor for end in ends) > 1:
        return None
    return next(x for x in model.layers if x.output is tensor)
