"""Models of the runtime's tests: they tell three colours apart by a photo's mean.

    python tests/runtime/colour_models.py FOLDER

writes them into a folder for Python versions that cannot make them, because TensorFlow and ONNX
are not installed there.  Tests then read them: ``RS_TEST_MODELS=FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

__all__ = ["SIDE", "onnx_models", "read", "tflite_models"]

SIDE = 32


def onnx_models() -> dict[str, bytes]:
    """Return ONNX models by kind: ``float``, ``qdq`` (float ends) and ``uint8`` (integer input)."""
    from onnx import TensorProto, helper, numpy_helper

    def build(kind: str) -> bytes:
        scale, zero = np.float32(2 / 255), np.uint8(128)
        constants = {"w": np.eye(3, dtype=np.float32) * 8, "scale": scale, "zero": zero}
        steps = {
            "float": [helper.make_node("Identity", ["x"], ["real"])],
            "qdq": [
                helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
                helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["real"]),
            ],
            "uint8": [helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["real"])],
        }[kind]
        stored = TensorProto.UINT8 if kind == "uint8" else TensorProto.FLOAT
        graph = helper.make_graph(
            [
                *steps,
                helper.make_node("ReduceMean", ["real"], ["mean"], axes=[1, 2], keepdims=0),
                helper.make_node("MatMul", ["mean", "w"], ["y"]),
            ],
            "colours",
            [helper.make_tensor_value_info("x", stored, ["n", SIDE, SIDE, 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        if kind == "uint8":
            notes = {"rs.input_scale": repr(float(scale)), "rs.input_zero_point": str(int(zero))}
            helper.set_model_props(model, notes)
        return model.SerializeToString()

    return {kind: build(kind) for kind in ("float", "qdq", "uint8")}


def tflite_models() -> dict[str, bytes]:
    """Return TFLite models: ``float``, ``int8`` (integer ends) and ``fixed`` (batch of one)."""
    import tensorflow as tf

    generator = np.random.default_rng(0)

    def converter(batch: int | None):
        spec = tf.TensorSpec((batch, SIDE, SIDE, 3), tf.float32)
        weights = tf.constant(np.eye(3, dtype=np.float32) * 8)
        function = tf.function(
            lambda x: tf.reduce_mean(x, (1, 2)) @ weights, input_signature=[spec]
        )
        return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])

    quantized = converter(None)
    quantized.optimizations = [tf.lite.Optimize.DEFAULT]
    quantized.representative_dataset = lambda: (
        [np.broadcast_to(generator.uniform(-1, 1, 3), (1, SIDE, SIDE, 3)).astype(np.float32)]
        for _ in range(50)
    )
    quantized.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    quantized.inference_input_type = quantized.inference_output_type = tf.int8
    return {
        "float": converter(None).convert(),
        "fixed": converter(1).convert(),
        "int8": quantized.convert(),
    }


def read(folder: str, suffix: str) -> dict[str, bytes]:
    """Return the models in a folder by kind; ``suffix`` is .onnx or .tflite."""
    return {file.stem: file.read_bytes() for file in Path(folder).glob(f"*{suffix}")}


if __name__ == "__main__":
    for suffix, models in ((".onnx", onnx_models()), (".tflite", tflite_models())):
        for kind, model in models.items():
            Path(sys.argv[1], kind).with_suffix(suffix).write_bytes(model)
