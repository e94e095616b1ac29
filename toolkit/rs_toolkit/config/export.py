"""Settings of an export: one frozen dataclass, recorded in the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rs_toolkit.config.base import Settings, choice, number
from rs_toolkit.errors import ExportError

__all__ = ["TARGETS", "ExportSettings"]

# phone: TFLite in int8, and in float16 for its GPU.  pi: ARM is fast with signed numbers only.
# x86: fast with unsigned activations and signed weights.  web: for ONNX Runtime Web the sign makes
# no difference; it falls back to float32 where it has no 8-bit kernel.
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
    """Which variants an export makes, and how much they may lose.

    Attributes
    ----------
    int8 : also make the 8-bit variants
    recipes : names of the variants to make instead of the defaults; see rs_export.recipes
    force : ship a variant, with a warning in the kit, where every variant for an engine was
        refused or, with ``max_mb``, none that passed fits
    strict : refuse variants of which the test photos cannot tell whether they lost too much
    mend : try other ways to quantize a variant that lost too much on validation photos
    filter : folder that ``rs-toolkit distill`` made, whose filter goes into the kit too
    ranges, names : tables of where the classes occur, and of their names in other languages, which
        go into the kit; see rs_export.class_tables

    Raises
    ------
    ConfigError
        A setting is out of its range.
    ExportError
        Both a target and recipes are given.
    """

    int8: bool = False
    recipes: tuple[str, ...] = ()
    target: str = choice("", ("", *TARGETS), "phone, pi, x86 or web: make variants that suit it")
    max_mb: float = number(
        0.0, 0, 1e6, "largest compressed kit in MB: prune until it fits; 0: no limit"
    )
    max_drop: float = number(
        2.0, 0, 100, "points (of 100) of macro-F1 that a variant may lose; more must be ruled out"
    )
    max_decile_drop: float = number(
        5.0, 0, 100, "points of F1 that the worst tenth and rarest third of classes may lose"
    )
    min_precision: float = number(
        0.9, _TINY, 1, "share of names that must be right at each rank, with a confidence of 90%"
    )
    force: bool = False
    strict: bool = False
    mend: bool = True
    passes: float = number(
        1.0, _TINY, 1000, "factor on the epochs of fine-tuning of pruned, clustered, qat variants"
    )
    threads: int = number(2, 1, 256, "CPU threads of the measurements")
    calibration_photos: int = number(
        200, 1, 1_000_000, "training photos from which activation ranges are measured"
    )
    seed: int = number(0, 0, 2**31 - 1, "seed of all random numbers")
    filter: str | None = None
    ranges: str | None = None
    names: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target and self.recipes:
            raise ExportError("export: got both --target and --recipe; give one of them")

    @property
    def margins(self) -> dict[str, float]:
        """How much each score may fall, 0 to 1."""
        rare = self.max_decile_drop / 100
        return {
            "macro_f1": self.max_drop / 100,
            "rare_macro_f1": rare,
            "worst_decile_f1": rare,
        }
