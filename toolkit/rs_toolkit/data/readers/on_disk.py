"""Find the files that a table means, although it spells their paths otherwise than the disk."""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import defaultdict
from pathlib import Path

__all__ = ["OnDisk"]


class OnDisk:
    """The files of a data set below the folder ``root``.

    ``respelt`` holds the paths, as given, of files that are spelt otherwise on disk.
    """

    def __init__(self, root: Path) -> None:
        self.respelt: list[str] = []
        self._root = root
        # By folder: the names in it, and these by their form without case.
        self._listings: dict[str, tuple[frozenset[str], dict[str, list[str]]]] = {}
        self._folders: dict[str, str] = {"": ""}

    def inside(self, path: str) -> str | None:
        """Return an absolute path relative to the root; None where it does not lie below that."""
        if not os.path.isabs(path):
            # A path of Windows, on another system.
            return None
        # As it is written; then as it is where links in both paths are followed.
        real = os.path.realpath(self._root)
        above, name = os.path.split(path)
        followed = os.path.join(os.path.realpath(above), name)
        for given, root in ((path, os.path.abspath(self._root)), (path, real), (followed, real)):
            given, start = os.path.normpath(given), root.rstrip(os.sep) + os.sep
            if os.path.normcase(given).startswith(os.path.normcase(start)):
                return given[len(start) :].replace(os.sep, "/")
        return None

    def spelling(self, path: str) -> str:
        """Return a path below the root as it is spelt on disk; unchanged where nothing is found.

        Names that differ in upper and lower case, or in their form of Unicode (macOS writes é as e
        and an accent), are found where only one fits.

        Raises
        ------
        ValueError
            Several files fit equally well.
        """
        folder, name = posixpath.split(path)
        found = self._found(self._folder(folder), name)
        if found != path:
            self.respelt.append(path)
        return found

    def _folder(self, path: str) -> str:
        if path not in self._folders:
            above, name = posixpath.split(path)
            self._folders[path] = self._found(self._folder(above), name)
        return self._folders[path]

    def _found(self, folder: str, name: str) -> str:
        names, folded = self._listing(folder)
        fits = [name] if name in names else folded.get(_fold(name), [name])
        if len(fits) > 1:
            form = unicodedata.normalize("NFC", name)
            fits = [fit for fit in fits if unicodedata.normalize("NFC", fit) == form] or fits
        if len(fits) > 1:
            listed = ", ".join(repr(fit[:80]) for fit in sorted(fits)[:5])
            raise ValueError(f"fits several files ({listed}); write the name as it is on disk")
        return posixpath.join(folder, fits[0])

    def _listing(self, folder: str) -> tuple[frozenset[str], dict[str, list[str]]]:
        if folder not in self._listings:
            try:
                names = frozenset(os.listdir(os.path.join(self._root, folder)))
            except (OSError, ValueError):
                names = frozenset()
            folded: dict[str, list[str]] = defaultdict(list)
            for name in names:
                folded[_fold(name)].append(name)
            self._listings[folder] = names, folded
        return self._listings[folder]


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
