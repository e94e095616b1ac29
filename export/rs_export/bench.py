"""Conversion, calibration and measurement of the variants of one task."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.convert import Converter, Quantization
from rs_export.folds import FoldModels, Part
from rs_export.gate import miss, refusal, verdict_words
from rs_export.measure.batches import logits_of
from rs_export.measure.looks import LOOKS, look
from rs_export.onnx.metadata import onnx_with_metadata
from rs_export.quantize.ranges import class_balanced
from rs_export.quantize.sensitivity import Sensitivity, most_sensitive, sensitivity_table
from rs_export.recipes import Recipe
from rs_export.result import Calibration, Measured, Mended, Variant
from rs_export.task import Side, Task
from rs_export.tflite.metadata import tflite_with_metadata
from rs_runtime.engines.engine import Engine, load_engine
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.data.groups import group_photos
from rs_toolkit.errors import ExportError
from rs_toolkit.metrics.noninferiority import FINAL, FIRST, ONLY, UNDECIDED, Verdict
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

__all__ = ["Bench", "Draft", "median_ms"]

Model = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]

_CHUNK = 256
_WARM_UP, _TIMED = 5, 25


@dataclass(frozen=True)
class Draft:
    """A converted model that has not been measured on the test photos yet.

    ``parts`` are the models that are measured: itself, or those of folds.  ``miss`` is what it lost
    too much of on the validation photos; None: nothing.  Where these cannot be used, ``validation``
    is None and ``calibration`` is the float model's.
    """

    recipe: Recipe
    how: Quantization
    data: bytes
    engine: Engine
    parts: Sequence[Part]
    calibration: Calibration
    validation: Verdict | None
    miss: str | None


class Bench:
    """Converts and measures the variants of a task; measures the float model when it is created.

    Attributes
    ----------
    reference : the float model's results
    converter : of the model that ships; the caller must call :meth:`close`
    sensitivity : the error that rounding each layer causes; empty until :meth:`sensitive` is called
    """

    def __init__(self, task: Task, settings: ExportSettings, progress: Progress) -> None:
        self.task, self._settings, self._progress = task, settings, progress
        self.sensitivity: tuple[Sensitivity, ...] = ()
        model = task.load()
        prepare = (
            task.fine_tune(model, self._calibration_inputs, progress) if task.fine_tune else None
        )
        self.converter = Converter(
            model, self._representative, prepare, photos=settings.calibration_photos
        )
        progress.note(f"measure the {task.reference} model")
        self._folds = FoldModels(task.folds, settings, self._chosen) if task.folds else None
        self._floats = self._folds.floats if self._folds else [Part(model.predict_on_batch)]
        self._val, self._test = self._sides()
        self._one = self._inputs(task.pixels(self._test.photos[:1]))
        calibration = self._test.calibration
        # The float model's looks at the test photos, once a verdict needs them.
        self._looks: NDArray[np.float32] | None = None
        self.reference = Measured(
            name=task.reference,
            size=task.size,
            calibration=calibration,
            test=task.scores(self._test.logits, calibration, self._test),
            ms=median_ms(model.predict_on_batch, self._one),
            verdict=self._verdict(self._test, self._test.logits, calibration, ONLY),
            validation=None,
        )
        self._say(self.reference)

    def close(self) -> None:
        """Delete the temporary files of conversions."""
        self.converter.__exit__()
        if self._folds:
            self._folds.__exit__()

    def name(self, recipe: Recipe) -> str:
        """Return the name of a recipe's variant."""
        return f"{self.task.prefix}{recipe.name}"

    def rounding(self, recipe: Recipe) -> Quantization:
        """Return a recipe's first :class:`Quantization`, before any mending.

        ExportError: no layer is small enough to stay in float32.
        """
        layers = self.sensitive(recipe.float_share / 100) if recipe.float_share else ()
        if recipe.float_share and not layers:
            raise ExportError(
                f"{recipe.name}: every layer has more than {recipe.float_share} % of the weights; "
                "use a larger NN in fNN"
            )
        return Quantization(self._settings.calibration_photos, float_layers=layers)

    def draft(self, recipe: Recipe, how: Quantization) -> Draft:
        """Convert a model, calibrate it and measure it on validation photos.

        ``data`` of the result is the final file.  ExportError: the conversion failed.  EngineError:
        the engine cannot run the model.
        """
        data = self.converter.convert(recipe, how)
        calibration, found, missed = self.reference.calibration, None, None
        folds = self._folds.convert(recipe, how) if self._folds else []
        if self._val:
            engine = load_engine(recipe.engine, data, self._settings.threads)
            logits = self._logits(folds or [Part(engine.logits)], self._val.photos)
            calibration = self.task.calibrate(logits, self._val.labels, self._val.groups)
            # Photos of folds are those that decide whether it ships: no step is chosen by them.
            if not folds:
                found = self._verdict(self._val, logits, calibration, ONLY)
                missed = miss(found, self.names)
        describe = tflite_with_metadata if recipe.engine == "litert" else onnx_with_metadata
        data = describe(data, self.task.info(calibration))
        engine = load_engine(recipe.engine, data, self._settings.threads)
        parts = folds or [Part(engine.logits)]
        return Draft(recipe, how, data, engine, parts, calibration, found, missed)

    def judge(self, draft: Draft, mended: Mended | None = None) -> Variant:
        """Measure a draft on the test photos, and decide whether it may ship.

        Where the photos as they are do not decide clearly, more looks at each of them do.
        """
        logits = self._logits(draft.parts, self._test.photos)
        found = self._verdict(self._test, logits, draft.calibration, FIRST)
        if found.verdict == UNDECIDED or found.gone:
            found = self._look_again(draft, logits)
        variant = Variant(
            name=self.name(draft.recipe),
            size=len(draft.data),
            calibration=draft.calibration,
            test=self.task.scores(logits, draft.calibration, self._test),
            ms=median_ms(draft.engine.logits, self._one),
            verdict=found,
            validation=draft.validation,
            recipe=draft.recipe,
            how=draft.how,
            data=draft.data,
            refusal=refusal(found, self.names, self._settings.strict),
            mended=mended,
        )
        self._say(variant)
        return variant

    def sensitive(self, share: float) -> tuple[str, ...]:
        """Return the float model's most sensitive layers, with at most this share of its weights.

        Pruned and clustered models are assumed to have the same sensitive layers.
        """
        if not self.sensitivity:
            self._progress.note("measure each layer's sensitivity to rounding")
            model, inputs = self.converter.equalized(), self._calibration_inputs()
            self.sensitivity = sensitivity_table(model, inputs)
        return most_sensitive(self.sensitivity, share)

    @property
    def names(self) -> list[str]:
        """Names of the classes, in the order of the logits."""
        return [item.name for item in self.task.about.classes]

    def _verdict(
        self, side: Side, logits: NDArray[np.float32], calibration: Calibration, error: float
    ) -> Verdict:
        return self.task.verdict(side.logits[:, None], logits[:, None], calibration, side, error)

    def _look_again(self, draft: Draft, logits: NDArray[np.float32]) -> Verdict:
        """Return the verdict by all looks at the test photos; ``logits`` are those of the first."""
        if self._looks is None:
            self._looks = self._all_looks(self._floats, self._test.logits)
        looks = self._all_looks(draft.parts, logits)
        return self.task.verdict(self._looks, looks, draft.calibration, self._test, FINAL)

    def _all_looks(self, parts: Sequence[Part], first: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (n, looks, classes) of the test photos."""
        photos = self._test.photos
        others = [self._logits(parts, photos, number) for number in range(1, LOOKS)]
        return np.stack([first, *others], axis=1)

    def _sides(self) -> tuple[Side | None, Side]:
        """Return validation photos (None if they have too few different labels) and test photos."""
        val, test = (
            Side(
                photos,
                labels,
                group_photos(photos).numbers,
                self._logits(self._floats, photos),
                self.task.about.calibration,
                self._fold_numbers(len(photos)),
            )
            for photos, labels in map(self.task.photos, ("val", "test"))
        )
        if len(np.unique(val.labels)) < self.task.kinds:
            return None, test
        # The float model is calibrated like its variants, so that only the models differ.
        calibration = self.task.calibrate(val.logits, val.labels, val.groups)
        return replace(val, calibration=calibration), replace(test, calibration=calibration)

    def _say(self, item: Measured) -> None:
        scores = ", ".join(f"{key} {item.test.row[key]:.4f}" for key in self.task.headline)
        told = f"{item.name}: {item.size / 1e6:.2f} MB, {item.ms:.1f} ms, {scores}"
        words = "" if item is self.reference else f", {verdict_words(item.verdict)}"
        self._progress.note(f"{told}{words}")

    def _fold_numbers(self, photos: int) -> NDArray[np.int64] | None:
        if not self._folds:
            return None
        numbers = np.zeros(photos, np.int64)
        for number, fold in enumerate(self.task.folds):
            numbers[fold.rows] = number
        return numbers

    def _logits(
        self, parts: Sequence[Part], photos: Sequence[Photo], number: int = 0
    ) -> NDArray[np.float32]:
        """Return float32 (n, classes) of the look of this number.

        Pixels are read in chunks, as all may not fit in memory.
        """
        found = np.empty((len(photos), len(self.task.about.classes)), np.float32)
        for part in parts:
            rows = np.arange(len(photos)) if part.rows is None else part.rows
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                pixels = look(self.task.pixels([photos[row] for row in chunk]), number)
                answer = partial(self._answer, part.model)
                found[chunk] = logits_of(answer, pixels)
        return found

    def _answer(self, model: Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return model(self._inputs(pixels))

    def _inputs(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(self.task.about.preprocessing.model_input(pixels), np.float32)

    def _representative(self, count: int) -> NDArray[np.float32]:
        photos, labels = self.task.photos("train")
        if not len(photos):
            raise ExportError(
                f"{self.task.about.folder}: no training photos to calibrate 8 bits on; train again"
            )
        return self._chosen(photos, labels, count)

    def _chosen(
        self, photos: Sequence[Photo], labels: NDArray[np.int64], count: int
    ) -> NDArray[np.float32]:
        chosen = class_balanced(labels, count, self._settings.seed)
        return self._inputs(self.task.pixels([photos[i] for i in chosen]))

    def _calibration_inputs(self) -> NDArray[np.float32]:
        return self.converter.inputs(self._settings.calibration_photos)


def median_ms(model: Callable[[Any], Any], photo: NDArray[np.float32]) -> float:
    """Return the model's median time for one photo (1, S, S, 3), in ms, after a warm-up."""
    seconds = timeit.repeat(lambda: model(photo), number=1, repeat=_WARM_UP + _TIMED)
    return float(np.median(seconds[_WARM_UP:])) * 1000
