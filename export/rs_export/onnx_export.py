"""Keras to ONNX, in float32 and with 8-bit numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["quantize_onnx", "to_onnx"]

_OPSET = 17


def to_onnx(model: keras.Model) -> bytes:
    """Convert to float32 ONNX of opset 17 with any batch size.

    The input stays (n, S, S, 3); the one transpose that this costs is not measurable.

    Returns
    -------
    The .onnx file's bytes.
    """
    import tensorflow as tf
    import tf2onnx

    shape = (None, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="inputs")]
    function = tf.function(lambda inputs: model(inputs, training=False))
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=_OPSET)
    _rename(proto.graph)
    return bytes(proto.SerializeToString(deterministic=True))


def quantize_onnx(model: bytes, inputs: NDArray[np.float32]) -> bytes:
    """Quantize float32 ONNX: unsigned 8-bit activations, signed 7-bit weights per channel.

    Quantize and dequantize nodes around every operation (QDQ), ranges the extremes over
    ``inputs``.  Unsigned activations with signed weights are the pair that x86 multiplies fast; see
    docs/decisions/0004-seven-bit-weights.md for the 7 bits.

    Parameters
    ----------
    model : bytes of :func:`to_onnx`
    inputs : float32, shape (n, S, S, 3), as Preprocessing.model_input gives them

    Returns
    -------
    The .onnx file's bytes.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="rs-export-") as folder:
        plain, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("a", "b", "c"))
        plain.write_bytes(model)
        # Symbolic shapes need sympy and tell nothing new: only the batch is unknown.
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # Processors without VNNI add pairs of u8 x s8 products in 16 bits, which overflow
            # unless weights keep to 7 bits.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return result.read_bytes()


class _Reader:
    """Photos one by one, as onnxruntime.quantization.CalibrationDataReader wants to be fed."""

    def __init__(self, inputs: NDArray[np.float32]) -> None:
        self._photos = iter(inputs)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        photo = next(self._photos, None)
        return None if photo is None else {"inputs": photo[None]}


def _rename(graph: Any) -> None:
    """Give values plain names: tf2onnx numbers them by a counter of the whole process."""
    names = {"": "", graph.input[0].name: "inputs", graph.output[0].name: "logits"}

    def renamed(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}")

    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = renamed(value.name)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    graph.name = "classifier"
    graph.doc_string = ""
