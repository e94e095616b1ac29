"""ONNX to Keras: every operation of a student computes the same, and nothing else is let in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_nets import Net

from rs_export.onnx_export import to_onnx
from rs_export.onnx_graph import read_onnx, read_onnx_file
from rs_export.onnx_to_keras import keras_from_onnx, require_same
from rs_runtime.engine import load_engine
from rs_toolkit.errors import ExportError

NOTHING = np.zeros((0, 16, 16, 3), np.float32)


def head(net: Net, x: str) -> str:
    return net.dense(net.op("Flatten", net.op("GlobalAveragePool", x)), 8, 5)


def _squeezed(net: Net, x: str) -> str:
    gate = net.op("ReduceMean", x, axes=[2, 3], keepdims=1)
    gate = net.op("Relu", net.conv(gate, 8, 4, 1))
    gate = net.op("HardSigmoid", net.conv(gate, 4, 8, 1), alpha=1 / 6, beta=0.5)
    return net.op("Mul", x, gate)


IMAGES: dict[str, Callable[[Net, str], str]] = {
    "conv": lambda net, x: net.conv(x, 8, 8),
    "conv_valid": lambda net, x: net.conv(x, 8, 8, pads=[0, 0, 0, 0]),
    "conv_1x1": lambda net, x: net.conv(x, 8, 8, 1),
    "conv_stride": lambda net, x: net.conv(x, 8, 8, strides=[2, 2]),
    "conv_uneven_pads": lambda net, x: net.conv(x, 8, 8, strides=[2, 2], pads=[0, 0, 1, 1]),
    "conv_odd_pads": lambda net, x: net.conv(x, 8, 8, pads=[2, 0, 1, 3]),
    "conv_dilated": lambda net, x: net.conv(x, 8, 8, dilations=[2, 2], pads=[2, 2, 2, 2]),
    "conv_same": lambda net, x: net.op(
        "Conv", x, net.random(8, 8, 4, 3), auto_pad="SAME_UPPER", strides=[2, 1]
    ),
    "depthwise": lambda net, x: net.conv(x, 8, 8, 5, 8),
    "depthwise_stride": lambda net, x: net.conv(x, 8, 8, 3, 8, strides=[2, 2], pads=[0, 1, 1, 0]),
    "depthwise_multiplied": lambda net, x: net.conv(net.conv(x, 8, 16, 3, 8), 16, 8, 1),
    "pad": lambda net, x: net.conv(
        net.op("Pad", x, [0, 0, 0, 0, 0, 0, 1, 1]), 8, 8, strides=[2, 2], pads=[0, 0, 0, 0]
    ),
    "pad_before_relu": lambda net, x: net.op(
        "Relu", net.op("Add", net.op("Pad", x, [0, 0, 1, 2, 0, 0, 3, 0]), 0.3)
    ),
    "residual": lambda net, x: net.op("Add", x, net.conv(x, 8, 8)),
    "residual_difference": lambda net, x: net.op("Sub", x, net.conv(x, 8, 8)),
    "relu6": lambda net, x: net.op("Clip", net.op("Mul", x, 9.0), 0.0, 6.0),
    "clip_below": lambda net, x: net.op("Clip", x, 0.0),
    "hard_swish": lambda net, x: net.op("HardSwish", net.op("Mul", x, 4.0)),
    "hard_sigmoid": lambda net, x: net.op("HardSigmoid", x),
    "squeeze_and_excite": _squeezed,
    "per_channel": lambda net, x: net.op(
        "Add", net.op("Mul", x, net.random(1, 8, 1, 1)), net.random(8, 1, 1)
    ),
    "from_constant": lambda net, x: net.op("Sub", net.random(8, 1, 1), x),
    "minus_constant": lambda net, x: net.op("Sub", x, net.random(8, 1, 1)),
    "divided": lambda net, x: net.op("Div", x, [[[2.0]]]),
    "identity": lambda net, x: net.op("Identity", x),
    "to_channels_last_and_back": lambda net, x: net.op(
        "Transpose", net.op("Relu", net.op("Transpose", x, perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2]
    ),
}


def _length_guarded(net: Net, x: str, guard: str, *limits: float) -> str:
    length = net.op("ReduceL2", x, axes=[-1], keepdims=1)
    return net.op("Div", x, net.op(guard, length, *limits))


ROWS: dict[str, Callable[[Net, str], str]] = {
    "unit": lambda net, x: net.unit(x),
    "unit_by_power": lambda net, x: net.op(
        "Div", x, net.op("Sqrt", net.op("ReduceSum", net.op("Pow", x, 2.0), [-1], keepdims=1))
    ),
    "unit_clipped": lambda net, x: _length_guarded(net, x, "Clip", 1e-6),
    "unit_at_least": lambda net, x: _length_guarded(net, x, "Max", 1e-6),
    "product": lambda net, x: net.op("MatMul", x, net.random(8, 8)),
    "gemm": lambda net, x: net.op("Gemm", x, net.random(8, 8), net.random(8), alpha=2.0, beta=0.5),
    "gemm_of_one_bias": lambda net, x: net.op("Gemm", x, net.random(8, 8), [0.5]),
    "rescaled": lambda net, x: net.op("Add", net.op("Mul", x, net.random(8)), net.random(1, 8)),
    "there_and_back": lambda net, x: net.op(
        "Squeeze", net.op("Relu", net.op("Unsqueeze", x, [2, 3])), [-1, -2]
    ),
    "reshaped": lambda net, x: net.op(
        "Reshape", net.conv(net.op("Reshape", x, [-1, 8, 1, 1]), 8, 8, 1), [0, 8]
    ),
    "flat_already": lambda net, x: net.op("Flatten", x),
}


def same(net: Net, output: str) -> Any:
    data = net.model(output)
    model = keras_from_onnx(data)
    assert require_same(model, data, NOTHING) < 1e-4
    return model


@pytest.mark.parametrize("name", IMAGES)
def test_operations_on_images(name) -> None:
    net = Net()
    x = IMAGES[name](net, net.conv(net.photos(), 3, 8))
    same(net, head(net, x))


@pytest.mark.parametrize("name", ROWS)
def test_operations_on_rows(name) -> None:
    net = Net()
    x = net.op("ReduceMean", net.conv(net.photos(), 3, 8), axes=[2, 3], keepdims=0)
    same(net, net.dense(ROWS[name](net, x), 8, 5))


def test_no_layer_pads_what_a_convolution_can() -> None:
    net = Net()
    x = IMAGES["conv_uneven_pads"](net, net.conv(net.photos(), 3, 8))
    x = IMAGES["pad"](net, x)
    kinds = [type(layer).__name__ for layer in same(net, head(net, x)).layers]
    assert "ZeroPadding2D" not in kinds


def test_equal_graphs_have_equal_names() -> None:
    net = Net()
    data = net.model(head(net, IMAGES["hard_swish"](net, net.conv(net.photos(), 3, 8))))
    one, other = ([layer.name for layer in keras_from_onnx(data).layers] for _ in range(2))
    assert one == other


def test_constants_may_be_nodes() -> None:
    net = Net()
    tensor = helper.make_tensor("", TensorProto.FLOAT, [], [6.0])
    net.nodes.append(helper.make_node("Constant", [], ["six"], value=tensor))
    x = net.op("Clip", net.conv(net.photos(), 3, 8), 0.0, "six")
    data = net.model(head(net, x))
    model = keras_from_onnx(data)
    require_same(model, data, NOTHING)


def test_a_wrong_translation_is_refused(one_line) -> None:
    net = Net()
    data = net.model(head(net, net.conv(net.photos(), 3, 8)))
    model = keras_from_onnx(data)
    layer = next(layer for layer in model.layers if layer.weights)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + 0.1])
    with pytest.raises(ExportError, match="differs by") as caught:
        require_same(model, data, NOTHING)
    one_line(str(caught.value))


def _loop(net: Net, x: str) -> str:
    body = helper.make_graph(
        [helper.make_node("Identity", ["in"], ["out"])], "body", [],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
    )  # fmt: skip
    return net.op("If", np.array(1), then_branch=body, else_branch=body)


REFUSED: dict[str, Callable[[Net, str], str]] = {
    "Softmax": lambda net, x: net.op("Softmax", x, axis=1),
    "2 groups": lambda net, x: net.conv(x, 8, 8, 3, 2),
    "a norm may only be divided by": lambda net, x: net.op("Relu", net.op("Mul", x, x)),
    "power 3.0": lambda net, x: net.op("Pow", x, 3.0),
    "limits -1.0 and 1.0": lambda net, x: net.op("Clip", x, -1.0, 1.0),
    "wanted a constant, or the length": lambda net, x: net.op("Div", x, net.op("Relu", x)),
    "one per channel": lambda net, x: net.op("Mul", x, net.random(16, 16)),
    "not in the same order": lambda net, x: net.op(
        "Add", x, net.op("Transpose", x, perm=[0, 1, 3, 2])
    ),
    "channels first": lambda net, x: net.conv(net.op("Transpose", x, perm=[0, 1, 3, 2]), 8, 8),
    "pads": lambda net, x: net.op("Pad", x, [0, 0, 0, 0, 0, 0, 10**9, 0]),
    "wanted zeros": lambda net, x: net.op("Pad", x, [0] * 8, mode="reflect"),
    "around a kernel": lambda net, x: net.conv(x, 8, 8, pads=[999, 0, 0, 0]),
    "wanted rows and columns": lambda net, x: net.op("ReduceMean", x, axes=[1], keepdims=1),
    "one row and column": lambda net, x: net.op("Flatten", x),
    "control flow": _loop,
    "values a photo": lambda net, x: net.conv(x, 8, 2**18 + 1, 1),
    "not finite": lambda net, x: net.op("Mul", x, np.nan),
    "of domain": lambda net, x: net.op("Relu", x, domain="evil.example"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_no_student_holds_is_refused(reason, one_line) -> None:
    net = Net()
    x = REFUSED[reason](net, net.conv(net.photos(), 3, 8))
    with pytest.raises(ExportError, match=reason) as caught:
        keras_from_onnx(net.proto(head(net, x)).SerializeToString())
    one_line(str(caught.value))


def plain() -> Any:
    net = Net()
    return net.proto(head(net, net.conv(net.photos(), 3, 8)))


def _external(proto: Any) -> None:
    weight = proto.graph.initializer[0]
    onnx.external_data_helper.set_external_data(weight, "../../../etc/passwd")
    weight.ClearField("raw_data")


def _huge_weight(proto: Any) -> None:
    proto.graph.initializer[0].dims[:] = [2**40, 3, 3, 3]


def _half(proto: Any) -> None:
    proto.graph.initializer[0].data_type = TensorProto.FLOAT16


def _opset(proto: Any) -> None:
    proto.opset_import[0].version = 9


def _second_output(proto: Any) -> None:
    proto.graph.output.append(proto.graph.output[0])


def _channels_first(proto: Any) -> None:
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    dims[1].dim_value, dims[3].dim_value = 3, 16


def _function(proto: Any) -> None:
    proto.functions.add(name="f", domain="")


def _sparse(proto: Any) -> None:
    proto.graph.sparse_initializer.add()


def _no_output(proto: Any) -> None:
    proto.graph.output[0].name = proto.graph.node[0].output[0]


HOSTILE = {
    "weights in another file": _external,
    "damaged": _huge_weight,
    "weights in FLOAT16": _half,
    "opset 9": _opset,
    "2 outputs": _second_output,
    r"wanted \(n, S, S, 3\)": _channels_first,
    "functions": _function,
    "sparse": _sparse,
    r"wanted \(n, classes\)": _no_output,
}


@pytest.mark.parametrize("reason", HOSTILE)
def test_hostile_files_are_refused(reason, one_line) -> None:
    proto = plain()
    HOSTILE[reason](proto)
    with pytest.raises(ExportError, match=reason) as caught:
        keras_from_onnx(proto.SerializeToString())
    one_line(str(caught.value))


def test_large_files_are_not_read(tmp_path, one_line) -> None:
    path = tmp_path / "student.onnx"
    with path.open("wb") as file:
        file.truncate(200 * 10**6 + 1)
    with pytest.raises(ExportError, match="at most 200000000 are read") as caught:
        read_onnx_file(path)
    one_line(str(caught.value))
    with pytest.raises(ExportError, match="No such file"):
        read_onnx_file(tmp_path / "none.onnx")


def test_damage_anywhere_is_one_line_or_harmless(one_line) -> None:
    sound = plain().SerializeToString()
    generator = np.random.default_rng(0)
    refused = 0
    for attempt in range(150):
        data = bytearray(sound)
        if attempt % 3 == 0:
            data = data[: int(generator.integers(1, len(data)))]
        else:
            data[int(generator.integers(len(data)))] ^= 1 << int(generator.integers(8))
        try:
            read_onnx(bytes(data))
            if attempt % 3:
                keras_from_onnx(bytes(data))
        except ExportError as error:
            one_line(str(error))
            refused += 1
    assert refused > 50


def test_the_batch_stays_free() -> None:
    data = plain().SerializeToString()
    photos = np.zeros((3, 16, 16, 3), np.float32)
    model = keras_from_onnx(data)
    assert model.input_shape == (None, 16, 16, 3)
    assert load_engine("onnxruntime", to_onnx(model)).logits(photos).shape == (3, 5)
