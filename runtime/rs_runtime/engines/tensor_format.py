"""Number formats and quantization parameters of a model's input and output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Port", "litert_port", "onnx_port"]


@dataclass(frozen=True)
class Port:
    """The number format of a model's input or output.

    Where it holds integers: ``real = (stored - zero_point) * scale``.

    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", equation 1.
    """

    dtype: np.dtype[Any]
    scale: float = 1.0
    zero_point: int = 0

    def encode(self, real: NDArray[np.float32]) -> NDArray[Any]:
        """Return float32 values in the model's number format, rounded and clipped to it."""
        if self.dtype.kind == "f":
            return np.ascontiguousarray(real, self.dtype)
        limits = np.iinfo(self.dtype)
        levels = np.round(real / np.float32(self.scale)) + self.zero_point
        return np.clip(levels, limits.min, limits.max).astype(self.dtype)

    def decode(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return the float32 values of what the model gave."""
        if self.dtype.kind == "f":
            return stored.astype(np.float32)
        shifted = stored.astype(np.float32) - np.float32(self.zero_point)
        return shifted * np.float32(self.scale)


def litert_port(details: dict[str, Any]) -> Port:
    """Read one end from LiteRT's tensor details.

    EngineError: an integer tensor has no, or more than one, scale and zero point.
    """
    dtype = np.dtype(details["dtype"])
    if dtype.kind == "f":
        return Port(dtype)
    scales = details["quantization_parameters"]["scales"]
    zero_points = details["quantization_parameters"]["zero_points"]
    if len(scales) != 1 or len(zero_points) != 1:
        raise EngineError(
            f"litert model's {dtype} tensor must have one scale and zero point, got {len(scales)}"
        )
    return Port(dtype, float(scales[0]), int(zero_points[0]))


def onnx_port(kind: str, notes: dict[str, str], end: str) -> Port:
    """Read one end from its ONNX type and, for integers, the model's metadata properties.

    EngineError: the type is unknown, or an integer end lacks its properties.
    """
    names = {"float": "f4", "float16": "f2", "uint8": "u1", "int8": "i1"}
    name = kind.removeprefix("tensor(").removesuffix(")")
    if name not in names:
        raise EngineError(
            f"onnxruntime model's {end} must be one of {', '.join(names)}; got {name}"
        )
    dtype = np.dtype(names[name])
    if dtype.kind == "f":
        return Port(dtype)
    try:
        return Port(dtype, float(notes[f"rs.{end}_scale"]), int(notes[f"rs.{end}_zero_point"]))
    except (KeyError, ValueError) as error:
        raise EngineError(
            f"onnxruntime model's {name} {end} needs the metadata properties "
            f"rs.{end}_scale and rs.{end}_zero_point; export it again"
        ) from error
