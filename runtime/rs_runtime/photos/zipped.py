"""Photos in zip archives, which are read in place: nothing is unpacked to the disk.

Archives are not trusted.  Their directory, the size of each photo and how far it is compressed
have limits; only stored and deflated photos are read, because with other methods the archive
decides how much memory is needed.  Names are labels and never paths: none of them is opened.
"""

from __future__ import annotations

import io
import os
import struct
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError, reason
from rs_runtime.photos.folder import is_hidden, photo_problem
from rs_runtime.photos.formats import HEAD_BYTES
from rs_runtime.photos.photo import MAX_PHOTO_BYTES
from rs_runtime.photos.room import enough_memory
from rs_runtime.photos.stored import PhotoBytes, StoredPhoto, photo_name

__all__ = ["ZipPhoto", "archive_of", "photo_in_archive", "zip_photos"]

_MAX_DIRECTORY_BYTES = 64_000_000
_MAX_ENTRIES, _ENTRY = 200_000, b"PK\1\2"
# Photos shrink little, blank bitmaps to a thousandth; small ones do no harm.
_MAX_RATIO, _SMALL_BYTES = 200, 10_000_000
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED = 1
# zipfile documents only the first; the others are what malformed archives make it raise.
_DAMAGED = (
    *(zipfile.BadZipFile, RuntimeError, ValueError, OverflowError, EOFError),
    *(OSError, struct.error, zlib.error),
)

# Archives that are open, by path: those whose photos are being classified.
_OPEN: weakref.WeakValueDictionary[str, zipfile.ZipFile] = weakref.WeakValueDictionary()


