"""What an export of a filter made and found out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rs_export.described import created_by
from rs_export.filter_measure import FilterScores, Scaling
from rs_export.metadata import ModelInfo
from rs_export.onnx.metadata import onnx_with_metadata
from rs_export.recipes import Recipe
from rs_export.tflite.metadata import tflite_with_metadata
from rs_runtime.kit.filter_spec import FilterClass, FilterSpec, FilterVariant
from rs_toolkit.folders.filter import FilterFolder

__all__ = ["FilterExport", "FilterModel", "filter_described"]

_PREFIX = "filter_"


@dataclass(frozen=True)
class FilterModel:
    """A converted variant.

    Attributes
    ----------
    recipe
        How it was made.
    data
        The file.
    scaling
        Fitted on validation photos.
    validation, test
        Scores on photos of these sides; None: not measured.
    ms
        Median milliseconds of one photo, the model alone.
    """

    recipe: Recipe
    data: bytes
    scaling: Scaling
    validation: FilterScores | None = None
    test: FilterScores | None = None
    ms: float = 0.0

    @property
    def name(self) -> str:
        """Key of the variant in reports and kits."""
        return f"{_PREFIX}{self.recipe.name}"

    @property
    def member(self) -> str:
        """Path of the file in the export folder and in the kit."""
        folder, _, name = self.recipe.member.rpartition("/")
        return f"{folder}/{_PREFIX}{name}"

    @property
    def row(self) -> dict[str, float]:
        """mb (10**6 bytes), the scores on test photos, and ms."""
        scores = self.test.to_dict() if self.test else {}
        return {"mb": len(self.data) / 1e6, **scores, "ms": self.ms}

    def tested(self, scores: FilterScores, ms: float) -> FilterModel:
        """Return it with its scores on test photos."""
        return replace(self, test=scores, ms=ms)


@dataclass(frozen=True)
class FilterExport:
    """What came of a filter.

    Attributes
    ----------
    source
        The filter folder.
    reference
        The student in ONNX Runtime.
    models
        Variants by name, in the order in which they were made.
    refused
        Why variants must not ship, by name.
    mending
        For each variant that had been refused, what was tried and what came of it.
    sensitivity
        How much each layer loses by rounding; empty unless mending needed to know.
    shipped
        Name of the variant in the kit, by engine.
    difference
        Largest difference of a logit between the student and its translation to Keras.
    counts
        Organisms and others by split.
    """

    source: FilterFolder
    reference: FilterModel
    models: Mapping[str, FilterModel]
    refused: Mapping[str, str]
    mending: Mapping[str, list[dict[str, Any]]]
    sensitivity: tuple[dict[str, Any], ...]
    shipped: Mapping[str, str]
    difference: float
    counts: Mapping[str, Mapping[str, int]]

    def only(self, engines: Iterable[str]) -> FilterExport:
        """Return it with nothing to ship for other engines than these."""
        kept = {engine: self.shipped[engine] for engine in engines}
        return replace(self, shipped=kept)

    def spec(self) -> FilterSpec:
        """Return what the kit's manifest says of it; without latency, which never repeats."""
        models = [self.models[name] for name in self.shipped.values()]
        return FilterSpec(
            classes=tuple(FilterClass(**item) for item in self.source.classes),
            preprocessing=self.source.preprocessing,
            variants=tuple(
                FilterVariant(
                    name=model.name,
                    engine=model.recipe.engine,
                    member=model.member,
                    temperature=model.scaling.temperature,
                    bias=model.scaling.bias,
                    measured={key: value for key, value in model.row.items() if key != "ms"},
                )
                for model in models
            ),
            default_variants=dict(self.shipped),
            thresholds=dict(self.source.thresholds),
        )

    def members(self) -> dict[str, bytes]:
        """Return the models that ship, by their path in the kit."""
        models = [self.models[name] for name in self.shipped.values()]
        return {model.member: model.data for model in models}

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        source = self.source
        measured = {"student": self.reference, **self.models}
        return {
            "folder": str(source.path),
            "student": source.student,
            "teacher": source.teacher,
            "data_fingerprint": source.data_fingerprint,
            "classes": source.classes,
            "thresholds": source.thresholds,
            "counts": self.counts,
            "translation_difference": self.difference,
            "table": {name: model.row for name, model in measured.items()},
            "scalings": {
                "filter.json": source.calibration,
                **{name: asdict(model.scaling) for name, model in measured.items()},
            },
            "shipped": self.shipped,
            "refused": self.refused,
            "mending": self.mending,
            "sensitivity": self.sensitivity,
        }


def filter_described(model: bytes, recipe: Recipe, source: FilterFolder, scaling: Scaling) -> bytes:
    """Return a model file that says what it needs and gives, for use without its kit."""
    organisms = ", ".join(item["name"] for item in source.classes if item["organism"])
    info = ModelInfo(
        name=f"{source.student} filter",
        description=(
            "Tells whether a photo shows an organism: sigmoid(odds / "
            f"{scaling.temperature:.6g} + {scaling.bias:.6g}), odds the logsumexp of the logits of "
            f"{organisms}, less that of the others"
        ),
        rank="prompt class",
        labels=tuple(item["name"] for item in source.classes),
        common_names=(None,) * len(source.classes),
        size=source.preprocessing.size,
        scale=source.preprocessing.scale,
        offset=source.preprocessing.offset,
        temperature=1.0,
        data_fingerprint=source.data_fingerprint,
        created_by=created_by(),
        resize=source.preprocessing.resize,
    )
    add = tflite_with_metadata if recipe.engine == "litert" else onnx_with_metadata
    return add(model, info)
