"""TFLite files as trees of Python objects, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["IDENTIFIER", "pack", "unpack"]

IDENTIFIER = b"TFL3"
_ALIGNMENT = 16


def unpack(model: bytes) -> Any:
    """Return a ModelT that holds all its buffers.

    ai-edge-quantizer puts those of large models behind the flatbuffer, where :func:`pack` would
    leave them behind.
    """
    from ai_edge_litert import schema_py_generated as schema

    tree = schema.ModelT.InitFromPackedBuf(model)
    for buffer in tree.buffers:
        # 0 says that there is no such buffer, and 1 that its place is not known yet.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return tree


def pack(tree: Any, size: int) -> bytearray:
    """Return the flatbuffer, of about ``size`` bytes, of a ModelT from :func:`unpack`.

    Its buffers are aligned to 16 bytes as engines want them.
    """
    import flatbuffers

    class Aligned(flatbuffers.Builder):  # type: ignore[misc]
        """Aligns buffers as the schema asks for; Python's builder does not."""

        def CreateNumpyVector(self, x: Any) -> Any:
            self.Prep(_ALIGNMENT, x.nbytes)
            return super().CreateNumpyVector(x)

    # Growing by doubling would copy the weights again and again.
    builder = Aligned(size + 2**20)
    builder.Finish(tree.Pack(builder), IDENTIFIER)
    return bytearray(builder.Output())
