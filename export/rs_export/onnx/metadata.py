"""Metadata properties of ONNX models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rs_export.metadata import ModelInfo
from rs_toolkit.errors import ExportError

__all__ = ["onnx_with_metadata"]


def onnx_with_metadata(model: bytes, info: ModelInfo) -> bytes:
    """Return an ONNX model that says what it is: the same graph, with metadata properties.

    The description is the model's ``doc_string``; everything else is a property ``rs.…``, as text:
    numbers as Python writes them, ``rs.labels`` and ``rs.common_names`` as JSON lists.  Other
    properties stay; all are sorted by key, so that equal content gives equal bytes.

    Raises
    ------
    ExportError
        The bytes are no ONNX model, or its input or output is not what ``info`` says.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load_model_from_string(model)
    except DecodeError as error:
        raise ExportError(
            "model metadata: the bytes are no ONNX model; convert it again"
        ) from error
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
    """Return the shape of the only input or output, 0 where it is free."""
    if len(ends) != 1:
        raise ExportError(f"model metadata: wanted one input and one output, got {len(ends)}")
    return [side.dim_value for side in ends[0].type.tensor_type.shape.dim]
