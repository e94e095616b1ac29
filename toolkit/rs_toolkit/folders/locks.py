"""Advisory locks of the operating system on files; each ends with its process, also if killed."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rs_toolkit.errors import RunError

__all__ = ["held", "lock_without_waiting", "locked", "try_lock"]

_HELD = (errno.EACCES, errno.EAGAIN)
_PAUSE = 0.02  # seconds


def try_lock(file: int) -> bool | None:
    """Lock an open file without waiting; closing the descriptor ends the lock.

    False: another descriptor has locked it.  None: the file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            # Nobody may read a locked part: lock a byte far behind the text.
            os.lseek(file, 2**30, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True


def lock_without_waiting(path: Path) -> int | None:
    """Make and lock a file, and return its descriptor; None where it is locked already.

    RunError: the file system has no locks.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    found = try_lock(file)
    if found:
        return file
    os.close(file)
    if found is None:
        raise RunError(
            f"{path.parent}: this file system has no locks, which processes need that share a "
            "folder; choose a folder on another disk"
        )
    return None


def held(path: Path) -> bool:
    """Return whether a file exists and another descriptor has locked it; raises as above."""
    if not path.exists():
        return False
    file = lock_without_waiting(path)
    if file is not None:
        os.close(file)
    return file is None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on a file for the time of the block, and wait until it is free.

    RunError: the file system has no locks.
    """
    while (file := lock_without_waiting(path)) is None:
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        os.close(file)
