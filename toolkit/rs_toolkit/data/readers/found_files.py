"""Find the files that a table names without their folders."""

from __future__ import annotations

import posixpath
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rs_toolkit.data.readers.tree import read_tree
from rs_toolkit.errors import DataError

__all__ = ["FoundFiles"]


class FoundFiles:
    """The photos below a folder by their names; ``wanted`` are the names that each photo may have.

    Upper and lower case are the same, and a name may lack its suffix.

    Raises
    ------
    DataError
        There is no photo below the folder, or it cannot be read.
    """

    def __init__(self, root: Path, wanted: Iterable[Collection[str]]) -> None:
        try:
            photos = read_tree(root).photos
        except DataError as error:
            raise DataError(f"{error}; copy the photos of the table below its folder") from None
        self._errors = {photo.path: photo.error for photo in photos}
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for photo in photos:
            name = posixpath.basename(photo.path).lower()
            for key in {name, posixpath.splitext(name)[0]}:
                self._by_name[key].append(photo.path)
        self._wanted = Counter(key for names in wanted for key in set(map(_key, names)))

    def find(self, names: Sequence[str], folders: Collection[str]) -> tuple[str, str | None]:
        """Return the path of a photo and None; or its first name, and why it was not found.

        A name that several photos or files have counts only below one of ``folders``, or below the
        folder that the name itself gives.
        """
        several = ""
        for name in names:
            found = self._by_name.get(_key(name), [])
            if len(found) > 1 or self._wanted[_key(name)] > 1:
                several = several or (_key(name) if found else "")
                near = {*folders, posixpath.basename(posixpath.dirname(_posix(name)))} - {""}
                found = [path for path in found if near & set(path.split("/")[:-1])]
            if len(found) == 1:
                return found[0], self._errors[found[0]]
        if not names:
            return "", "no file name; fill it in"
        if several:
            advice = "put the files of each deployment into a folder named like it"
            return names[0], f"several photos or files are called {several[:80]!r}; {advice}"
        called = " or ".join(repr(name[:80]) for name in names)
        return names[0], f"no file called {called} below the folder; copy it there"


def _posix(name: str) -> str:
    return name.replace("\\", "/")


def _key(name: str) -> str:
    return posixpath.basename(_posix(name)).lower()
