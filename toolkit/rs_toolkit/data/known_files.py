"""Photo files that an earlier index has read: recognized by size and times, and not read again."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from rs_runtime.photos.photo import PhotoInfo
from rs_toolkit.files import atomic_write, sha256_bytes

__all__ = ["KnownFile", "KnownFiles", "Stamp"]

_FOLDER = "known-files-1"
# The coarsest clock of a file system in use, FAT's: it counts in steps of two seconds.
_CLOCK_STEP_NS = 2_000_000_000


class Stamp(NamedTuple):
    """Size of a file in bytes, and when its content and its inode changed last, in ns."""

    size: int
    modified: int
    changed: int


class KnownFile(NamedTuple):
    """What reading a file has shown: SHA-256 and number of its bytes, and what the photo is."""

    sha256: str
    bytes: int
    info: PhotoInfo


class KnownFiles:
    """The readable photo files below ``root``, as earlier indexes of it have read them.

    ``known-files-1/<hash of root>.json`` in the folder ``cache`` holds them.  Its first line is the
    SHA-256 of the rest; a damaged file is as good as none.  It is replaced atomically, so that of
    two processes the later one wins, which costs at most another reading of some photos.

    A file that changed less than two seconds before it was read is not remembered: a later change
    might leave its times as they are.  Git calls such entries of its index racily clean.  Where no
    time of the inode is stored (FAT and exFAT), a program that changes a file and keeps its size
    and time of modification is not noticed.

    References
    ----------
    Git's documentation, "Use of index and Racy Git problem" (technical/racy-git).
    """

    def __init__(self, root: Path, cache: Path) -> None:
        self._root = os.path.realpath(root)
        self._path = cache / _FOLDER / f"{sha256_bytes(os.fsencode(self._root))[:32]}.json"
        self._rows = self._read()
        self._learned: dict[str, list[Any]] = {}
        self._met: set[str] = set()

    def stamp(self, path: str) -> Stamp | None:
        """Return the stamp of the file at ``path`` below the root; None if it is none."""
        try:
            found = os.stat(f"{self._root}/{path}")
        except (OSError, ValueError):
            return None
        regular = stat.S_ISREG(found.st_mode)
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns) if regular else None

    def find(self, path: str) -> KnownFile | None:
        """Return what is known of a file; None if it was never read, or has changed since."""
        row = self._rows.get(path)
        if row is None or self.stamp(path) != (row[0], row[1], row[2]):
            return None
        self._met.add(path)
        return KnownFile(row[3], row[0], PhotoInfo(*row[4:]))

    def learn(self, path: str, stamp: Stamp | None, now: int, found: KnownFile) -> None:
        """Remember a file; its ``stamp`` was taken at ``now``, ``time.time_ns()``, before reading.

        Nothing is remembered where the stamp might outlive a change of the file.
        """
        settled = stamp is not None and max(stamp[1:]) < now - _CLOCK_STEP_NS
        if stamp is not None and settled and stamp.size == found.bytes:
            info = found.info
            row = [*stamp, found.sha256, info.width, info.height, info.mode, info.note]
            self._learned[path] = row

    def save(self) -> None:
        """Write what was learned, beside what other processes wrote meanwhile.

        Files that are no longer there are left out.
        """
        if not self._learned:
            return
        found = {**self._read(), **self._learned}
        there = self._met | self._learned.keys()
        rows = {path: row for path, row in found.items() if path in there or self.stamp(path)}
        body = json.dumps(rows, sort_keys=True).encode()
        # Without this file the next index takes longer, and finds the same.
        with contextlib.suppress(OSError), atomic_write(self._path) as temporary:
            temporary.write_bytes(sha256_bytes(body).encode() + b"\n" + body)

    def _read(self) -> dict[str, list[Any]]:
        try:
            digest, _, body = self._path.read_bytes().partition(b"\n")
        except OSError:
            return {}
        sound = digest.decode("ascii", "replace") == sha256_bytes(body)
        return dict(json.loads(body)) if sound else {}
