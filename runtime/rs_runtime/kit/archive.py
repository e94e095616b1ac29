"""The canonical zip layout of a kit: any byte that differs from it is refused.

A general zip reader has to trust, or ignore, dates, attributes, extra fields, comments and gaps.
A kit has none of these free choices: given its members' names, sizes and checksums, every byte
outside the members is determined.  So the reader rebuilds those bytes with the writer's own
functions and compares.  Layout and field names: PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from rs_runtime.errors import KitFormatError, KitIntegrityError

__all__ = ["Entry", "layout", "read_entries"]

MAX_KIT_BYTES = 2**31 - 1
MAX_MEMBERS = 256
MAX_DIRECTORY_BYTES = 2**16

# Patterns of the member names that are allowed, and the largest size of each in bytes.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
_LIMITS = (
    (re.compile(r"manifest\.json"), 16 * 2**20),
    (re.compile(rf"models/{_NAME}\.(tflite|onnx)"), 2**30),
    (re.compile(rf"({_NAME}/)?{_NAME}\.(md|txt|json|csv)"), 16 * 2**20),
)

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_VERSION = 20
_UNIX = 3 << 8
_REGULAR_FILE = 0o100644 << 16
_DATE = 0x21  # 1980-01-01, the first day of the format
_STORED = 0


@dataclass(frozen=True)
class Entry:
    """One member's place: ``offset`` is that of its local header, in bytes."""

    name: str
    size: int
    crc: int
    offset: int

    @property
    def start(self) -> int:
        """Offset of the first data byte."""
        return self.offset + _LOCAL.size + len(self.name)


def _check_name(name: str, size: int) -> None:
    """Refuse a name that is not allowed (such as a path escape), or a size above its limit."""
    for pattern, limit in _LIMITS:
        if pattern.fullmatch(name):
            if size > limit:
                raise KitFormatError(f"kit member {name!r} has {size} bytes, more than {limit}")
            return
    raise KitFormatError(
        f"kit member {name[:120]!r} is not allowed: wanted manifest.json, "
        "models/*.tflite, models/*.onnx, or a .md, .txt, .json or .csv file"
    )


def layout(members: dict[str, tuple[int, int]]) -> tuple[list[tuple[Entry, bytes]], bytes]:
    """Return each member with its local header, in file order, and the bytes after the last.

    ``manifest.json`` comes first, the others follow by name.  ``members`` maps each name to the
    member's number of bytes and CRC-32.

    Raises
    ------
    KitFormatError
        A name or a size is not allowed, or there are too many members.
    """
    if len(members) > MAX_MEMBERS:
        raise KitFormatError(f"a kit has at most {MAX_MEMBERS} members, got {len(members)}")
    placed: list[tuple[Entry, bytes]] = []
    offset = 0
    for name in sorted(members, key=lambda name: (name != "manifest.json", name)):
        entry = Entry(name, *members[name], offset)
        _check_name(name, entry.size)
        placed.append((entry, _local_header(entry)))
        offset = entry.start + entry.size
    if offset > MAX_KIT_BYTES - MAX_DIRECTORY_BYTES:
        raise KitFormatError(f"a kit has at most {MAX_KIT_BYTES} bytes; leave out a variant")
    directory = b"".join(_central_header(entry) for entry, _ in placed)
    count = len(placed)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), offset, 0)
    return placed, directory + end


def read_entries(file: BinaryIO, length: int) -> dict[str, Entry]:
    """Return the members of a kit whose every header byte is canonical.

    Raises
    ------
    KitFormatError
        The file is not a zip, or is a zip but not a kit.
    KitIntegrityError
        The headers are damaged: they differ from what the members determine.
    """
    if length > MAX_KIT_BYTES:
        raise KitFormatError(f"kit has {length} bytes, at most {MAX_KIT_BYTES} are allowed")
    if _at(file, 0, 4) != b"PK\3\4":
        raise KitFormatError("file is no kit: it does not begin as a zip; check the path")
    if length < _END.size or _at(file, length - _END.size, 4) != b"PK\5\6":
        raise KitIntegrityError("kit is cut short or has bytes added")
    *_, count, directory_size, directory_offset, _ = _END.unpack(
        _at(file, length - _END.size, _END.size)
    )
    ends_well = directory_offset + directory_size + _END.size == length
    if not ends_well or count > MAX_MEMBERS or directory_size > MAX_DIRECTORY_BYTES:
        raise KitIntegrityError("kit has a damaged end record")
    found = list(_central_entries(_at(file, directory_offset, directory_size), count))
    if len({entry.name for entry in found}) != len(found):
        raise KitFormatError("kit has two members of the same name; export it again")
    placed, tail = layout({entry.name: (entry.size, entry.crc) for entry in found})
    if _at(file, directory_offset, length - directory_offset) != tail:
        raise KitIntegrityError("kit has a damaged or non-canonical directory")
    for entry, header in placed:
        if _at(file, entry.offset, len(header)) != header:
            problem = f"kit member {entry.name!r} has a damaged or non-canonical header"
            raise KitIntegrityError(problem)
    return {entry.name: entry for entry, _ in placed}


def _central_entries(directory: bytes, count: int) -> Iterator[Entry]:
    position = 0
    for _ in range(count):
        if position + _CENTRAL.size > len(directory):
            raise KitIntegrityError("kit has a damaged directory")
        fields = _CENTRAL.unpack_from(directory, position)
        method, crc, size, name_length, offset = (fields[i] for i in (4, 7, 9, 10, 16))
        start = position + _CENTRAL.size
        name = directory[start : start + name_length].decode("utf-8", "replace")
        if method != _STORED:
            raise KitFormatError(
                f"kit member {name[:120]!r} is compressed, must be stored; export the kit again"
            )
        _check_name(name, size)
        yield Entry(name, size, crc, offset)
        position = start + name_length


def _local_header(entry: Entry) -> bytes:
    name = entry.name.encode("ascii")
    fields = (_VERSION, 0, _STORED, 0, _DATE, entry.crc, entry.size, entry.size, len(name), 0)
    return _LOCAL.pack(b"PK\3\4", *fields) + name


def _central_header(entry: Entry) -> bytes:
    name = entry.name.encode("ascii")
    start = (_UNIX | _VERSION, _VERSION, 0, _STORED, 0, _DATE, entry.crc, entry.size, entry.size)
    rest = (len(name), 0, 0, 0, 0, _REGULAR_FILE, entry.offset)
    return _CENTRAL.pack(b"PK\1\2", *start, *rest) + name


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
