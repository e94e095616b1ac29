"""How large the cache is, and making it smaller: what was not used for the longest goes first.

Everything in it can be made again.  The folder may be one that somebody uses for other things too,
so only files that this project writes are counted or deleted.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rs_toolkit.errors import ConfigError

__all__ = ["Holding", "Pruned", "prune_cache", "survey_cache"]

_DAY_S = 86_400.0
_PIXELS = re.compile(r"[0-9a-f]{12}")
_NAMES = {
    "features": "frozen features",
    "embeddings": "embeddings of CLIP teachers",
    "teachers": "answers of teachers",
    "organisms": "answers of filters",
    "results": "results of checks",
    "known-files-1": "lists of known files",
    "finetuned": "fine-tuned weights of exports",
    "unpacked": "unpacked archives",
}
_PHOTOS = "decoded photos"
# The second file goes with the first one, which is of no use without it.
_BESIDE = {".pack": ".index", ".npy": ".json"}


@dataclass(frozen=True)
class Holding:
    """What the cache holds of one ``kind``: number of ``files``, ``bytes``, days since its use."""

    kind: str
    files: int
    bytes: int
    unused_days: float
    """Of what was used last; access times may be a day old, and some disks store none."""


@dataclass(frozen=True)
class Pruned:
    """How many ``files`` and ``bytes`` were deleted, and the bytes that are ``left``."""

    files: int
    bytes: int
    left: int


class _Unit(NamedTuple):
    """Files that are deleted together, or a folder; ``used`` in seconds since the epoch."""

    used: float
    bytes: int
    files: int
    kind: str
    paths: tuple[str, ...]


def survey_cache(folder: Path) -> list[Holding]:
    """Return what the cache holds, the largest first."""
    units: dict[str, list[_Unit]] = {}
    for unit in _units(folder):
        units.setdefault(unit.kind, []).append(unit)
    now = time.time()
    found = [
        Holding(
            kind,
            sum(unit.files for unit in those),
            sum(unit.bytes for unit in those),
            max(0.0, now - max(unit.used for unit in those)) / _DAY_S,
        )
        for kind, those in units.items()
    ]
    return sorted(found, key=lambda item: -item.bytes)


def prune_cache(
    folder: Path, most_bytes: int | None = None, unused_days: float | None = None
) -> Pruned:
    """Delete what was not used for ``unused_days``, then the longest unused above ``most_bytes``.

    A command that runs meanwhile makes again what it misses.

    Raises
    ------
    ConfigError
        Neither limit is given, or one is negative.
    OSError
        A file cannot be deleted; others before it were.
    """
    if most_bytes is None and unused_days is None:
        raise ConfigError("nothing to prune by; give --max-gb, --unused-days or both")
    if (most_bytes or 0) < 0 or (unused_days or 0) < 0:
        raise ConfigError("--max-gb and --unused-days must be 0 or more")
    units = sorted(_units(folder))
    left, oldest = sum(unit.bytes for unit in units), None
    if unused_days is not None:
        oldest = time.time() - unused_days * _DAY_S
    files = gone = 0
    for unit in units:
        old = oldest is not None and unit.used < oldest
        if not old and (most_bytes is None or left <= most_bytes):
            break
        for path in unit.paths:
            _delete(path)
        files, gone, left = files + unit.files, gone + unit.bytes, left - unit.bytes
    return Pruned(files, gone, left)


def _delete(path: str) -> None:
    # Another command may have deleted it, or written it again.
    with contextlib.suppress(FileNotFoundError):
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    # Folders that are empty now, two levels up at most: <settings>/<two digits>/<file>.
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(path))
        os.rmdir(os.path.dirname(os.path.dirname(path)))


def _units(folder: Path) -> Iterator[_Unit]:
    """Yield what can be deleted; links are neither followed nor deleted."""
    for entry in _entries(str(folder)):
        if not entry.is_dir(follow_symlinks=False):
            continue
        if _PIXELS.fullmatch(entry.name):
            yield from _files(entry.path, _PHOTOS)
        elif entry.name == "unpacked":
            # An archive without some of its photos would be taken for a whole one.
            yield from (_whole(item, _NAMES[entry.name]) for item in _folders(entry.path))
        elif entry.name in _NAMES:
            yield from _files(entry.path, _NAMES[entry.name])


def _files(folder: str, kind: str) -> Iterator[_Unit]:
    """Yield each file below a folder; those of a pack, and ``a.npy`` and ``a.json``, together."""
    inside = {entry.name: entry for entry in _entries(folder)}
    for name, entry in inside.items():
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, kind)
            continue
        stem, suffix = os.path.splitext(name)
        if any(suffix == beside and stem + main in inside for main, beside in _BESIDE.items()):
            continue
        other = inside.get(stem + _BESIDE.get(suffix, suffix), entry)
        together = [entry] if other is entry else [entry, other]
        with contextlib.suppress(FileNotFoundError):
            yield _unit(together, kind, tuple(item.path for item in together))


def _whole(entry: os.DirEntry[str], kind: str) -> _Unit:
    units = list(_files(entry.path, kind))
    used = max((unit.used for unit in units), default=0.0)
    sizes, files = sum(unit.bytes for unit in units), sum(unit.files for unit in units)
    return _Unit(used, sizes, files, kind, (entry.path,))


def _unit(entries: list[os.DirEntry[str]], kind: str, paths: tuple[str, ...]) -> _Unit:
    facts = [entry.stat(follow_symlinks=False) for entry in entries]
    used = max(max(item.st_atime, item.st_mtime) for item in facts)
    return _Unit(used, sum(item.st_size for item in facts), len(facts), kind, paths)


def _folders(folder: str) -> Iterator[os.DirEntry[str]]:
    return (entry for entry in _entries(folder) if entry.is_dir(follow_symlinks=False))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield what a folder holds but links; nothing if it is not there."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as found:
        yield from (entry for entry in found if not entry.is_symlink())
