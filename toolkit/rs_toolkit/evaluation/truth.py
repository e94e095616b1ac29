"""Which of a model's taxa each photo shows at every rank, and where the model has no such taxon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.kit.manifest import ClassInfo
from rs_runtime.ranks import Level
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import RANKS, Taxon

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UNKNOWN", "UNLABELLED", "true_taxa"]

UNLABELLED, UNKNOWN = -1, -2
"""In place of a taxon's index: the photo has no name at this rank; the model has no such taxon."""


def true_taxa(
    photos: Sequence[Photo], classes: Sequence[ClassInfo], levels: Sequence[Level]
) -> NDArray[np.int64]:
    """Return the index of each photo's taxon at each rank, or UNLABELLED or UNKNOWN: (n, ranks).

    A photo of one of the model's ``classes`` has the taxa of that class.  Others are matched by
    name, and where the ranks above agree as far as both are known, as in :mod:`rs_runtime.ranks`.
    """
    trained, *above = levels
    number = {name: place for place, name in enumerate(trained.names)}
    known = [_taxa_of(level, classes) for level in above]

    @cache
    def places(name: str | None, taxon: Taxon) -> tuple[int, ...]:
        own = UNLABELLED if name is None else number.get(name, UNKNOWN)
        found = [own]
        for level, taxa in zip(above, known, strict=True):
            of_class = int(level.places[own]) if own >= 0 else -1
            found.append(of_class if of_class >= 0 else _match(taxon, level.rank, taxa))
        return tuple(found)

    rows = [places(photo.label(trained.rank), photo.taxon) for photo in photos]
    return np.array(rows, np.int64).reshape(-1, len(levels))


def _taxa_of(
    level: Level, classes: Sequence[ClassInfo]
) -> dict[str, dict[int, list[Mapping[str, str]]]]:
    """Return the taxa of a level by name: of each its index, and what its classes are."""
    found: dict[str, dict[int, list[Mapping[str, str]]]] = {}
    for item, place in zip(classes, level.places.tolist(), strict=True):
        if place >= 0:
            found.setdefault(level.names[place], {}).setdefault(place, []).append(item.taxon)
    return found


def _match(
    taxon: Taxon, rank: str, taxa: Mapping[str, Mapping[int, Sequence[Mapping[str, str]]]]
) -> int:
    name = taxon.at(rank)
    if name is None:
        return UNLABELLED
    own = {upper: taxon.at(upper) for upper in RANKS[: RANKS.index(rank)]}
    fits = [
        place
        for place, members in taxa.get(name, {}).items()
        if any(all(item.get(r, n) == n for r, n in own.items() if n) for item in members)
    ]
    if not fits:
        return UNKNOWN
    # A name of several taxa that the labels cannot tell apart.
    return fits[0] if len(fits) == 1 else UNLABELLED
