"""Bias correction: undo the mean change of the logits that quantization causes.

Rounding errors do not average out over a channel's few weights, so a quantized model's outputs are
shifted.  The mean shift of the logits is measured on the calibration photos and subtracted from the
last bias in the finished file (Nagel et al. 2019, "Data-Free Quantization Through Weight
Equalization and Bias Correction", section 4.2, in the empirical form of appendix D).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_export.measure.batches import logits_of
from rs_runtime.engines.engine import load_engine

__all__ = ["correct_bias"]


def correct_bias(
    model: bytes, engine: str, inputs: NDArray[np.float32], wanted: NDArray[np.float32]
) -> bytes:
    """Return a quantized model whose mean logits on the calibration photos are the float model's.

    A model that does not end in a dense layer with a bias is returned as it is.  EngineError: the
    engine cannot run the quantized model.

    Parameters
    ----------
    model, engine : the quantized model's bytes, and the engine that runs it
    inputs : calibration photos as model inputs, float32 (n, S, S, 3)
    wanted : the float model's logits of these photos, (n, classes)
    """
    got = logits_of(load_engine(engine, model).logits, inputs)
    shift = (wanted - got).mean(axis=0)
    return _shift_tflite(model, shift) if engine == "litert" else _shift_onnx(model, shift)


def _shift_tflite(model: bytes, shift: NDArray[np.float32]) -> bytes:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils as tools

    data = bytearray(model)
    root = schema.Model.GetRootAs(data)
    graph = root.Subgraphs(0)
    makers = {
        int(output): graph.Operators(index)
        for index in range(graph.OperatorsLength())
        for output in graph.Operators(index).OutputsAsNumpy()
    }
    operator = makers.get(graph.Outputs(0))

    def is_dense(operator: Any) -> bool:
        code = root.OperatorCodes(operator.OpcodeIndex())
        kind = tools.get_builtin_code_from_operator_code(code)
        return int(kind) == schema.BuiltinOperator.FULLY_CONNECTED

    # A conversion to or from integers may follow the dense layer.
    while operator is not None and not is_dense(operator):
        operator = makers.get(operator.Inputs(0)) if operator.InputsLength() == 1 else None
    if operator is None or operator.InputsLength() < 3 or operator.Inputs(2) < 0:
        return model
    tensor = graph.Tensors(operator.Inputs(2))
    types = schema.TensorType
    kind = {types.INT32: np.int32, types.INT64: np.int64, types.FLOAT32: np.float32}[tensor.Type()]
    # A view of ``data``: writing to it changes the file.
    bias = root.Buffers(tensor.Buffer()).DataAsNumpy().view(kind)
    scale = 1.0 if kind is np.float32 else np.asarray(tensor.Quantization().ScaleAsNumpy())
    bias += _steps(shift, scale, kind)
    return bytes(data)


def _shift_onnx(model: bytes, shift: NDArray[np.float32]) -> bytes:
    import onnx
    from onnx import numpy_helper

    proto = onnx.load_from_string(model)
    constants = {item.name: item for item in proto.graph.initializer}
    makers = {name: node for node in proto.graph.node for name in node.output}
    node = makers.get(proto.graph.output[0].name)
    while node is not None and node.op_type in ("DequantizeLinear", "QuantizeLinear"):
        node = makers.get(node.input[0])
    if node is None or node.op_type != "Gemm" or len(node.input) < 3:
        return model
    name, scale = node.input[2], np.ones(1, np.float32)
    if name in makers:
        stored, scales, *_ = makers[name].input
        name, scale = stored, numpy_helper.to_array(constants[scales])
    bias = numpy_helper.to_array(constants[name])
    shifted = bias + _steps(shift, scale, bias.dtype)
    constants[name].CopyFrom(numpy_helper.from_array(shifted.astype(bias.dtype), name))
    return bytes(proto.SerializeToString(deterministic=True))


def _steps(shift: NDArray[np.float32], scale: Any, kind: Any) -> NDArray[Any]:
    """Return the shift in units of the stored numbers, rounded if these are integers."""
    steps = shift / scale
    return np.asarray(steps if np.issubdtype(kind, np.floating) else np.rint(steps), kind)
