"""What cleaning did, class by class and phylum by phylum, as Markdown and CSV."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_toolkit.batches.oversampling import Shares, class_sizes
from rs_toolkit.checks.findings import Finding
from rs_toolkit.clean.policy import Decided, Policy
from rs_toolkit.data.photos import Photo
from rs_toolkit.files import atomic_write, write_csv

__all__ = ["Tally", "tally", "write_clean_report"]

_UNKNOWN = "(unknown)"


class Tally(NamedTuple):
    """Training photos of one class or phylum; ``lost`` is the weight that they lost as one class.

    A group of duplicates counts as one photo, of the highest weight in it.

    ``why`` counts, by flag, the photos whose weight is below 1; ``review`` stands for decisions.
    """

    photos: int
    kept: int
    weighed: int
    dropped: int
    lost: float
    why: Counter[str]


def tally(photos: Iterable[Photo], decided: Sequence[Decided], rank: str) -> dict[str, Tally]:
    """Return a tally for each name of the training photos at a rank, in alphabetical order."""
    why = {item.path: item.why for item in decided}
    members: dict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        if photo.split == "train" and photo.error is None:
            members[photo.label(rank) or _UNKNOWN].append(photo)
    found = {}
    for name, own in sorted(members.items()):
        weights = [photo.weight for photo in own]
        kept, dropped, lost = weights.count(1), weights.count(0), _lost(own)
        lighter = (why.get(photo.path) or "review" for photo in own if photo.weight < 1)
        flags = Counter(flag for reasons in lighter for flag in reasons.split(", "))
        found[name] = Tally(len(own), kept, len(own) - kept - dropped, dropped, lost, flags)
    return found


def _lost(photos: Sequence[Photo]) -> float:
    shares = Shares.of(photos)
    size = float(class_sizes(np.zeros(len(photos), np.int64), shares)[0])
    return len(set(shares.groups.tolist())) - size


def write_clean_report(
    folder: Path,
    photos: Sequence[Photo],
    findings: Sequence[Finding],
    decided: Sequence[Decided],
    policy: Policy,
    rank: str,
) -> None:
    """Write ``clean.md`` and ``decided.csv``, atomically."""
    flags = Counter(item.flag for item in findings)
    listed = "\n".join(f"| {flag} | {flags[flag]} | {_rule(policy, flag)} |" for flag in flags)
    parts = [
        "# What cleaning did",
        f"A class may lose {policy.max_loss:.0%} of its training photos, counted by weight, a "
        f"group of duplicates as one, and keeps {policy.min_photos} in any case. Validation and "
        "test photos are never weighed down. Nothing was deleted.",
        f"| finding | photos | policy |\n|---|---:|---|\n{listed}",
        "## By phylum",
        _table("phylum", tally(photos, decided, "phylum")),
        f"## By {rank.replace('_', ' ')}",
        _table(rank, tally(photos, decided, rank)),
    ]
    with atomic_write(folder / "clean.md") as temporary:
        temporary.write_text("\n\n".join(parts) + "\n", "utf-8")
    rows = (
        (item.path, item.label, f"{item.wanted:.4g}", f"{item.weight:.4g}", item.why)
        for item in decided
    )
    write_csv(folder / "decided.csv", ("path", "label", "wanted", "weight", "why"), rows)


def _rule(policy: Policy, flag: str) -> str:
    rule = policy.rules.get(flag)
    if rule is None or rule.action == "report":
        return "reported"
    return f"{rule.action} from {rule.min_score:g}" if rule.min_score else rule.action


def _table(head: str, rows: Mapping[str, Tally]) -> str:
    lines = [
        f"| {head} | training photos | kept | weighed down | dropped | lost | why |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, row in rows.items():
        why = ", ".join(f"{flag} {count}" for flag, count in sorted(row.why.items()))
        safe = " ".join(name.replace("|", "\\|").split())
        lines.append(
            f"| {safe} | {row.photos} | {row.kept} | {row.weighed} | {row.dropped} "
            f"| {row.lost:.2f} | {why} |"
        )
    return "\n".join(lines)
