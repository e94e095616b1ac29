"""What a data set holds: labels by rank, imbalance, files, and what the checks found.

Nothing here opens a photo: everything is counted from the index and from findings.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from rs_toolkit.audit.figures import (
    Audit,
    ClassCount,
    Conflict,
    FlagCount,
    Places,
    RankCount,
    Sizes,
    binned,
    imbalance,
)
from rs_toolkit.checks.findings import FLAGS, Finding
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import RANKS

__all__ = ["WORST", "Audit", "audit"]

WORST = 24
"""Findings of a flag that are named, the worst first."""

_LABELS = (*RANKS, "common_name")
_SIDES = (64, 128, 256, 512, 1024, 2048, 4096)


def audit(
    photos: Sequence[Photo],
    findings: Sequence[Finding],
    rank: str,
    checked: Iterable[str] = (),
) -> Audit:
    """Count what a data set holds.

    Parameters
    ----------
    photos, findings
        Every row as :func:`rs_toolkit.data.index.build_index` returns them, and what the checks
        found about them.
    rank
        The rank to be trained: one of kingdom … species, or ``common_name``.
    checked
        Flags that were looked for, so that "none found" is reported too.

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
        conflicts=_conflicts(readable),
        ranks={name: _rank_count(counted, name) for name in _LABELS},
        classes=classes,
        imbalance=imbalance(sizes) if sizes else None,
        modes=_most_frequent(photo.mode for photo in readable),
        sizes=_sizes(readable) if readable else None,
        unreadable=unreadable,
        reasons=_most_frequent(re.sub(r"[1-9]\d*", "N", reason) for _, reason in unreadable),
        flags=_flags(findings, {*checked, *(finding.flag for finding in findings)}, len(photos)),
        sites=_places(photo.site for photo in counted),
        observations=_places(photo.observation for photo in counted),
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


def _conflicts(readable: Sequence[Photo]) -> tuple[Conflict, ...]:
    # Two boxes of one photo may well show two species.
    copies: dict[tuple[str, str | None], list[Photo]] = defaultdict(list)
    for photo in readable:
        if photo.sha256:
            copies[photo.sha256, photo.box].append(photo)
    found = [_conflict(same) for same in copies.values() if len(same) > 1]
    return tuple(sorted((item for item in found if item), key=lambda item: item.photos[0][0]))


def _conflict(same: Sequence[Photo]) -> Conflict | None:
    for rank in _LABELS:
        names = [(photo.path, photo.label(rank)) for photo in same]
        if len({name for _, name in names if name is not None}) > 1:
            return Conflict(rank, tuple(sorted(names, key=lambda item: item[0])))
    return None


def _sizes(readable: Sequence[Photo]) -> Sizes:
    def spread(values: list[int]) -> tuple[float, float, float]:
        return min(values), median(values), max(values)

    return Sizes(
        spread([photo.width for photo in readable]),
        spread([photo.height for photo in readable]),
        spread([photo.bytes for photo in readable]),
        binned((min(photo.width, photo.height) for photo in readable), _SIDES),
    )


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
