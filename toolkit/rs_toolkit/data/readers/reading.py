"""What all readers of data sets do with cells and paths, decided once.

:func:`rs_toolkit.data.readers.read_dataset` begins a :class:`Reading`, and the functions that read
rows ask it.  It is a context variable, so that no reader has to pass it on.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rs_toolkit.data.photos import SIDE_NAMES, SIDES
from rs_toolkit.data.readers.on_disk import OnDisk
from rs_toolkit.data.taxonomy import EMPTY_WORDS, LABELS, printable
from rs_toolkit.errors import ConfigError

__all__ = ["Reading", "reading", "reads", "relative_path", "some"]

# Columns that name organisms, in which --keep-names keeps words that mean an empty cell elsewhere.
_NAMING = frozenset({*LABELS, "cls", "label", "scientificName"})
# Nearly all cells are longer, which decides at once; blanks and invisible characters may be in it.
_LONGEST = max(map(len, EMPTY_WORDS)) + 3
_SHOWN = 5
# Absolute paths of POSIX, and of Windows with a drive letter.
_ABSOLUTE = re.compile(r"[/\\]|[a-z]:", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# file:///home/me/a.jpg, file://localhost/home/me/a.jpg, file:/home/me/a.jpg; file:///C:/a.jpg
_FILE_URL = re.compile(r"file:(?://(?:localhost(?=/))?|(?=/))(?:/(?=[a-z]:))?", re.IGNORECASE)


class Reading:
    """One reading of a data set, and what was noticed in its cells and paths.

    ``keep_names`` are words of :data:`EMPTY_WORDS`, separated by commas, that name an organism in
    this data set.  ``root`` is the folder in which paths are looked up; None: they are not.

    Raises
    ------
    ConfigError
        A name in ``keep_names`` is none of these words.
    """

    def __init__(self, root: Path | None = None, keep_names: str = "") -> None:
        self.files = None if root is None else OnDisk(root)
        self._kept = {word for part in keep_names.split(",") if (word := _word(part))}
        self._words: Counter[str] = Counter()
        self._columns: Counter[str] = Counter()
        self._no_sides: Counter[str] = Counter()
        if other := sorted(self._kept - EMPTY_WORDS):
            wanted = ", ".join(sorted(EMPTY_WORDS))
            raise ConfigError(
                f"keep_names: got {other[0][:80]!r}, which is a name already; wanted some of: "
                f"{wanted}"
            )

    def is_empty(self, value: Any, column: str) -> bool:
        """Return whether a cell holds a word that means an empty one.

        The words are the same in every column; only names of organisms can be kept.
        """
        word = _word(value) if type(value) is str else ""
        return word in EMPTY_WORDS and not (column in _NAMING and word in self._kept)

    def cell(self, value: Any, column: str) -> Any:
        """Return the value of a cell, and "" for a word that means an empty one, which counts."""
        return self.cells({column: value})[column]

    def cells(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the cells of a row by column, each as :meth:`cell` does."""
        empty = [
            column
            for column, value in row.items()
            if type(value) is str and len(value) <= _LONGEST and self.is_empty(value, column)
        ]
        if not empty:
            return row
        self._columns.update(empty)
        self._words.update(_word(row[column]) for column in empty)
        return {**row, **dict.fromkeys(empty, "")}

    def side(self, value: object) -> str | None:
        """Return the side of a split that a cell names; None for an empty cell or another word."""
        word = _word(value) if isinstance(value, str) else ""
        if word and word not in SIDE_NAMES and not self.is_empty(word, "split"):
            self._no_sides[word] += 1
        return SIDE_NAMES.get(word)

    def notes(self) -> tuple[str, ...]:
        """Return what was noticed, one line each."""
        notes = []
        if self._words:
            words, columns = (
                ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
                for counts in (self._words, self._columns)
            )
            named = _NAMING & self._columns.keys()
            keep = "; if an organism has such a name, use --keep-names" if named else ""
            cells = f"{self._words.total():,} cells ({words})"
            notes.append(f"taken as empty: {cells}, by column: {columns}{keep}")
        if self._no_sides:
            given = (f"{word[:40]!r} {count:,}" for word, count in self._no_sides.most_common())
            notes.append(
                f"split: {self._no_sides.total():,} cells name no side ({some(given)}), wanted "
                f"{', '.join(SIDES)}; these photos are assigned anew"
            )
        if self.files and (respelt := self.files.respelt):
            notes.append(
                f"found: {len(respelt):,} paths that are written otherwise on disk (in upper and "
                f"lower case, or in their form of Unicode): {some(respelt)}"
            )
        return tuple(notes)


@lru_cache(maxsize=10_000)
def _word(text: str) -> str:
    return printable(text).lower()


_current: ContextVar[Reading | None] = ContextVar("reading", default=None)


def reading() -> Reading:
    """Return the reading that has begun; outside of one, a reading without a folder."""
    return _current.get() or Reading()


@contextmanager
def reads(root: Path, keep_names: str = "") -> Iterator[Reading]:
    """Begin a :class:`Reading`, which :func:`reading` returns inside the ``with`` block."""
    begun = Reading(root, keep_names)
    token = _current.set(begun)
    try:
        yield begun
    finally:
        _current.reset(token)


def relative_path(value: object) -> tuple[str, str | None]:
    """Check the path of a photo, which comes from a file that is not trusted.

    A path may have backslashes, begin with ``file://``, or be absolute if it lies in the folder
    that is read; there it is looked up with :meth:`OnDisk.spelling`.

    Returns
    -------
    path, error
        The path in POSIX form, relative to the data set's root and below it, and None; or the
        given text, changed so that UTF-8 can encode it, and the reason why it cannot be used.
    """
    given = value if isinstance(value, str) else ""
    try:
        return _relative(given), None
    except ValueError as problem:
        return given.encode("utf-8", "backslashreplace").decode(), str(problem)


def _relative(given: str) -> str:
    """Return the checked path; ValueError where it cannot be used."""
    file_url = _FILE_URL.match(given)
    local = unquote(given[file_url.end() :]) if file_url else given
    if not local:
        raise ValueError("no path; fill it in")
    if "\0" in local:
        raise ValueError("a NUL character in the path; remove it")
    if local.encode("utf-8", "backslashreplace").decode() != local:
        raise ValueError("the path is not Unicode; rename the file")
    if _URL.match(local):
        raise ValueError("a URL; download the photo and give its path")
    path, files = posixpath.normpath(local.replace("\\", "/")), reading().files
    if _ABSOLUTE.match(local):
        below = files and files.inside(path)
        if not below:
            raise ValueError("absolute path; give it relative to the data set's folder")
        path = below
    if path == "." or path.split("/")[0] == "..":
        raise ValueError("path leads out of the folder of the data set; move the photo below it")
    if files is None:
        return path
    if posixpath.basename(path).startswith("._"):
        raise ValueError("is a companion file of macOS, not a photo; delete the row")
    return files.spelling(path)


def some(items: Iterable[str]) -> str:
    """Return the first items of a list for a message, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - _SHOWN:,} more" if len(listed) > _SHOWN else ""
    return ", ".join(printable(item)[:120] for item in listed[:_SHOWN]) + more
