"""The file of a journal: lines of settings and of answers, each with a checksum.

docs/decisions/0024-a-journal-of-answers.md specifies it and says why.  It is only appended to.  A
line that a crash has cut off or damaged is ignored; its photo is classified again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rs_runtime.errors import JournalError, KitFormatError
from rs_runtime.kit.json_node import JsonNode
from rs_runtime.results import Prediction
from rs_runtime.saved import read_prediction

__all__ = [
    "Journal",
    "PhotoKey",
    "answer_line",
    "answer_lines",
    "key_of",
    "locked_for_reading",
    "settings_line",
]

_HEAD = b'{"journal": "rs-classify", "format": 1, '
_ROW = re.compile(rb'\{"crc32": ([0-9]{1,10}), "row": (\{.*\})\}\n')
_LONGEST = 2**24
_SYNC_S = 2.0
_HELD = (errno.EACCES, errno.EAGAIN)


class PhotoKey(NamedTuple):
    """What a photo file is known by: its path as given, bytes, and time of change in ns.

    ``more`` is what else its answer depends on: the checksum of a photo in an archive, which has
    no time of its own (``mtime_ns`` is 0), the boxes in it, the number of frames of a video.
    """

    path: str
    size: int
    mtime_ns: int
    more: str = ""

    def number(self) -> int:
        """Return a hash, 0 to 2**64 - 1, that is the same in every process."""
        text = f"{self.size}:{self.mtime_ns}:{self.more}:{self.path}"
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little")


def key_of(settings: dict[str, Any]) -> str:
    """Return what the lines of a journal call settings: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def answer_line(key: PhotoKey, found: Prediction, settings: str) -> bytes:
    """Return the line of a journal that keeps an answer; ``settings`` is of :func:`key_of`."""
    answer = {name: value for name, value in asdict(found).items() if name != "path"}
    text = json.dumps({**key._asdict(), "settings": settings, "found": answer}).encode()
    return b'{"crc32": %d, "row": %s}\n' % (zlib.crc32(text), text)


class Journal:
    """An open journal, which no other command can open; a context manager.

    Parameters
    ----------
    path
        The file; it is made if it is not there.
    settings
        Answers of other settings (:func:`settings_of`) are left alone.

    Raises
    ------
    JournalError
        The file is no journal, or another command uses it.
    OSError
        It cannot be opened, read or written.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        text = json.dumps(settings, sort_keys=True)
        self._settings = key_of(settings)
        self._path = path
        self._synced = time.monotonic()
        head = _HEAD + f'"key": "{self._settings}", "settings": {text}}}\n'.encode()
        with contextlib.ExitStack() as stack:
            self._file: BinaryIO = stack.enter_context(path.open("ab", buffering=0))
            self._reader: BinaryIO = stack.enter_context(path.open("rb"))
            start = self._reader.read(len(_HEAD))
            if not _HEAD.startswith(start):
                raise JournalError(f"journal {str(path)!r} is another file; give a new name")
            _lock(self._file, path)
            known, whole = self._read(head)
            if not known:
                self._write(head if whole else b"\n" + head)
                self.sync()
                _sync_folder(path)
            elif not whole:
                self._write(b"\n")
            self._close = stack.pop_all()

    def _read(self, head: bytes) -> tuple[bool, bool]:
        """Index the rows; return whether ``head`` is among the lines, and the last line whole."""
        numbers, offsets = array("Q"), array("Q")
        known, line, offset = False, b"\n", 0
        self._reader.seek(0)
        while part := self._reader.readline(_LONGEST):
            line = part
            known = known or line == head
            row = self._row(line)
            if row is not None:
                numbers.append(row[0].number())
                offsets.append(offset)
            offset += len(line)
        # 16 bytes a row: an index of objects would take a hundred.
        found = np.array([numbers, offsets], np.uint64)
        order = np.argsort(found[0], kind="stable")
        self._numbers, self._offsets = found[0][order], found[1][order]
        return known, line.endswith(b"\n")

    def _row(self, line: bytes) -> tuple[PhotoKey, dict[str, Any]] | None:
        """Return the key and the answer in a line; None if it has none of these settings."""
        match = _ROW.fullmatch(line)
        if match is None or zlib.crc32(match[2]) != int(match[1]):
            return None
        try:
            row = json.loads(match[2])
            if row["settings"] != self._settings:
                return None
            key = PhotoKey(row["path"], row["size"], row["mtime_ns"], row.get("more", ""))
            return key, row["found"]
        except (ValueError, KeyError, RecursionError):
            return None

    def find(self, key: PhotoKey) -> Prediction | None:
        """Return a photo's answer, the last one if there are several; None if there is none."""
        number = np.uint64(key.number())
        place = int(np.searchsorted(self._numbers, number, "right")) - 1
        if place < 0 or self._numbers[place] != number:
            return None
        self._reader.seek(int(self._offsets[place]))
        row = self._row(self._reader.readline(_LONGEST))
        if row is None or row[0] != key:
            return None
        try:
            return read_prediction(key.path, JsonNode("found", row[1]))
        except KitFormatError:
            return None

    def add(self, key: PhotoKey, found: Prediction) -> None:
        """Append an answer: safe from ``kill -9`` at once, from power loss after the next sync."""
        self.add_line(answer_line(key, found, self._settings))

    def add_line(self, line: bytes) -> None:
        """Append what :func:`answer_line` made."""
        self._write(line)
        if time.monotonic() - self._synced >= _SYNC_S:
            self.sync()

    def sync(self) -> None:
        """Return when everything is on the disk."""
        with self._named():
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _write(self, data: bytes) -> None:
        with self._named():
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in the system's errors."""
        try:
            yield
        except OSError as error:
            error.filename = str(self._path)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        with self._close:
            self.sync()


@contextlib.contextmanager
def locked_for_reading(path: Path) -> Iterator[BinaryIO]:
    """Open a journal that no command is writing; raises as :class:`Journal`."""
    with path.open("rb") as file:
        if not file.read(len(_HEAD)) == _HEAD:
            raise JournalError(f"{str(path)!r} is no journal of rs-classify; check the path")
        file.seek(0)
        _lock(file, path)
        yield file


def answer_lines(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yield each line of a journal, and whether it is sound, as an answer or settings."""
    while line := file.readline(_LONGEST):
        match = _ROW.fullmatch(line)
        sound = match is not None and zlib.crc32(match[2]) == int(match[1])
        if sound or line.strip():
            yield line, sound or settings_line(line) is not None


def settings_line(line: bytes) -> dict[str, Any] | None:
    """Return a line of settings, with ``key`` and ``settings``; None for other lines."""
    if not line.startswith(_HEAD):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(found.get("key"), str) and isinstance(found.get("settings"), dict)
    return dict(found) if whole and line.endswith(b"\n") else None


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep other commands out; the lock ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network disks have no locks.
        if error.errno in _HELD:
            problem = f"journal {str(path)!r} is in use by another command; wait, or give another"
            raise JournalError(problem) from error


def _sync_folder(path: Path) -> None:
    """Put a new file's name on the disk too: it is data of its folder."""
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
