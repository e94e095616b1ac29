"""One Keras model to the bytes of any recipe, sharing the steps that recipes have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from rs_export.ai_edge import quantize_tflite
from rs_export.batches import logits_of
from rs_export.bias import correct_bias
from rs_export.copies import kernels, marked_copy, marks
from rs_export.equalize import equalize
from rs_export.onnx_export import quantize_onnx, to_onnx
from rs_export.quiet import converting
from rs_export.recipes import Recipe
from rs_export.tflite import save_for_tflite, to_tflite

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["Converter", "Quantization"]


@dataclass(frozen=True)
class Quantization:
    """What can be varied while weights and activations are rounded.

    Attributes
    ----------
    photos
        Size of the calibration set.
    ranges
        What of an activation's values must fit; a kind of
        :func:`rs_export.ranges.activation_ranges`.
    float_layers
        Layers, by name, that stay in float32.
    """

    photos: int = 200
    ranges: str = "extremes"
    float_layers: tuple[str, ...] = ()


class Converter:
    """Converts one model; a context manager, because TensorFlow converts from a folder.

    Parameters
    ----------
    model
        Float32, input (None, S, S, 3) scaled by Preprocessing.model_input, output logits.
    representative
        Gives this many calibration photos as model inputs, float32 (n, S, S, 3).
    prepare
        Gives the model with the weights that a recipe's preparation made.
    photos
        Size of the calibration set that channels are equalized on.
    """

    def __init__(
        self,
        model: keras.Model,
        representative: Callable[[int], NDArray[np.float32]],
        prepare: Callable[[str], keras.Model] | None = None,
        photos: int = Quantization.photos,
    ) -> None:
        self._model = model
        self._photos = photos
        self._representative = representative
        self._prepare = prepare
        self._inputs: dict[int, NDArray[np.float32]] = {}
        self._logits: dict[int, NDArray[np.float32]] = {}
        self._form: tuple[str, _Form] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="rs-export-")

    def __enter__(self) -> Converter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def convert(self, recipe: Recipe, how: Quantization | None = None) -> bytes:
        """Return the model file's bytes.

        Raises
        ------
        ExportError
            The converter failed.
        """
        how = how or Quantization(self._photos)
        # Outside: a photo that cannot be read, or a failed training, is no fault of the converter.
        inputs = self.inputs(how.photos) if recipe.calibrated else None
        form = self._form_of(recipe.preparation)
        with converting(recipe.name):
            if inputs is not None:
                return self._quantized(form, recipe, how, inputs)
            if recipe.quantizer == "ai-edge":
                return quantize_tflite(form.tflite, recipe)
            return to_tflite(form.saved, recipe) if recipe.engine == "litert" else form.onnx

    def inputs(self, photos: int) -> NDArray[np.float32]:
        """Return the calibration photos, read once."""
        if photos not in self._inputs:
            self._inputs[photos] = self._representative(photos)
        return self._inputs[photos]

    def equalized(self) -> keras.Model:
        """Return the model with channels of equal range."""
        return self._form_of("").even(self.inputs(self._photos)).model

    def _form_of(self, preparation: str) -> _Form:
        """Return the forms of a prepared model; of one at a time, because they are large."""
        if self._form is None or self._form[0] != preparation:
            model = self._model
            if preparation:
                if self._prepare is None:
                    raise ValueError(f"nothing prepares {preparation!r}")
                model = self._prepare(preparation)
            self._form = (preparation, _Form(model, Path(self._folder.name)))
        return self._form[1]

    def _quantized(
        self, form: _Form, recipe: Recipe, how: Quantization, inputs: NDArray[np.float32]
    ) -> bytes:
        """Round, see how the logits shifted, and take that back."""
        # Weights trained with rounding fit the channels that they were trained with.
        even = form if recipe.qat else form.even(self.inputs(self._photos))
        data = _rounded(even, recipe, how, inputs)
        return correct_bias(data, recipe.engine, inputs, self._wanted(how.photos))

    def _wanted(self, photos: int) -> NDArray[np.float32]:
        """Return the float model's logits of the calibration photos."""
        if photos not in self._logits:
            self._logits[photos] = logits_of(self._model.predict_on_batch, self.inputs(photos))
        return self._logits[photos]


def _rounded(form: _Form, recipe: Recipe, how: Quantization, inputs: NDArray[np.float32]) -> bytes:
    if recipe.engine != "litert":
        kept = kernels(form.model, how.float_layers)
        return quantize_onnx(form.onnx, recipe, inputs, how.ranges, kept)
    if how.float_layers:
        names = marks(form.model, how.float_layers)
        return quantize_tflite(form.marked.tflite, recipe, inputs, how.ranges, names)
    if recipe.quantizer == "ai-edge" or how.ranges != "extremes":
        return quantize_tflite(form.tflite, recipe, inputs, how.ranges)
    return to_tflite(form.saved, recipe, inputs)


class _Form:
    """A model in the forms that quantizers take, each made when it is first wanted."""

    def __init__(self, model: keras.Model, folder: Path) -> None:
        self.model = model
        self._folder = folder
        self._even: _Form | None = None

    def even(self, inputs: NDArray[np.float32]) -> _Form:
        """Return the forms of the equalized model."""
        if self._even is None:
            model = equalize(self.model, inputs)
            same = model is self.model
            self._even = self if same else _Form(model, self._folder)
        return self._even

    @cached_property
    def marked(self) -> _Form:
        """The same, with layers that can be found again in what is converted."""
        return _Form(marked_copy(self.model), self._folder)

    @cached_property
    def saved(self) -> Path:
        """Folder of a TensorFlow SavedModel."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        save_for_tflite(self.model, folder)
        return folder

    @cached_property
    def tflite(self) -> bytes:
        """float32 TFLite."""
        return to_tflite(self.saved, Recipe("litert"))

    @cached_property
    def onnx(self) -> bytes:
        """float32 ONNX."""
        return to_onnx(self.model)
