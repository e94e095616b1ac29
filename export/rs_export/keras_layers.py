"""Keras layers of our own."""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["unit_length"]

_LEAST = 1e-12


def unit_length(name: str) -> Any:
    """Return a layer that divides each row of (n, channels) by its length."""
    return _unit_length()(name=name)


@cache
def _unit_length() -> Any:
    import keras

    class UnitLength(keras.layers.Layer):  # type: ignore[misc]
        """By the inverse root, which TFLite has in integers; division it has not."""

        def call(self, inputs: Any) -> Any:
            total = keras.ops.sum(keras.ops.square(inputs), axis=-1, keepdims=True)
            return inputs * keras.ops.rsqrt(keras.ops.maximum(total, _LEAST))

    return UnitLength
