"""One Keras model to the bytes of any recipe, sharing the steps that recipes have in common."""

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
    """What can be varied while weights and activations are rounded.

    Attributes
    ----------
    photos : size of the calibration set
    ranges : a kind of :func:`rs_export.quantize.ranges.activation_ranges`
    float_layers : layers, by name, that stay in float32
    """

    photos: int = 200
    ranges: str = "extremes"
    float_layers: tuple[str, ...] = ()


class Converter(contextlib.AbstractContextManager["Converter"]):
    """Converts one model; a context manager, because TensorFlow converts from a folder.

    Parameters
    ----------
    model : float32, input (None, S, S, 3) scaled by Preprocessing.model_input, output logits
    representative : gives this many calibration photos as model inputs, float32 (n, S, S, 3);
        the attribute ``inputs`` does the same and keeps them
    prepare : gives the model with the weights that a recipe's preparation made
    photos : size of the calibration set that channels are equalized on
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
        # One at a time, because they are large.
        self._form_of = lru_cache(maxsize=1)(self._made_form)
        self._folder = tempfile.TemporaryDirectory(prefix="rs-export-")

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    def convert(self, recipe: Recipe, how: Quantization | None = None) -> bytes:
        """Return the model file's bytes; raises ExportError where the converter failed."""
        how = how or Quantization(self._photos)
        # Outside: a photo that cannot be read, or a failed training, is no fault of the converter.
        inputs = self.inputs(how.photos) if recipe.calibrated else None
        form = self._form_of(recipe.preparation)
        with _converting(recipe.name):
            if inputs is not None:
                # Weights trained with rounding fit the channels that they were trained with.
                data = _rounded(form if recipe.qat else form.even, recipe, how, inputs)
                return correct_bias(data, recipe.engine, inputs, self._wanted(how.photos))
            if recipe.quantizer == "ai-edge":
                return quantize_tflite(form.tflite, recipe)
            return to_tflite(form.saved, recipe) if recipe.engine == "litert" else form.onnx

    def equalized(self) -> keras.Model:
        """Return the model with channels of equal range."""
        return self._form_of("").even.model

    def _made_form(self, preparation: str) -> _Form:
        """Return the forms of a prepared model."""
        model = self._model
        if preparation:
            assert self._prepare is not None
            model = self._prepare(preparation)
        return _Form(model, Path(self._folder.name), lambda: self.inputs(self._photos))


@contextlib.contextmanager
def _converting(name: str) -> Iterator[None]:
    """Drop a conversion's logs, warnings and prints; turn its failure into one ExportError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        # In a command, quiet_libraries also drops what C++ writes to standard error.
        with (
            quiet_libraries(),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
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
    """A model in the forms that quantizers take, each made when it is first wanted."""

    def __init__(self, model: keras.Model, folder: Path, inputs: Callable[[], Inputs]) -> None:
        self.model = model
        self._folder, self._inputs = folder, inputs

    @cached_property
    def even(self) -> _Form:
        """The model with channels of equal range."""
        model = equalize(self.model, self._inputs())
        return self if model is self.model else _Form(model, self._folder, self._inputs)

    @cached_property
    def marked(self) -> _Form:
        """The model with layers that can be found again in what is converted."""
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
