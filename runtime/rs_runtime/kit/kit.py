"""Read and write kits, one file per classifier.  docs/kit-format.md is the specification."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from rs_runtime.ahead import Ahead
from rs_runtime.errors import KitError, KitFormatError, KitIntegrityError, KitNotFoundError
from rs_runtime.files import atomic_write
from rs_runtime.kit.archive import MAX_KIT_BYTES, Entry, layout, read_entries
from rs_runtime.kit.manifest import SCHEMA, Manifest, Member
from rs_runtime.kit.signature import check_signature, find_public_key

__all__ = ["Kit", "find_kit", "open_kit", "to_classify", "write_kit"]

MANIFEST = "manifest.json"
_CHUNK = 2**20
_XZ_MAGIC = b"\xfd7zXZ\0"
_XZ_MEMORY = 128 * 2**20


@dataclass(frozen=True)
class Kit:
    """An open kit, its layout and manifest verified; a context manager that closes the file."""

    path: Path
    manifest: Manifest
    _head: bytes
    _entries: Mapping[str, Entry]
    _file: BinaryIO
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)
    _ahead: dict[str, Ahead[bytes]] = field(default_factory=dict, compare=False)

    @property
    def members(self) -> tuple[str, ...]:
        """Names of all members but the manifest, sorted."""
        return tuple(sorted(self.manifest.members))

    def read(self, member: str) -> bytes:
        """Return a member's bytes, verified by the manifest's SHA-256.

        Raises
        ------
        KitFormatError
            The kit has no such member.
        KitIntegrityError
            The member is damaged, or the file changed or became unreadable since it was opened.
        """
        ahead = self._ahead.pop(member, None)
        found = ahead.take(member) if ahead else None
        return self._read(member) if found is None else found

    def read_ahead(self, member: str) -> None:
        """Begin to :meth:`read` a member in a thread; the next call for it returns the result."""
        self._ahead[member] = Ahead(member, lambda: self._read(member))

    def _read(self, member: str) -> bytes:
        where = f"kit {str(self.path)!r}"
        if member not in self.manifest.members:
            known = ", ".join(self.members)
            raise KitFormatError(f"{where} has no member {member!r}; it has: {known}")
        expected = self.manifest.members[member]
        try:
            with self._lock:
                self._file.seek(self._entries[member].start)
                data = self._file.read(expected.size)
        except OSError as error:
            raise KitIntegrityError(f"{where} can no longer be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != expected.sha256:
            raise KitIntegrityError(f"{where}: member {member!r} is damaged: its SHA-256 differs")
        return data

    def manifest_digest(self) -> bytes:
        """Return the SHA-256, 32 bytes, of the manifest, which holds that of each member.

        The manifest is the one in memory, even if the file has changed since.
        """
        return hashlib.sha256(self._head).digest()

    def digest(self) -> bytes:
        """Return the SHA-256, 32 bytes, of the whole uncompressed kit.

        It is computed from what this object returns (the manifest in memory, and members verified
        by it) and the headers that follow from that, even if the file has changed since.

        Raises
        ------
        KitIntegrityError
            The file changed, or became unreadable, since the kit was opened.
        """
        digest = hashlib.sha256()
        placed, tail = layout({name: (x.size, x.crc) for name, x in self._entries.items()})
        for entry, header in placed:
            digest.update(header)
            digest.update(self._head if entry.name == MANIFEST else self.read(entry.name))
        digest.update(tail)
        return digest.digest()

    def close(self) -> None:
        """Close the file; :meth:`read` then fails."""
        self._ahead.clear()
        with self._lock:
            self._file.close()

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_kit(path: Path, public_key: Path | None = None, *, every_member: bool = True) -> Kit:
    """Open a ``.rskit`` or ``.rskit.xz`` file and verify it.

    Parameters
    ----------
    path
        The file.
    public_key
        A PEM file: the kit's signature file must be valid for that key.
    every_member
        Verify every byte of the file now.  If false, the layout and the manifest are verified
        now, and each member when :meth:`Kit.read` returns it: what is never used is not hashed.

    Raises
    ------
    KitNotFoundError
        There is no such file, or it cannot be opened.
    KitFormatError
        The file is not a kit, or breaks a rule of docs/kit-format.md.
    KitVersionError
        The kit's schema has another major version.
    KitIntegrityError
        The kit is damaged: a header, size or SHA-256 differs.
    KitSignatureError
        The signature that ``public_key`` asks for is missing, wrong, or cannot be checked.
    KitError
        There is no room to unpack a ``.rskit.xz`` file; the message names the folder.
    """
    where = f"kit {str(path)!r}"
    if not os.path.isfile(path):
        problem = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise KitNotFoundError(f"{where} {problem}; check the path")
    try:
        file: BinaryIO = path.open("rb")
    except OSError as error:
        raise KitNotFoundError(f"{where} cannot be opened: {error.strerror}") from error
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: file.close())
        try:
            if file.read(len(_XZ_MAGIC)) == _XZ_MAGIC:
                packed, file = file, _unpack(file)
                packed.close()
            kit = Kit(path, *_verify(file, every_member), file)
        except KitError as error:
            error.args = (f"{where}: {error}",)
            raise
        except OSError as error:
            raise KitIntegrityError(f"{where} cannot be read: {error.strerror}") from error
        if public_key is not None:
            check_signature(path, kit.manifest_digest(), kit.digest, public_key)
        stack.pop_all()
    return kit


def to_classify(path: str | Path | None, public_key: Path | None) -> Kit:
    """Open the kit of :func:`find_kit`; a member is verified when it is read.

    Errors are those of :func:`find_kit` and :func:`open_kit`.  ``public_key`` is as for
    :func:`rs_runtime.kit.signature.find_public_key`.
    """
    file = find_kit(None if path is None else Path(path))
    return open_kit(file, find_public_key(public_key), every_member=False)


def write_kit(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> None:
    """Write a kit, atomically; equal arguments give equal bytes.

    ``members`` maps names to bytes, without ``manifest.json``.  The ``members`` and ``schema`` of
    ``manifest`` are replaced by what is written.  The folder of ``path`` is made.

    Raises
    ------
    KitFormatError
        The result would be a kit that readers refuse; nothing is written.
    OSError
        The file cannot be written; ``path`` is as it was.
    """
    if MANIFEST in members:
        raise KitFormatError(f"{MANIFEST} is written by write_kit; leave it out of the members")
    listed = {
        name: Member(hashlib.sha256(data).hexdigest(), len(data)) for name, data in members.items()
    }
    head = replace(manifest, members=listed, schema=SCHEMA).to_json()
    Manifest.from_json(head)
    contents = {**members, MANIFEST: head}
    placed, tail = layout({name: (len(x), zlib.crc32(x)) for name, x in contents.items()})
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        for entry, header in placed:
            file.write(header)
            file.write(contents[entry.name])
        file.write(tail)


def find_kit(explicit: Path | None = None) -> Path:
    """Return the kit to use: ``explicit``, else ``$RS_KIT``, else the newest in this folder.

    Raises
    ------
    KitNotFoundError
        None of the three gives a path.
    """
    if explicit is not None:
        return explicit
    if named := os.environ.get("RS_KIT"):
        # Not every shell replaces ~ in a variable.
        return Path(os.path.expanduser(named))
    here = (*Path().glob("*.rskit"), *Path().glob("*.rskit.xz"))
    # macOS writes ._photos.rskit beside a kit.
    files = [path for path in here if path.is_file() and not path.name.startswith(".")]
    if not files:
        raise KitNotFoundError(
            "no kit: give --kit FILE, set RS_KIT, or run in a folder that holds a .rskit file"
        )
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _verify(file: BinaryIO, every_member: bool) -> tuple[Manifest, bytes, dict[str, Entry]]:
    entries = read_entries(file, file.seek(0, os.SEEK_END))
    head = entries.get(MANIFEST)
    if head is None:
        raise KitFormatError(f"this is a zip without {MANIFEST}, no kit; check the path")
    file.seek(head.start)
    data = file.read(head.size)
    if zlib.crc32(data) != head.crc:
        raise KitIntegrityError(f"{MANIFEST} is damaged: its checksum differs")
    manifest = Manifest.from_json(data)
    stored = set(entries) - {MANIFEST}
    if stored != set(manifest.members):
        odd = sorted(stored ^ set(manifest.members))[0]
        place = "not in the manifest" if odd in stored else "in the manifest only"
        raise KitFormatError(f"member {odd[:120]!r} is {place}; export the kit again")
    for name, member in manifest.members.items():
        if entries[name].size != member.size:
            raise KitIntegrityError(
                f"member {name!r} has {entries[name].size} bytes, the manifest says {member.size}"
            )
        if every_member:
            _verify_member(file, entries[name], member)
    return manifest, data, entries


def _verify_member(file: BinaryIO, entry: Entry, member: Member) -> None:
    file.seek(entry.start)
    digest, crc, left = hashlib.sha256(), 0, entry.size
    while left and (chunk := file.read(min(left, _CHUNK))):
        digest.update(chunk)
        crc = zlib.crc32(chunk, crc)
        left -= len(chunk)
    if digest.hexdigest() != member.sha256:
        raise KitIntegrityError(f"member {entry.name!r} is damaged: its SHA-256 differs")
    # SHA-256 has verified the data; zip programs need the right CRC-32 too.
    if crc != entry.crc:
        raise KitIntegrityError(f"member {entry.name!r} has a damaged header: its CRC-32 differs")


def _unpack(packed: BinaryIO) -> BinaryIO:
    """Return a temporary file of what a .xz file holds."""
    # Few kits are packed, and its import takes a while.
    import tempfile

    try:
        with contextlib.ExitStack() as stack:
            plain: BinaryIO = stack.enter_context(tempfile.TemporaryFile())
            for data in _unpacked(packed):
                plain.write(data)
            plain.flush()
            stack.pop_all()
    except OSError as error:
        # If tempfile found no folder that it can write, its error lists those that it tried.
        folder = f" into the folder {tempfile.tempdir!r}" if tempfile.tempdir else ""
        raise KitError(
            f"cannot be unpacked{folder}: {error.strerror}; make room there, "
            "or set TMPDIR to another folder"
        ) from error
    return plain


def _unpacked(packed: BinaryIO) -> Iterator[bytes]:
    import lzma

    # memlimit bounds the decompressor's memory; the size of its output is checked below.
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    packed.seek(0)
    total = 0
    try:
        while not decompressor.eof:
            source = packed.read(_CHUNK) if decompressor.needs_input else b""
            if decompressor.needs_input and not source:
                raise KitIntegrityError("the .xz file is cut short")
            data = decompressor.decompress(source, _CHUNK)
            total += len(data)
            if total > MAX_KIT_BYTES:
                raise KitFormatError(f"unpacks to more than {MAX_KIT_BYTES} bytes")
            yield data
    except OSError as error:
        raise KitIntegrityError(f"cannot be read: {error.strerror}") from error
    except lzma.LZMAError as error:
        raise KitIntegrityError(f"the .xz file is damaged ({error})") from error
    if decompressor.unused_data or packed.read(1):
        raise KitIntegrityError("the .xz file has bytes added at its end")
