"""Convolutions and their padding, from ONNX to Keras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rs_export.onnx_values import IMAGE, NO_PADS, Scope, Value

__all__ = ["convolution", "padding"]

_MOST = 16


def convolution(scope: Scope) -> Value:
    """Translate Conv: one group, or one per channel."""
    import keras

    value = scope.any_value(0)
    if value.order != IMAGE:
        raise scope.error("wanted channels first")
    kernel = scope.constant(1)
    bias = [scope.constant(2)] if scope.has(2) else []
    outputs, per_group, *size = kernel.shape
    channels, groups = value.tensor.shape[-1], scope.attribute("group", 1)
    strides, dilation = (scope.attribute(key, [1, 1]) for key in ("strides", "dilations"))
    if len(size) != 2 or per_group * groups != channels or outputs % groups:
        raise scope.error(f"kernel {kernel.shape} on {channels} channels in {groups} groups")
    if groups not in (1, channels):
        raise scope.error(f"{groups} groups of {channels} channels; wanted 1, or one per channel")
    reach = [(side - 1) * step + 1 for side, step in zip(size, dilation, strict=True)]
    tensor, pad = _padded(scope, value, reach, strides)
    common: dict[str, Any] = {
        "kernel_size": tuple(size), "strides": tuple(strides), "padding": pad,
        "dilation_rate": tuple(dilation), "use_bias": bool(bias), "name": scope.name,
    }  # fmt: skip
    if groups == 1:
        layer: Any = keras.layers.Conv2D(outputs, **common)
        weights = kernel.transpose(2, 3, 1, 0)
    else:
        layer = keras.layers.DepthwiseConv2D(depth_multiplier=outputs // channels, **common)
        weights = kernel.transpose(2, 3, 0, 1).reshape(*size, channels, -1)
    return Value(scope.weighted(layer, tensor, [weights, *bias]), IMAGE)


def padding(scope: Scope) -> Value:
    """Translate Pad: zeros around the photo, which the next convolution may take over."""
    value = scope.any_value(0)
    pads = scope.constant(1).tolist()
    if value.order != IMAGE or value.part_of_norm or len(pads) != 8 or len(scope.node.inputs) > 3:
        raise scope.error("wanted channels first, and 8 pads")
    if scope.attribute("mode", "constant") != "constant" or scope.scalar(2):
        raise scope.error("wanted zeros")
    if any(pads[i] for i in (0, 1, 4, 5)) or not all(0 <= side <= _MOST for side in pads):
        raise scope.error(f"pads {pads}; wanted 0 to {_MOST}, around the photo alone")
    return replace(value, pads=_sum(value.pads, (pads[2], pads[3], pads[6], pads[7])))


def _padded(
    scope: Scope, value: Value, reach: Sequence[int], strides: Sequence[int]
) -> tuple[Any, str]:
    """Return the input of a convolution, and the padding that Keras is to add itself."""
    automatic, pads = scope.attribute("auto_pad", "NOTSET"), scope.attribute("pads", NO_PADS)
    if automatic == "SAME_UPPER":
        return scope.value(0).tensor, "same"
    if automatic not in ("NOTSET", "VALID") or len(pads) != 4 or min(pads) < 0:
        raise scope.error(f"padding {automatic} {list(pads)}")
    total = _sum(value.pads, NO_PADS if automatic == "VALID" else pads)
    if total == NO_PADS:
        return value.tensor, "valid"
    if total == _same(value.tensor.shape[1:3], reach, strides):
        return value.tensor, "same"
    if max(total) > max(reach) + _MOST:
        raise scope.error(f"pads {total} around a kernel that reaches over {max(reach)}")
    return scope.padded(replace(value, pads=total)), "valid"


def _same(sides: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Return what Keras adds with padding "same": top, left, bottom, right."""
    rows = zip(sides, reach, strides, strict=True)
    added = [max((-(-side // step) - 1) * step + kernel - side, 0) for side, kernel, step in rows]
    return (*(total // 2 for total in added), *(total - total // 2 for total in added))


def _sum(one: Sequence[int], other: Sequence[int]) -> tuple[int, int, int, int]:
    top, left, bottom, right = np.add(one, other).tolist()
    return top, left, bottom, right
