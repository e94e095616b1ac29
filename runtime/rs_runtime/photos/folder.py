"""Find photos below a folder, and those that are not read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from rs_runtime.photos.formats import (
    HEAD_BYTES,
    PHOTO_SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    photo_kind,
    unsupported_kind,
    unsupported_suffix,
)

__all__ = ["photos_below", "unsupported"]


def photos_below(
    root: str | os.PathLike[str], onerror: Callable[[OSError], object]
) -> Iterator[tuple[str, str | None]]:
    """Yield (path, None) for each photo below a folder, or why one cannot be read.

    Photos are known by their suffixes; those of formats that are not read, also by their content.
    Links to folders are followed, but each real folder is entered once; links that lead nowhere are
    yielded too.  Hidden files and folders are skipped: macOS writes ``._IMG_0001.JPG`` beside a
    photo.  The files of a folder come before its subfolders, both sorted by name.

    ``onerror`` is called with the error of each folder that cannot be read.
    """
    seen = {os.path.realpath(root)}
    for folder, below, files in os.walk(root, onerror=onerror, followlinks=True):
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in below}
        kept = []
        for name in sorted(below):
            if not name.startswith((".", "__MACOSX")) and real[name] not in seen:
                kept.append(name)
                seen.add(real[name])
        below[:] = kept
        for name in sorted(files):
            path = os.path.join(folder, name)
            problem = None if name.startswith(".") else _problem(path)
            if problem is not None:
                yield path, problem or None


def unsupported(path: str | os.PathLike[str]) -> str | None:
    """Return why a file with the suffix of a photo or video is not read; None for other files.

    Some programs keep the suffix .HEIC when they convert a photo to JPEG; such a file is read.
    TIFF with another suffix is a camera's raw format, of which Pillow would read the thumbnail.
    """
    problem = unsupported_suffix(os.path.splitext(path)[1])
    readable = problem is not None and photo_kind(_head(path)) not in (None, "TIFF")
    return None if readable else problem


def _problem(path: str) -> str | None:
    """Return why a photo cannot be read, an empty text if it can, None for other files."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix in PHOTO_SUFFIXES:
        return ""
    if os.path.islink(path) and not os.path.exists(path):
        return "is a link that leads nowhere; mend or remove it"
    if suffix in UNSUPPORTED_SUFFIXES:
        return unsupported(path) or ""
    return unsupported_kind(_head(path))


def _head(path: str | os.PathLike[str]) -> bytes:
    # Opening a pipe would wait for its writer.
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""
