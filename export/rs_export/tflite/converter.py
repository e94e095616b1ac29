"""Conversion from Keras to TFLite, in float32 and quantized.

TensorFlow's converter can quantize while it converts.  ai-edge-quantizer quantizes a float32 TFLite
file; unlike the converter, it can leave layers in float32 and use given activation ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.quantize.ranges import activation_ranges
from rs_export.recipes import Recipe
from rs_export.tflite.file import pack, unpack

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["quantize_tflite", "save_for_tflite", "to_tflite"]


def save_for_tflite(model: keras.Model, directory: Path) -> None:
    """Save a model with a batch size of 1: a fixed size lets TFLite plan its memory once."""
    import tensorflow as tf

    shape = (1, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="inputs")]

    def answer(inputs: Any) -> Any:
        return model(inputs, training=False)

    traced = tf.function(answer, input_signature=signature)
    # Not model.export, which traces the model three times as often.
    saved = tf.Module()
    saved.weights = [weight.value for weight in model.variables]
    tf.saved_model.save(saved, str(directory), signatures=traced.get_concrete_function())


def to_tflite(
    saved_model: Path, recipe: Recipe, inputs: NDArray[np.float32] | None = None
) -> bytes:
    """Convert the model that :func:`save_for_tflite` saved to a TFLite file.

    Weights in int8 have one scale per output channel.  Integer activations have one scale and zero
    point per tensor, and their ranges are the extremes over ``inputs`` (Krishnamoorthi 2018,
    sections 3 and 5).  The graph's input and output stay float32 unless the recipe says otherwise.

    Parameters
    ----------
    saved_model : folder
    recipe : a recipe whose engine is ``litert``
    inputs : calibration photos as model inputs, float32 (n, S, S, 3), if ``recipe.calibrated``
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    if recipe.weights != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe.weights == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if recipe.calibrated and inputs is not None:
        converter.representative_dataset = lambda: ([photo[None]] for photo in inputs)
        wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        narrow = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        # Integer operations only: where an operation has no integer form, the conversion fails.
        converter.target_spec.supported_ops = [wide if recipe.activations == "int16" else narrow]
        if recipe.io == "uint8":
            converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def quantize_tflite(
    model: bytes,
    recipe: Recipe,
    inputs: NDArray[np.float32] | None = None,
    ranges: str = "extremes",
    in_float: Sequence[str] = (),
) -> bytes:
    """Quantize float32 TFLite; if the recipe is calibrated, input and output become integers too.

    Parameters
    ----------
    model : bytes from :func:`to_tflite`
    recipe : a recipe whose engine is ``litert`` and whose weights are ``int8``
    inputs : as for :func:`to_tflite`
    ranges : ``kind`` of :func:`rs_export.quantize.ranges.activation_ranges`
    in_float : operations with one of these texts in their output's name stay in float32
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer import recipe as recipes

    made = quantizer.Quantizer(bytearray(model))
    if not recipe.calibrated:
        made.load_quantization_recipe(recipes.dynamic_wi8_afp32())
        return _whole(made.quantize())
    static = recipes.static_wi8_ai16 if recipe.activations == "int16" else recipes.static_wi8_ai8
    made.load_quantization_recipe(static())
    for part in in_float:
        made.update_quantization_recipe(
            regex=f".*{re.escape(part)}.*", operation_name="*", algorithm_key="no_quantize"
        )
    assert inputs is not None
    interpreter = Interpreter(model_content=model, experimental_preserve_all_tensors=True)
    found = _measure(interpreter, inputs, ranges)
    [(signature, ends)] = interpreter.get_signature_list().items()
    known = made.calibrate({signature: [{ends["inputs"][0]: inputs[:1]}]})
    for tensor in known.keys() & found.keys():
        for key, value in zip(("min", "max"), found[tensor], strict=True):
            known[tensor][key] = np.full_like(known[tensor][key], value)
    return _whole(made.quantize(known))


def _whole(result: Any) -> bytes:
    """Return a file with all its buffers within the flatbuffer, so that other tools can edit it."""
    model = bytes(result.quantized_model)
    return bytes(pack(unpack(model), len(model)))


def _measure(
    interpreter: Any, inputs: NDArray[np.float32], ranges: str
) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest value of every activation, by tensor name."""
    interpreter.allocate_tensors()
    end = interpreter.get_input_details()[0]["index"]
    made = {int(index) for item in interpreter._get_ops_details() for index in item["outputs"]}
    tensors = {
        item["name"]: item["index"]
        for item in interpreter.get_tensor_details()
        if item["index"] in {*made, end} and item["dtype"] == np.float32
    }

    def values() -> Iterator[list[NDArray[Any]]]:
        for photo in inputs:
            interpreter.set_tensor(end, photo[None])
            interpreter.invoke()
            yield [interpreter.get_tensor(index) for index in tensors.values()]

    return activation_ranges(list(tensors), values(), ranges)
