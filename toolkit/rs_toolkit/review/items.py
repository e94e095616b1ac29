"""The items of a review: flagged photos and groups of duplicates; and photos to compare with."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rs_toolkit.checks.findings import Finding, read_findings
from rs_toolkit.data.index import read_index
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers import CLEAN_FILE
from rs_toolkit.data.taxonomy import Taxon, normalize_name, printable
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.files import read_json
from rs_toolkit.review.journal import Report

__all__ = ["CleanFolder", "Item", "read_folder"]

_DUPLICATES = ("exact_duplicate", "near_duplicate")
_EXAMPLES = 4

_Findings = Mapping[int, Sequence[Finding]]


@dataclass(frozen=True)
class Item:
    """One photo, or a group of duplicates, to decide about.

    ``photos`` are row numbers of the index; ``flags`` has the highest score, 0 to 1, of each flag.
    """

    photos: tuple[int, ...]
    flags: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_group(self) -> bool:
        """Whether the item is a group, of which a person decides which photos are the same."""
        return len(self.photos) > 1


@dataclass(frozen=True)
class CleanFolder:
    """What ``rs-toolkit clean`` left to review; photos are given by row number of the index.

    Their paths are relative to ``root``; ``classes`` are the labels at ``rank``.  ``items`` are
    sorted, the highest score first.
    """

    root: Path
    rank: str
    classes: tuple[str, ...]
    photos: tuple[Photo, ...]
    findings: _Findings
    items: tuple[Item, ...]
    _typical: Mapping[str, Sequence[int]]

    def typical(self, label: str, but: int) -> list[int]:
        """Return up to 4 photos of a class other than ``but``, those without findings first."""
        return [n for n in self._typical.get(label, ()) if n != but][:_EXAMPLES]


def read_folder(folder: Path, report: Report) -> CleanFolder:
    """Read a folder that ``rs-toolkit clean`` made; report findings about unknown photos.

    Raises
    ------
    DataError
        The folder was not made by clean, a file in it is damaged, or the photos have moved.
    """
    root, rank, classes = _settings(folder)
    photos = read_index(folder / "index.parquet")
    # If a path is repeated, its first row is the one that is used.
    places = {photo.path: n for n, photo in reversed(list(enumerate(photos)))}
    findings: dict[int, list[Finding]] = defaultdict(list)
    for finding in read_findings(folder / "findings.parquet"):
        if finding.path in places:
            findings[places[finding.path]].append(finding)
        else:
            report(f"findings.parquet: no photo {printable(finding.path)[:100]!r}; ignored")
    items, typical = _items(photos, findings), _typical(photos, findings, rank)
    return CleanFolder(root, rank, classes, photos, findings, items, typical)


def _settings(folder: Path) -> tuple[Path, str, tuple[str, ...]]:
    path = folder / CLEAN_FILE
    remedy = "make the folder anew with: rs-toolkit clean DATA"
    if not path.is_file():
        raise DataError(f"{folder}: nothing to review (no {CLEAN_FILE} in it); {remedy}")
    try:
        saved = read_json(path)
        root, rank, classes = Path(saved["data_root"]), saved["rank"], saved["classes"]
        if not all(isinstance(name, str) for name in (rank, *classes)):
            raise TypeError("rank and classes must be text")
        Photo("", Taxon()).label(rank)
        if not root.is_dir():
            raise ValueError(f"the photos are no longer in {str(root)!r}")
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        reason = printable(f"{type(error).__name__}: {error}")[:200]
        raise DataError(f"{path}: cannot be read ({reason}); {remedy}") from None
    names = (normalize_name(name) for name in classes)
    return root, rank, tuple(sorted({name for name in names if name}))


def _items(photos: Sequence[Photo], findings: _Findings) -> tuple[Item, ...]:
    members: dict[str, list[int]] = defaultdict(list)
    for n, photo in enumerate(photos):
        if photo.group is not None:
            members[photo.group].append(n)
    copies = {n for n, found in findings.items() if any(f.flag in _DUPLICATES for f in found)}
    groups = [
        tuple(group)
        for group in members.values()
        if len(group) > 1 and not copies.isdisjoint(group)
    ]
    grouped = {n for group in groups for n in group}
    items = [Item(group, _flags(findings, group, _DUPLICATES)) for group in groups]
    for n, found in findings.items():
        # A flagged duplicate that is in no group is shown as a single photo.
        flags = tuple(f.flag for f in found if n not in grouped or f.flag not in _DUPLICATES)
        if flags:
            items.append(Item((n,), _flags(findings, (n,), flags)))
    return tuple(sorted(items, key=lambda item: (-max(item.flags.values()), item.photos)))


def _flags(findings: _Findings, photos: Sequence[int], flags: Sequence[str]) -> dict[str, float]:
    """Return the highest score of each of these flags among the photos."""
    found = [finding for n in photos for finding in findings.get(n, ()) if finding.flag in flags]
    return {finding.flag: finding.score for finding in sorted(found, key=lambda one: one.score)}


def _typical(photos: Sequence[Photo], findings: _Findings, rank: str) -> dict[str, list[int]]:
    """Return a few usable photos of every class: lowest scores first, then in order of hashes."""

    def oddness(n: int) -> tuple[float, str]:
        return max((found.score for found in findings.get(n, ())), default=-1.0), photos[n].sha256

    members: dict[str, list[int]] = defaultdict(list)
    for n, photo in enumerate(photos):
        label = photo.label(rank)
        if photo.error is None and label is not None:
            members[label].append(n)
    # One more than are shown, because the photo under review may be among them.
    return {
        label: heapq.nsmallest(_EXAMPLES + 1, numbers, key=oddness)
        for label, numbers in members.items()
    }
