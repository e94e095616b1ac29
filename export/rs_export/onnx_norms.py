"""Division by the own length, which ONNX spells in three to five operations, as one layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rs_export.keras_layers import unit_length
from rs_export.onnx_values import ROW, Scope, Value

__all__ = [
    "by_length",
    "maximum",
    "norm_and_least",
    "power",
    "reduce_l2",
    "reduce_sum",
    "root",
    "squares",
]


def by_length(scope: Scope) -> Value:
    """Translate Div of a value by its own length."""
    divisor, value = scope.any_value(1), scope.value(0)
    if divisor.norm != scope.node.inputs[0]:
        raise scope.error("wanted a constant, or the length of what is divided")
    return replace(value, tensor=unit_length(scope.name)(value.tensor))


def power(scope: Scope) -> Value:
    """Translate Pow of 2."""
    if scope.scalar(1) != 2:
        raise scope.error(f"power {scope.scalar(1)}; wanted 2, in a norm")
    return squares(scope)


def squares(scope: Scope) -> Value:
    """Translate Mul of a value by itself."""
    return replace(scope.value(0), squares=scope.node.inputs[0])


def reduce_sum(scope: Scope) -> Value:
    """Translate ReduceSum of squares."""
    value = scope.any_value(0)
    axes = scope.constant(1).tolist() if scope.has(1) else None
    if not value.squares:
        raise scope.error("wanted the sum of squares, in a norm")
    _require_last(scope, value, axes)
    return replace(value, squares="", sum=value.squares)


def root(scope: Scope) -> Value:
    """Translate Sqrt of a sum of squares."""
    value = scope.any_value(0)
    if not value.sum:
        raise scope.error("wanted the root of a sum of squares, in a norm")
    return replace(value, sum="", norm=value.sum)


def reduce_l2(scope: Scope) -> Value:
    """Translate ReduceL2."""
    value = scope.value(0)
    _require_last(scope, value, scope.attribute("axes"))
    return replace(value, norm=scope.node.inputs[0])


def maximum(scope: Scope) -> Value:
    """Translate Max of a norm and a small number."""
    if not norm_and_least(scope) or len(scope.node.inputs) != 2:
        raise scope.error("wanted a norm and its least value")
    return scope.any_value(0)


def norm_and_least(scope: Scope) -> bool:
    """Whether a part of a norm meets a small number that keeps it above zero."""
    found = scope.values.get(scope.node.inputs[0])
    if found is None or not found.part_of_norm:
        return False
    least = scope.scalar(1)
    if least is None or not 0 <= least <= 1e-3:
        raise scope.error(f"a norm and {least}; wanted a least value of 0 to 0.001")
    return True


def _require_last(scope: Scope, value: Value, axes: Any) -> None:
    if value.order != ROW or axes not in ([1], [-1]) or not scope.attribute("keepdims", 1):
        raise scope.error(f"axes {axes}; wanted the norm of (n, channels) over channels, kept")
