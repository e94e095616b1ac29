"""What a data set holds: labels by rank, imbalance, files, and what the checks found.

Nothing here opens a photo: everything is counted from the index and from findings.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from rs_toolkit.checks.findings import FLAGS, Finding
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import LABELS
from rs_toolkit.errors import DataError

__all__ = [
    *("WORST", "Audit", "ClassCount", "Conflict", "FlagCount", "Imbalance", "Places"),
    *("RankCount", "Sizes", "audit", "binned", "conflicts", "imbalance"),
]

WORST = 24
"""How many findings of each flag an audit lists, those with the highest scores first."""

_SIDES = (64, 128, 256, 512, 1024, 2048, 4096)
_SMALL_CLASSES = (5, 10, 20)


@dataclass(frozen=True)
class RankCount:
    """How many different names a rank has, and how many photos have a name at it or have none."""

    names: int
    labelled: int
    unlabelled: int


@dataclass(frozen=True)
class ClassCount:
    """A class at the audited rank: its counted photos, and its photos that cannot be read."""

    name: str
    photos: int
    unreadable: int


@dataclass(frozen=True)
class Imbalance:
    """How unevenly photos are spread over the classes that have at least one.

    Attributes
    ----------
    ratio
        Photos of the largest class (``largest``) divided by those of the smallest (``smallest``).
    gini
        Gini coefficient: half the relative mean absolute difference between class sizes.  0: all
        classes are equal; close to 1: one class has nearly all photos.
    effective_classes
        exp(H), where H is the Shannon entropy of the classes' shares: the number of equally large
        classes that would be as diverse (Hill 1973, order 1), 1 to ``classes``.
    under
        Share of classes with fewer than 5, 10 and 20 photos, 0 to 1; the key is the limit as text.
    """

    classes: int
    largest: int
    smallest: int
    ratio: float
    gini: float
    effective_classes: float
    under: dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """(minimum, median, maximum) of the readable photos' width, height (pixels) and size (bytes).

    ``shorter_side`` counts photos by the length of their shorter side in pixels.
    """

    width: tuple[float, float, float]
    height: tuple[float, float, float]
    bytes: tuple[float, float, float]
    shorter_side: dict[str, int]


@dataclass(frozen=True)
class Conflict:
    """Photos of the same bytes (and box) with different names at ``rank``, but at no higher rank.

    ``photos`` holds (path, name at that rank or None).
    """

    rank: str
    photos: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class FlagCount:
    """Findings of one flag: how many, their share of all rows, and those that are listed."""

    photos: int
    share: float
    worst: tuple[Finding, ...]


@dataclass(frozen=True)
class Places:
    """Sites or observations: how many, how many photos name one, and photos of the largest."""

    names: int
    photos: int
    largest: int


@dataclass(frozen=True)
class Audit:
    """What a data set holds; classes are the names at ``rank``.  :func:`audit` makes it.

    Attributes
    ----------
    rows, readable
        Number of photos that the data set lists, and of those that can be used.
    counted
        Where labels are counted: in ``readable`` photos, or in ``all`` rows if none can be read.
    conflicts
        Exact duplicates whose labels disagree, in the order of their paths.
    ranks
        Counts by rank, kingdom to species, and ``common_name``.
    classes, imbalance
        The largest class first; how uneven they are, None where no counted photo has a label.
    modes
        Number of photos by colour mode, as Pillow names it, the most frequent first.
    unreadable, reasons
        (path, reason) of every row that cannot be used; and the number of rows by reason, the
        most frequent first, with N in place of each number but 0.
    flags
        Findings by flag, for every flag that was looked for or found.
    notes
        What the reader of the data set noticed in rows that are used nevertheless.
    """

    rank: str
    rows: int
    readable: int
    counted: str
    conflicts: tuple[Conflict, ...]
    ranks: dict[str, RankCount]
    classes: tuple[ClassCount, ...]
    imbalance: Imbalance | None
    modes: dict[str, int]
    sizes: Sizes | None
    unreadable: tuple[tuple[str, str], ...]
    reasons: dict[str, int]
    flags: dict[str, FlagCount]
    sites: Places | None
    observations: Places | None
    notes: tuple[str, ...] = ()


def audit(
    photos: Sequence[Photo],
    findings: Sequence[Finding],
    rank: str,
    checked: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Audit:
    """Count what a data set holds; classes are names at ``rank``, from kingdom to ``common_name``.

    ``photos`` is every row of the index, ``findings`` what the checks found about them.  Flags in
    ``checked`` were looked for: they are reported even if nothing was found.  ``notes`` are those
    of the :class:`rs_toolkit.data.photos.Dataset`.

    Raises
    ------
    ConfigError
        There is no such rank.
    """
    readable = [photo for photo in photos if photo.error is None]
    unreadable = tuple((photo.path, photo.error) for photo in photos if photo.error is not None)
    counted = readable or photos
    classes = _classes(counted, photos, rank)
    sizes = [item.photos for item in classes if item.photos]
    return Audit(
        rank=rank,
        rows=len(photos),
        readable=len(readable),
        counted="readable" if readable else "all",
        conflicts=conflicts(readable),
        ranks={name: _rank_count(counted, name) for name in LABELS},
        classes=classes,
        imbalance=imbalance(sizes) if sizes else None,
        modes=_most_frequent(photo.mode for photo in readable),
        sizes=_sizes(readable) if readable else None,
        unreadable=unreadable,
        reasons=_most_frequent(re.sub(r"[1-9]\d*", "N", reason) for _, reason in unreadable),
        flags=_flags(findings, {*checked, *(finding.flag for finding in findings)}, len(photos)),
        sites=_places(photo.site for photo in counted),
        observations=_places(photo.observation for photo in counted),
        notes=tuple(notes),
    )


def _most_frequent(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _rank_count(photos: Sequence[Photo], rank: str) -> RankCount:
    names = Counter(photo.label(rank) for photo in photos)
    unlabelled = names.pop(None, 0)
    return RankCount(len(names), len(photos) - unlabelled, unlabelled)


def _classes(
    counted: Sequence[Photo], photos: Sequence[Photo], rank: str
) -> tuple[ClassCount, ...]:
    sizes = Counter(photo.label(rank) for photo in counted)
    broken = Counter(photo.label(rank) for photo in photos if photo.error is not None)
    names = {name for name in (*sizes, *broken) if name is not None}
    ordered = sorted(names, key=lambda name: (-sizes[name], name))
    return tuple(ClassCount(name, sizes[name], broken[name]) for name in ordered)


def conflicts(readable: Iterable[Photo]) -> tuple[Conflict, ...]:
    """Return the exact duplicates, among indexed photos without an error, whose labels disagree."""
    # The content includes the box: two boxes of one photo may show two species.
    copies: dict[str, list[Photo]] = defaultdict(list)
    for photo in readable:
        if photo.sha256:
            copies[photo.content].append(photo)
    found = []
    for same in copies.values():
        first = same[0]
        # Nearly all copies have the same names, and looking at each rank takes much longer.
        if all((p.taxon, p.common_name) == (first.taxon, first.common_name) for p in same[1:]):
            continue
        for rank in LABELS:
            names = sorted(((p.path, p.label(rank)) for p in same), key=lambda item: item[0])
            if len({name for _, name in names if name is not None}) > 1:
                found.append(Conflict(rank, tuple(names)))
                break
    return tuple(sorted(found, key=lambda item: item.photos[0][0]))


def _sizes(readable: Sequence[Photo]) -> Sizes:
    sizes = zip(*((photo.width, photo.height, photo.bytes) for photo in readable), strict=True)
    width, height, size = ((min(values), median(values), max(values)) for values in sizes)
    shorter = binned((min(photo.width, photo.height) for photo in readable), _SIDES)
    return Sizes(width, height, size, shorter)


def _flags(findings: Sequence[Finding], flags: set[str], rows: int) -> dict[str, FlagCount]:
    found: dict[str, list[Finding]] = {flag: [] for flag in FLAGS if flag in flags}
    for finding in findings:
        found[finding.flag].append(finding)
    return {
        flag: FlagCount(
            len(items),
            len(items) / rows if rows else 0.0,
            tuple(sorted(items, key=lambda item: (-item.score, item.path))[:WORST]),
        )
        for flag, items in found.items()
    }


def _places(names: Iterable[str | None]) -> Places | None:
    counts = Counter(name for name in names if name is not None)
    return Places(len(counts), counts.total(), max(counts.values())) if counts else None


def imbalance(sizes: Sequence[int]) -> Imbalance:
    """Measure how uneven classes with these numbers of photos are; each has at least one photo.

    Raises
    ------
    DataError
        There is no class, or an empty one.
    """
    if not sizes or min(sizes) < 1:
        raise DataError("imbalance: got no class, or one without a photo; leave empty classes out")
    ordered = np.sort(np.asarray(sizes, np.float64))
    count, total = len(ordered), float(ordered.sum())
    # Gini coefficient of sizes x_1 <= ... <= x_n: sum of (2 i - n - 1) x_i / (n * sum of x_i).
    places = 2 * np.arange(1, count + 1) - count - 1
    shares = ordered / total
    return Imbalance(
        classes=count,
        largest=int(ordered[-1]),
        smallest=int(ordered[0]),
        ratio=float(ordered[-1] / ordered[0]),
        gini=float(places @ ordered / (count * total)),
        effective_classes=math.exp(float(-(shares * np.log(shares)).sum())),
        under={str(limit): float(np.mean(ordered < limit)) for limit in _SMALL_CLASSES},
    )


def binned(values: Iterable[float], edges: Sequence[int]) -> dict[str, int]:
    """Count integers in the bins between ascending ``edges``, and below and above all of them."""
    between = [f"{low}–{high - 1}" for low, high in pairwise(edges)]
    names = [f"< {edges[0]}", *between, f"≥ {edges[-1]}"]
    counts = Counter(np.searchsorted(edges, list(values), side="right").tolist())
    return {name: counts[place] for place, name in enumerate(names)}
