"""Photos in folders named after the answers, and the way back.

``sorted.jsonl`` in the folder lists what was made, a line for each file, written once the file is
there.  Undoing removes a file only if it is as it was made and the photo it was made of is still
there, so that no photo is ever lost.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rs_runtime.console import counted
from rs_runtime.errors import OutputError
from rs_runtime.files import atomic_write
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.labels import folder_name
from rs_runtime.outputs.places import flat_name, open_folder, safe_name
from rs_runtime.photos.folder import MARK
from rs_runtime.photos.zipped import photo_in_archive
from rs_runtime.results import Failure, Result

__all__ = ["Sort", "undo_sort"]

_RECORD = "sorted.jsonl"
_BLOCK = 2**20


class _UnreadableError(Exception):
    """The photo itself cannot be read; that costs only this photo."""


class _Made(NamedTuple):
    """A line of the record: ``to`` is relative to the folder, ``source`` is absolute."""

    source: str
    to: str
    size: int
    mtime_ns: int
    how: str


class Sort:
    """Copies or links each photo into the folder of its answer.

    Raises
    ------
    OutputError
        The folder holds something else.
    OSError
        It cannot be written.
    """

    def __init__(self, context: Context, folder: Path, link: bool) -> None:
        open_folder(folder, _RECORD)
        self._context, self._folder, self._link = context, folder, link
        # The folder of each photo, by a hash of its path: a path would take much more memory.
        self._known = {
            _number(made.source): sys.intern(made.to.partition("/")[0])
            for made in _records(folder / _RECORD)
        }
        self._record = (folder / _RECORD).open("a", encoding="utf-8", newline="\n")
        # A crash may have cut the last line.
        self._record.write("\n" if self._known else "")
        self._count = self._elsewhere = self._absent = 0

    def add(self, found: Result) -> None:
        """Put one photo into its folder, unless an earlier run has done so."""
        path = found.path
        if isinstance(found, Failure) and found.kind == "folder":
            return
        photo = self._context.photo(path)
        if path is None or photo is None or (self._link and isinstance(photo, bytes)):
            self._absent += 1
            return
        source = os.path.abspath(path)
        label = self._context.labels.of(found)
        taxon = safe_name(folder_name(label))
        before = self._known.get(_number(source))
        if before is not None:
            self._elsewhere += before != taxon
            return
        try:
            self._make(source, photo, taxon, flat_name(self._context.relative(path)))
        except _UnreadableError:
            self._absent += 1
            return
        self._known[_number(source)] = sys.intern(taxon)
        self._count += 1

    def _make(self, source: str, photo: Path | bytes, taxon: str, name: str) -> None:
        """Make the copy or link of a photo, and record it; ``source`` is its absolute path."""
        folder = self._folder / taxon
        folder.mkdir(exist_ok=True)
        stem, dot, suffix = name.rpartition(".")
        digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:10]
        for each in (name, f"{stem}-{digest}{dot}{suffix}"):
            place = folder / each
            with contextlib.suppress(FileExistsError):
                if self._link:
                    self._hard_link(source, place)
                else:
                    _copy(photo, place)
                break
            # A crash may have come between the file and its line in the record.
            if _same(photo, place):
                break
        else:
            raise OutputError(f"{str(place)!r} is there already; sort into a new folder")
        status = place.stat()
        to, how = f"{taxon}/{place.name}", "link" if self._link else "copy"
        made = _Made(source, to, status.st_size, status.st_mtime_ns, how)
        self._record.write(json.dumps(made._asdict()) + "\n")
        self._record.flush()

    def _hard_link(self, source: str, place: Path) -> None:
        try:
            os.link(source, place)
        except FileExistsError:
            raise
        except OSError as error:
            raise OutputError(
                f"{str(place)!r} cannot be a hard link to {source!r}: {error.strerror}; links are "
                "possible on one disk only, leave out --link to copy"
            ) from error

    def close(self, complete: bool) -> None:
        """Say what was done."""
        self._record.close()
        tell, folder = self._context.tell, str(self._folder)
        if self._elsewhere:
            tell(
                f"warning: {self._elsewhere:,} photos are sorted by other answers in {folder!r}, "
                f"where they stay; to sort again, begin with --undo-sort {folder}"
            )
        if self._absent:
            absent = counted(self._absent, "input")
            tell(f"{absent} not sorted: unreadable, or, with --link, in an archive")
        tell(f"sorted {counted(self._count, 'photo')} into {folder!r}; --undo-sort takes it back")

    def discard(self) -> None:
        """Keep what was sorted: the record lists it."""
        with contextlib.suppress(OSError):
            self._record.close()


def undo_sort(folder: Path, tell: Callable[[str], object]) -> int:
    """Remove what :class:`Sort` made in a folder; return 0, or 1 if something had to stay.

    Raises
    ------
    OutputError
        The folder has no record.
    OSError
        Something cannot be removed.
    """
    record = folder / _RECORD
    if not record.is_file():
        raise OutputError(f"{str(folder)!r} has no {_RECORD}; give a folder of --sort-into")
    kept: list[str] = []
    removed, taxa = 0, set()
    for made in _records(record):
        place = _inside(folder, made.to)
        if place is None:
            continue
        taxa.add(place.parent)
        if not os.path.lexists(place):
            continue
        if why := _must_stay(made, place):
            tell(f"kept: {str(place)!r} {why}")
            kept.append(json.dumps(made._asdict()))
            continue
        place.unlink()
        removed += 1
    for taxon in taxa:
        with contextlib.suppress(OSError):
            taxon.rmdir()
    if kept:
        with atomic_write(record) as temporary:
            temporary.write_text("\n".join(kept) + "\n", "utf-8")
    else:
        record.unlink()
        (folder / MARK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
    tell(f"removed {removed:,} files from {str(folder)!r}, kept {len(kept):,}")
    return 1 if kept else 0


def _must_stay(made: _Made, place: Path) -> str | None:
    """Return why a file is not removed; None if it is as it was made, and the photo is there."""
    status = os.lstat(place)
    if (status.st_size, status.st_mtime_ns) != (made.size, made.mtime_ns):
        return "was changed"
    size = None
    try:
        source = os.stat(made.source)
        size = source.st_size
        if made.how == "link" and not os.path.samestat(source, status):
            return f"is no link to {made.source!r} any more"
    except OSError:
        photo = photo_in_archive(made.source)
        # Another archive of that name may hold another photo of that size.
        if photo is not None and photo.crc32 == _checksum(place):
            size = photo.size
    if size is None:
        return f"is the last copy: {made.source!r} is gone"
    return None if size == made.size else f"differs from {made.source!r}"


def _checksum(place: Path) -> int:
    found = 0
    for block in _blocks(place):
        found = zlib.crc32(block, found)
    return found


def _inside(folder: Path, to: str) -> Path | None:
    """Return a recorded file's path; None if it is not in a folder that sorting makes."""
    taxon, _, name = to.partition("/")
    if not name or {"/", "\\", "\0"} & {*taxon, *name} or {taxon, name} & {".", ".."}:
        return None
    place = folder / taxon / name
    return None if place.parent.is_symlink() or not place.parent.is_dir() else place


