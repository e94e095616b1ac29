"""The filter of a kit: a student converted, measured against itself, and mended where it lost.

``student.onnx`` is translated to Keras once (:mod:`rs_export.onnx_to_keras`); TFLite is made of
that, 8-bit ONNX of the file itself.  Every variant has a scaling of its own, fitted on validation
photos, and meets the test photos in the engine that will run it.  An 8-bit variant that lost too
much (:func:`rs_export.filter_measure.filter_refusal`) is mended as a classifier is
(:mod:`rs_export.mending`, without training), judged on validation photos first; after that come
weights alone in 8 bits, and weights alone in 16 bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rs_export.convert import Quantization
from rs_export.filter_bench import FilterBench
from rs_export.filter_measure import filter_refusal
from rs_export.filter_record import FilterExport, FilterModel
from rs_export.mending import Step, steps
from rs_export.recipes import Recipe
from rs_export.settings import ExportSettings
from rs_runtime.errors import EngineError
from rs_toolkit.errors import ExportError
from rs_toolkit.files import atomic_write
from rs_toolkit.folders.filter import FilterFolder
from rs_toolkit.progress import Progress

__all__ = ["export_filter"]

_RECIPES = {
    "litert": ("tflite_fp32", "tflite_int8"),
    "onnxruntime": ("onnx_fp32", "onnx_u8s8"),
}
_LAST = {
    "litert": (
        ("weights alone in 8 bits", "tflite_dynamic_int8"),
        ("weights alone in 16 bits", "tflite_fp16"),
    ),
    "onnxruntime": (),
}


def export_filter(
    source: FilterFolder,
    engines: Sequence[str],
    settings: ExportSettings,
    folder: Path,
    progress: Progress,
) -> FilterExport:
    """Convert a filter for some engines, and choose the smallest variant that passes for each.

    Parameters
    ----------
    source
        What ``rs-toolkit distill`` made.
    engines
        ``litert``, ``onnxruntime``: those that the kit has a classifier for.
    settings
        ``calibration_photos``, ``threads``, ``seed`` and ``mend`` are used.
    folder
        Models are written into its ``models``.
    progress
        Is told each variant's results.

    Raises
    ------
    ExportError
        The student is damaged or cannot be translated, there are too few photos, or even float32
        was refused.
    EngineError
        ONNX Runtime is missing, or refused the student.
    """
    progress.note(f"translate and measure the filter {source.path}")
    bench = FilterBench(source, settings)
    work = _Work(bench, settings, folder, progress)
    work.say("student", bench.reference)
    with bench.converter:
        for engine in engines:
            for name in _RECIPES[engine]:
                work.add(Recipe.parse(name))
    return FilterExport(
        source=source,
        reference=bench.reference,
        models=work.models,
        refused=work.refused,
        mending=work.mending,
        sensitivity=tuple(asdict(row) for row in bench.sensitivity),
        shipped={engine: work.smallest(engine).name for engine in engines},
        difference=bench.difference,
        counts=bench.counts,
    )


@dataclass
class _Work:
    """Variants so far, those that were refused and why, and what was tried to mend them."""

    bench: FilterBench
    settings: ExportSettings
    folder: Path
    progress: Progress
    models: dict[str, FilterModel] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    mending: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def add(self, recipe: Recipe) -> None:
        """Convert, measure and save one variant; mend or refuse it if it lost too much."""
        name = f"filter_{recipe.name}"
        self.progress.note(f"convert {name}")
        try:
            model = self.bench.build(recipe, Quantization(self.settings.calibration_photos))
        except (EngineError, ExportError) as error:
            # The other variants are still worth having.
            self.refused[name] = str(error)
        else:
            self._keep(model)
            if reason := self._refusal(model):
                self.refused[name] = reason
                if self.settings.mend:
                    self._mend(model)
        if name in self.refused:
            self.progress.note(f"{name} refused: {self.refused[name]}")

    def smallest(self, engine: str) -> FilterModel:
        """Return the smallest variant that may ship for an engine.

        Raises
        ------
        ExportError
            There is none.
        """
        passing = [
            model
            for name, model in self.models.items()
            if model.recipe.engine == engine and name not in self.refused
        ]
        if not passing:
            told = "; ".join(f"{name}: {reason}" for name, reason in self.refused.items())
            raise ExportError(f"filter for {engine}: even float32 was refused ({told})")
        return min(passing, key=lambda model: len(model.data))

    def say(self, name: str, model: FilterModel) -> None:
        """Tell a variant's results."""
        row = model.row
        self.progress.note(
            f"{name}: {row['mb']:.2f} MB, {row['ms']:.1f} ms, AUROC {row['auroc']:.4f}, "
            f"{row['flagged']:.1%} of the organisms flagged, verdicts as the student's "
            f"{row['agreement']:.1%}, cosine {row['cosine']:.4f}"
        )

    def _refusal(self, model: FilterModel) -> str | None:
        assert model.test is not None and self.bench.reference.test is not None
        return filter_refusal(model.test, self.bench.reference.test)

    def _keep(self, model: FilterModel) -> None:
        with atomic_write(self.folder / model.member) as temporary:
            temporary.write_bytes(model.data)
        self.models[model.name] = model
        self.refused.pop(model.name, None)
        self.say(model.name, model)

    def _mend(self, broken: FilterModel) -> None:
        """Try other ways to round until one passes, and record each."""
        record = self.mending.setdefault(broken.name, [])
        for step in self._steps(broken.recipe):
            self.progress.note(f"mend {broken.name}: {step.title}")
            entry: dict[str, Any] = {
                "step": step.title,
                "variant": f"filter_{step.recipe.name}",
                "float_layers": step.how.float_layers,
            }
            record.append(entry)
            try:
                model = self._attempt(step, entry)
            except (EngineError, ExportError) as error:
                entry["result"] = str(error)
                continue
            if model is not None:
                self._keep(model)
                return

    def _attempt(self, step: Step, entry: dict[str, Any]) -> FilterModel | None:
        """Return what a step makes if it passes, and write its results into the record."""
        model = self.bench.draft(step.recipe, step.how)
        if model.validation is not None:
            entry["validation"] = model.validation.to_dict()
            wanted = self.bench.validation_reference()
            if reason := filter_refusal(model.validation, wanted):
                entry["result"] = f"validation photos: {reason}"
                return None
        model = self.bench.judge(model)
        assert model.test is not None
        entry["test"] = model.test.to_dict()
        entry["result"] = self._refusal(model) or "passed"
        return model if entry["result"] == "passed" else None

    def _steps(self, recipe: Recipe) -> Iterator[Step]:
        photos = self.settings.calibration_photos
        for step in steps(recipe, photos, self.bench.sensitive):
            # There is no training here: what would be taught is the student's own work.
            if not step.recipe.qat:
                yield step
        for title, name in _LAST[recipe.engine] if recipe.calibrated else ():
            yield Step(title, Recipe.parse(name), Quantization(photos))
