"""The state of one export: the float model's results, and each variant's so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.calibrate import Calibration, answered, calibrate, thresholds_of
from rs_export.convert import Converter, Quantization
from rs_export.described import class_infos, described
from rs_export.mending import steps
from rs_export.quantize.calibration_set import class_balanced
from rs_export.quantize.sensitivity import Sensitivity, most_sensitive, sensitivity_table
from rs_export.recipes import Recipe
from rs_export.settings import ExportSettings
from rs_export.shrink.prepared import Preparer
from rs_export.verify import Measured, Model, beyond, drops_of, measure, median_ms, predict, refusal
from rs_runtime.engines.engine import Engine, load_engine
from rs_runtime.errors import EngineError
from rs_runtime.ranks import levels
from rs_toolkit.errors import ExportError
from rs_toolkit.files import atomic_write
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.bootstrap import Drop
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

__all__ = ["Built", "Session"]


@dataclass(frozen=True)
class _Side:
    """Photos of one split, their classes (n,), and the float model's logits (n, classes)."""

    photos: Sequence[Photo]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Built:
    """A converted variant: its file, what runs it, its calibration, and what it lost against the
    float model on validation photos (empty where there are none)."""

    data: bytes
    engine: Engine
    calibration: Calibration
    drops: Mapping[str, Drop]


