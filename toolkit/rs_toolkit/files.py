"""Read files, hash them, write them atomically, and mark the toolkit's own folders."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rs_runtime.files import atomic_write
from rs_runtime.photos.folder import MARK

__all__ = [
    "atomic_write",
    "mark_output",
    "read_json",
    "require_space",
    "sha256_bytes",
    "sha256_file",
    "write_csv",
    "write_json",
]

_MARK_TEXT = "rs-toolkit wrote this folder. What is in it is never read as photos to learn from.\n"


def mark_output(folder: Path) -> None:
    """Mark a folder as written by the toolkit."""
    (folder / MARK).write_text(_MARK_TEXT, "utf-8")


def require_space(folder: Path, size: int) -> None:
    """Check that a disk has room; called before writers that handle a full disk badly (HDF5).

    Raises
    ------
    OSError
        The disk of ``folder`` (made if absent) has less than ``size`` bytes free.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, f"less than {size / 1e6:.0f} MB free", str(folder))


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", "utf-8")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table as UTF-8 CSV, atomically."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def read_json(path: Path) -> Any:
    """Read a JSON file; raises OSError or ValueError where it cannot be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
