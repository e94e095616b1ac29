"""Photos that are no files of their own, and what messages call a photo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

__all__ = ["IN_MEMORY", "PhotoBytes", "StoredPhoto", "photo_name", "photo_path"]

IN_MEMORY = "photo in memory"
"""What messages call a photo that has no path."""


class StoredPhoto(ABC):
    """A photo that is no file of its own, such as one in an archive.

    ``size`` is its number of bytes, ``mtime_ns`` the time of its last change in ns, 0 if that is
    not known; ``mark`` tells it from others of the same size and time.
    """

    size: int
    mtime_ns: int = 0

    @property
    @abstractmethod
    def path(self) -> str:
        """What results call the photo."""

    @property
    @abstractmethod
    def mark(self) -> str:
        """What the journal knows it by, beside path, size and time."""

    @abstractmethod
    def read(self) -> PhotoBytes:
        """Return the photo's bytes; PhotoError: it cannot be read."""


class PhotoBytes(bytes):
    """The bytes of a photo, and the ``path`` that results and messages call it."""

    path: str

    @classmethod
    def named(cls, data: bytes, path: str) -> PhotoBytes:
        """Return ``data`` with a path."""
        found = cls(data)
        found.path = path
        return found


def photo_name(source: object) -> str:
    """Return what messages call a photo."""
    path = photo_path(source)
    return IN_MEMORY if path is None else f"photo {path!r}"


def photo_path(source: object) -> str | None:
    """Return the path of a photo as it was given; None of one that is held in memory."""
    path = source if isinstance(source, str | Path) else getattr(source, "path", None)
    return str(path) if isinstance(path, str | Path) else None
