"""Conversion of TFLite files to trees of Python objects, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["IDENTIFIER", "pack", "unpack"]

IDENTIFIER = b"TFL3"
_ALIGNMENT = 16


def unpack(model: bytes) -> Any:
    """Return a ModelT that holds all its buffers.

    For large models, ai-edge-quantizer appends the buffers to the flatbuffer.  They are moved into
    the tree, because :func:`pack` would lose them otherwise.
    """
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model)
    for buffer in tree.buffers:
        # Offset 0 means that the buffer is not appended, 1 that its place is not known yet.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return tree


def pack(tree: Any, size: int) -> bytearray:
    """Return the flatbuffer of a ModelT from :func:`unpack`; ``size`` is about its size in bytes.

    Its buffers are aligned to 16 bytes, as engines need them.
    """
    import flatbuffers

    class Aligned(flatbuffers.Builder):  # type: ignore[misc]
        """Aligns buffers as the schema requires, which Python's builder does not."""

        def CreateNumpyVector(self, x: Any) -> Any:
            self.Prep(_ALIGNMENT, x.nbytes)
            return super().CreateNumpyVector(x)

    # Large enough from the start: a builder that has to grow copies all weights each time.
    builder = Aligned(size + 2**20)
    builder.Finish(tree.Pack(builder), IDENTIFIER)
    return bytearray(builder.Output())
