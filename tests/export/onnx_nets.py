"""Small ONNX networks, built operation by operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Net"]


class Net:
    """A network that grows; every method returns the name of what it computes."""

    def __init__(self, side: int = 16, seed: int = 0) -> None:
        self.side = side
        self.generator = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def op(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """Add an operation; arrays and numbers among the inputs become weights."""
        names = [name if isinstance(name, str) else self.weight(name) for name in inputs]
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, [output], **attributes))
        return output

    def weight(self, value: Any) -> str:
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def random(self, *shape: int) -> np.ndarray:
        return self.generator.normal(0, 1 / np.sqrt(np.prod(shape[1:]) or 1), shape)

    def photos(self) -> str:
        """The input with channels first."""
        return self.op("Transpose", "photos", perm=[0, 3, 1, 2])

    def conv(
        self, x: str, channels: int, outputs: int, size: int = 3, group: int = 1, **settings: Any
    ) -> str:
        """A convolution with random weights and a bias; padded by (size - 1) / 2."""
        settings.setdefault("pads", [size // 2] * 4)
        kernel = self.random(outputs, channels // group, size, size)
        return self.op("Conv", x, kernel, 0.1 * self.random(outputs), group=group, **settings)

    def unit(self, x: str) -> str:
        """Rows of length 1, as a student has them."""
        total = self.op("ReduceSum", self.op("Mul", x, x), [1], keepdims=1)
        return self.op("Div", x, self.op("Sqrt", self.op("Add", total, 1e-12)))

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        weights = self.random(outputs, inputs), self.random(outputs)
        return self.op("Gemm", x, *weights, transB=1)

    def proto(self, output: str, classes: int = 5) -> Any:
        source = helper.make_tensor_value_info(
            "photos", TensorProto.FLOAT, ["n", self.side, self.side, 3]
        )
        target = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", classes])
        graph = helper.make_graph(self.nodes, "student", [source], [target], self.weights)
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)

    def model(self, output: str, classes: int = 5) -> bytes:
        proto = self.proto(output, classes)
        onnx.checker.check_model(proto)
        return bytes(proto.SerializeToString())