def _records(path: Path) -> Iterator[_Made]:
    """Yield the lines of a record, which anybody may have written; others are left out."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                found: Any = json.loads(line)
                made = _Made(**found)
            except (ValueError, TypeError, RecursionError):
                # A crash cuts the last line.
                continue
            if all(isinstance(value, kind) for value, kind in zip(made, _KINDS, strict=True)):
                yield made


_KINDS = (str, str, int, int, str)


def _number(source: str) -> int:
    digest = hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _blocks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with open(source, "rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise _UnreadableError from error


def _copy(source: Path | bytes, place: Path) -> None:
    """Copy a file and its time, whole or not at all; raise FileExistsError if one is there.

    Of a photo in an archive, which has no time of its own, the bytes are written.
    """
    temporary = place.with_name(f".tmp-{os.urandom(8).hex()}")
    try:
        with temporary.open("xb") as writer:
            for block in _blocks(source):
                writer.write(block)
        if not isinstance(source, bytes):
            status = os.stat(source)
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        try:
            # Unlike a renamed file, a link replaces nothing.
            os.link(temporary, place)
        except FileExistsError:
            raise
        except OSError:
            # A disk without links, such as FAT; only this program writes here.
            if os.path.lexists(place):
                raise FileExistsError(str(place)) from None
            os.rename(temporary, place)
    except OSError as error:
        error.filename = error.filename or str(place)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _same(source: Path | bytes, place: Path) -> bool:
    """Return whether a file is a link to a photo, or an unchanged copy of it."""
    if isinstance(source, bytes):
        return place.stat().st_size == len(source) and zlib.crc32(source) == _checksum(place)
    try:
        one, other = os.stat(source), os.lstat(place)
    except OSError:
        return False
    # FAT keeps times to two seconds.
    near = abs(one.st_mtime_ns - other.st_mtime_ns) <= 2 * 10**9
    return os.path.samestat(one, other) or (one.st_size == other.st_size and near)
