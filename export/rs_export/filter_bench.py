"""Where a filter's variants are made and measured: the student, its photos and its own results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rs_export.convert import Converter, Quantization
from rs_export.filter_measure import FilterScores, Judge, Scaling
from rs_export.filter_record import FilterModel, filter_described
from rs_export.onnx.converter import tidied
from rs_export.onnx_graph import read_onnx_file
from rs_export.onnx_to_keras import keras_from_onnx, require_same
from rs_export.quantize.calibration_set import class_balanced
from rs_export.quantize.sensitivity import Sensitivity, most_sensitive, sensitivity_table
from rs_export.recipes import Recipe
from rs_export.settings import ExportSettings
from rs_export.verify import Model, median_ms, predict
from rs_runtime.engines.engine import load_engine
from rs_toolkit.errors import ExportError
from rs_toolkit.folders.filter import FilterFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

__all__ = ["FilterBench"]

_COMPARED = 8


@dataclass(frozen=True)
class _Side:
    """Photos of one split, whether each shows an organism (n,), and the student's logits."""

    photos: Sequence[Photo]
    truth: NDArray[np.bool_]
    logits: NDArray[np.float32]

    @property
    def both(self) -> bool:
        """Whether there are photos of both kinds."""
        return bool(self.truth.any() and not self.truth.all())


class FilterBench:
    """A student, ready to be converted.

    Parameters
    ----------
    source
        What ``rs-toolkit distill`` made.
    settings
        ``calibration_photos``, ``threads`` and ``seed`` are used.

    Attributes
    ----------
    converter
        A context manager that is to be entered.
    reference
        The student's own results, by ONNX Runtime.
    difference
        Largest difference of a logit of its translation to Keras.
    counts
        Organisms and others by split.
    sensitivity
        How much each layer loses by rounding; empty unless it was asked for.

    Raises
    ------
    ExportError
        The student is damaged, cannot be translated, or is not of the folder's size and classes;
        or there are too few photos.
    EngineError
        ONNX Runtime is missing, or refused the student.
    """

    def __init__(self, source: FilterFolder, settings: ExportSettings) -> None:
        self.source, self._settings = source, settings
        self._judge = Judge(source.organism, source.thresholds)
        self.sensitivity: tuple[Sensitivity, ...] = ()
        self.counts = self._counted()
        data = read_onnx_file(source.path / "student.onnx")
        model = keras_from_onnx(data)
        self._require_shape(model.input_shape, model.output_shape)
        self.converter = Converter(
            model, self._representative, onnx=tidied(data), photos=settings.calibration_photos
        )
        inputs = self.converter.inputs(settings.calibration_photos)
        self.difference = require_same(model, data, inputs[:_COMPARED])
        student = load_engine("onnxruntime", data, settings.threads)
        self._val, self._test = (self._side(name, student.logits) for name in ("val", "test"))
        given = Scaling(source.calibration["temperature"], source.calibration["bias"])
        # Variants are fitted to the same photos: what differs is then the model alone.
        self._scaling = self._fitted(self._val.logits) or given
        self.reference = FilterModel(
            Recipe("onnxruntime"), data, self._scaling, None,
            self._scores(self._test, self._test.logits, self._scaling),
            median_ms(student.logits, self._one),
        )  # fmt: skip

    def build(self, recipe: Recipe, how: Quantization) -> FilterModel:
        """Convert, scale and measure one variant on the test photos.

        Raises
        ------
        ExportError, EngineError
            The conversion failed, or the engine refused its result.
        """
        return self.judge(self.draft(recipe, how))

    def draft(self, recipe: Recipe, how: Quantization) -> FilterModel:
        """Convert, scale and measure one variant on the validation photos alone; as :meth:`build`.

        What is measured afterwards is the file to ship, to the byte.
        """
        data = self.converter.convert(recipe, how)
        scaling, scores = self._scaling, None
        if self._val.both:
            engine = load_engine(recipe.engine, data, self._settings.threads)
            logits = predict(engine.logits, self.source, self._val.photos)
            scaling = self._fitted(logits) or scaling
            scores = self._scores(self._val, logits, scaling)
        data = filter_described(data, recipe, self.source, scaling)
        return FilterModel(recipe, data, scaling, scores)

    def judge(self, model: FilterModel) -> FilterModel:
        """Return a variant with what the test photos say of it."""
        engine = load_engine(model.recipe.engine, model.data, self._settings.threads)
        logits = predict(engine.logits, self.source, self._test.photos)
        scores = self._scores(self._test, logits, model.scaling)
        return model.tested(scores, median_ms(engine.logits, self._one))

    def validation_reference(self) -> FilterScores:
        """Return the student's scores on the validation photos; there must be both kinds."""
        return self._scores(self._val, self._val.logits, self._scaling)

    def sensitive(self, share: float) -> tuple[str, ...]:
        """Return the most sensitive layers with at most this share of the weights."""
        if not self.sensitivity:
            inputs = self.converter.inputs(self._settings.calibration_photos)
            self.sensitivity = sensitivity_table(self.converter.equalized(), inputs)
        return most_sensitive(self.sensitivity, share)

    @cached_property
    def _one(self) -> NDArray[np.float32]:
        pixels = self.source.pixels(self._test.photos[:1])[0]
        return np.asarray(self.source.preprocessing.model_input(pixels), np.float32)

    def _fitted(self, logits: NDArray[np.float32]) -> Scaling | None:
        return self._judge.scaling(logits, self._val.truth) if self._val.both else None

    def _scores(self, side: _Side, logits: NDArray[np.float32], scaling: Scaling) -> FilterScores:
        return self._judge.scores(logits, scaling, side.logits, self._scaling, side.truth)

    def _side(self, name: str, model: Model) -> _Side:
        photos, truth = self.source.side(name)
        return _Side(photos, truth, predict(model, self.source, photos))

    def _representative(self, count: int) -> NDArray[np.float32]:
        """Return training photos, as many organisms as others where there are enough."""
        photos, truth = self.source.side("train")
        chosen = [photos[i] for i in class_balanced(truth, count, self._settings.seed)]
        ready = self.source.preprocessing.model_input(self.source.pixels(chosen))
        return np.asarray(ready, np.float32)

    def _counted(self) -> dict[str, dict[str, int]]:
        counts = {}
        for name in ("train", "val", "test"):
            truth = self.source.side(name)[1]
            counts[name] = {"organisms": int(truth.sum()), "others": int((~truth).sum())}
        wanted = {"train": max, "test": min}
        for name, least in wanted.items():
            if not least(counts[name].values()):
                raise ExportError(
                    f"{self.source.path}: {counts[name]['organisms']} organisms and "
                    f"{counts[name]['others']} others among the {name} photos, wanted "
                    f"{'both' if least is min else 'any'}; distil again with more photos"
                )
        return counts

    def _require_shape(self, source: tuple[int, ...], target: tuple[int, ...]) -> None:
        side, classes = self.source.preprocessing.size, len(self.source.classes)
        if (source[1], target[1]) != (side, classes):
            raise ExportError(
                f"{self.source.path / 'student.onnx'}: takes {source[1]} px and gives {target[1]} "
                f"logits, filter.json says {side} px and {classes} classes; distil again"
            )
