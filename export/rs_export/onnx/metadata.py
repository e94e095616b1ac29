"""Metadata in ONNX models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rs_export.metadata import ModelInfo
from rs_toolkit.errors import ExportError

__all__ = ["onnx_with_metadata"]


def onnx_with_metadata(model: bytes, info: ModelInfo) -> bytes:
    """Return an ONNX model with metadata; the graph is unchanged.

    The description becomes the model's ``doc_string``.  Everything else becomes a text property
    ``rs.…``: numbers as Python prints them, ``rs.labels`` and ``rs.common_names`` as JSON lists.
    Other properties stay.  All are sorted by key, so that equal content gives equal bytes.

    Raises
    ------
    ExportError
        The bytes are not an ONNX model, or the shape of its input or output contradicts ``info``.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load_model_from_string(model)
    except DecodeError as error:
        raise ExportError("model metadata: not an ONNX model; convert it again") from error
    info.require_shapes(_shape(proto.graph.input), _shape(proto.graph.output))
    values = {
        "name": info.name,
        "rank": info.rank,
        "labels": json.dumps(info.labels, ensure_ascii=False),
        "common_names": json.dumps(info.common_names, ensure_ascii=False),
        **info.preprocessing.to_dict(),
        "temperature": info.temperature,
        "data_fingerprint": info.data_fingerprint,
        "created_by": info.created_by,
    }
    properties = {item.key: item.value for item in proto.metadata_props}
    properties |= {f"rs.{key}": str(value) for key, value in values.items()}
    onnx.helper.set_model_props(proto, dict(sorted(properties.items())))
    proto.doc_string = info.description
    return bytes(proto.SerializeToString(deterministic=True))


def _shape(ends: Sequence[Any]) -> list[int]:
    """Return the shape of the only input or output, with 0 for a dimension of any size."""
    if len(ends) != 1:
        raise ExportError(f"model metadata: wanted one input and one output, got {len(ends)}")
    return [side.dim_value for side in ends[0].type.tensor_type.shape.dim]
