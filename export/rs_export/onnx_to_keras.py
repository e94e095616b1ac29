"""A convolutional network in ONNX as a Keras model with the same weights.

ONNX computes with channels first, Keras and TFLite with channels last.  Every value of the graph
is therefore held as a Keras tensor with channels last, along with the axis of it that each axis
of the ONNX value is; a transposition only changes these axes.

The operations are those of a filter's student (docs/decisions/0010-filter-through-onnx.md);
anything else is refused.  Layers are named by their place, so that equal graphs give equal files.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_export.measure.batches import batches, logits_of
from rs_export.onnx_graph import read_onnx
from rs_export.onnx_operations import OPERATIONS
from rs_export.onnx_values import ROW, Scope, Value
from rs_runtime.engines.engine import load_engine
from rs_toolkit.errors import ExportError

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["keras_from_onnx", "require_same"]

# Per photo; 256 MB in float32.
_MAX_VALUES = 2**26
_TOLERANCE = 1e-3
_RANDOM = 4


def keras_from_onnx(data: bytes) -> keras.Model:
    """Translate an ONNX model of the filter's contract.

    Parameters
    ----------
    data
        The file's bytes, which are not trusted; see :func:`rs_export.onnx_graph.read_onnx`.

    Returns
    -------
    keras.Model
        Functional; input float32 (None, S, S, 3), output (None, K).

    Raises
    ------
    ExportError
        The file is damaged, or holds an operation that is not of the contract.
    """
    import keras

    graph = read_onnx(data)
    shape = graph.shape
    if len(shape) != 4 or not shape[1] or shape[1] != shape[2] or shape[3] != 3:
        raise ExportError(f"student.onnx: input {list(shape)}, wanted (n, S, S, 3)")
    start = keras.Input(shape[1:], name="inputs")
    _require_small(start, graph.source)
    values = {graph.source: Value(start, (0, 1, 2, 3))}
    for place, node in enumerate(graph.nodes):
        scope = Scope(graph.constants, values, node, f"{node.op.lower()}_{place}")
        values[node.output] = _translated(scope)
    end = values.get(graph.target)
    if end is None or end.order != ROW or end.part_of_norm:
        raise ExportError(f"student.onnx: output {graph.target[:40]!a}: wanted (n, classes)")
    return keras.Model(start, end.tensor, name="student")


def require_same(model: keras.Model, data: bytes, inputs: NDArray[np.float32]) -> float:
    """Return the largest difference of a translation's outputs to ONNX Runtime's.

    Parameters
    ----------
    model, data
        The translation, and what was translated.
    inputs
        Photos as the model wants them, float32 (n, S, S, 3), n may be 0; random ones are added.

    Raises
    ------
    ExportError
        The difference is 0.001 or more.
    EngineError
        ONNX Runtime refused the file, or computed what is not finite.
    """
    random = np.random.default_rng(0).uniform(-1, 1, (_RANDOM, *inputs.shape[1:]))
    photos = np.concatenate([inputs, random.astype(np.float32)])
    wanted = logits_of(load_engine("onnxruntime", data).logits, photos)
    got = np.concatenate([np.asarray(model.predict_on_batch(part)) for part in batches(photos)])
    difference = float(np.abs(got - wanted).max()) if got.shape == wanted.shape else math.inf
    # NaN compares false.
    if not difference < _TOLERANCE:
        raise ExportError(
            f"student.onnx: its translation to Keras differs by {difference:.2g} from ONNX "
            f"Runtime, allowed {_TOLERANCE:g}; report this as a bug"
        )
    return difference


def _translated(scope: Scope) -> Value:
    """Return what one operation computes."""
    node = scope.node
    if node.op not in OPERATIONS:
        raise ExportError(
            f"student.onnx: operation {node.op[:40]!a} ({node.name[:40]!a}) cannot be "
            f"translated; a student may hold {', '.join(OPERATIONS)}"
        )
    try:
        value = OPERATIONS[node.op](scope)
    except (ExportError, MemoryError):
        raise
    except Exception as error:
        # Keras and NumPy refuse shapes that do not fit with exceptions of many kinds.
        raise scope.error(" ".join(str(error).split())[:200] or type(error).__name__) from None
    _require_small(value.tensor, node.name)
    return value


def _require_small(tensor: Any, name: str) -> None:
    sides = tensor.shape[1:]
    if not all(sides) or math.prod(sides) > _MAX_VALUES:
        raise ExportError(
            f"student.onnx: {name[:40]!a} has {sides} values a photo, wanted 1 to {_MAX_VALUES}"
        )
