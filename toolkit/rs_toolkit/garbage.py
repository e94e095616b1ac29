"""Python's garbage collector, where very many small objects are made that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rarely_collecting"]

# New objects between two collections.  Python's own number is 700.
_OBJECTS = 200_000


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Look for garbage less often inside the ``with`` block; also a decorator.

    The rows of 10,000 photos hold no cycles, and looking through them again and again, and through
    all that TensorFlow has loaded, takes a third of the time in which they are made.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(_OBJECTS, before[0]) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
