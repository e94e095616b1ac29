"""Photos of a folder that fills up, such as one that cameras send to."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from rs_runtime.interrupts import interrupted
from rs_runtime.photos.folder import photos_below
from rs_runtime.results import Failure
from rs_runtime.sources.given import unreadable_folder

__all__ = ["photos_arriving"]

# A file is taken when its size and time have not changed for so long.
_STILL_S = 2.0
# The folder is looked at again after this time, or after some times of what a look takes.
_PAUSE_S, _LONGEST_PAUSE_S, _TIMES = 1.0, 10.0, 4
_MOMENT_S = 0.3


def photos_arriving(folder: Path) -> Iterator[Path | Failure | None]:
    """Yield the photos below a folder as they arrive, without end; None whenever there is none.

    They are found as :func:`rs_runtime.photos.folder.photos_below` says.  A file is yielded once
    its size and time of change have been the same for two seconds, and again after it changes.
    Folders that cannot be read, such as on a disk that was pulled, are yielded as a Failure each
    time that begins.
    """
    if not os.path.isdir(folder):
        absent = f"folder {str(folder)!r} to watch is not there; make it, or check the path"
        yield Failure(str(folder), absent, "folder")
        return
    # Hashes, because the names of all photos would take much memory.
    taken: set[int] = set()
    waiting: dict[str, tuple[int, float]] = {}
    unread: set[object] = set()
    while True:
        began = time.monotonic()
        still: dict[str, tuple[int, float]] = {}
        errors: list[OSError] = []
        for name, problem in photos_below(folder, errors.append, [], videos=True):
            state = _state(name)
            if state in taken:
                continue
            now = time.monotonic()
            old, since = waiting.get(name, (state, now))
            if old != state or now - since < _STILL_S:
                still[name] = (state, since if old == state else now)
                continue
            taken.add(state)
            yield Failure(name, f"photo {name!r}: {problem}") if problem else Path(name)
        waiting = still
        yield from (unreadable_folder(x) for x in errors if x.filename not in unread)
        unread = {error.filename for error in errors}
        look = time.monotonic() - began
        yield None
        _pause(min(max(_PAUSE_S, _TIMES * look), _LONGEST_PAUSE_S))


def _pause(seconds: float) -> None:
    """Wait, but not after Ctrl-C."""
    end = time.monotonic() + seconds
    while not interrupted() and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, _MOMENT_S))


def _state(name: str) -> int:
    """Return a hash of a file's name, size and time of change."""
    try:
        found = os.stat(name)
        return hash((name, found.st_size, found.st_mtime_ns))
    except OSError:
        return hash((name, -1, -1))
