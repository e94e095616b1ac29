"""Unpack archives that are not trusted into the cache, once and completely."""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from rs_runtime.errors import reason
from rs_runtime.photos.formats import PHOTO_SUFFIXES
from rs_runtime.photos.photo import MAX_PHOTO_BYTES
from rs_toolkit.data.photos import default_cache_dir
from rs_toolkit.data.readers.reading import relative_path
from rs_toolkit.data.readers.rows import MAX_METADATA_BYTES
from rs_toolkit.errors import DataError
from rs_toolkit.files import mark_output, require_space, sha256_file

__all__ = ["MAX_UNPACKED_BYTES", "MAX_UNPACKED_FILES", "unpack_once", "unpack_zip"]

MAX_UNPACKED_BYTES = 100_000_000_000
MAX_UNPACKED_FILES = 1_000_000

_MAX_DIRECTORY_BYTES = 200_000_000
_METADATA_SUFFIXES = frozenset({".csv", ".json", ".gz"})
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
# zipfile documents only the first; the others are what malformed archives make it raise.
_DAMAGED = (
    *(zipfile.BadZipFile, RuntimeError, ValueError, OverflowError, EOFError),
    *(struct.error, zlib.error),
)


def unpack_once(key: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder ``unpacked/<key>`` of the cache, made by ``fill`` if it is absent.

    ``fill`` writes into an empty folder that is renamed when it is complete, so that a folder of
    that name is never incomplete, even after an interruption.
    """
    target = default_cache_dir() / "unpacked" / key
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".tmp-", dir=target.parent, ignore_cleanup_errors=True
    ) as scratch:
        whole = Path(scratch) / "whole"
        whole.mkdir()
        fill(whole)
        # A power cut after the rename must not leave empty files in the finished folder.
        if hasattr(os, "sync"):
            os.sync()
        try:
            whole.rename(target)
        except OSError:
            # Another process was faster.
            if not target.is_dir():
                raise
        # Somebody may keep the cache in the folder of the photos.
        mark_output(target.parent)
    return target


def unpack_zip(path: Path) -> Path:
    """Unpack the photos and metadata of a zip archive and return their folder.

    Only photos, ``.csv``, ``.csv.gz`` and ``.json`` files are unpacked, and no hidden files.  If
    all of them lie in one folder, that folder is returned.  A photo whose data are damaged becomes
    an empty file, which the index reports as unreadable.

    Raises
    ------
    DataError
        The archive or its metadata is damaged, too large, or not safe to unpack: paths out of its
        folder, links, the same name twice, encryption, compression other than deflate.
    """
    try:
        root = unpack_once(sha256_file(path), lambda folder: _unpack(path, folder))
    except _DAMAGED as error:
        problem = f"cannot be read as a zip ({reason(error)}); copy it again"
        raise DataError(f"{path}: {problem}") from None
    while len(inside := list(root.iterdir())) == 1 and inside[0].is_dir():
        root = inside[0]
    return root


class _Bounded(io.BufferedReader):
    """A file for zipfile, which trusts the sizes and offsets that an archive gives.

    It refuses a huge directory, which zipfile would read at once, and offsets outside the file.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        most = _MAX_DIRECTORY_BYTES + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise zipfile.BadZipFile("its directory is too large")
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            raise zipfile.BadZipFile("an offset is outside the file") from None


def _unpack(path: Path, folder: Path) -> None:
    with _Bounded(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        members = _members(path, archive)
        require_space(folder, sum(member.file_size for member in members.values()))
        for name, member in members.items():
            target = folder / name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as copy, archive.open(member) as data:
                    shutil.copyfileobj(data, copy, 1 << 20)
            except (FileExistsError, NotADirectoryError):
                raise _refused(path, name, "is a file and a folder, or in it twice") from None
            except _DAMAGED as error:
                if target.suffix.lower() in _METADATA_SUFFIXES:
                    raise _refused(path, name, f"is damaged ({reason(error)})") from None
                target.write_bytes(b"")


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members to unpack, by path; raise DataError if one of them is not safe."""
    members: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for member in archive.infolist():
        # `is_dir` fails where the name is empty.
        if member.filename.endswith("/"):
            continue
        name, error = relative_path(member.filename)
        suffix = posixpath.splitext(name)[1].lower()
        hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
        if error is None and (hidden or not _is_read(name, suffix)):
            continue
        # Some file systems do not distinguish upper and lower case.
        twice = "is in it twice" if name.casefold() in folded else None
        if error := error or twice or _fault(member, suffix):
            raise _refused(path, name, error)
        folded.add(name.casefold())
        members[name] = member
    total = sum(member.file_size for member in members.values())
    if len(members) > MAX_UNPACKED_FILES or total > MAX_UNPACKED_BYTES:
        wanted = f"at most {MAX_UNPACKED_FILES} files of {MAX_UNPACKED_BYTES} bytes"
        got = f"{len(members)} files of {total} bytes"
        raise DataError(f"{path}: has {got}, wanted {wanted}; unpack it and give the folder")
    return members


def _is_read(name: str, suffix: str) -> bool:
    table = suffix != ".gz" or name.lower().endswith(".csv.gz")
    return table and suffix in PHOTO_SUFFIXES | _METADATA_SUFFIXES


def _fault(member: zipfile.ZipInfo, suffix: str) -> str | None:
    """Return why a member must not be unpacked, or None."""
    most = MAX_METADATA_BYTES if suffix in _METADATA_SUFFIXES else MAX_PHOTO_BYTES
    if member.file_size > most:
        return f"has {member.file_size} bytes, more than {most}"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link, not a file"
    # With other methods the archive decides how much memory is needed.
    if member.flag_bits & 1 or member.compress_type not in _METHODS:
        return "is encrypted, or not compressed by deflate"
    return None


def _refused(path: Path, name: str, why: str) -> DataError:
    return DataError(f"{path}: member {name[:120]!r} {why}; make the archive without it")
