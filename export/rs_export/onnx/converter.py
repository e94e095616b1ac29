"""Conversion from Keras to ONNX in float32, and quantization to 8 bits."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.quantize.ranges import activation_ranges
from rs_export.recipes import Recipe

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["quantize_onnx", "to_onnx"]

_OPSET = 17


def to_onnx(model: keras.Model) -> bytes:
    """Convert a model to float32 ONNX of opset 17, with any batch size.

    The input stays (n, S, S, 3); the transpose to ONNX's layout costs no measurable time.
    """
    import tensorflow as tf
    import tf2onnx

    shape = (None, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="inputs")]
    function = tf.function(lambda inputs: model(inputs, training=False))
    # Otherwise tf2onnx copies the graph before each of its two dozen optimizations, and the copies
    # stay in memory: 5 GB for Xception.
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
    proto, _ = tf2onnx.convert.from_function(
        function,
        input_signature=signature,
        opset=_OPSET,
        custom_op_handlers={"Erfc": (_erfc, [])},
    )
    # Graphs and nodes refer to each other: 3 GB would stay in memory until the next collection.
    gc.collect()
    _rename(proto.graph)
    return bytes(proto.SerializeToString(deterministic=True))


def _erfc(graph: Any, node: Any, *_: Any) -> None:
    """Convert erfc x, of GELU, to 1 - erf x: tf2onnx does not know it, nor does ONNX."""
    one = graph.make_const(f"{node.name}_one", np.ones((), np.float32))
    error = graph.make_node("Erf", node.input)
    graph.remove_node(node.name)
    graph.make_node("Sub", [one.output[0], error.output[0]], outputs=node.output, name=node.name)


def quantize_onnx(
    model: bytes,
    recipe: Recipe,
    inputs: NDArray[np.float32],
    ranges: str = "extremes",
    in_float: Sequence[NDArray[np.float32]] = (),
) -> bytes:
    """Quantize float32 ONNX: 8-bit activations, signed 7-bit weights with one scale per channel.

    Quantize and dequantize nodes are put around every operation (QDQ format).  x86 processors
    multiply unsigned activations with signed weights fastest.  Why weights have 7 bits:
    docs/decisions/0004-seven-bit-weights.md.

    Parameters
    ----------
    model : bytes from :func:`to_onnx`
    recipe : a calibrated recipe whose engine is ``onnxruntime``
    inputs : float32, shape (n, S, S, 3), as Preprocessing.model_input gives them
    ranges : ``kind`` of :func:`rs_export.quantize.ranges.activation_ranges`
    in_float : operations with one of these :func:`rs_export.quantize.copies.kernels` stay float32
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    with tempfile.TemporaryDirectory(prefix="rs-export-") as folder:
        plain, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("a", "b", "c"))
        plain.write_bytes(model)
        # Inferring symbolic shapes needs sympy and adds nothing: only the batch size is unknown.
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        proto = onnx.load(prepared)
        overrides = {} if ranges == "extremes" else _overrides(proto, inputs, ranges)
        photos = ({"inputs": photo[None]} for photo in (inputs[:1] if overrides else inputs))
        quantize_static(
            prepared,
            result,
            SimpleNamespace(get_next=lambda: next(photos, None)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # Without VNNI, processors add two u8 x s8 products in 16 bits, which overflows unless
            # weights have 7 bits.  There, ONNX Runtime computes s8 x s8 as u8 x s8 too.
            reduce_range=True,
            activation_type=kinds[recipe.activations],
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_holders(proto.graph, in_float),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"TensorQuantOverrides": overrides},
        )
        proto = onnx.load(result)
    _rename(proto.graph)
    return bytes(proto.SerializeToString(deterministic=True))


def _holders(graph: Any, kernels: Sequence[NDArray[np.float32]]) -> list[str]:
    """Return the operations whose weights are one of the kernels, up to a factor for each output.

    Batch normalization, which is folded into the weights, causes such factors.  Operations cannot
    be found by name, because fused operations do not keep their layers' names.
    """
    from onnx import numpy_helper

    weights = {item.name: item for item in graph.initializer}
    found = []
    for node in graph.node if kernels else ():
        if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in weights:
            continue
        stored = numpy_helper.to_array(weights[node.input[1]])
        transposed = node.op_type == "MatMul" or not any(
            item.name == "transB" and item.i for item in node.attribute
        )
        rows = stored.T if stored.ndim == 2 and transposed else stored.reshape(len(stored), -1)
        if any(_same_direction(rows, kernel) for kernel in kernels):
            found.append(node.name)
    return found


def _same_direction(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Return whether each row of one matrix is about a multiple of the other's row."""
    if one.shape != other.shape:
        return False
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return bool(np.all(np.abs(np.sum(one * other, axis=1)) >= 0.999 * lengths))


def _overrides(proto: Any, inputs: NDArray[np.float32], kind: str) -> dict[str, Any]:
    """Return every activation's range as onnxruntime.quantization takes it; changes ``proto``.

    ONNX Runtime's own percentile calibration would keep the activations of all photos in memory.
    """
    import onnx
    from onnxruntime import InferenceSession

    names = [name for node in proto.graph.node for name in node.output]
    inner = set(names) - {item.name for item in proto.graph.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(inner))
    session = InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = activation_ranges(
        ["inputs", *names],
        ([photo, *session.run(names, {"inputs": photo[None]})] for photo in inputs),
        kind,
    )
    return {
        name: [{"rmin": np.float32(min(low, 0)), "rmax": np.float32(max(high, 0))}]
        for name, (low, high) in found.items()
    }


def _rename(graph: Any) -> None:
    """Name values, and order weights, by their first use, so that equal models give equal bytes.

    tf2onnx numbers values with a counter of the whole process.
    """
    names = {"": "", graph.input[0].name: "inputs", graph.output[0].name: "logits"}

    def renamed(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}")

    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        node.input[:] = [renamed(name) for name in node.input]
        node.output[:] = [renamed(name) for name in node.output]
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = renamed(value.name)
    # tf2onnx lists them in an order that changes from one conversion to the next.
    weights = sorted(graph.initializer, key=lambda item: int(item.name[1:]))
    del graph.initializer[:]
    graph.initializer.extend(weights)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    graph.name = "classifier"
    graph.doc_string = ""
