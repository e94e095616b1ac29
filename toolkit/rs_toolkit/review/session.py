"""A review in progress: the decisions so far, and what the page shows."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from rs_toolkit.data.taxonomy import normalize_name, printable
from rs_toolkit.review import journal
from rs_toolkit.review.items import CleanFolder, Item, read_folder
from rs_toolkit.review.journal import Decision, Report
from rs_toolkit.review.verdicts import Relations

__all__ = ["Refused", "Session"]

_MAX_NOTE = 500


class Refused(Exception):
    """A request that cannot be carried out; the message says why."""


class Session:
    """The items of a clean folder and the decisions on them; safe to share between threads.

    Methods that return a dict return JSON values.  They raise :class:`Refused` if a request cannot
    be carried out, and OSError if the journal cannot be written; then nothing is changed.
    ``lock`` is held while a decision is written.

    The ``decisions.jsonl`` of ``folder`` is read, and appended to; ``report`` gets a line for each
    finding or decision that cannot be used.  Errors are those of
    :func:`rs_toolkit.review.items.read_folder` and :func:`rs_toolkit.review.journal.read_journal`.
    """

    def __init__(self, folder: Path, report: Report) -> None:
        self.folder: CleanFolder = read_folder(folder, report)
        self.lock = threading.Lock()
        self._journal = folder / journal.JOURNAL
        self._about: dict[str, list[int]] = defaultdict(list)
        for number, item in enumerate(self.folder.items):
            for path in self._contents(item):
                self._about[path].append(number)
        written = journal.read_journal(self._journal, report)
        # Decisions about other photos stay in the journal; they are neither shown nor undone.
        here = {item.line: item for item in journal.of_photos(written, self.folder.photos, report)}
        # Pairs: the decision as it was written, and the part of it that counts here.
        self._standing = [(item, here[item.line]) for item in written if item.line in here]
        self._count()

    @property
    def left(self) -> int:
        """How many items are not decided yet."""
        return sum(not self._is_decided(item) for item in self.folder.items)

    def queue(self) -> dict[str, Any]:
        """Return every item in brief, worst first, and the names of the classes."""
        photos, rank = self.folder.photos, self.folder.rank
        items = [
            {
                "name": printable(photos[item.photos[0]].path),
                "labels": sorted({photos[n].label(rank) or "no label" for n in item.photos}),
                "flags": dict(item.flags),
                "decided": self._is_decided(item),
            }
            for item in self.folder.items
        ]
        return {"rank": rank, "classes": list(self.folder.classes), "items": items}

    def item(self, number: object) -> dict[str, Any]:
        """Return one item with its photos and, if it is no group, typical photos of its classes."""
        item = self._item(number)
        rest = self._relations.rest(list(self._contents(item)))
        photos = [
            self._photo(n) | {"apart": item.is_group and self.folder.photos[n].path not in rest}
            for n in item.photos
        ]
        examples = [] if item.is_group else self._examples(item.photos[0])
        return {"group": item.is_group, "photos": photos, "examples": examples}

    def decide(
        self, number: object, n: object, action: object, label: object = None, note: object = None
    ) -> dict[str, Any]:
        """Write a decision on photo ``n`` of item ``number`` to the journal, then count it.

        ``action`` is one of :data:`rs_toolkit.review.journal.ACTIONS`.  ``same`` puts the photo
        together with the others of its group, ``different`` sets it apart from them; photos that
        were set apart from all others are left out, unless no other photo remains.  ``label`` is
        only for ``relabel``, and one of the classes; ``note`` has up to 500 characters.
        """
        item = self._item(number)
        name = normalize_name(label) if isinstance(label, str) else None
        if type(n) is not int or n not in item.photos:
            raise Refused("no such photo in this item")
        if not isinstance(action, str) or action not in journal.ACTIONS:
            raise Refused(f"no such action; wanted one of: {', '.join(journal.ACTIONS)}")
        if action in journal.GROUP_ACTIONS and not item.is_group:
            raise Refused("this item is no group of duplicates")
        if action == "relabel" and name not in self.folder.classes:
            raise Refused("no such class; choose one of the list")
        if note is not None and not (isinstance(note, str) and len(note) <= _MAX_NOTE):
            raise Refused(f"the note is longer than {_MAX_NOTE} characters; shorten it")
        photo = self.folder.photos[n]
        with self.lock:
            decision = Decision(
                time=journal.now(),
                path=photo.path,
                sha256=photo.sha256,
                action=action,
                label=name if action == "relabel" else None,
                group=self._others(item, photo.path) if action in journal.GROUP_ACTIONS else {},
                note=printable(note or "") or None,
            )
            journal.append(self._journal, decision)
            self._standing.append((decision, decision))
            return self._changes(decision)

    def undo(self) -> dict[str, Any]:
        """Take back the last decision that was not undone yet, by appending to the journal."""
        with self.lock:
            if not self._standing:
                raise Refused("nothing to take back")
            written, decision = self._standing[-1]
            undone = replace(written, time=journal.now(), action="undo", label=None, note=None)
            journal.append(self._journal, undone)
            self._standing.pop()
            return self._changes(decision)

    def _count(self) -> None:
        decisions = journal.latest(counts for _, counts in self._standing).values()
        self._of_photo = {(item.path, item.sha256): item for item in decisions if not item.group}
        self._relations = Relations(decisions)

    def _item(self, number: object) -> Item:
        if type(number) is not int or not 0 <= number < len(self.folder.items):
            raise Refused("no such item")
        return self.folder.items[number]

    def _contents(self, item: Item) -> dict[str, str]:
        return {self.folder.photos[n].path: self.folder.photos[n].sha256 for n in item.photos}

    def _others(self, item: Item, path: str) -> dict[str, str]:
        contents = self._contents(item)
        del contents[path]
        rest = self._relations.rest([path, *contents])
        return {other: sha for other, sha in contents.items() if other in rest} or contents

    def _is_decided(self, item: Item) -> bool:
        contents = self._contents(item)
        if item.is_group:
            return self._relations.cover(list(contents))
        return next(iter(contents.items())) in self._of_photo

    def _changes(self, decision: Decision) -> dict[str, Any]:
        """Return a decision that was made or undone, and the state of the items it is about."""
        self._count()
        items = self.folder.items
        paths = (decision.path, *decision.group)
        touched = sorted({number for path in paths for number in self._about[path]})
        # A photo may be an item of its own and part of a group: show the one decided about.
        about = sorted(
            self._about[decision.path],
            key=lambda number: items[number].is_group != bool(decision.group),
        )
        return {
            "item": about[0] if about else None,
            "action": decision.action,
            "name": printable(decision.path),
            "label": decision.label,
            "decided": {str(number): self._is_decided(items[number]) for number in touched},
        }

    def _photo(self, n: int) -> dict[str, Any]:
        photo = self.folder.photos[n]
        decision = self._of_photo.get((photo.path, photo.sha256))
        size = f"{photo.width} × {photo.height} px" if photo.width else None
        return {
            "n": n,
            "name": printable(photo.path),
            "label": photo.label(self.folder.rank) or "no label",
            "facts": [fact for fact in (size, photo.split) if fact],
            "findings": [
                {
                    "flag": found.flag,
                    "score": found.score,
                    "suggested": normalize_name(found.suggested_label),
                    "detail": printable(found.detail),
                }
                for found in self.folder.findings.get(n, ())
            ],
            "decision": decision and {"action": decision.action, "label": decision.label},
        }

    def _examples(self, n: int) -> list[dict[str, Any]]:
        label = self.folder.photos[n].label(self.folder.rank)
        names = [label, *(found.suggested_label for found in self.folder.findings.get(n, ()))]
        classes = dict.fromkeys(name for text in names if (name := normalize_name(text)))
        return [
            {
                "title": "labelled" if name == label else "suggested",
                "label": name,
                "photos": self.folder.typical(name, n),
            }
            for name in classes
        ]
