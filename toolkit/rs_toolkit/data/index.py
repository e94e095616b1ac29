"""The index: one row per photo of a data set, with what reading the file has shown."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

from rs_runtime.errors import PhotoError
from rs_runtime.photos.photo import PhotoInfo, read_photo
from rs_toolkit.data.groups import connected
from rs_toolkit.data.known_files import KnownFile, KnownFiles
from rs_toolkit.data.photos import SIDES, Dataset, Photo, PhotoCache
from rs_toolkit.data.table import read_table, write_columns
from rs_toolkit.data.taxonomy import RANKS, Taxon
from rs_toolkit.files import sha256_bytes

__all__ = ["build_index", "fingerprint", "read_index", "write_index"]

_FORMAT = b"rs_toolkit.index"
# The columns that index files of each earlier version lack.
_NEWER = {
    b"1": ("site", "observation", "box", "organism", "no_organism"),
    b"2": ("organism", "no_organism"),
    b"3": ("no_organism",),
}
_VERSION = b"4"
_OWN_COLUMNS = tuple(item.name for item in fields(Photo) if item.name != "taxon")
_LISTED = 5
_AHEAD = 1024


def build_index(
    dataset: Dataset,
    cache: PhotoCache,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> tuple[Photo, ...]:
    """Read every photo of a data set once: hash it, decode it into the cache, record its size.

    A file that an earlier index has read, and whose size and times are the same, is not read again
    if its pixels are cached (:class:`rs_toolkit.data.known_files.KnownFiles`).  Another photo whose
    pixels are cached is hashed and not decoded.  A photo that cannot be read, or whose box has less
    than a pixel, gets an ``error``.  Photos that the reader gave an ``error`` keep it and are not
    opened.  Photos with the same bytes get the same group, and groups that share such bytes are
    merged, so that no split separates copies.

    ``progress`` is called with (done, total) after each photo; ``note`` once, if photos lack their
    last bytes and are used.  The photos keep their order.

    Raises
    ------
    OSError
        The cache cannot be written.
    """
    files = KnownFiles(dataset.root, cache.directory)
    found = [_recognized(photo, cache, files) for photo in dataset.photos]
    unknown = [row for row, item in enumerate(found) if item is None]
    total = len(found)
    tell = progress or (lambda done, total: None)
    for done in range(total - len(unknown)):
        tell(done + 1, total)
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        examine = partial(_examine, root=dataset.root, cache=cache, files=files)
        done = total - len(unknown)
        # A photo that waits in the pool takes more memory than one that is read.
        for start in range(0, len(unknown), _AHEAD):
            rows = unknown[start : start + _AHEAD]
            examined = pool.map(examine, [dataset.photos[row] for row in rows])
            for row, item in zip(rows, examined, strict=True):
                found[row], done = item, done + 1
                tell(done, total)
    finally:
        # After Ctrl-C or a full disk, the photos still waiting must not be decoded.
        pool.shutdown(cancel_futures=True)
        files.save()
    photos = [item for item in found if item is not None]
    lacking = [photo.path for photo, lack in photos if lack]
    if lacking and note is not None:
        note(_lacking(lacking))
    return _group_duplicates([photo for photo, _ in photos])


def _lacking(paths: list[str]) -> str:
    listed = ", ".join(paths[:_LISTED]) + (", …" if len(paths) > _LISTED else "")
    return (
        f"used although their last bytes are missing (--strict-photos leaves them out): "
        f"{len(paths)} photos: {listed}"
    )


Examined = tuple[Photo, str | None]  # a photo as its file is, and what is missing of it


def _recognized(photo: Photo, cache: PhotoCache, files: KnownFiles) -> Examined | None:
    """Return a photo without reading its file; None where it must be read."""
    if photo.error is not None:
        return photo, None
    known = files.find(photo.path)
    if known is None or (cache.strict and known.info.note):
        return None
    photo = _described(photo, known.sha256, known.bytes, known.info)
    return (photo, known.info.note) if cache.holds(photo) else None


def _examine(photo: Photo, root: Path, cache: PhotoCache, files: KnownFiles) -> Examined:
    """Read a photo's file, and decode it if its pixels are not cached."""
    path, now = root / photo.path, time.time_ns()
    stamp = files.stamp(photo.path)
    try:
        data = read_photo(path)
        photo = photo.having(sha256=sha256_bytes(data), bytes=len(data))
        info = cache.info(photo) or cache.decode(photo, data)[1]
    except PhotoError as error:
        # The index row names the file already.
        reason = str(error).removeprefix(f"{path} ").removeprefix("photo in memory ")
        return photo.having(error=reason), None
    files.learn(photo.path, stamp, now, KnownFile(photo.sha256, len(data), info))
    return _described(photo, photo.sha256, len(data), info), info.note


