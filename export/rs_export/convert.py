"""One Keras model to the bytes of any recipe, sharing the steps that recipes have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from rs_export.bias import correct_bias
from rs_export.equalize import equalize
from rs_export.onnx_export import quantize_onnx, to_onnx
from rs_export.quiet import converting
from rs_export.recipes import Recipe
from rs_export.tflite import save_for_tflite, to_tflite

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["Converter"]


class Converter:
    """Converts one model; a context manager, because TensorFlow converts from a folder.

    Parameters
    ----------
    model
        Float32, input (None, S, S, 3) scaled by Preprocessing.model_input, output logits.
    representative
        Gives the calibration photos as model inputs, float32 (n, S, S, 3); called at most once.
    """

    def __init__(
        self, model: keras.Model, representative: Callable[[], NDArray[np.float32]]
    ) -> None:
        self._model = model
        self._representative = representative
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

    def convert(self, recipe: Recipe) -> bytes:
        """Return the model file's bytes.

        Raises
        ------
        ExportError
            The converter failed.
        """
        if recipe.calibrated:
            # Read outside: a photo that cannot be read is no fault of the converter.
            inputs = self._inputs
            with converting(recipe.name):
                return self._quantized(recipe, inputs)
        with converting(recipe.name):
            if recipe.engine == "litert":
                return to_tflite(self._saved_model, recipe)
            return self._onnx

    def _quantized(self, recipe: Recipe, inputs: NDArray[np.float32]) -> bytes:
        """Equalize, quantize, see how the logits shifted, and quantize with that taken back."""
        data = self._quantize(self._equalized, recipe, inputs)
        corrected = correct_bias(self._equalized, recipe.engine, data, inputs)
        return data if corrected is None else self._quantize(corrected, recipe, inputs)

    def _quantize(self, model: keras.Model, recipe: Recipe, inputs: NDArray[np.float32]) -> bytes:
        if recipe.engine != "litert":
            return quantize_onnx(to_onnx(model), inputs)
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            save_for_tflite(model, Path(folder) / "model")
            return to_tflite(Path(folder) / "model", recipe, inputs)

    @cached_property
    def _equalized(self) -> keras.Model:
        return equalize(self._model, self._inputs)

    @cached_property
    def _inputs(self) -> NDArray[np.float32]:
        return self._representative()

    @cached_property
    def _saved_model(self) -> Path:
        folder = Path(self._folder.name) / "model"
        save_for_tflite(self._model, folder)
        return folder

    @cached_property
    def _onnx(self) -> bytes:
        return to_onnx(self._model)
