"""Reading an ONNX file that anyone may have made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.errors import ExportError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Graph", "Node", "read_onnx", "read_onnx_file"]

_MAX_BYTES = 200 * 10**6
_MAX_NODES = 10_000
_OPSETS = range(13, 18)
_MAX_RANK = 8
_FIX = "export it again as rs-toolkit distill does"


@dataclass(frozen=True)
class Node:
    """One operation: its attributes as Python values, names of its inputs ("" where left out)
    and its only output."""

    op: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """A network in the order of computation.

    Attributes
    ----------
    nodes
        All but ``Constant``.
    constants
        Weights, float32 or int64 and finite, by name.
    source, target
        Names of the input and the output.
    shape
        Of the input, None where it is free.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    source: str
    target: str
    shape: tuple[int | None, ...]


def read_onnx_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    ExportError
        There is no such file, or it has more than 200 MB.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ExportError(f"{path}: {size} bytes, at most {_MAX_BYTES} are read; {_FIX}")
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot be read ({error.strerror or error}); {_FIX}") from None


def read_onnx(data: bytes, name: str = "student.onnx") -> Graph:
    """Parse an ONNX model without trusting it.

    No file is opened: weights stored outside the model are refused, and so are operations of
    other domains, functions, control flow and sparse weights.  ``onnx.checker`` checks the rest.

    Parameters
    ----------
    data
        The model's bytes.
    name
        What messages call it.

    Raises
    ------
    ExportError
        The model is damaged, too large, of another opset than 13 to 17, or holds what is refused.
    """
    import onnx

    if len(data) > _MAX_BYTES:
        raise ExportError(f"{name}: {len(data)} bytes, at most {_MAX_BYTES} are read; {_FIX}")
    try:
        proto = onnx.load_model_from_string(data)
        if problem := _refused(proto):
            raise ExportError(f"{name}: {problem}; {_FIX}")
        onnx.checker.check_model(proto)
        return _graph(proto.graph)
    except (ExportError, MemoryError):
        raise
    except Exception as error:
        # The parser and the checker each raise exceptions of their own.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ExportError(f"{name}: damaged ({reason}); {_FIX}") from None


def _refused(proto: Any) -> str:
    """Return what a model holds that is refused before anything of it is used, or nothing."""
    from onnx import AttributeProto, TensorProto

    versions = {item.domain or "ai.onnx": item.version for item in proto.opset_import}
    graph = proto.graph
    tensors = [*graph.initializer]
    if len(graph.node) > _MAX_NODES:
        return f"{len(graph.node)} operations, at most {_MAX_NODES} are read"
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            return f"operation {node.op_type[:40]!a} of domain {node.domain[:40]!a}"
        for item in node.attribute:
            if item.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                return f"control flow in {node.op_type[:40]!a}"
            tensors += [item.t] if item.type == AttributeProto.TENSOR else []
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
        return "weights in another file"
    if proto.functions or proto.training_info or graph.sparse_initializer:
        return "functions, training or sparse weights"
    if versions.get("ai.onnx") not in _OPSETS:
        return f"opset {versions.get('ai.onnx')}, wanted {_OPSETS[0]} to {_OPSETS[-1]}"
    ends = [len(graph.output), len({item.name for item in graph.input} - _names(graph.initializer))]
    if ends != [1, 1]:
        return f"{ends[1]} inputs and {ends[0]} outputs, wanted one of each"
    return ""


def _graph(graph: Any) -> Graph:
    constants = {item.name: _array(item) for item in graph.initializer}
    nodes = []
    for item in graph.node:
        attributes = {attribute.name: _value(attribute) for attribute in item.attribute}
        if item.op_type == "Constant":
            if not isinstance(attributes.get("value"), np.ndarray):
                raise ExportError(f"student.onnx: Constant of {list(attributes)}, wanted value")
            constants[item.output[0]] = attributes["value"]
        elif len(item.output) != 1:
            raise ExportError(f"student.onnx: {item.op_type} with {len(item.output)} outputs")
        else:
            inputs, name = tuple(item.input), item.name or item.output[0]
            nodes.append(Node(item.op_type, name, inputs, item.output[0], attributes))
    [source] = [item for item in graph.input if item.name not in constants]
    sides = source.type.tensor_type.shape.dim
    shape = tuple(side.dim_value or None for side in sides)
    return Graph(tuple(nodes), constants, source.name, graph.output[0].name, shape)


def _value(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    if hasattr(value, "data_type"):
        return _array(value)
    return value.decode() if isinstance(value, bytes) else value


def _array(tensor: Any) -> NDArray[Any]:
    from onnx import TensorProto, numpy_helper

    if tensor.data_type not in (TensorProto.FLOAT, TensorProto.INT64):
        kind = TensorProto.DataType.Name(tensor.data_type)
        raise ExportError(f"student.onnx: weights in {kind}, wanted FLOAT or INT64; {_FIX}")
    if len(tensor.dims) > _MAX_RANK:
        raise ExportError(f"student.onnx: weights of {len(tensor.dims)} dimensions; {_FIX}")
    array = numpy_helper.to_array(tensor)
    if not np.isfinite(array).all():
        raise ExportError(f"student.onnx: weights that are not finite; {_FIX}")
    return array


def _names(items: Sequence[Any]) -> set[str]:
    return {item.name for item in items}
