"""Keras to TFLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_export.recipes import Recipe

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["save_for_tflite", "to_tflite"]


def save_for_tflite(model: keras.Model, directory: Path) -> None:
    """Save a model of one photo at a time: a fixed batch lets TFLite plan its memory once."""
    import tensorflow as tf

    shape = (1, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="inputs")]
    model.export(directory, format="tf_saved_model", input_signature=signature, verbose=False)


def to_tflite(
    saved_model: Path, recipe: Recipe, inputs: NDArray[np.float32] | None = None
) -> bytes:
    """Return what :func:`save_for_tflite` saved as a TFLite file.

    Weights in int8 have one scale per output channel, activations one scale and zero point per
    tensor, ranges the extremes over ``inputs`` (Krishnamoorthi 2018, sections 3 and 5); the
    graph's own input and output stay float32 unless the recipe says otherwise.

    Parameters
    ----------
    saved_model : folder
    recipe : one whose engine is ``litert``
    inputs : float32, shape (n, S, S, 3), as Preprocessing.model_input gives them
        Representative photos; needed only if ``recipe.calibrated``.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if recipe.weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe.weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if recipe.calibrated and inputs is not None:

        def representative() -> Iterator[list[NDArray[np.float32]]]:
            for photo in inputs:
                yield [photo[None]]

        converter.representative_dataset = representative
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        narrow = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        # Without float kernels to fall back to, an operation that has no such form is an error.
        converter.target_spec.supported_ops = [wide if recipe.activations == "int16" else narrow]
        if recipe.io == "uint8":
            converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())
