"""Find photos below a folder, those that are not read, and folders that the toolkit wrote."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from rs_runtime.photos.formats import (
    HEAD_BYTES,
    PHOTO_SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    photo_kind,
    unsupported_kind,
    unsupported_suffix,
)

__all__ = ["MARK", "is_marked", "is_output", "photos_below", "unsupported"]

MARK = ".rs-toolkit"
"""Name of the file that marks a folder as written by the toolkit."""

# Earlier versions wrote no mark, and a zip archive is unpacked without hidden files.  These are
# the folders with pictures in them: runs, exports and benchmarks.
_OUTPUTS = (
    {"config.json", "classes.json", "splits.json"},
    {"report.json", "accuracy_vs_size.png"},
    {"benchmark.json", "pareto.png"},
)


def is_marked(folder: str | os.PathLike[str]) -> bool:
    """Return whether a folder has the mark; an empty file is only a lock on somebody's folder."""
    with suppress(OSError):
        return os.stat(os.path.join(folder, MARK)).st_size > 0
    return False


def photos_below(
    root: str | os.PathLike[str], onerror: Callable[[OSError], object], outputs: list[str]
) -> Iterator[tuple[str, str | None]]:
    """Yield (path, None) for each photo below a folder, or why one cannot be read.

    Photos are known by their suffixes; those of formats that are not read, also by their content.
    Links to folders are followed, but each real folder is entered once; links that lead nowhere are
    yielded too.  Hidden files and folders are skipped: macOS writes ``._IMG_0001.JPG`` beside a
    photo.  The files of a folder come before its subfolders, both sorted by name.

    ``onerror`` is called with the error of each folder that cannot be read.  Folders below ``root``
    that the toolkit wrote hold pictures, but no photos: they are appended to ``outputs`` instead.
    """
    seen = {os.path.realpath(root)}
    for folder, below, files in os.walk(root, onerror=onerror, followlinks=True):
        if folder != os.fspath(root) and is_output(folder, files):
            outputs.append(folder)
            below.clear()
            continue
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in below}
        kept = []
        for name in sorted(below):
            if not name.startswith((".", "__MACOSX")) and real[name] not in seen:
                kept.append(name)
                seen.add(real[name])
        below[:] = kept
        above = os.path.join(folder, "")
        for name in sorted(files):
            path = above + name
            problem = None if name.startswith(".") else _problem(path)
            if problem is not None:
                yield path, problem or None


def is_output(folder: str, names: Collection[str]) -> bool:
    """Return whether the toolkit wrote a folder; ``names`` are those of the files in it."""
    return (MARK in names and is_marked(folder)) or any(each <= {*names} for each in _OUTPUTS)


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
        return f"is a link to {os.readlink(path)!r}, which is not there; mend or remove it"
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
