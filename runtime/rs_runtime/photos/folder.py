"""Find photos below a folder, those that are not read, and folders that the toolkit wrote."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from rs_runtime.photos.formats import (
    HEAD_BYTES,
    PHOTO_SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    can_read,
    is_video,
    photo_kind,
    unsupported_kind,
    unsupported_suffix,
)

__all__ = [
    "MARK",
    "file_head",
    "is_hidden",
    "is_marked",
    "is_output",
    "photo_problem",
    "photos_below",
    "shows_video",
    "unsupported",
]

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
    root: str | os.PathLike[str],
    onerror: Callable[[OSError], object],
    outputs: list[str],
    videos: bool = False,
) -> Iterator[tuple[str, str | None]]:
    """Yield (path, None) for each photo below a folder, or why one cannot be read.

    With ``videos``, those that can be read here are yielded as photos are.

    Photos are known by their suffixes; those of formats that are not read, also by their content.
    Links to folders are followed, but each real folder is entered once; links that lead nowhere are
    yielded too.  Hidden files and folders are skipped: macOS writes ``._IMG_0001.JPG`` beside a
    photo.  The files of a folder come before its subfolders, both sorted by name.

    ``onerror`` is called with the error of each folder that cannot be read.  Folders below ``root``
    that the toolkit wrote hold pictures, but no photos: they are appended to ``outputs`` instead.
    """
    seen = {os.path.realpath(root)}
    left = [os.fspath(root)]
    while left:
        folder = left.pop()
        try:
            folders, files = _entries(folder)
        except OSError as error:
            onerror(error)
            continue
        if folder != os.fspath(root) and is_output(folder, [entry.name for entry in files]):
            outputs.append(folder)
            continue
        kept = []
        for entry in folders:
            if not is_hidden(entry.name) and (real := os.path.realpath(entry.path)) not in seen:
                kept.append(entry.path)
                seen.add(real)
        left += reversed(kept)
        for entry in files:
            problem = None if entry.name.startswith(".") else _problem(entry, videos)
            if problem is not None:
                yield entry.path, problem or None


def _entries(folder: str) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    """Return the folders in a folder, also by links, and the other entries, each by name."""
    folders: list[os.DirEntry[str]] = []
    files: list[os.DirEntry[str]] = []
    # Not os.walk: an entry knows without another look at the disk whether it is a link.
    with os.scandir(folder) as found:
        for entry in sorted(found, key=lambda entry: entry.name):
            try:
                is_folder = entry.is_dir()
            except OSError:
                is_folder = False
            (folders if is_folder else files).append(entry)
    return folders, files


def is_output(folder: str, names: Collection[str]) -> bool:
    """Return whether the toolkit wrote a folder; ``names`` are those of the files in it."""
    return (MARK in names and is_marked(folder)) or any(each <= {*names} for each in _OUTPUTS)


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is left out."""
    return name.startswith((".", "__MACOSX")) and name not in (".", "..")


def unsupported(path: str | os.PathLike[str], videos: bool = False) -> str | None:
    """Return why a file with the suffix of a photo or video is not read; None for other files.

    Some programs keep the suffix .HEIC when they convert a photo to JPEG; such a file is read.
    TIFF with another suffix is a camera's raw format, of which Pillow would read the thumbnail.
    ``videos`` as for :func:`photos_below`.
    """
    return _unsupported(os.fspath(path), lambda: file_head(path), videos)


def photo_problem(name: str, head: Callable[[], bytes], videos: bool = False) -> str | None:
    """Return why a photo cannot be read, an empty text if it can, None for other files.

    ``head`` returns the first bytes of the file, which are read only where they are needed.
    """
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PHOTO_SUFFIXES:
        return ""
    if suffix in UNSUPPORTED_SUFFIXES:
        return _unsupported(name, head, videos) or ""
    first = head()
    return "" if _is_read_video(first, videos) else unsupported_kind(first)


def _unsupported(name: str, head: Callable[[], bytes], videos: bool) -> str | None:
    problem = unsupported_suffix(os.path.splitext(name)[1])
    if problem is None:
        return None
    first = head()
    readable = photo_kind(first) not in (None, "TIFF") or _is_read_video(first, videos)
    return None if readable else problem


def _is_read_video(head: bytes, videos: bool) -> bool:
    return videos and is_video(head) and can_read("video")


def _problem(entry: os.DirEntry[str], videos: bool) -> str | None:
    path = entry.path
    target = _lost_target(entry)
    if target is not None:
        suffix = os.path.splitext(path)[1].lower()
        lost = f"is a link to {target!r}, which is not there; mend or remove it"
        # Of a photo, this is said when it is opened.
        return "" if suffix in PHOTO_SUFFIXES else lost
    return photo_problem(path, lambda: file_head(path), videos)


def _lost_target(entry: os.DirEntry[str]) -> str | None:
    """Return where a link to nothing leads; None for other entries.

    In a folder that may be listed but not entered, a link is an entry like others.
    """
    with suppress(OSError):
        if entry.is_symlink() and not os.path.exists(entry.path):
            return os.readlink(entry.path)
    return None


def file_head(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a file; none of what is no file or cannot be read."""
    # Opening a pipe would wait for its writer.
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def shows_video(source: object) -> TypeGuard[Path | bytes]:
    """Return whether a file, or a file's bytes, are a video; no other object is."""
    if isinstance(source, bytes):
        return is_video(source[:HEAD_BYTES])
    return isinstance(source, Path) and is_video(file_head(source))
