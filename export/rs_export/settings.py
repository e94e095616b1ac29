"""Export settings: one frozen dataclass that is checked once and recorded in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rs_export.recipes import Recipe, default_recipes, find_recipes
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
_LEAST = {"threads": 1, "calibration_photos": 1, "max_mb": 0, "max_drop": 0,
          "max_decile_drop": 0, "seed": 0}  # fmt: skip
# Settings that are above 0, and at most this.
_MOST = {"passes": 1000, "min_precision": 1}


@dataclass(frozen=True)
class ExportSettings:
    """What an export makes and what it refuses.

    Attributes
    ----------
    int8
        Also make the variants with 8-bit numbers.
    recipes
        Names of the variants to make instead of the defaults; see rs_export.recipes.
    target
        A key of TARGETS: make what runs best there; empty: the defaults.
    max_mb
        Most 10**6 bytes of the compressed kit (``.rskit.xz``); 0: no limit.
    max_drop, max_decile_drop
        Points (hundredths) that a variant may lose of the float model's macro-F1, and of the F1
        of the worst tenth of the classes; at least 0.
    min_precision
        Share of the names given that must be right on validation photos, above 0 and at most 1;
        sets the thresholds below which a coarser rank is named, or none.
    force
        Where every variant for an engine was refused, ship one all the same, with a warning in
        the kit; with ``max_mb``, where none that passed fits.
    mend
        Try other ways to round a variant that was refused.
    passes
        Photos shown to a fine-tuning recipe, as a multiple of the training photos; above 0.
    threads
        CPU threads of the measurements, at least 1.
    calibration_photos
        Training photos that measure activation ranges, at least 1.
    seed
        Of everything random.
    filter
        Folder that ``rs-toolkit distill`` made, whose filter the kit takes along; None: none.

    Raises
    ------
    ExportError
        A setting is out of its range.
    """

    int8: bool = False
    recipes: tuple[str, ...] = ()
    target: str = ""
    max_mb: float = 0.0
    max_drop: float = 1.0
    max_decile_drop: float = 5.0
    min_precision: float = 0.9
    force: bool = False
    mend: bool = True
    passes: float = 1.0
    threads: int = 2
    calibration_photos: int = 200
    seed: int = 0
    filter: str | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if not value >= least:
                raise ExportError(f"export: got {name}={value}; wanted at least {least}")
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not 0 < value <= most:
                raise ExportError(f"export: got {name}={value}; wanted above 0 and at most {most}")
        if self.target and self.target not in TARGETS:
            raise ExportError(
                f"export: got target={self.target!r}; wanted one of {', '.join(TARGETS)}"
            )
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
