"""Recipes: what each variant of a model is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from rs_toolkit.errors import ExportError

__all__ = ["RECIPES", "Recipe", "default_recipes", "find_recipes"]

_SUFFIXES = {"litert": ".tflite", "onnxruntime": ".onnx"}
_CHOICES = {
    "engine": tuple(_SUFFIXES),
    "weights": ("float32", "float16", "int8"),
    "activations": ("float32", "int8", "uint8"),
}


@dataclass(frozen=True)
class Recipe:
    """How one variant is made.

    Attributes
    ----------
    name
        Key of the variant in reports and kits.
    engine
        ``litert`` or ``onnxruntime``.
    weights
        Storage of the weights: ``float32``, ``float16``, or ``int8`` with one scale per output
        channel.
    activations
        ``float32``, or 8-bit integers whose ranges are calibrated with training photos.
    """

    name: str
    engine: str
    weights: str = "float32"
    activations: str = "float32"

    def __post_init__(self) -> None:
        for key, choices in _CHOICES.items():
            if getattr(self, key) not in choices:
                raise ExportError(
                    f"recipe {self.name!r}: {key} is {getattr(self, key)!r}, "
                    f"wanted one of {', '.join(choices)}"
                )

    @property
    def calibrated(self) -> bool:
        """Whether the conversion needs representative photos."""
        return self.activations != "float32"

    @property
    def is_float(self) -> bool:
        """Whether this is the engine's float32 fallback."""
        return self.weights == self.activations == "float32"

    @property
    def member(self) -> str:
        """Path of the model in the export folder and in the kit."""
        return f"models/{self.name}{_SUFFIXES[self.engine]}"

    def to_dict(self) -> dict[str, str]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Build from :meth:`to_dict`'s result.

        Raises
        ------
        ExportError
            A field is missing, unknown or out of its choices.
        """
        names = [item.name for item in fields(cls)]
        if set(values) != set(names):
            raise ExportError(f"recipe: got fields {sorted(values)}, wanted {sorted(names)}")
        return cls(**values)


_ALL = (
    Recipe("tflite_fp32", "litert"),
    Recipe("tflite_fp16", "litert", weights="float16"),
    Recipe("tflite_dynamic_int8", "litert", weights="int8"),
    Recipe("tflite_int8", "litert", weights="int8", activations="int8"),
    Recipe("onnx_fp32", "onnxruntime"),
    Recipe("onnx_u8s8", "onnxruntime", weights="int8", activations="uint8"),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _ALL}


def default_recipes(int8: bool) -> tuple[Recipe, ...]:
    """Return the recipes of an export: all of them, or those without 8-bit numbers."""
    return tuple(recipe for recipe in _ALL if int8 or recipe.weights != "int8")


def find_recipes(names: Sequence[str]) -> tuple[Recipe, ...]:
    """Return recipes by name, each once, in the order of the registry.

    Raises
    ------
    ExportError
        A name is unknown, or there is none.
    """
    unknown = [name for name in names if name not in RECIPES]
    if unknown or not names:
        got = ", ".join(map(repr, unknown)) or "none"
        raise ExportError(f"recipes: got {got}, wanted any of: {', '.join(RECIPES)}")
    return tuple(recipe for recipe in _ALL if recipe.name in names)
