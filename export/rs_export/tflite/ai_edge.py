"""float32 TFLite to 8-bit TFLite by ai-edge-quantizer, which can leave layers in float32 and takes
activation ranges from anywhere; TensorFlow's converter can do neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.quantize.ranges import activation_ranges
from rs_export.recipes import Recipe
from rs_export.tflite.file import pack, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["quantize_tflite"]


def quantize_tflite(
    model: bytes,
    recipe: Recipe,
    inputs: NDArray[np.float32] | None = None,
    ranges: str = "extremes",
    in_float: Sequence[str] = (),
) -> bytes:
    """Quantize float32 TFLite; with calibrated activations both ends become int8.

    Parameters
    ----------
    model : bytes of :func:`rs_export.tflite.converter.to_tflite`
    recipe : one whose engine is ``litert`` and whose weights are ``int8``
    inputs : float32, shape (n, S, S, 3), as Preprocessing.model_input gives them
        Representative photos; needed only if ``recipe.calibrated``.
    ranges : a kind of :func:`rs_export.quantize.ranges.activation_ranges`
    in_float : operations with one of these in their output's name stay in float32

    Returns
    -------
    The .tflite file's bytes.
    """
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
    found = _measure(model, inputs, ranges)
    signature, name = _signature(model)
    known = made.calibrate({signature: [{name: inputs[:1]}]})
    for tensor, values in known.items():
        if tensor in found:
            for key, value in zip(("min", "max"), found[tensor], strict=True):
                values[key] = np.full_like(values[key], value)
    return _whole(made.quantize(known))


def _whole(result: Any) -> bytes:
    """Return a file that other tools can edit: all its buffers within the flatbuffer."""
    model = bytes(result.quantized_model)
    return bytes(pack(unpack(model), len(model)))


def _measure(
    model: bytes, inputs: NDArray[np.float32], ranges: str
) -> dict[str, tuple[float, float]]:
    """Return the lowest and highest value of every activation, by tensor name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, experimental_preserve_all_tensors=True)
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


def _signature(model: bytes) -> tuple[str, str]:
    from ai_edge_litert.interpreter import Interpreter

    [(name, ends)] = Interpreter(model_content=model).get_signature_list().items()
    return name, ends["inputs"][0]
