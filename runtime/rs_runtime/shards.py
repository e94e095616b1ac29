"""A run in several parts, on one machine or many: each keeps its answers in a journal of its own.

Parts need not know of each other.  Their journals, one after the other, are the journal of a whole
run, which then classifies only what no part has answered.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from rs_runtime.errors import JournalError
from rs_runtime.files import atomic_write
from rs_runtime.journal_file import answer_lines, locked_for_reading, settings_line

__all__ = ["Merged", "Shard", "merge_journals", "shard"]

_MOST = 100_000


class Shard(NamedTuple):
    """Part ``number``, from 1, of ``of`` parts."""

    number: int
    of: int

    def holds(self, path: str) -> bool:
        """Return whether a photo belongs to this part: by its path as given, on any machine."""
        digest = hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.of == self.number - 1


def shard(text: str) -> Shard:
    """Return an option's text, such as 3/20, as a Shard, or raise ArgumentTypeError."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    found = Shard(*map(int, match.groups())) if match else Shard(0, 0)
    if not 1 <= found.number <= found.of <= _MOST:
        raise argparse.ArgumentTypeError(f"must be a part and their number, as 3/20, got {text!r}")
    return found


class Merged(NamedTuple):
    """How many ``answers`` the journals had, and how many damaged lines were left out."""

    answers: int
    damaged: int


def merge_journals(out: Path, parts: Sequence[Path]) -> Merged:
    """Write the answers of several journals into a new one, atomically.

    Raises
    ------
    JournalError
        ``out`` is there already, a part is no journal, another command uses it, or it was made with
        other settings than the first.
    OSError
        A file cannot be read or written.
    """
    if out.exists():
        raise JournalError(f"journal {str(out)!r} is there already; give a new name")
    answers = damaged = 0
    first: dict[str, Any] = {}
    with contextlib.ExitStack() as stack, atomic_write(out) as temporary:
        merged: BinaryIO = stack.enter_context(temporary.open("wb"))
        for part in parts:
            file = stack.enter_context(locked_for_reading(part))
            for line, sound in answer_lines(file):
                settings = settings_line(line)
                if settings is not None:
                    first = first or settings
                    _require_same(part, settings, parts[0], first)
                answers += sound and settings is None
                damaged += not sound
                if sound:
                    merged.write(line)
        merged.flush()
    return Merged(answers, damaged)


def _require_same(
    part: Path, settings: dict[str, Any], first: Path, wanted: dict[str, Any]
) -> None:
    if settings["key"] == wanted["key"]:
        return
    name = next(iter(_differing(settings["settings"], wanted["settings"])), "settings")
    values = (json.dumps(item["settings"].get(name))[:60] for item in (settings, wanted))
    raise JournalError(
        "journal {!r} was made with another {} than {!r}: {}, not {}; classify all parts with one "
        "kit, model (--variant), release and the same options".format(
            str(part), name, str(first), *values
        )
    )


def _differing(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    return (name for name in {**one, **other} if one.get(name) != other.get(name))
