"""Recipes: how each variant of a model is made, and the grammar of their names.

::

    ENGINE[_spNN|_sp24][_cNN][_qat]_NUMBERS[_fNN][_u8io][_aeq]

    ENGINE   tflite (runs on LiteRT), onnx (runs on ONNX Runtime)
    _spNN    pruned: NN % of a kernel's weights are zero, 10 to 95; _sp24: 2 of every 4 weights
             (Mishra et al. 2021).  Small layers and depthwise kernels are not pruned.  Up to sp50,
             which needs no fine-tuning, only pointwise (1 x 1) kernels are
    _cNN     clustered: the weights of a larger layer take NN values; not depthwise kernels
    _qat     fine-tuned with the rounding to 8 bits in the loop (Jacob et al. 2018)
    NUMBERS  fp32, fp16; dynamic_int8: weights in int8, activations quantized while the model runs;
             int8: weights and activations in int8, ranges calibrated; int16x8: activations in int16
             instead; u8s8, s8s8 (ONNX): activations in uint8 or int8, weights in int8
    _fNN     the layers that lose most by rounding, at most NN % (1 to 99) of the weights, stay in
             float32; for calibrated 8-bit numbers; in TFLite done by ai-edge-quantizer
    _u8io    input and output in uint8 too
    _aeq     quantized by ai-edge-quantizer instead of TensorFlow's converter

``c``, ``qat``, ``sp24`` and ``sp`` above 50 need fine-tuning.  ``tflite_sp50_qat_int8`` is pruned
first and then trained with rounding (PQAT).  Mending (:mod:`rs_export.mending`) replaces refused
variants by some with ``qat`` or ``fNN``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rs_toolkit.config.export import TARGETS, ExportSettings
from rs_toolkit.errors import ExportError

__all__ = ["RECIPES", "Recipe", "chosen_recipes", "default_recipes", "find_recipes"]

# From ENGINE and NUMBERS of a name to the fields engine, weights and activations.
_FORMS = {
    ("tflite", "fp32"): ("litert", "float32", "float32"),
    ("tflite", "fp16"): ("litert", "float16", "float32"),
    ("tflite", "dynamic_int8"): ("litert", "int8", "float32"),
    ("tflite", "int8"): ("litert", "int8", "int8"),
    ("tflite", "int16x8"): ("litert", "int8", "int16"),
    ("onnx", "fp32"): ("onnxruntime", "float32", "float32"),
    ("onnx", "u8s8"): ("onnxruntime", "int8", "uint8"),
    ("onnx", "s8s8"): ("onnxruntime", "int8", "int8"),
}
_NUMBERS = {form: name for name, form in _FORMS.items()}
_SPARSITIES = {"": "dense", "sp24": "2:4"}  # all others: the digits of spNN
_NAME = re.compile(
    r"(?P<engine>tflite|onnx)(?:_(?P<sparsity>sp[1-9]\d))?(?:_c(?P<clusters>[1-9]\d{0,2}))?"
    r"(?P<qat>_qat)?_(?P<numbers>fp32|fp16|dynamic_int8|int8|int16x8|u8s8|s8s8)"
    r"(?:_f(?P<float_share>[1-9]\d?))?(?P<io>_u8io)?(?P<quantizer>_aeq)?"
)


@dataclass(frozen=True)
class Recipe:
    """How one variant is made: the parts of its name.

    Attributes
    ----------
    engine : ``litert`` or ``onnxruntime``
    weights : ``float32``, ``float16``, or ``int8`` with one scale per output channel
    activations : ``float32``, or integers whose ranges are calibrated with training photos
    sparsity : ``dense``, ``10`` to ``95`` (per cent), or ``2:4``
    clusters, float_share : NN of ``cNN`` and ``fNN``; 0: not clustered, no layer in float32
    qat : whether the weights are trained with rounding in the loop
    io : number type of the model's input and output: ``float32`` or ``uint8``
    quantizer : ``converter`` (TensorFlow's, or ONNX Runtime's) or ``ai-edge``
    """

    engine: str
    weights: str = "float32"
    activations: str = "float32"
    sparsity: str = "dense"
    clusters: int = 0
    qat: bool = False
    io: str = "float32"
    quantizer: str = "converter"
    float_share: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ExportError(f"recipe {asdict(self)}: no such recipe; see rs_export.recipes")
        if problem := self._contradiction():
            raise ExportError(f"recipe {self.name!r}: {problem}; see rs_export.recipes")

    @classmethod
    def parse(cls, name: str) -> Recipe:
        """Return the recipe of a name.

        ExportError: the name does not follow the grammar, or its parts exclude each other.
        """
        match = _NAME.fullmatch(name)
        if match is None or (match["engine"], match["numbers"]) not in _FORMS:
            raise ExportError(
                f"recipe {name!r}: unknown; wanted one of {', '.join(RECIPES)}, or another name "
                "ENGINE[_spNN][_cNN][_qat]_NUMBERS[_fNN][_u8io][_aeq]"
            )
        sparsity = match["sparsity"] or ""
        return cls(
            *_FORMS[match["engine"], match["numbers"]],
            sparsity=_SPARSITIES.get(sparsity, sparsity.removeprefix("sp")),
            clusters=int(match["clusters"] or 0),
            qat=bool(match["qat"]),
            io="uint8" if match["io"] else "float32",
            quantizer="ai-edge" if match["quantizer"] else "converter",
            float_share=int(match["float_share"] or 0),
        )

    @property
    def name(self) -> str:
        """Name of the variant in reports and kits; :meth:`parse` is the inverse."""
        form = (self.engine, self.weights, self.activations)
        prefix, numbers = _NUMBERS.get(form, ("", ""))
        ends = (
            f"f{self.float_share}" if self.float_share else "",
            "u8io" if self.io == "uint8" else "",
            "aeq" if self.quantizer == "ai-edge" else "",
        )
        return "_".join(part for part in (prefix, self.preparation, numbers, *ends) if part)

    @property
    def preparation(self) -> str:
        """The part of the name with sp, c and qat, which change the weights first; may be empty."""
        known = {value: key for key, value in _SPARSITIES.items()}
        sparsity = known.get(self.sparsity, f"sp{self.sparsity}")
        clusters = f"c{self.clusters}" if self.clusters else ""
        parts = (sparsity, clusters, "qat" if self.qat else "")
        return "_".join(part for part in parts if part)

    @property
    def calibrated(self) -> bool:
        """Whether the conversion needs calibration photos."""
        return self.activations != "float32"

    @property
    def member(self) -> str:
        """Path of the model in the export folder and in the kit."""
        return f"models/{self.name}.{self.name.partition('_')[0]}"

    def _contradiction(self) -> str:
        if self.sparsity.isdigit() and (int(self.sparsity) > 95 or self.sparsity == "24"):
            return "sparsity must be 10 to 95, and not 24, because sp24 means 2 of every 4"
        if self.clusters and not 2 <= self.clusters <= 256:
            return "clusters must be 2 to 256"
        if self.clusters and (self.qat or self.sparsity != "dense"):
            return "clustered weights cannot be pruned or trained with rounding as well"
        if self.qat and not self.calibrated:
            return "qat is for calibrated integers: int8, int16x8, u8s8 or s8s8"
        if self.io != "float32" and (self.engine, self.activations) != ("litert", "int8"):
            return "u8io is for tflite int8"
        if self.quantizer != "converter" and (self.engine != "litert" or self.weights != "int8"):
            return "aeq is for tflite with int8 weights"
        if self.float_share and self.activations not in ("int8", "uint8"):
            return "f is for calibrated 8-bit numbers: int8, u8s8 or s8s8"
        if self.io != "float32" and (self.float_share or self.quantizer != "converter"):
            return "u8io excludes f and aeq: ai-edge-quantizer makes input and output int8"
        return ""


_QUICK = ("tflite_fp32", "tflite_fp16", "tflite_dynamic_int8", "tflite_int8", "onnx_fp32",
          "onnx_u8s8")  # fmt: skip
_FURTHER = (
    "tflite_int8_u8io", "tflite_int8_aeq", "tflite_dynamic_int8_aeq", "tflite_int16x8",
    "tflite_sp50_int8", "tflite_sp75_int8", "tflite_sp24_int8", "tflite_c32_int8",
    "tflite_qat_int8", "tflite_sp50_qat_int8",
    "onnx_s8s8", "onnx_sp50_u8s8", "onnx_qat_u8s8",
)  # fmt: skip
# For a limit on the kit's size, tried in this order: each is smaller than the one before.
_SMALLER = ("tflite_int8", "tflite_sp50_int8", "tflite_sp65_int8", "tflite_sp75_int8")
RECIPES: Mapping[str, Recipe] = {name: Recipe.parse(name) for name in (*_QUICK, *_FURTHER)}


def default_recipes(int8: bool) -> tuple[Recipe, ...]:
    """Return the default recipes, which need no fine-tuning; with ``int8``, 8-bit ones too."""
    quick = [RECIPES[name] for name in _QUICK]
    return tuple(recipe for recipe in quick if int8 or recipe.weights != "int8")


def chosen_recipes(settings: ExportSettings) -> tuple[Recipe, ...]:
    """Return the recipes that settings ask for, in order."""
    if settings.recipes:
        return find_recipes(settings.recipes)
    if settings.target:
        return find_recipes(TARGETS[settings.target])
    return find_recipes(_SMALLER) if settings.max_mb else default_recipes(settings.int8)


def find_recipes(names: Sequence[str]) -> tuple[Recipe, ...]:
    """Return recipes by name, each once, in the order given; ``all`` means all of RECIPES.

    ExportError: a name is unknown, or ``names`` is empty.
    """
    if not names:
        raise ExportError(f"recipes: got none, wanted any of: {', '.join(RECIPES)}")
    listed = [item for name in names for item in (RECIPES if name == "all" else (name,))]
    return tuple(Recipe.parse(name) for name in dict.fromkeys(listed))
