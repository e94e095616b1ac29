"""One model, loaded to answer several photos at a time, on one thread each.

This gives more photos a second than one photo at a time on all threads: no thread waits for the
others at the end of each layer, nor for a photo to be decoded.  Batches of several photos give
nothing more, and LiteRT models have a batch size of 1 (docs/decisions/0024).
"""

from __future__ import annotations

import contextlib
from queue import SimpleQueue
from typing import TYPE_CHECKING

from rs_runtime.engines.engine import Engine, load_engine
from rs_runtime.engines.limits import cores, free_memory
from rs_runtime.errors import EngineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EnginePool", "load_pool"]

_MOST = 16
# What a copy of a LiteRT model takes, in sizes of its file: 1.4 was measured of Xception, and
# the largest photos need room too.
_COPY = 3


class EnginePool:
    """Engines of the same model; ``size`` is the number of photos answered at a time."""

    def __init__(self, engines: list[Engine]) -> None:
        self.size = len(engines)
        self._free: SimpleQueue[Engine] = SimpleQueue()
        for engine in engines:
            self._free.put(engine)

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what :meth:`rs_runtime.engines.engine.Engine.logits` returns, when one is free."""
        engine = self._free.get()
        try:
            return engine.logits(inputs)
        finally:
            self._free.put(engine)


def load_pool(engine: str, model: bytes, threads: int | None = None) -> EnginePool:
    """Load a model for as many photos at a time as there are cores, or ``threads``.

    At most 16, and fewer where the memory is short.  ``engine``, ``model`` and errors are those of
    :func:`rs_runtime.engines.engine.load_engine`.
    """
    size = min(threads or cores(), _MOST)
    engines = [load_engine(engine, model, 1)]
    if engine == "onnxruntime":
        # One session may run in several threads.
        return EnginePool(engines * size)
    free = free_memory()
    if free is not None:
        size = max(1, min(size, free // (_COPY * len(model))))
    with contextlib.suppress(EngineError):
        engines.extend(load_engine(engine, model, 1) for _ in range(size - 1))
    return EnginePool(engines)
