"""The journal of a review: ``decisions.jsonl``, one JSON object per line, only appended to.

=============  ====================================================================
key            value
=============  ====================================================================
time           when the person decided, in UTC, ISO 8601
path, sha256   the photo, and the hash of the content that the person saw
action         keep, relabel, drop, same, different, or undo
label          only for relabel: the name of the right class
group          only for same, different, and undo of these: the other photos, {path: sha256}
note           what the person wrote, if anything
=============  ====================================================================

``same``: the photo and those of its group show one animal at one time.  ``different``: the
photo does not show what those of its group show.  ``undo`` takes back the last decision on the
same photo and group that was not taken back before.

A decision is confirmed only when its line is on the disk.  A line that a crash cut off is not
JSON: it is reported and ignored, and the next decision starts on a new line.
"""

from __future__ import annotations

import errno
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import printable
from rs_toolkit.errors import DataError

__all__ = [
    "ACTIONS",
    "GROUP_ACTIONS",
    "JOURNAL",
    "Decision",
    "Report",
    "append",
    "ignore",
    "latest",
    "now",
    "of_photos",
    "read_decisions",
    "read_journal",
]

JOURNAL = "decisions.jsonl"
GROUP_ACTIONS = ("same", "different")
ACTIONS = ("keep", "relabel", "drop", *GROUP_ACTIONS)
_MAX_BYTES = 256_000_000

Report = Callable[[str], object]


def ignore(problem: str) -> None:
    """Do nothing: the default where no problem has to be reported."""


@dataclass(frozen=True)
class Decision:
    """One line of the journal; the table in the module's docstring explains the fields.

    ``line`` is its line number in the journal, from 1; 0 if it was not read from a journal.
    """

    time: str
    path: str
    sha256: str
    action: str
    label: str | None = None
    group: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None
    line: int = field(default=0, compare=False)

    @property
    def subject(self) -> tuple[str, str, frozenset[str]]:
        """What ``undo`` refers to: the photo, its content, and the others of its group."""
        return self.path, self.sha256, frozenset(self.group)

    @property
    def key(self) -> str:
        """Which question the decision answers: of decisions with the same key, the last counts.

        For a group, ``same`` and ``different`` have different keys, because the later decision may
        contradict only a part of the earlier one.
        """
        question = self.action if self.group else ""
        return "\0".join((self.path, self.sha256, question, *sorted(self.group)))


def now() -> str:
    """Return the time as the journal writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def append(path: Path, decision: Decision) -> None:
    """Add one line, in one write, and return when it is on the disk.

    Raises
    ------
    OSError
        The journal cannot be written or the disk is full; readers ignore an incomplete line.
    """
    written = {name: value for name, value in asdict(decision).items() if name != "line"}
    row = {name: value for name, value in written.items() if value not in (None, {})}
    data = json.dumps(row).encode() + b"\n"
    is_new = not path.exists()
    with path.open("ab+", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = b"\n" + data
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(file.fileno())
    if is_new:
        # The name of a new file is data of its folder, which is flushed to the disk separately.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_journal(path: Path, report: Report = ignore) -> list[Decision]:
    """Return the decisions that were not taken back, oldest first; none if there is no file.

    ``report`` is called with one line of text for each line that cannot be used.

    Raises
    ------
    DataError
        The file is larger than 256 MB.
    OSError
        The file exists and cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return []
    if len(data) > _MAX_BYTES:
        raise DataError(f"{path}: larger than {_MAX_BYTES} bytes; not a journal of a review")
    standing: list[Decision] = []
    lines = data.split(b"\n")
    for number, raw in enumerate(lines, 1):
        try:
            if raw.strip():
                _replay(standing, _parse(raw, number))
        except ValueError as error:
            cut = "; it was cut off by a crash" if number == len(lines) else ""
            report(f"{path} line {number}: {error}{cut}; ignored")
    return standing


def _replay(standing: list[Decision], decision: Decision) -> None:
    if decision.action != "undo":
        standing.append(decision)
        return
    places = [n for n, other in enumerate(standing) if other.subject == decision.subject]
    if not places:
        raise ValueError("takes back a decision that is not there")
    del standing[places[-1]]


def _parse(raw: bytes, line: int) -> Decision:
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise ValueError("not one JSON object")
    time, path, sha256, action = (_text(row, key) for key in ("time", "path", "sha256", "action"))
    label, note = (_text(row, key) if row.get(key) else None for key in ("label", "note"))
    group = row.get("group") or {}
    if action not in (*ACTIONS, "undo"):
        wanted = ", ".join((*ACTIONS, "undo"))
        raise ValueError(f"action is {printable(action)[:40]!r}, wanted one of: {wanted}")
    if not isinstance(group, dict) or not all(isinstance(sha, str) for sha in group.values()):
        raise ValueError("group is not {path: sha256}")
    if bool(group) != (action in GROUP_ACTIONS) and action != "undo":
        raise ValueError(f"{action} {'with' if group else 'without'} a group")
    if path in group:
        raise ValueError("the photo is in its own group")
    if action == "relabel" and not label:
        raise ValueError("relabel without a label")
    return Decision(time, path, sha256, action, label, group, note, line)


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is missing or no text")
    return value


def latest(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """Return the last decision of each key, in the order in which these were made."""
    last: dict[str, Decision] = {}
    for decision in decisions:
        last.pop(decision.key, None)
        last[decision.key] = decision
    return last


def of_photos(
    decisions: Iterable[Decision], photos: Iterable[Photo], report: Report = ignore
) -> list[Decision]:
    """Return the decisions about these photos; report the others, with one line of text each.

    A photo whose content has changed since the decision counts as missing.  Missing photos are
    removed from a decision's group; a decision whose whole group is missing is left out.
    """
    contents: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        contents[photo.path].add(photo.sha256)
    known: list[Decision] = []
    for decision in decisions:
        group = {p: sha for p, sha in decision.group.items() if sha in contents.get(p, ())}
        gone = len(decision.group) - len(group)
        problem = None
        if decision.path not in contents:
            problem = "no such photo here"
        elif decision.sha256 not in contents[decision.path]:
            problem = "the photo has changed since, review it again"
        elif gone and not group:
            problem = "none of its group is here and unchanged"
        else:
            known.append(replace(decision, group=group))
            problem = f"{gone} of its group missing or changed" if gone else None
        if problem:
            name = printable(decision.path)[:100]
            where = f"{JOURNAL} line {decision.line}, {decision.action} {name!r}"
            report(f"{where}: {problem}; ignored")
    return known


def read_decisions(
    path: Path, photos: Sequence[Photo] | None = None, report: Report = ignore
) -> dict[str, Decision]:
    """Return the decisions that count: of each :attr:`Decision.key`, the last not taken back.

    If ``photos`` are given, only decisions about them count; see :func:`of_photos`.
    Other parameters and errors are those of :func:`read_journal`.
    """
    decisions = read_journal(path, report)
    return latest(decisions if photos is None else of_photos(decisions, photos, report))
