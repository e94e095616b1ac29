"""Export settings: one frozen dataclass that is checked once and recorded in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rs_export.recipes import Recipe, default_recipes, find_recipes
from rs_toolkit.config.base import Settings, choice, number
from rs_toolkit.errors import ExportError

__all__ = ["TARGETS", "ExportSettings"]

# phone: TFLite, and float16 for its GPU.  pi: ARM has fast products of signed numbers alone.
# x86: unsigned activations with signed weights.  web: ONNX Runtime Web has no per-tensor kernels
# that prefer one sign over the other, and falls back on float32 where it has none at all.
TARGETS: Mapping[str, tuple[str, ...]] = {
    "phone": ("tflite_int8", "tflite_fp16"),
    "pi": ("tflite_int8", "onnx_s8s8"),
    "x86": ("onnx_u8s8", "tflite_int8"),
    "web": ("onnx_u8s8", "onnx_fp32"),
}
# From least to most that is taken away; the first that fits and keeps its classes is shipped.
_SMALLER = ("tflite_int8", "tflite_sp50_int8", "tflite_sp65_int8", "tflite_sp75_int8")
# Stands for "above 0".
_TINY = 1e-6


@dataclass(frozen=True)
class ExportSettings(Settings):
    """What an export makes and what it refuses.

    Attributes
    ----------
    int8 : also make the variants with 8-bit numbers
    recipes : names of the variants to make instead of the defaults; see rs_export.recipes
    force : where every variant for an engine was refused, ship one all the same, with a warning in
        the kit; with ``max_mb``, where none that passed fits
    mend : try other ways to round a variant that was refused
    filter : folder that ``rs-toolkit distill`` made, whose filter the kit takes along; None: none

    Raises
    ------
    ConfigError
        A setting is out of its range.
    ExportError
        There are a target and recipes.
    """

    int8: bool = False
    recipes: tuple[str, ...] = ()
    target: str = choice("", ("", *TARGETS), "make what runs best there; empty: the defaults")
    max_mb: float = number(0.0, 0, 1e6, "most 10**6 bytes of the .rskit.xz; 0: no limit")
    max_drop: float = number(1.0, 0, 100, "points that a variant may lose of the macro-F1")
    max_decile_drop: float = number(5.0, 0, 100, "the same of the worst tenth of the classes")
    # Sets the thresholds below which a coarser rank is named, or none.
    min_precision: float = number(
        0.9, _TINY, 1, "share of the names given that must be right on validation photos"
    )
    force: bool = False
    mend: bool = True
    passes: float = number(
        1.0, _TINY, 1000, "photos shown in fine-tuning, as a multiple of the training photos"
    )
    threads: int = number(2, 1, 256, "CPU threads of the measurements")
    calibration_photos: int = number(
        200, 1, 1_000_000, "training photos that measure activation ranges"
    )
    seed: int = number(0, 0, 2**31 - 1, "seed of everything random")
    filter: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target and self.recipes:
            raise ExportError("export: got a target and recipes; give one of them")

    @property
    def chosen(self) -> tuple[Recipe, ...]:
        """The recipes to make, in order."""
        if self.recipes:
            return find_recipes(self.recipes)
        if self.target:
            return find_recipes(TARGETS[self.target])
        return find_recipes(_SMALLER) if self.max_mb else default_recipes(self.int8)

    @property
    def limits(self) -> dict[str, float]:
        """Points that each score may fall."""
        return {"macro_f1": self.max_drop, "worst_decile_f1": self.max_decile_drop}
