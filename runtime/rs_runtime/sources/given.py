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

from rs_runtime.console import counted
from rs_runtime.errors import InputError, UnreadablePhotoError
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
    """Yield each photo of what was given once, or what is wrong with it, in a stable order.

    A photo that is given again, such as by its folder and by its name, is left out the second time,
    and so is an archive.

    Parameters
    ----------
    given
        Files; folders, which are searched as :func:`rs_runtime.photos.folder.photos_below` says;
        zip archives, told by their first bytes; patterns with ``*``, ``?``, ``[...]``, and ``**``
        for folders of any depth, unless a file has that very name; ``-`` for a list of files,
        folders and archives on standard input; and stored photos, which are yielded as they are.
    tell
        Called with one line for each folder that is left out, and with the number of photos and
        archives that were given twice.
    null
        The paths on standard input end in NUL, not in a new line.

    Yields
    ------
    photo
        A path, a stored photo such as one in an archive, a Failure, or None: no path has come on
        standard input for a moment.
    """
    names = [str(path) for path in given]
    asked = _Asked(tell, len(names) > 1 or STANDARD_INPUT in names)
    for path, name in zip(given, names, strict=True):
        if isinstance(path, StoredPhoto):
            yield path
        elif name == STANDARD_INPUT:
            yield from _listed(asked, null)
        elif _PATTERN.search(name) and not os.path.lexists(name):
            yield from _matching(name, asked)
        else:
            yield from _photos(name, asked)
    if asked.again:
        tell(f"left out: {counted(asked.again, 'file')} given twice")


class _Asked:
    """Speaks to the user, and knows what was found before; ``again`` counts what is left out.

    A search of one folder or archive finds nothing twice, so that it need not be ``remembered``: it
    takes 64 bytes a photo.
    """

    def __init__(self, tell: Callable[[str], object], remembered: bool) -> None:
        self.tell, self.again = tell, 0
        self._seen: set[int] | None = set() if remembered else None
        self._folder = self._real = ""

    def is_new(self, name: str) -> bool:
        """Return whether a file was not found before, also not by another name of its folder."""
        if self._seen is None:
            return True
        folder, _, own = os.path.abspath(name).rpartition(os.sep)
        if folder != self._folder or not self._real:
            self._folder, self._real = folder, os.path.realpath(folder + os.sep)
        number = hash((self._real, own))
        if number in self._seen:
            self.again += 1
            return False
        self._seen.add(number)
        return True

    def source(self, name: str, problem: str | None) -> Iterator[Path | Failure]:
        """Yield a file, or its problem, unless it was found before."""
        if self.is_new(name):
            path = Path(name)
            yield Failure(str(path), f"photo {str(path)!r}: {problem}") if problem else path


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


def _photos(name: str, asked: _Asked) -> Iterator[Source]:
    """Yield the photos of a file, a folder or an archive."""
    if os.path.isdir(name):
        yield from _in_folder(name, asked)
    elif _is_archive(name):
        if asked.is_new(name):
            yield from _in_archive(name)
    else:
        yield from asked.source(name, unsupported(name, videos=True))


def _listed(asked: _Asked, null: bool) -> Iterator[Source]:
    from rs_runtime.sources.listed import paths_listed

    empty = True
    try:
        for path in paths_listed(null):
            if path is None:
                yield None
            else:
                empty = False
                yield from _photos(str(path), asked)
    except InputError as error:
        # What was listed before it keeps its answers.
        yield Failure(STANDARD_INPUT, str(error), "folder")
        return
    if empty:
        problem = "the list on standard input names no photos; give one path in each line"
        yield Failure(STANDARD_INPUT, problem, "folder")


def _in_folder(
    folder: str, asked: _Asked, wanted: Callable[[str], bool] | None = None
) -> Iterator[Source]:
    """Yield the photos below a folder; only those that are ``wanted``, if that is given."""
    problems: list[OSError] = []
    outputs: list[str] = []
    empty = True
    for name, problem in photos_below(folder, problems.append, outputs, videos=True):
        if wanted is None or wanted(name):
            empty = False
            yield from asked.source(name, problem)
    yield from map(unreadable_folder, problems)
    for output in outputs:
        asked.tell(f"left out: folder {output!r}, which rs-toolkit wrote")
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


def _matching(pattern: str, asked: _Asked) -> Iterator[Source]:
    """Yield the photos whose names match a pattern, and those in folders and archives that do."""
    parts = pattern.replace(os.altsep or os.sep, os.sep).split(os.sep)
    found, again = False, asked.again
    for source in _deep(parts, asked) if _ANY_DEPTH in parts else _flat(pattern, asked):
        found = True
        yield source
    if not found and asked.again == again:
        yield _without_photos("pattern", pattern)


def _flat(pattern: str, asked: _Asked) -> Iterator[Source]:
    for name in sorted(glob.glob(pattern)):
        if os.path.isdir(name) or _is_archive(name):
            yield from _photos(name, asked)
        else:
            problem = photo_problem(name, partial(file_head, name), videos=True)
            if problem is not None:
                yield from asked.source(name, problem)


def _deep(parts: Sequence[str], asked: _Asked) -> Iterator[Source]:
    """Yield the photos of a pattern with ``**``; folders are entered as they are without one."""
    depth = parts.index(_ANY_DEPTH)
    above = os.sep.join([*parts[:depth], ""])
    for root in sorted(glob.glob(above)) if above else [os.curdir]:
        start = len(os.path.join(root, ""))
        fits = partial(_fits, start=start, parts=parts[depth:])
        yield from _in_folder(root, asked, fits)


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
