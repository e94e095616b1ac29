"""Conversion of a Keras model to any recipe's file; steps that recipes share are done once."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_export.measure.batches import logits_of
from rs_export.onnx.converter import quantize_onnx, to_onnx
from rs_export.quantize.bias import correct_bias
from rs_export.quantize.copies import kernels, marked_copy, marks
from rs_export.quantize.equalize import equalize
from rs_export.recipes import Recipe
from rs_export.tflite.converter import quantize_tflite, save_for_tflite, to_tflite
from rs_runtime.stderr import quiet_libraries
from rs_toolkit.errors import ExportError

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    Inputs = NDArray[np.float32]

__all__ = ["Converter", "Quantization"]


@dataclass(frozen=True)
class Quantization:
    """Settings of quantization that are not part of a recipe.

    Attributes
    ----------
    photos : number of calibration photos
    ranges : ``kind`` of :func:`rs_export.quantize.ranges.activation_ranges`
    float_layers : names of the layers that stay in float32
    """

    photos: int = 200
    ranges: str = "extremes"
    float_layers: tuple[str, ...] = ()


class Converter(contextlib.AbstractContextManager["Converter"]):
    """Converts one model; a context manager, because TensorFlow converts from a temporary folder.

    Parameters
    ----------
    model : float32, input (None, S, S, 3) scaled by Preprocessing.model_input, output logits
    representative : takes a number n and returns n calibration photos as model inputs, float32
        (n, S, S, 3); the attribute ``inputs`` does the same and keeps the result
    prepare : takes a recipe's ``preparation`` and returns the model with the weights it makes
    photos : number of calibration photos for the equalization of channels
    """

    def __init__(
        self,
        model: keras.Model,
        representative: Callable[[int], Inputs],
        prepare: Callable[[str], keras.Model] | None = None,
        photos: int = Quantization.photos,
    ) -> None:
        self._model, self._photos = model, photos
        self._representative, self._prepare = representative, prepare
        self.inputs = cache(representative)
        self._wanted = cache(lambda n: logits_of(model.predict_on_batch, self.inputs(n)))
        # Only the last one is kept, because they are large.
        self._form_of = lru_cache(maxsize=1)(self._made_form)
        self._folder = tempfile.TemporaryDirectory(prefix="rs-export-")

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def convert(self, recipe: Recipe, how: Quantization | None = None) -> bytes:
        """Return the bytes of the model file; ExportError: the conversion failed."""
        how = how or Quantization(self._photos)
        # Outside the block: an unreadable photo or a failed training is not the converter's fault.
        inputs = self.inputs(how.photos) if recipe.calibrated else None
        form = self._form_of(recipe.preparation)
        with _converting(recipe.name):
            if inputs is not None:
                # Weights trained with rounding were equalized before; do not change them again.
                data = _rounded(form if recipe.qat else form.even, recipe, how, inputs)
                return correct_bias(data, recipe.engine, inputs, self._wanted(how.photos))
            if recipe.quantizer == "ai-edge":
                return quantize_tflite(form.tflite, recipe)
            return to_tflite(form.saved, recipe) if recipe.engine == "litert" else form.onnx

    def equalized(self) -> keras.Model:
        """Return the float model with equalized channels."""
        return self._form_of("").even.model

    def _made_form(self, preparation: str) -> _Form:
        """Return the forms of the model that a preparation makes."""
        model = self._model
        if preparation:
            assert self._prepare is not None
            model = self._prepare(preparation)
        return _Form(model, Path(self._folder.name), lambda: self.inputs(self._photos))


@contextlib.contextmanager
def _converting(name: str) -> Iterator[None]:
    """Suppress a conversion's logs, warnings and prints; turn its errors into ExportError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        # In a command, quiet_libraries also suppresses what C++ code writes to standard error.
        with (
            quiet_libraries(),
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            yield
    except (ExportError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].strip()[:300]
        raise ExportError(f"{name}: the conversion failed ({reason}); leave it out") from error
    finally:
        logging.disable(level)


def _rounded(form: _Form, recipe: Recipe, how: Quantization, inputs: Inputs) -> bytes:
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
    """A model in the forms that quantizers take; each is made when it is first needed."""

    def __init__(self, model: keras.Model, folder: Path, inputs: Callable[[], Inputs]) -> None:
        self.model = model
        self._folder, self._inputs = folder, inputs

    @cached_property
    def even(self) -> _Form:
        """The model with equalized channels."""
        model = equalize(self.model, self._inputs())
        return self if model is self.model else _Form(model, self._folder, self._inputs)

    @cached_property
    def marked(self) -> _Form:
        """The model with layer names that can be found in a converted graph."""
        return _Form(marked_copy(self.model), self._folder, self._inputs)

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
