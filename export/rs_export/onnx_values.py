"""What is known of an ONNX graph while it is translated to Keras, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rs_export.onnx_graph import Node
from rs_toolkit.errors import ExportError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["IMAGE", "NO_PADS", "ROW", "Scope", "Value"]

IMAGE = (0, 3, 1, 2)
"""Order of (n, channels, rows, columns) in a tensor of channels last."""
ROW = (0, 1)
"""Order of (n, channels)."""
NO_PADS = (0, 0, 0, 0)


@dataclass(frozen=True)
class Value:
    """A value of the graph.

    Attributes
    ----------
    tensor
        Of Keras, channels last.
    order
        Which axis of ``tensor`` each axis of the ONNX value is.
    pads
        Zeros still to be put around the photo: top, left, bottom, right.
    squares, sum, norm
        At most one is set: the name of the value whose squares, sum of squares or length this is.
        Such a value exists only to be made a length, and that only to be divided by.
    """

    tensor: Any
    order: tuple[int, ...]
    pads: tuple[int, int, int, int] = NO_PADS
    squares: str = ""
    sum: str = ""
    norm: str = ""

    @property
    def part_of_norm(self) -> bool:
        """Whether it is no tensor of its own."""
        return bool(self.squares or self.sum or self.norm)


@dataclass
class Scope:
    """The values so far, and one operation to translate.

    Attributes
    ----------
    constants
        Weights by name.
    values
        What was computed so far, by name.
    node
        The operation.
    name
        Of the layer that it becomes.
    """

    constants: Mapping[str, NDArray[Any]]
    values: dict[str, Value]
    node: Node
    name: str

    def error(self, problem: str) -> ExportError:
        """Return what to raise where the operation is not of the contract."""
        return ExportError(
            f"student.onnx: {self.node.op} ({self.node.name[:40]!a}): {problem}; see "
            "docs/decisions/0010-filter-through-onnx.md for what a student may hold"
        )

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the operation, or the default."""
        return self.node.attributes.get(name, default)

    def has(self, place: int) -> bool:
        """Whether the operation has an input there."""
        return len(self.node.inputs) > place and bool(self.node.inputs[place])

    def is_constant(self, place: int) -> bool:
        """Whether the input there is a weight."""
        return self.has(place) and self.node.inputs[place] in self.constants

    def constant(self, place: int) -> NDArray[Any]:
        """Return the weight that is the input there."""
        if not self.is_constant(place):
            raise self.error(f"input {place} is not a constant")
        return self.constants[self.node.inputs[place]]

    def scalar(self, place: int) -> float | None:
        """Return the number that is the input there, None where it is left out."""
        if not self.has(place):
            return None
        if self.constant(place).size != 1:
            raise self.error(f"input {place} is not one number")
        return float(self.constant(place).ravel()[0])

    def any_value(self, place: int) -> Value:
        """Return the computed value that is the input there, be it a part of a norm."""
        name = self.node.inputs[place] if self.has(place) else ""
        if name not in self.values:
            raise self.error(f"input {place} is not computed")
        return self.values[name]

    def value(self, place: int) -> Value:
        """Return the computed value that is the input there, zeros around it put."""
        found = self.any_value(place)
        if found.part_of_norm:
            raise self.error("a norm may only be divided by")
        if found.pads == NO_PADS:
            return found
        return replace(found, tensor=self.padded(found), pads=NO_PADS)

    def padded(self, value: Value) -> Any:
        """Return an image with its zeros around it."""
        import keras

        top, left, bottom, right = value.pads
        pads = ((top, bottom), (left, right))
        return keras.layers.ZeroPadding2D(pads, name=f"{self.name}_pad")(value.tensor)

    def weighted(self, layer: Any, tensor: Any, weights: Sequence[NDArray[np.float32]]) -> Any:
        """Return a layer's output after giving it its weights."""
        output = layer(tensor)
        layer.set_weights(weights)
        return output
