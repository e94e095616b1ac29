"""TFLite Metadata, with which MediaPipe's image classifier needs nothing but the .tflite file.

One of the model's buffers holds a flatbuffer with the identifier ``M001``.  It says how photos
become input, and which files hold the labels; these files are appended as a zip archive.  Fields
and their order are from https://www.tensorflow.org/lite/models/convert/metadata and MediaPipe's
``mediapipe/tasks/metadata/metadata_schema.fbs``.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from rs_export.metadata import ModelInfo
from rs_export.tflite.file import IDENTIFIER, pack, unpack
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.errors import ExportError

__all__ = ["tflite_with_metadata"]

_ENTRY = b"TFLITE_METADATA"
_METADATA_IDENTIFIER = b"M001"
# Every field that is written here exists since the schema's first version.
_PARSER_VERSION = "1.0.0"

# Numbers of the schema's unions and enumerations.
_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = np.uint8(1), np.uint8(2)
_RGB = np.uint8(1)
_NORMALIZATION_OPTIONS = np.uint8(1)
_TENSOR_AXIS_LABELS = np.uint8(2)

_LABELS, _COMMON_NAMES = "labels.txt", "labels_en.txt"


def tflite_with_metadata(model: bytes, info: ModelInfo) -> bytes:
    """Return a TFLite model with TFLite Metadata; graph and weights are unchanged.

    Metadata and label files that the model already has are replaced.  Equal arguments give equal
    bytes.

    MediaPipe normalizes photos for float32 inputs as the metadata says, gives plain pixels to uint8
    inputs, and refuses int8 inputs.  So a uint8 model gets correct input only if its own scale and
    zero point turn pixels into ``pixel * scale + offset``.  MediaPipe resizes photos by squashing,
    whatever ``info`` says, and shows logits as scores.

    Raises
    ------
    ExportError
        The bytes are not a TFLite model, or the shape of its input or output contradicts ``info``.
    """
    if model[4:8] != IDENTIFIER:
        raise ExportError("model metadata: not a TFLite model; convert it again")
    try:
        tree = unpack(model)
        source, target = _ends(tree)
    except ExportError:
        raise
    except Exception as error:
        raise ExportError("model metadata: damaged TFLite model; convert it again") from error
    files = _label_files(info)
    _put(tree, _describe(source, target, info, files))
    return _with_files(pack(tree, len(model)), files)


def _put(tree: Any, table: tuple[Any, ...]) -> None:
    """Write a table into the buffer of the model's metadata entry."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    entries = tree.metadata = tree.metadata or []
    entry = next((item for item in entries if item.name == _ENTRY), None)
    if entry is None:
        entry = schema.MetadataT(name=_ENTRY, buffer=len(tree.buffers))
        entries.append(entry)
        tree.buffers.append(schema.BufferT())
    builder = flatbuffers.Builder()
    builder.Finish(_write(builder, table), _METADATA_IDENTIFIER)
    tree.buffers[entry.buffer].data = np.frombuffer(builder.Output(), np.uint8)


def _describe(
    source: Any, target: Any, info: ModelInfo, files: Mapping[str, bytes]
) -> tuple[Any, ...]:
    """Return the metadata as a table for :func:`_write`."""
    # ravel: a scalar's shape is None.
    info.require_shapes(np.ravel(source.shape).tolist(), np.ravel(target.shape).tolist())
    given, size = info.preprocessing, info.preprocessing.size
    low, high, numbers = _range(source, given)
    normalization = (
        np.array([-given.offset / given.scale], np.float32),
        np.array([1 / given.scale], np.float32),
    )
    image = (
        "image",
        f"RGB photo, {given.resize} to {size} x {size} pixels; {numbers}",
        None,
        (_IMAGE_PROPERTIES, (_RGB, (np.uint32(size), np.uint32(size)))),
        [(_NORMALIZATION_OPTIONS, normalization)],
        (np.array([high], np.float32), np.array([low], np.float32)),
    )
    logits = (
        "logits",
        f"one per {info.rank}; probabilities are softmax(logits / {info.temperature:.6g})",
        None,
        (_FEATURE_PROPERTIES, ()),
        None,
        None,
        [
            # MediaPipe takes class names from the first file, and display names by locale.
            (name, "one class a line", _TENSOR_AXIS_LABELS, "en" if name == _COMMON_NAMES else None)
            for name in files
        ],
    )
    about = f"{info.description} (trained on data {info.data_fingerprint})"
    graph = (None, None, [image], [logits])
    return (info.name, about, info.created_by, [graph], None, None, None, _PARSER_VERSION)


def _ends(tree: Any) -> tuple[Any, Any]:
    graph = tree.subgraphs[0]
    if len(tree.subgraphs) != 1 or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise ExportError(
            "model metadata: wanted one graph with one input and one output, got "
            f"{len(tree.subgraphs)} with {len(graph.inputs)} and {len(graph.outputs)}"
        )
    return graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]


def _range(source: Any, given: Preprocessing) -> tuple[float, float, str]:
    """Return the smallest and the largest input value, and the formula from pixels to input."""
    from ai_edge_litert.schema_py_generated import TensorType

    integers = {TensorType.UINT8: np.uint8, TensorType.INT8: np.int8}
    if source.type not in integers:
        ends = (given.offset, 255 * given.scale + given.offset)
        return min(ends), max(ends), f"input = pixel * {given.scale:.9g} + {given.offset:.9g}"
    limits, stored = np.iinfo(integers[source.type]), source.quantization
    if stored is None or stored.scale is None or len(stored.scale) != 1:
        raise ExportError("model metadata: an integer input must have one scale; convert it again")
    step, zero = float(stored.scale[0]), int(stored.zeroPoint[0])
    factor, shift = given.scale / step, given.offset / step + zero
    return limits.min, limits.max, f"input = round(pixel * {factor:.6g} + {shift:.6g})"


def _label_files(info: ModelInfo) -> dict[str, bytes]:
    files = {_LABELS: info.labels}
    if any(info.common_names):
        pairs = zip(info.common_names, info.labels, strict=True)
        files[_COMMON_NAMES] = tuple(common_name or label for common_name, label in pairs)
    return {name: "".join(f"{line}\n" for line in lines).encode() for name, lines in files.items()}


def _with_files(model: bytearray, files: Mapping[str, bytes]) -> bytes:
    """Append files as a zip archive whose offsets count from the model's first byte."""
    buffer = io.BytesIO(model)
    buffer.seek(0, io.SEEK_END)
    # MediaPipe needs uncompressed files.  A plain ZipInfo has a fixed date, for equal bytes.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            member = zipfile.ZipInfo(name)
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, data)
    return buffer.getvalue()


def _write(builder: Any, value: str | np.ndarray | list[Any] | tuple[Any, ...]) -> int:
    """Write a text, an array, a list of tables, or a table; return its offset.

    A table is a tuple of its fields in the order of the schema; None leaves a field out.
    """
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, np.ndarray):
        return int(builder.CreateNumpyVector(value))
    parts = [
        part if part is None or isinstance(part, np.integer) else _write(builder, part)
        for part in value
    ]
    if isinstance(value, list):
        builder.StartVector(4, len(parts), 4)
        for offset in reversed(parts):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    builder.StartObject(len(parts))
    for slot, part in enumerate(parts):
        if isinstance(part, np.uint8):
            builder.PrependUint8Slot(slot, int(part), 0)
        elif isinstance(part, np.uint32):
            builder.PrependUint32Slot(slot, int(part), 0)
        elif part is not None:
            builder.PrependUOffsetTRelativeSlot(slot, part, 0)
    return int(builder.EndObject())
