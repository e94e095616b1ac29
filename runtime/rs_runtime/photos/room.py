"""Keep memory bounded: large photos one after the other, and none larger than what is free."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import PhotoTooLargeError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["LARGE_PIXELS", "claim_room", "enough_memory", "require_memory", "shared_room"]

LARGE_PIXELS = 20_000_000
"""A photo is large if more pixels than this are decoded: 80 MB in Pillow's 4 bytes a pixel."""

# Bytes a pixel that decoding and converting to RGB take, measured.  Pillow holds 4 a pixel of RGB.
_PIXEL_BYTES = {"RGB": 5, "L": 5, "P": 5, "1": 5, "I;16": 8, "F": 24}
_OTHER_BYTES = 16

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


def require_memory(image: Image.Image, pixels: int, where: str) -> None:
    """Raise PhotoTooLargeError if a large photo needs more memory than is free.

    Linux gives memory that it does not have, and then kills the process: of a run over many photos
    nothing would say which one it was.  Where the system does not tell what is free (no Linux), all
    photos are decoded.
    """
    if pixels <= LARGE_PIXELS:
        return
    needed, free = _needed_bytes(image, pixels), _free_bytes()
    if free is not None and needed > free:
        amounts = f"about {needed // 1_000_000:,} MB of memory, {free // 1_000_000:,} MB are free"
        raise PhotoTooLargeError(
            f"{where} has {image.width:,} x {image.height:,} pixels and needs {amounts}; shrink it"
        )


def _needed_bytes(image: Image.Image, pixels: int) -> int:
    # Of a progressive JPEG: 2 bytes for each coefficient of its layers, which may be smaller.
    layers: list[Any] = getattr(image, "layer", []) if "progressive" in image.info else []
    if not layers:
        return pixels * _PIXEL_BYTES.get(image.mode, _OTHER_BYTES)
    largest = max(layer[1] for layer in layers) * max(layer[2] for layer in layers)
    return 2 * pixels * sum(layer[1] * layer[2] for layer in layers) // max(1, largest)


def _free_bytes() -> int | None:
    """Return the memory that this process may still take; None where the system tells nothing."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        free = sum(int(lines[name].split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return min(free, _container_bytes() or free)


def _container_bytes() -> int | None:
    """Return what the limit of a container leaves (cgroup v2); None without one."""
    folder = "/sys/fs/cgroup"
    try:
        with open(f"{folder}/memory.max", encoding="ascii") as file:
            most = int(file.read())
        with open(f"{folder}/memory.current", encoding="ascii") as file:
            used = int(file.read())
        with open(f"{folder}/memory.stat", encoding="ascii") as file:
            counts = dict(line.split() for line in file)
    except (OSError, ValueError):
        return None
    # The system drops files that it holds in memory before it kills.
    return max(1, most - used + int(counts.get("inactive_file", 0)))
