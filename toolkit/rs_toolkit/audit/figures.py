"""Figures of an audit: what each is, and the statistics that need more than counting."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rs_toolkit.checks.findings import Finding
from rs_toolkit.errors import DataError

__all__ = [
    *("Audit", "ClassCount", "Conflict", "FlagCount", "Imbalance", "Places", "RankCount", "Sizes"),
    *("binned", "imbalance"),
]

_SMALL_CLASSES = (5, 10, 20)


@dataclass(frozen=True)
class RankCount:
    """How many different names a rank has, and how many photos have and lack one."""

    names: int
    labelled: int
    unlabelled: int


@dataclass(frozen=True)
class ClassCount:
    """A class of the audited rank: its counted photos, and its rows that cannot be read."""

    name: str
    photos: int
    unreadable: int


@dataclass(frozen=True)
class Imbalance:
    """How unevenly photos are spread over the classes that have any.

    ``largest`` and ``smallest`` count the photos of one class, and ``ratio`` is the first by the
    second.

    Attributes
    ----------
    gini
        Gini coefficient: half the relative mean absolute difference between classes.  0: all
        are equal; towards 1: one class has nearly everything.
    effective_classes
        exp(H), H the Shannon entropy of the classes' shares: the number of equally large classes
        that would be as diverse (Hill 1973, order 1), 1 to ``classes``.
    under
        Share of classes with fewer than 5, 10 and 20 photos, by that number as text, 0 to 1.
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
    """(least, median, most) of readable photos' width, height (pixels) and file size (bytes).

    ``shorter_side`` counts photos by the length of their shorter side in pixels.
    """

    width: tuple[float, float, float]
    height: tuple[float, float, float]
    bytes: tuple[float, float, float]
    shorter_side: dict[str, int]


@dataclass(frozen=True)
class Conflict:
    """Photos of the same bytes (and box) that have different names at ``rank``, and above none.

    ``photos`` holds (path, name at that rank or None).
    """

    rank: str
    photos: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class FlagCount:
    """Findings of one flag: how many, their share of all rows, and the worst of them in order."""

    photos: int
    share: float
    worst: tuple[Finding, ...]


@dataclass(frozen=True)
class Places:
    """Sites or observations: how many there are, photos that name one, photos of the largest."""

    names: int
    photos: int
    largest: int


@dataclass(frozen=True)
class Audit:
    """Result of :func:`rs_toolkit.audit.statistics.audit`.

    Attributes
    ----------
    rank
        The rank that classes are counted at.
    rows, readable
        Photos that the data set lists, and how many of them can be used.
    counted
        What labels are counted over: ``readable`` photos, or ``all`` rows where none can be read.
    conflicts
        Exact duplicates whose labels disagree, in the order of their paths.
    ranks
        By rank, kingdom to species, and ``common_name``.
    classes, imbalance
        The largest class first; None where no counted photo has a label.
    modes
        Photos by Pillow's name of their colour mode, the most frequent first.
    sizes
        None where no photo can be read.
    unreadable, reasons
        (path, reason) of every row that cannot be used; and rows by reason, with N for each
        number but 0, the most frequent first.
    flags
        Of the flags that were checked for or found.
    sites, observations
        None where no photo names one.
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

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return asdict(self)


def imbalance(sizes: Sequence[int]) -> Imbalance:
    """Return how uneven classes of these sizes are; each has one photo at least.

    Raises
    ------
    DataError
        There is no class, or an empty one.
    """
    if not sizes or min(sizes) < 1:
        raise DataError("imbalance: got no class, or one without a photo; leave empty classes out")
    ordered = np.sort(np.asarray(sizes, np.float64))
    count, total = len(ordered), float(ordered.sum())
    # With sizes x_1 <= ... <= x_n: sum of (2 i - n - 1) x_i / (n sum of x_i).
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
    """Count integers below, between and from ``edges``, which ascend; empty bins are kept."""
    names = [
        f"< {edges[0]}",
        *(f"{low}–{high - 1}" for low, high in pairwise(edges)),
        f"≥ {edges[-1]}",
    ]
    counts = Counter(np.searchsorted(edges, list(values), side="right").tolist())
    return {name: counts[place] for place, name in enumerate(names)}
