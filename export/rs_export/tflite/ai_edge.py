"""float32 TFLite to 8-bit TFLite by ai-edge-quantizer, which can leave layers in float32 and takes
activation ranges from anywhere; TensorFlow's converter can do neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_export.quantize.ranges import activation_ranges
from rs_export.recipes import Recipe
from rs_export.tflite.file import pack, unpack

__all__ = ["quantize_tflite"]


def quantize_tflite(
    model: bytes,
    recipe: Recipe,
    inputs: NDArray[np.float32] | None = None,
    ranges: str = "extremes",
    in_float: Sequence[str] = (),
) -> bytes:
    """Return float32 TFLite quantized; calibrated activations make input and output int8 too.

    Parameters
    ----------
    model : bytes of :func:`rs_export.tflite.converter.to_tflite`
    recipe : one whose engine is ``litert`` and whose weights are ``int8``
    inputs : float32, shape (n, S, S, 3), as Preprocessing.model_input gives them
        Representative photos; needed only if ``recipe.calibrated``.
    ranges : a kind of :func:`rs_export.quantize.ranges.activation_ranges`
    in_float : operations with one of these in their output's name stay in float32
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
    """Return a file that other tools can edit: all its buffers within the flatbuffer."""
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