@dataclass
class Session:
    """Converts, measures and judges variants.

    Attributes
    ----------
    run, folder, settings, progress
        What is exported, where to, how, and who is told.
    measured
        Results by variant, ``float`` first.
    refused
        Why variants must not ship.
    mending
        For each variant that had been refused, what was tried and what came of it.
    sensitivity
        How much each layer loses by rounding; empty unless mending needed to know.
    calibrations
        By variant, fitted on validation photos.
    """

    run: Run
    folder: Path
    settings: ExportSettings
    progress: Progress
    measured: dict[str, Measured] = field(init=False)
    refused: dict[str, str] = field(default_factory=dict)
    mending: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    sensitivity: tuple[Sensitivity, ...] = ()
    calibrations: dict[str, Calibration] = field(init=False)

    def __post_init__(self) -> None:
        self._names = [item["name"] for item in self.run.classes]
        self._levels = levels(class_infos(self.run), self.run.rank)
        self._made: dict[str, Recipe] = {}
        if not self.run.split("test")[0]:
            raise ExportError(
                f"{self.run.path}: no test photos to verify with; train with test > 0"
            )
        self._model = self.run.load_model()
        self.progress.note("measure the float model")
        run_float = self._model.predict_on_batch
        self._val, self._test = (self._side(name, run_float) for name in ("val", "test"))
        one = self.run.pixels(self._test.photos[:1])[0]
        self._one = self.run.preprocessing.model_input(one)
        self.calibrations = {"float": self._float_calibration()}
        size = (self.run.path / "model.keras").stat().st_size
        result = self._measure(
            "float", self._test.logits, self.calibrations["float"], size, run_float
        )
        self.measured = {"float": result}
        self.converter = Converter(
            self._model,
            self._representative,
            self._prepared,
            photos=self.settings.calibration_photos,
        )

    def add(self, recipe: Recipe) -> None:
        """Convert, save and measure one variant; mend or refuse it if it lost too much."""
        name = recipe.name
        self.progress.note(f"convert {name}")
        try:
            built = self.build(recipe, Quantization(self.settings.calibration_photos))
            self._keep(recipe, built, self.judge(name, built))
        except (EngineError, ExportError) as error:
            # The other variants are still worth having.
            self.refused[name] = str(error)
        else:
            if name in self.refused and self.settings.mend:
                self._mend(recipe)
        if name in self.refused:
            self.progress.note(f"{name} refused: {self.refused[name]}")

    def passing(self, engine: str) -> list[Recipe]:
        """Return what may ship for an engine, in the order in which it was made.

        With ``settings.force`` that is what was refused, but only where nothing passed.
        """
        made = [recipe for recipe in self._made.values() if recipe.engine == engine]
        passed = [recipe for recipe in made if recipe.name not in self.refused]
        return passed or (made if self.settings.force else [])

    def tried(self, recipe: Recipe) -> bool:
        """Whether a variant was made, or could not be."""
        return recipe.name in {*self.measured, *self.refused}

    def build(self, recipe: Recipe, how: Quantization) -> Built:
        """Convert, measure on validation photos, and calibrate.

        What is measured afterwards is the file to ship, to the byte.

        Raises
        ------
        ExportError, EngineError
            The conversion failed, or the engine refused its result.
        """
        data = self.converter.convert(recipe, how)
        engine = load_engine(recipe.engine, data, self.settings.threads)
        if not self._val.photos:
            calibration, drops = self.calibrations["float"], {}
        else:
            logits = predict(engine.logits, self.run, self._val.photos)
            labels, precision = self._val.labels, self.settings.min_precision
            calibration = calibrate(logits, labels, self._levels, precision)
            drops = dict(drops_of(logits, self._val.logits, self._val.labels))
        data = described(data, recipe, self.run, calibration.temperature)
        engine = load_engine(recipe.engine, data, self.settings.threads)
        return Built(data, engine, calibration, drops)

    def judge(self, name: str, built: Built) -> Measured:
        """Return a variant's results on the test photos."""
        model = built.engine.logits
        logits = predict(model, self.run, self._test.photos)
        return self._measure(name, logits, built.calibration, len(built.data), model)

    def sensitive(self, share: float) -> tuple[str, ...]:
        """Return the float model's most sensitive layers; pruned weights are much like its own."""
        if not self.sensitivity:
            self.progress.note("measure each layer's sensitivity to rounding")
            inputs = self.converter.inputs(self.settings.calibration_photos)
            self.sensitivity = sensitivity_table(self.converter.equalized(), inputs)
        return most_sensitive(self.sensitivity, share)

    def _keep(self, recipe: Recipe, built: Built, result: Measured) -> None:
        """Save a variant with its results; refuse it if it lost too much."""
        with atomic_write(self.folder / recipe.member) as temporary:
            temporary.write_bytes(built.data)
        self._made[recipe.name] = recipe
        self.calibrations[recipe.name] = built.calibration
        self.measured[recipe.name] = result
        self.refused.pop(recipe.name, None)
        if reason := refusal(result, self.settings.limits):
            self.refused[recipe.name] = reason

    def _mend(self, recipe: Recipe) -> None:
        """Try other ways to round until one passes, and record each."""
        record = self.mending.setdefault(recipe.name, [])
        for step in steps(recipe, self.settings.calibration_photos, self.sensitive):
            self.progress.note(f"mend {recipe.name}: {step.title}")
            entry: dict[str, Any] = {"step": step.title, "float_layers": step.how.float_layers}
            record.append(entry)
            try:
                built = self.build(step.recipe, step.how)
                entry["validation"] = {key: asdict(drop) for key, drop in built.drops.items()}
                if built.drops and beyond(built.drops, self.settings.limits):
                    entry["result"] = "lost too much on validation photos"
                    continue
                result = self.judge(recipe.name, built)
            except (EngineError, ExportError) as error:
                entry["result"] = str(error)
                continue
            entry["test"] = {key: asdict(drop) for key, drop in result.drops.items()}
            entry["result"] = refusal(result, self.settings.limits) or "passed"
            if entry["result"] == "passed":
                self._keep(recipe, built, result)
                return

    def _measure(
        self,
        name: str,
        logits: NDArray[np.float32],
        calibration: Calibration,
        size: int,
        model: Model,
    ) -> Measured:
        """Return a variant's test results, and say them."""
        test, temperature = self._test, calibration.temperature
        ms = median_ms(model, self._one)
        result = measure(logits, test.logits, test.labels, self._names, size, ms, temperature)
        named = answered(logits, test.labels, self._levels, calibration)
        result = replace(result, answered=named)
        row = result.row
        self.progress.note(
            f"{name}: {row['mb']:.2f} MB, {ms:.1f} ms, macro-F1 {row['macro_f1']:.4f}, "
            f"agrees with float on {row['agreement']:.1%}"
        )
        return result

    def _float_calibration(self) -> Calibration:
        """Return the run's own temperature, and thresholds to go with it."""
        temperature, val = self.run.temperature, self._val
        thresholds = (
            thresholds_of(
                val.logits, val.labels, temperature, self._levels, self.settings.min_precision
            )
            if val.photos
            else {}
        )
        return Calibration(temperature, thresholds)

    def _side(self, name: str, model: Model) -> _Side:
        photos, labels = self.run.split(name)
        return _Side(photos, labels, predict(model, self.run, photos))

    def _representative(self, count: int) -> NDArray[np.float32]:
        photos, labels = self.run.split("train")
        if not photos:
            raise ExportError(
                f"{self.run.path}: no training photos to calibrate int8 with; train again"
            )
        chosen = [photos[i] for i in class_balanced(labels, count, self.settings.seed)]
        ready = self.run.preprocessing.model_input(self.run.pixels(chosen))
        return np.asarray(ready, np.float32)

    def _prepared(self, preparation: str) -> keras.Model:
        preparer = Preparer(
            self.run,
            self._model,
            lambda: self.converter.inputs(self.settings.calibration_photos),
            passes=self.settings.passes,
            seed=self.settings.seed,
            progress=self.progress,
        )
        return preparer.model(preparation)
