"""Claims on folders: while one command writes a folder, no other command writes into it.

A claim is an advisory lock of the operating system on the folder's mark.  It ends with its process,
so a killed command leaves nothing that has to be removed by hand.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from rs_runtime.photos.folder import MARK, is_marked
from rs_toolkit.errors import RunError
from rs_toolkit.files import mark_output
from rs_toolkit.folders.locks import try_lock

__all__ = ["claimed", "claimed_new"]

_TRIES = 100


class _TakenError(RunError):
    """A folder belongs to another command, or holds something already."""


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Claim a folder, made if absent, for the time of the block; yield it.

    A folder that is new or empty is marked as written by the toolkit.  If the block leaves nothing
    in it, what was made for it is removed.

    Raises
    ------
    RunError
        Another command has claimed the folder.
    OSError
        The folder cannot be made or written.
    """
    with _claim(folder, new=False):
        yield folder


@contextmanager
def claimed_new(first: Path) -> Iterator[Path]:
    """Claim ``first``, or where it exists, the first of NAME-2, NAME-3, … that does not; yield it.

    A folder in which a killed command wrote nothing is taken as absent.  OSError: the folder cannot
    be made.
    """
    for number in count(1):
        folder = first if number == 1 else first.with_name(f"{first.name}-{number}")
        with ExitStack() as stack:
            try:
                stack.enter_context(_claim(folder, new=True))
            except _TakenError:
                continue
            yield folder
            return


@contextmanager
def _claim(folder: Path, *, new: bool) -> Iterator[None]:
    """Claim a folder; with ``new`` it must hold nothing but a mark.  _TakenError: it is taken."""
    if new and not _is_free(folder):
        raise _TakenError(f"{folder}: exists already; give another folder")
    file, made = _locked_mark(folder)
    try:
        if _is_empty(folder):
            if not made and (new or is_marked(folder)):
                # Another command made it, and has written nothing.
                made = [folder]
            mark_output(folder)
        elif new:
            raise _TakenError(f"{folder}: another command was faster; give another folder")
        yield
    finally:
        # Removed while the lock still holds: nobody can have claimed it in between.
        with suppress(OSError):
            if _is_empty(folder) or not is_marked(folder):
                (folder / MARK).unlink()
            for path in made:
                path.rmdir()  # fails, and ends the loop, at the first that holds something
        os.close(file)


def _is_free(folder: Path) -> bool:
    """Return whether a folder is absent, or holds only the mark of a command that was killed."""
    try:
        return os.listdir(folder) == [MARK]
    except OSError:
        return not os.path.lexists(folder)


def _is_empty(folder: Path) -> bool:
    return set(os.listdir(folder)) <= {MARK}


def _locked_mark(folder: Path) -> tuple[int, list[Path]]:
    """Return the descriptor of a folder's mark, opened and locked, and the folders made for it.

    Closing the descriptor ends the lock.
    """
    made: list[Path] = []
    for _ in range(_TRIES):
        # Another process that ends may remove the folder or the mark at any time: then try again.
        with suppress(FileNotFoundError), ExitStack() as stack:
            made = _make(folder) or made
            file = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, file)
            # Some network file systems have no locks; commands have to work there all the same.
            if try_lock(file) is False:
                break
            if os.path.samestat(os.fstat(file), os.stat(folder / MARK)):
                stack.pop_all()
                return file, made
    raise _TakenError(
        f"{folder}: another rs-toolkit command is writing into it; wait until that ends, or give "
        "another folder"
    )


def _make(folder: Path) -> list[Path]:
    """Make a folder and those above it that are absent; return what was made, the folder first."""
    try:
        folder.mkdir()
    except FileNotFoundError:
        above = _make(folder.parent)
        return [*_make(folder), *above]
    except FileExistsError:
        # Where it has just been removed, this raises FileNotFoundError, and the caller tries again.
        if not (stat.S_ISDIR(os.lstat(folder).st_mode) or folder.is_dir()):
            raise
        return []
    return [folder]
