"""The operations of a student other than convolutions, from ONNX to Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.onnx_convolutions import convolution, padding
from rs_export.onnx_norms import (
    by_length,
    maximum,
    norm_and_least,
    power,
    reduce_l2,
    reduce_sum,
    root,
    squares,
)
from rs_export.onnx_values import IMAGE, ROW, Scope, Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OPERATIONS"]


def _identity(scope: Scope) -> Value:
    return scope.any_value(0)


def _transpose(scope: Scope) -> Value:
    value = scope.value(0)
    axes = scope.attribute("perm", list(reversed(range(len(value.order)))))
    if sorted(axes) != list(range(len(value.order))):
        raise scope.error(f"axes {axes} of a value of {len(value.order)}")
    return replace(value, order=tuple(value.order[axis] for axis in axes))


def _relu(scope: Scope) -> Value:
    return _limited(scope, None)


def _clip(scope: Scope) -> Value:
    low, high = scope.scalar(1), scope.scalar(2)
    # A norm's least value keeps it from being divided by zero, which the layer does too.
    if high is None and norm_and_least(scope):
        return scope.any_value(0)
    if low != 0 or (high is not None and high <= 0):
        raise scope.error(f"limits {low} and {high}; wanted 0 and above")
    return _limited(scope, high)


def _limited(scope: Scope, high: float | None) -> Value:
    import keras

    value = scope.value(0)
    return replace(value, tensor=keras.layers.ReLU(high, name=scope.name)(value.tensor))


def _hard_sigmoid(scope: Scope) -> Value:
    import keras

    value = scope.value(0)
    slope, shift = scope.attribute("alpha", 0.2), scope.attribute("beta", 0.5)
    line = keras.layers.Rescaling(slope, shift, name=f"{scope.name}_line")(value.tensor)
    return replace(value, tensor=keras.layers.ReLU(1.0, name=scope.name)(line))


def _hard_swish(scope: Scope) -> Value:
    import keras

    # x * relu6(x + 3) * (1 / 6): the form that TFLite has one operation for.
    value = scope.value(0)
    gate = keras.layers.Rescaling(1.0, 3.0, name=f"{scope.name}_line")(value.tensor)
    gate = keras.layers.ReLU(6.0, name=f"{scope.name}_gate")(gate)
    both = keras.layers.Multiply(name=f"{scope.name}_both")([value.tensor, gate])
    return replace(value, tensor=keras.layers.Rescaling(1 / 6, name=scope.name)(both))


def _add(scope: Scope) -> Value:
    if norm_and_least(scope):
        return scope.any_value(0)
    if not _one_constant(scope):
        return _both(scope, "Add")
    place = int(scope.is_constant(0))
    return _rescaled(scope, place, 1.0, _channels(scope, place))


def _subtract(scope: Scope) -> Value:
    if not _one_constant(scope):
        return _both(scope, "Subtract")
    if scope.is_constant(0):
        return _rescaled(scope, 1, -1.0, _channels(scope, 1))
    return _rescaled(scope, 0, 1.0, -_channels(scope, 0))


def _multiply(scope: Scope) -> Value:
    if scope.node.inputs[0] == scope.node.inputs[1]:
        return squares(scope)
    if not _one_constant(scope):
        return _both(scope, "Multiply")
    place = int(scope.is_constant(0))
    return _rescaled(scope, place, _channels(scope, place), 0.0)


def _divide(scope: Scope) -> Value:
    if scope.is_constant(1):
        return _rescaled(scope, 0, 1 / _channels(scope, 0), 0.0)
    return by_length(scope)


def _mean(scope: Scope) -> Value:
    axes, keep = scope.attribute("axes"), scope.attribute("keepdims", 1)
    return _pooled(scope, axes, bool(keep))


def _average_pool(scope: Scope) -> Value:
    return _pooled(scope, [2, 3], True)


def _pooled(scope: Scope, axes: Any, keep: bool) -> Value:
    import keras

    value = scope.value(0)
    places = [value.order[axis] for axis in axes or ()]
    if len(value.order) != 4 or sorted(places) != [1, 2] or value.order != IMAGE:
        raise scope.error(f"axes {axes}; wanted rows and columns of a photo")
    layer = keras.layers.GlobalAveragePooling2D(keepdims=keep, name=scope.name)
    return Value(layer(value.tensor), IMAGE if keep else ROW)


def _flatten(scope: Scope) -> Value:
    if scope.attribute("axis", 1) != 1:
        raise scope.error("wanted all axes but the first")
    return _as_row(scope)


def _reshape(scope: Scope) -> Value:
    shape, channels = scope.constant(1).tolist(), scope.any_value(0).tensor.shape[-1]
    if scope.attribute("allowzero", 0):
        raise scope.error("zeros mean sizes to keep")
    if len(shape) == 4 and shape[1:] in ([-1, 1, 1], [channels, 1, 1]):
        return _as_image(scope)
    if len(shape) != 2 or shape[1] not in (-1, channels):
        raise scope.error(f"shape {shape}; wanted (n, {channels}), or (n, {channels}, 1, 1)")
    return _as_row(scope)


def _squeeze(scope: Scope) -> Value:
    axes = scope.constant(1).tolist() if scope.has(1) else []
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise scope.error(f"axes {axes}; wanted 2 and 3")
    return _as_row(scope)


def _unsqueeze(scope: Scope) -> Value:
    axes = scope.constant(1).tolist()
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise scope.error(f"axes {axes}; wanted 2 and 3")
    return _as_image(scope)


def _as_row(scope: Scope) -> Value:
    import keras

    value = scope.value(0)
    if value.order == ROW:
        return value
    channels = value.tensor.shape[-1]
    if value.order != IMAGE or value.tensor.shape[1:3] != (1, 1):
        raise scope.error("wanted one row and column; average the photo first")
    return Value(keras.layers.Reshape((channels,), name=scope.name)(value.tensor), ROW)


def _as_image(scope: Scope) -> Value:
    import keras

    value = scope.value(0)
    if value.order != ROW:
        raise scope.error("wanted (n, channels)")
    channels = value.tensor.shape[-1]
    return Value(keras.layers.Reshape((1, 1, channels), name=scope.name)(value.tensor), IMAGE)


def _matrix_product(scope: Scope) -> Value:
    return _dense(scope, scope.constant(1), [])


def _gemm(scope: Scope) -> Value:
    if scope.attribute("transA", 0):
        raise scope.error("wanted no transposed photos")
    kernel = scope.constant(1).T if scope.attribute("transB", 0) else scope.constant(1)
    bias = []
    if scope.has(2):
        added = scope.constant(2) * np.float32(scope.attribute("beta", 1.0))
        bias = [np.broadcast_to(added, (1, kernel.shape[-1]))[0]]
    return _dense(scope, kernel * np.float32(scope.attribute("alpha", 1.0)), bias)


def _dense(scope: Scope, kernel: NDArray[Any], bias: list[NDArray[Any]]) -> Value:
    import keras

    value = scope.value(0)
    if value.order != ROW or kernel.ndim != 2 or kernel.shape[0] != value.tensor.shape[1]:
        raise scope.error(f"a matrix {kernel.shape} by {value.tensor.shape}")
    layer = keras.layers.Dense(kernel.shape[1], use_bias=bool(bias), name=scope.name)
    return Value(scope.weighted(layer, value.tensor, [kernel, *bias]), ROW)


def _both(scope: Scope, kind: str) -> Value:
    """Combine two computed values."""
    import keras

    one, other = scope.value(0), scope.value(1)
    if one.order != other.order:
        raise scope.error("the axes of both inputs are not in the same order")
    layer = getattr(keras.layers, kind)(name=scope.name)
    return replace(one, tensor=layer([one.tensor, other.tensor]))


def _rescaled(scope: Scope, place: int, scale: Any, offset: Any) -> Value:
    """Compute ``value * scale + offset``, each one number or one per channel."""
    import keras

    value = scope.value(place)
    numbers = [item.tolist() if isinstance(item, np.ndarray) else item for item in (scale, offset)]
    layer = keras.layers.Rescaling(*numbers, name=scope.name)
    return replace(value, tensor=layer(value.tensor))


def _one_constant(scope: Scope) -> bool:
    if len(scope.node.inputs) != 2 or (scope.is_constant(0) and scope.is_constant(1)):
        raise scope.error("wanted two inputs, at most one of them constant")
    return scope.is_constant(0) or scope.is_constant(1)


def _channels(scope: Scope, place: int) -> Any:
    """Return the constant beside the value at a place: one number, or one per channel."""
    value, array = scope.value(place), scope.constant(1 - place)
    if array.size == 1 and array.ndim <= len(value.order):
        return np.float32(array.ravel()[0])
    # ONNX compares axes from the last one.
    shape = (*(1 for _ in range(len(value.order) - array.ndim)), *array.shape)
    channels = value.tensor.shape[-1]
    held = [value.order[axis] for axis, side in enumerate(shape) if side != 1]
    if len(shape) != len(value.order) or held != [len(shape) - 1] or array.size != channels:
        raise scope.error(f"a constant {array.shape}; wanted one number, or one per channel")
    return array.ravel()


OPERATIONS: Mapping[str, Callable[[Scope], Value]] = {
    "Add": _add,
    "Clip": _clip,
    "Conv": convolution,
    "Div": _divide,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _average_pool,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _identity,
    "MatMul": _matrix_product,
    "Max": maximum,
    "Mul": _multiply,
    "Pad": padding,
    "Pow": power,
    "ReduceL2": reduce_l2,
    "ReduceMean": _mean,
    "ReduceSum": reduce_sum,
    "Relu": _relu,
    "Reshape": _reshape,
    "Sqrt": root,
    "Squeeze": _squeeze,
    "Sub": _subtract,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""What each operation of the contract becomes; ``Constant`` is read with the graph."""