def _described(photo: Photo, sha256: str, size: int, info: PhotoInfo) -> Photo:
    width, height, mode = info.width, info.height, info.mode
    return photo.having(sha256=sha256, bytes=size, width=width, height=height, mode=mode)


def _group_duplicates(photos: Sequence[Photo]) -> tuple[Photo, ...]:
    """Give one group to photos that have the same bytes, or are connected by their groups."""
    copies = Counter(photo.sha256 for photo in photos if photo.error is None)
    keys: dict[int, list[str]] = {}
    for row, photo in enumerate(photos):
        content = f"sha256:{photo.sha256}" if copies[photo.sha256] > 1 else None
        if photo.error is None and (photo.group or content):
            keys[row] = [name for name in (photo.group, content) if name]
    groups = dict(zip(keys, connected(keys.values()), strict=True))
    return tuple(
        photo.having(group=groups[row]) if row in groups else photo
        for row, photo in enumerate(photos)
    )


def write_index(path: Path, photos: Iterable[Photo]) -> None:
    """Write photos as a Parquet table, one row each, atomically."""
    photos = list(photos)
    columns = {name: list(map(attrgetter(name), photos)) for name in _OWN_COLUMNS}
    names = zip(*(photo.taxon.names for photo in photos), strict=True) if photos else ((),) * 7
    columns |= {rank: list(values) for rank, values in zip(RANKS, names, strict=True)}
    write_columns(path, columns, _schema())


def read_index(path: Path) -> tuple[Photo, ...]:
    """Read what :func:`write_index` wrote.

    Raises
    ------
    DataError
        The file is missing, damaged, or not an index of this version or an earlier one.
    """
    schemas = [_schema(), *(_schema(names, version) for version, names in _NEWER.items())]
    return read_table(path, _photo, schemas, "an index", "copy it again")


def fingerprint(photos: Iterable[Photo]) -> str:
    """Return a hash of a data set: the SHA-256 of its sorted rows, as 64 hexadecimal digits.

    It changes with the path, content, box or any name of a photo, and not with the folder that
    holds the data set or the order of its rows.
    """
    photos = list(photos)
    texts = [(p.path, p.sha256, *p.taxon.names, p.common_name) for p in photos]
    # Each row is a JSON list.  One call writes all texts, which never hold a line break themselves.
    cells = json.dumps(list(chain.from_iterable(texts)), separators=("\n", ":"))[1:-1].split("\n")
    width = 3 + len(RANKS)
    rows = sorted(
        f"[{', '.join(cells[row * width : (row + 1) * width])}]{photo.box or ''}"
        for row, photo in enumerate(photos)
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _schema(left_out: Sequence[str] = (), version: bytes = _VERSION) -> Any:
    import pyarrow

    kinds = {"int": pyarrow.int64()} | dict.fromkeys(("float", "float | None"), pyarrow.float64())
    columns = [
        (item.name, kinds.get(str(item.type), pyarrow.string()))
        for item in fields(Photo)
        if item.name in _OWN_COLUMNS and item.name not in left_out
    ]
    ranks = [(rank, pyarrow.string()) for rank in RANKS]
    return pyarrow.schema([*columns, *ranks], metadata={_FORMAT: version})


def _photo(row: dict[str, Any]) -> Photo:
    known: dict[str, Any] = {item.name: row.get(item.name) for item in fields(Photo)}
    if known["split"] not in (None, *SIDES):
        wanted = ", ".join(SIDES)
        raise ValueError(f"{row['path']} is in split {known['split']!r:.60}, wanted {wanted}")
    return Photo(**{**known, "taxon": Taxon.from_dict(row)})
