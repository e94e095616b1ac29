"""Find the photos of files, folders, patterns, lists and zip archives, one after the other."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.folder import file_head, photo_problem, photos_below, unsupported
from rs_runtime.photos.formats import PHOTO_SUFFIXES, is_zip
from rs_runtime.photos.stored import StoredPhoto
from rs_runtime.results import Failure

if TYPE_CHECKING:
    Source = Path | StoredPhoto | Failure | None

__all__ = ["STANDARD_INPUT", "photos_given", "start_folder", "unreadable_folder"]

STANDARD_INPUT = "-"
"""What is given for a list on standard input."""

_ANY_DEPTH = "**"
_PATTERN = re.compile(r"[*?]|\[.+\]")


def photos_given(
    given: Sequence[Path | StoredPhoto], tell: Callable[[str], object], null: bool = False
) -> Iterator[Source]:
    """Yield each photo of what was given, or what is wrong with it, in a stable order.

    Parameters
    ----------
    given
        Files; folders, which are searched as :func:`rs_runtime.photos.folder.photos_below` says;
        zip archives, told by their first bytes; patterns with ``*``, ``?``, ``[...]``, and ``**``
        for folders of any depth, unless a file has that very name; ``-`` for a list of files,
        folders and archives on standard input; and stored photos, which are yielded as they are.
    tell
        Called with one line for each folder that is left out.
    null
        The paths on standard input end in NUL, not in a new line.

    Yields
    ------
    photo
        A path, a stored photo such as one in an archive, a Failure, or None: no path has come on
        standard input for a moment.
    """
    for path in given:
        if isinstance(path, StoredPhoto):
            yield path
        elif str(path) == STANDARD_INPUT:
            yield from _listed(tell, null)
        elif _PATTERN.search(str(path)) and not os.path.lexists(path):
            yield from _matching(str(path), tell)
        else:
            yield from _photos(path, tell)


def start_folder(given: Sequence[Path]) -> str:
    """Return the deepest folder, as an absolute path, that all that was given lies in.

    An archive counts as a folder, and so do folders in it.  Of a list on standard input it is the
    current folder.
    """
    folders = [os.path.abspath(_start(str(path))) for path in given]
    try:
        return os.path.commonpath(folders)
    except ValueError:
        # None, or on several drives of Windows.
        return os.path.abspath(os.sep)


def _start(given: str) -> str:
    if given == STANDARD_INPUT:
        return os.curdir
    if os.path.isdir(given):
        return given
    if _is_archive(given):
        from rs_runtime.photos.zipped import zip_photos

        # Most archives hold one folder.
        with suppress(UnreadablePhotoError):
            folders = [os.path.dirname(photo.path) for photo, _ in zip_photos(given, videos=True)]
            return os.path.commonpath(folders or [given])
        return given
    folder = os.path.dirname(given)
    while _PATTERN.search(folder) and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _is_archive(path: str) -> bool:
    photo = os.path.splitext(path)[1].lower() in PHOTO_SUFFIXES
    return not photo and is_zip(file_head(path))


def _photos(path: Path, tell: Callable[[str], object]) -> Iterator[Source]:
    """Yield the photos of a file, a folder or an archive."""
    if os.path.isdir(path):
        yield from _in_folder(str(path), tell)
    elif _is_archive(str(path)):
        yield from _in_archive(str(path))
    else:
        yield _source(str(path), unsupported(path, videos=True))


def _listed(tell: Callable[[str], object], null: bool) -> Iterator[Source]:
    from rs_runtime.sources.listed import paths_listed

    empty = True
    for path in paths_listed(null):
        if path is None:
            yield None
        else:
            empty = False
            yield from _photos(path, tell)
    if empty:
        problem = "the list on standard input names no photos; give one path in each line"
        yield Failure(STANDARD_INPUT, problem, "folder")


def _in_folder(
    folder: str, tell: Callable[[str], object], wanted: Callable[[str], bool] | None = None
) -> Iterator[Source]:
    """Yield the photos below a folder; only those that are ``wanted``, if that is given."""
    problems: list[OSError] = []
    outputs: list[str] = []
    empty = True
    for name, problem in photos_below(folder, problems.append, outputs, videos=True):
        if wanted is None or wanted(name):
            empty = False
            yield _source(name, problem)
    yield from map(unreadable_folder, problems)
    for output in outputs:
        tell(f"left out: folder {output!r}, which rs-toolkit wrote")
    if empty and not problems and wanted is None:
        yield _without_photos("folder", folder)


def _in_archive(archive: str) -> Iterator[Source]:
    from rs_runtime.photos.zipped import zip_photos

    empty = True
    try:
        for photo, problem in zip_photos(archive, videos=True):
            empty = False
            told = f"photo {photo.path!r} {problem}"
            yield Failure(photo.path, told) if problem else photo
    except UnreadablePhotoError as error:
        yield Failure(archive, str(error), "folder")
        return
    if empty:
        yield _without_photos("archive", archive)


def _matching(pattern: str, tell: Callable[[str], object]) -> Iterator[Source]:
    """Yield the photos whose names match a pattern, and those in folders and archives that do."""
    parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
    found = False
    for source in _deep(parts, tell) if _ANY_DEPTH in parts else _flat(pattern, tell):
        found = True
        yield source
    if not found:
        yield _without_photos("pattern", pattern)


def _flat(pattern: str, tell: Callable[[str], object]) -> Iterator[Source]:
    for name in sorted(glob.glob(pattern)):
        if os.path.isdir(name) or _is_archive(name):
            yield from _photos(Path(name), tell)
        else:
            problem = photo_problem(name, partial(file_head, name), videos=True)
            if problem is not None:
                yield _source(name, problem)


def _deep(parts: Sequence[str], tell: Callable[[str], object]) -> Iterator[Source]:
    """Yield the photos of a pattern with ``**``; folders are entered as they are without one."""
    depth = parts.index(_ANY_DEPTH)
    above = os.sep.join([*parts[:depth], ""])
    for root in sorted(glob.glob(above)) if above else [os.curdir]:
        start = len(os.path.join(root, ""))
        fits = partial(_fits, start=start, parts=parts[depth:])
        yield from _in_folder(root, tell, fits)


def _fits(name: str, start: int, parts: Sequence[str]) -> bool:
    return _matches(name[start:].split(os.sep), parts)


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether the names of a path match the parts of a pattern."""
    if not parts:
        return not names
    if parts[0] == _ANY_DEPTH:
        # At the end of a pattern it stands for the files too.
        rest = parts[1:] or ["*"]
        return any(_matches(names[skipped:], rest) for skipped in range(len(names)))
    return bool(names) and fnmatch(names[0], parts[0]) and _matches(names[1:], parts[1:])


def unreadable_folder(error: OSError) -> Failure:
    """Return the Failure of a folder that cannot be searched."""
    place = str(error.filename)
    return Failure(place, f"folder {place!r} cannot be read: {error.strerror}", "folder")


def _without_photos(kind: str, path: str) -> Failure:
    kinds = " ".join(sorted(PHOTO_SUFFIXES))
    problem = f"{kind} {path!r} holds no photos; wanted files ending in {kinds}"
    if kind == "pattern":
        problem = f"pattern {path!r} matches no photos; check it and the folder"
    return Failure(path, problem, "folder")


def _source(name: str, problem: str | None) -> Path | Failure:
    path = Path(name)
    return Failure(str(path), f"photo {str(path)!r}: {problem}") if problem else path
