"""``--rank auto``: the finest rank at which there are enough photos for all three splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import RANKS
from rs_toolkit.progress import Progress

__all__ = ["settle_rank"]

# Of 7 groups of photos, the default fractions put 1 into validation, 1 or 2 into the test and at
# least 4 into training.
_GROUPS = 7
_SHARE = 0.8  # of all photos, that classes with so many groups should hold
_CANDIDATES = (*reversed(RANKS), "common_name")


def settle_rank(photos: Sequence[Photo], config: TrainConfig, progress: Progress) -> TrainConfig:
    """Return the settings with a real rank; where they have one, they are returned as they are.

    Of the ranks with two classes or more, ``auto`` is the finest at which classes of 7 groups of
    photos or more hold 80 % of the readable photos; groups are those that a split keeps together.
    Where no rank has so much, it is the one at which they hold most photos.  Photos without a label
    count against a rank.  The common name comes after all ranks.  ``progress`` is told which rank
    it is, and why.
    """
    if config.rank != "auto":
        return config
    readable = [photo for photo in photos if photo.error is None]
    groups = group_photos(readable, config.group_by).names
    shares: dict[str, float] = {}
    for rank in _CANDIDATES:
        labels = [photo.label(rank) for photo in readable]
        if len({*labels} - {None}) > 1:
            shares[rank] = _share(labels, groups)
    enough = [rank for rank, share in shares.items() if share >= _SHARE]
    # Of equal ones, the first, which is the finest.
    chosen = enough[0] if enough else max(shares, key=shares.__getitem__, default="species")
    if shares:
        progress.note(_reason(chosen, shares))
    return replace(config, rank=chosen)


def _share(labels: Sequence[str | None], groups: Sequence[str]) -> float:
    """Return the share of n photos, 0 to 1, that are of classes with enough groups."""
    pairs = {pair for pair in zip(labels, groups, strict=True) if pair[0]}
    counts = Counter(label for label, _ in pairs)
    return sum(counts[label] >= _GROUPS for label in labels) / len(labels)


def _reason(chosen: str, shares: dict[str, float]) -> str:
    others = [f"{rank} {share:.0%}" for rank, share in shares.items() if rank != chosen]
    compared = f" ({', '.join(others)})" if others else ""
    finest = "the finest rank with at least 80%" if shares[chosen] >= _SHARE else "more than others"
    return (
        f"rank auto: {chosen}. Classes with {_GROUPS} or more separate photos hold "
        f"{shares[chosen]:.0%} of all photos, {finest}{compared}; another: --rank"
    )
