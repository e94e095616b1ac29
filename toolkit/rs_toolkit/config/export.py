"""Settings of an export: one frozen dataclass, recorded in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    target: str = choice("", ("", *TARGETS), "phone, pi, x86 or web: the variants that suit it")
    max_mb: float = number(
        0.0, 0, 1e6, "most MB of the compressed kit: prunes until it fits; 0: any size"
    )
    max_drop: float = number(1.0, 0, 100, "points of macro-F1 that a variant may lose")
    max_decile_drop: float = number(
        5.0, 0, 100, "the same of the worst tenth of the classes; a loss within noise passes"
    )
    min_precision: float = number(
        0.9, _TINY, 1, "share of the names given that must be right; else a coarser rank is named"
    )
    force: bool = False
    mend: bool = True
    passes: float = number(
        1.0, _TINY, 1000, "passes of fine-tuning (sp, c, qat) over the training photos"
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
    def limits(self) -> dict[str, float]:
        """Points that each score may fall."""
        return {"macro_f1": self.max_drop, "worst_decile_f1": self.max_decile_drop}