@dataclass(frozen=True)
class ZipPhoto(StoredPhoto):
    """A photo in a zip archive; :func:`zip_photos` makes them.

    ``archive`` is the path of the file, ``name`` that of the photo inside.  ``size`` in bytes and
    ``crc32`` are those of the photo, as the archive has them.
    """

    archive: str
    name: str
    size: int
    crc32: int
    _opened: zipfile.ZipFile = field(repr=False, compare=False)
    _entry: zipfile.ZipInfo = field(repr=False, compare=False)

    @property
    def path(self) -> str:
        """What results call the photo: ``archive.zip/inner/photo.jpg``."""
        return f"{self.archive}/{self.name}"

    @property
    def mark(self) -> str:
        """The checksum."""
        return f"crc32:{self.crc32}"

    def read(self) -> PhotoBytes:
        """Return the photo's bytes; several threads may read from one archive.

        Raises
        ------
        UnreadablePhotoError
            It is encrypted, damaged, or compressed by a method that is not read.
        PhotoTooLargeError
            It has more than 200 MB or than the memory allows, or is compressed to less than 1/200.
        """
        where, entry = photo_name(self), self._entry
        if self.size > MAX_PHOTO_BYTES:
            raise PhotoTooLargeError(f"{where} is larger than {MAX_PHOTO_BYTES} bytes; shrink it")
        if self.size > max(_SMALL_BYTES, _MAX_RATIO * entry.compress_size):
            problem = f"is compressed to less than 1/{_MAX_RATIO}, which photos are not"
            raise PhotoTooLargeError(f"{where} {problem}; leave it out, or unpack it")
        with enough_memory(where):
            return PhotoBytes.named(_read(self._opened, entry, where), self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the archive itself.
        return _opened_again, (self.archive, self.name, self.size, self.crc32)

    def head(self) -> bytes:
        """Return the photo's first bytes, none if they cannot be read."""
        try:
            return _read(self._opened, self._entry, "", HEAD_BYTES)
        except UnreadablePhotoError:
            return b""


def _opened_again(archive: str, name: str, size: int, crc32: int) -> ZipPhoto:
    opened = _kept_open(archive)
    try:
        entry = opened.getinfo(name)
    except KeyError:
        entry = None
    if entry is None or (entry.file_size, entry.CRC) != (size, crc32):
        raise UnreadablePhotoError(f"archive {archive!r} has changed while it was read")
    return ZipPhoto(archive, name, size, crc32, opened, entry)


@lru_cache(4)
def _kept_open(archive: str) -> zipfile.ZipFile:
    return _open(archive)


def zip_photos(archive: str | Path, videos: bool = False) -> Iterator[tuple[ZipPhoto, str | None]]:
    """Yield (photo, None) for each photo of a zip archive, or why one cannot be read, by name.

    Photos are known as in a folder: :func:`rs_runtime.photos.folder.photos_below`, whose ``videos``
    this is too.  Archives inside the archive are left alone.

    Raises
    ------
    UnreadablePhotoError
        The archive is damaged, or its directory has more than 64 MB or 200,000 entries.
    """
    opened = _open(str(archive))
    entries = [item for item in opened.infolist() if not item.filename.endswith("/")]
    seen: set[str] = set()
    for item in sorted(entries, key=lambda item: item.filename):
        if any(is_hidden(part) for part in item.filename.split("/")):
            continue
        photo = ZipPhoto(str(archive), item.filename, item.file_size, item.CRC, opened, item)
        problem = photo_problem(item.filename, photo.head, videos)
        if problem is None:
            continue
        if _leads_out(item.filename):
            problem = "has a name that leads out of the archive; unpack it, and give the folder"
        elif item.filename in seen:
            problem = "is in the archive twice; unpack it, and give the folder"
        seen.add(item.filename)
        yield photo, problem or None


def archive_of(path: str) -> str | None:
    """Return the archive that the path of a ZipPhoto begins with; None if it begins with none."""
    while path and not os.path.exists(path):
        path = path.rpartition("/")[0]
    return path if os.path.isfile(path) else None


def photo_in_archive(path: str) -> ZipPhoto | None:
    """Return the photo of a :attr:`ZipPhoto.path`; None if it is not there any more.

    The archive stays open as long as the photo is kept.  Of one that holds two photos of a name
    there is none.
    """
    archive = archive_of(path)
    if archive is None or archive == path:
        return None
    try:
        opened = _OPEN.get(archive) or _open(archive)
        item = opened.getinfo(path[len(archive) + 1 :])
    except (UnreadablePhotoError, KeyError):
        return None
    if len(opened.NameToInfo) != len(opened.filelist):
        return None
    return ZipPhoto(archive, item.filename, item.file_size, item.CRC, opened, item)


def _leads_out(name: str) -> bool:
    # Programs that read our results may take the path of a photo for that of a file.
    return name.startswith("/") or ".." in name.split("/") or ":" in name.partition("/")[0]


class _Bounded(io.BufferedReader):
    """A file for zipfile, which would read a directory of any size at once."""

    limit = _MAX_DIRECTORY_BYTES
    listed = False

    def read(self, size: int | None = -1, /) -> bytes:
        most = self.limit + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        if len(data) == most:
            raise zipfile.BadZipFile("its directory is too large")
        # Before zipfile makes an object of each; other numbers of entries may be false.
        if not self.listed and data.count(_ENTRY) > _MAX_ENTRIES:
            raise zipfile.BadZipFile(f"more than {_MAX_ENTRIES} entries: unpack it")
        return data


def _open(archive: str) -> zipfile.ZipFile:
    file = None
    try:
        file = _Bounded(io.FileIO(archive))
        opened = zipfile.ZipFile(file)
    except _DAMAGED as error:
        if file is not None:
            file.close()
        raise UnreadablePhotoError(
            f"archive {archive!r} cannot be read as a zip ({reason(error)}); copy it again"
        ) from error
    file.limit, file.listed = MAX_PHOTO_BYTES, True
    # It is open as long as any of its photos is wanted.
    weakref.finalize(opened, file.close)
    _OPEN[archive] = opened
    return opened


def _read(opened: zipfile.ZipFile, info: zipfile.ZipInfo, where: str, most: int = -1) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise UnreadablePhotoError(f"{where} is encrypted; unpack it with its password")
    if info.compress_type not in _METHODS:
        raise UnreadablePhotoError(f"{where} is compressed by another method than deflate; unpack")
    try:
        with opened.open(info) as file:
            return file.read(min(info.file_size, MAX_PHOTO_BYTES) if most < 0 else most)
    except _DAMAGED as error:
        problem = f"is damaged in its archive ({reason(error)}); copy the archive again"
        raise UnreadablePhotoError(f"{where} {problem}") from error
