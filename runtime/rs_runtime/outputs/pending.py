"""Files and folders that take their place when they are complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rs_runtime.console import say
from rs_runtime.errors import OutputError
from rs_runtime.files import put, temporary_beside
from rs_runtime.photos.formats import PHOTO_SUFFIXES, UNSUPPORTED_SUFFIXES

__all__ = ["PendingFile", "PendingFolder", "PendingText", "Printed", "folder_is_new", "partial"]

_NEVER = (*PHOTO_SUFFIXES, *UNSUPPORTED_SUFFIXES, ".rskit", ".rskit.xz")


def partial(path: Path) -> Path:
    """Return where the output of an interrupted run goes: ``a.csv`` becomes ``a.partial.csv``."""
    return path.with_name(f"{path.stem}.partial{path.suffix}")


def folder_is_new(folder: Path) -> bool:
    """Return whether a folder is absent or empty, so that something may be made of it."""
    if not folder.exists():
        return True
    return folder.is_dir() and not any(folder.iterdir())


def _require_parent(path: Path) -> None:
    """Refuse a path in a folder that is not there: it may be a disk that is not plugged in."""
    if not path.parent.is_dir():
        raise OutputError(
            f"{str(path)!r}: folder {str(path.parent)!r} is not there; make it, or give another"
        )


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the output in the system's errors."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


class PendingFile:
    """A file that is written beside ``path`` and replaces it at the end.

    Raises
    ------
    OutputError
        Its folder is not there, or ``path`` is a folder, a device, a photo or a kit.
    OSError
        The folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        _require_parent(path)
        if path.is_dir():
            raise OutputError(f"{str(path)!r} is a folder; give the name of a file in it")
        # The file of a link is replaced, not the link; a device such as /dev/null never is.
        path = Path(os.path.realpath(path)) if path.is_symlink() else path
        if path.exists() and not path.is_file():
            raise OutputError(f"{str(path)!r} is no file; to print, leave out --output")
        # The shell makes "-o *.jpg" the name of the first photo.
        if path.name.lower().endswith(_NEVER):
            raise OutputError(f"{str(path)!r} is the name of a photo or a kit; give another")
        self.path = path
        with _named(path):
            self.temporary = temporary_beside(path)

    def close(self, complete: bool) -> Path:
        """Put the file in its place, or that of :func:`partial`, and return that path."""
        place = self.path if complete else partial(self.path)
        with _named(place):
            put(self.temporary, place)
        return place

    def discard(self) -> None:
        """Remove what was written."""
        self.temporary.unlink(missing_ok=True)


class PendingText(PendingFile):
    """The same for text in UTF-8; characters that cannot be written are escaped (``\\udcff``)."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = self.temporary.open(
            "w", encoding="utf-8", errors="backslashreplace", newline=""
        )

    def write(self, text: str) -> None:
        """Append to the file."""
        with _named(self.path):
            self._file.write(text)

    def close(self, complete: bool) -> Path:
        with _named(self.path):
            self._file.close()
        return super().close(complete)

    def discard(self) -> None:
        # What cannot be written is not wanted any more.
        with contextlib.suppress(OSError):
            self._file.close()
        super().discard()


class Printed:
    """Standard output, with the methods of PendingText."""

    def write(self, text: str) -> None:
        """Print and flush."""
        import sys

        encoding = sys.stdout.encoding or "utf-8"
        say(text.encode(encoding, "backslashreplace").decode(encoding).removesuffix("\n"))

    def close(self, complete: bool) -> None:
        """Do nothing: everything is printed."""

    def discard(self) -> None:
        """Do nothing."""


class PendingFolder:
    """A new folder that is filled beside ``path`` and gets its name at the end.

    Raises
    ------
    OutputError
        The folder above is not there, or ``path`` is there and not empty.
    """

    def __init__(self, path: Path) -> None:
        _require_parent(path)
        if not folder_is_new(path):
            raise OutputError(f"{str(path)!r} is there already; give the name of a new folder")
        self.path = path
        self.temporary = path.with_name(f".tmp-{os.urandom(8).hex()}")
        with _named(path):
            self.temporary.mkdir()

    def close(self, complete: bool) -> Path:
        """Put the folder in its place and return that: an incomplete one gets a name of its own."""
        place, number = self.path if complete else partial(self.path), 1
        while not folder_is_new(place):
            number += 1
            place = self.path.with_name(f"{partial(self.path).name}-{number}")
        with _named(place):
            for file in self.temporary.iterdir():
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
            if place.exists():
                place.rmdir()
            os.replace(self.temporary, place)
        return place

    def discard(self) -> None:
        """Remove what was written."""
        import shutil

        shutil.rmtree(self.temporary, ignore_errors=True)
