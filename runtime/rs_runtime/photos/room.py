"""Keep memory bounded where several threads decode: large photos one after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from rs_runtime.errors import PhotoTooLargeError

__all__ = ["LARGE_PIXELS", "claim_room", "enough_memory", "shared_room"]

LARGE_PIXELS = 20_000_000
"""A photo is large if more pixels than this are decoded: 80 MB in Pillow's 4 bytes a pixel."""

_large = threading.Lock()
_thread = threading.local()


@contextmanager
def enough_memory(where: str) -> Iterator[None]:
    """Raise a MemoryError of the block as PhotoTooLargeError: it costs only the photo ``where``."""
    try:
        yield
    except MemoryError as error:
        problem = "needs more memory than there is; shrink it"
        raise PhotoTooLargeError(f"{where} {problem}") from error


@contextmanager
def shared_room() -> Iterator[None]:
    """Decode and shrink one photo in the block, which :func:`claim_room` may make wait."""
    with ExitStack() as stack:
        _thread.stack = stack
        try:
            yield
        finally:
            _thread.stack = None


def claim_room(pixels: int) -> None:
    """Wait, before a large photo is decoded, until no other thread holds one in such a block."""
    stack = getattr(_thread, "stack", None)
    if stack is None or pixels <= LARGE_PIXELS:
        return
    stack.enter_context(_large)
    # A photo may be decoded more than once in a block.
    _thread.stack = None
