"""Many small records, by key, in few large files that any number of processes may write.

Records are only ever appended.  Each process appends to packs of its own, ``<random>.pack``, and
to an index beside each, ``<random>.index``, so that no locks are needed, which network file systems
may lack.  An entry of an index has 32 bytes: 16 of the key, then offset, length and checksum of the
record as little-endian integers of 8, 4 and 4 bytes.  It is written after its record.  What a
killed process or a full disk has torn does not have the length and checksum of its entry, and is as
good as absent.
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["KEY_BYTES", "Packs", "packs_in"]

KEY_BYTES = 16

_STORED, _FIRST = struct.Struct("<16sQII"), struct.Struct("<Q")
_COLUMNS = np.dtype([("key", "V16"), ("offset", "<u8"), ("length", "<u4"), ("check", "<u4")])
_PACK_BYTES = 2**27  # a new pack is begun above: pruning deletes whole packs
_LONGEST, _FARTHEST = 2**26, 2**40  # length and offset of a record; beyond is damage
# Others' new records are looked for this often at most, and in a small share of the time.
_LOOK_AGAIN_S, _SHARE = 5.0, 0.02


class _Place(NamedTuple):
    pack: str
    offset: int
    length: int
    check: int


class _Table(NamedTuple):
    """The entries of all packs: ``first``, the first 8 bytes of their keys, is in order."""

    first: memoryview
    entries: bytes
    packs: memoryview
    names: list[str]


@lru_cache(maxsize=64)
def packs_in(folder: str) -> Packs:
    """Return the packs of a folder, the same object for all of a process."""
    return Packs(folder)


class Packs:
    """The packs of one ``folder``, which is made when the first record is written.

    Keys have :data:`KEY_BYTES` bytes, and should look random.  Threads may share this.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._table = self._load()
        self._written: dict[bytes, _Place] = {}  # by this process, since the table was loaded
        self._own, self._process, self._next_look = "", 0, 0.0

    def refresh(self) -> None:
        """Look for what other processes have written or deleted."""
        begun = time.monotonic()
        with self._lock:
            sizes = self._indexes()
            if self._written or sizes != self._sizes:
                self._sizes = sizes
                self._table, self._written = self._load(), {}
            ended = time.monotonic()
            self._next_look = ended + max(_LOOK_AGAIN_S, (ended - begun) / _SHARE)

    def holds(self, key: bytes) -> bool:
        """Return whether there is a record of this key; it may be damaged."""
        if next(self._places(key), None) is not None:
            return True
        if time.monotonic() < self._next_look:
            return False
        self.refresh()
        return next(self._places(key), None) is not None

    def read(self, key: bytes) -> NDArray[np.uint8] | None:
        """Return the bytes of a record, (length,); None where there is no sound one."""
        places = [*self._places(key)]
        if not places and self.holds(key):
            places = [*self._places(key)]
        for place in places:
            if place.length > _LONGEST or place.offset > _FARTHEST:
                continue
            data = np.empty(place.length, np.uint8)
            try:
                with open(f"{self._folder}/{place.pack}.pack", "rb", buffering=0) as file:
                    file.seek(place.offset)
                    count = file.readinto(data.data)
            except OSError:
                continue
            if count == place.length and _checksum(key, data) == place.check:
                return data
        return None

    def write(self, key: bytes, *parts: bytes | NDArray[np.uint8]) -> None:
        """Append a record, the parts one after the other.

        Raises
        ------
        OSError
            The folder cannot be made or written, or the disk is full; ``filename`` is the folder.
        """
        data = b"".join(map(bytes, parts))
        with self._lock:
            try:
                self._append(key, data, _checksum(key, np.frombuffer(data, np.uint8)))
            except OSError as error:
                # The next record begins a new pack, as this one may end in the middle of another.
                self._own, error.filename = "", error.filename or self._folder
                raise

    def _append(self, key: bytes, data: bytes, check: int) -> None:
        if not self._own or self._process != os.getpid():
            self._own, self._process = os.urandom(8).hex(), os.getpid()
        os.makedirs(self._folder, exist_ok=True)
        # Opened for each record: then a pack can be deleted at any time, on Windows too.
        with open(f"{self._folder}/{self._own}.pack", "ab") as file:
            offset = file.seek(0, os.SEEK_END)
            file.write(data)
        with open(f"{self._folder}/{self._own}.index", "ab") as file:
            file.write(_STORED.pack(key, offset, len(data), check))
        self._written[key] = _Place(self._own, offset, len(data), check)
        if offset + len(data) > _PACK_BYTES:
            self._own = ""

    def _places(self, key: bytes) -> Iterator[_Place]:
        """Yield where records of a key are, the latest of this process first."""
        if (place := self._written.get(key)) is not None:
            yield place
        table, number = self._table, _FIRST.unpack_from(key)[0]
        for row in range(bisect_left(table.first, number), len(table.first)):
            found, *where = _STORED.unpack_from(table.entries, row * _STORED.size)
            if found != key:
                return
            yield _Place(table.names[table.packs[row]], *where)

    def _indexes(self) -> dict[str, int]:
        """Return the size of each index in bytes, by the name of its pack."""
        try:
            with os.scandir(self._folder) as found:
                return {
                    item.name.removesuffix(".index"): item.stat().st_size
                    for item in found
                    if item.name.endswith(".index")
                }
        except OSError:
            return {}

    def _load(self) -> _Table:
        names, parts = list(self._sizes), [np.empty(0, _COLUMNS)]
        for name in names:
            try:
                with open(f"{self._folder}/{name}.index", "rb") as file:
                    data = file.read()
            except OSError:
                data = b""
            parts.append(np.frombuffer(data, _COLUMNS, len(data) // _COLUMNS.itemsize))
        packs = np.repeat(np.arange(len(names), dtype=np.int32), [len(x) for x in parts[1:]])
        entries = np.concatenate(parts)
        first = np.ascontiguousarray(entries["key"]).view("<u8")[::2]
        order = np.argsort(first, kind="stable")
        return _Table(first[order].data, entries[order].tobytes(), packs[order].data, names)


def _checksum(key: bytes, data: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of the key, the sum of the record's words of 8 bytes, and its last bytes.

    The sum takes a sixth of the time of a CRC-32 of all bytes, as long as reading them does, and
    tells of missing, lost and foreign bytes as well.
    """
    end = len(data) // 8 * 8
    total = int(data[:end].view("<u8").sum(dtype=np.uint64))
    return zlib.crc32(key + total.to_bytes(8, "little") + data[end:].tobytes())
