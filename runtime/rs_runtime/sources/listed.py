"""A list of paths on standard input."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path

from rs_runtime.errors import InputError, reason

__all__ = ["paths_listed"]

_CHUNK, _LONGEST = 65536, 65536
_MOMENT_S = 0.5
# PowerShell begins a list in UTF-8 so.
_MARK = b"\xef\xbb\xbf"


def paths_listed(null: bool) -> Iterator[Path | None]:
    """Yield each path of standard input, and None when none has come for half a second.

    A path is a line, without ``\\r`` at its end; empty lines are skipped.  With ``null`` it ends in
    NUL, and may hold any other character.

    Raises
    ------
    InputError
        Standard input is closed, or is no such list.
    """
    end, rest, first = (b"\0" if null else b"\n"), b"", True
    for chunk in _chunks():
        if chunk is None:
            yield None
            continue
        rest += chunk
        if first and len(rest) >= len(_MARK):
            rest, first = rest.removeprefix(_MARK), False
        *lines, rest = rest.split(end)
        yield from _paths(lines, null)
        if len(rest) > _LONGEST:
            raise InputError(
                f"the list on standard input has a path of over {_LONGEST} bytes; give one path in "
                "each line, or each followed by NUL with --null"
            )
    yield from _paths([rest], null)


def _paths(lines: list[bytes], null: bool) -> Iterator[Path]:
    for line in lines:
        name = line if null else line.removesuffix(b"\r")
        if b"\0" in name:
            raise InputError("the list on standard input holds NUL; with --null, paths end in it")
        if name:
            yield Path(os.fsdecode(name))


def _chunks() -> Iterator[bytes | None]:
    """Yield what arrives on standard input, and None when nothing has for a moment."""
    if sys.stdin is None:
        raise InputError("standard input is closed, so no list of photos can be read from it")
    while (chunk := _chunk()) != b"":
        yield chunk


def _chunk() -> bytes | None:
    try:
        descriptor = sys.stdin.fileno()
        # Windows cannot wait for a pipe with a limit of time.
        if os.name == "posix" and not select.select([descriptor], [], [], _MOMENT_S)[0]:
            return None
        return os.read(descriptor, _CHUNK)
    except (OSError, ValueError) as error:
        problem = f"the list on standard input cannot be read any further: {reason(error)}"
        raise InputError(f"{problem}; give the rest again") from error
