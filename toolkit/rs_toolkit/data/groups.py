"""Which photos must stay together on one side of a split.

Photos of one :attr:`Photo.group` (bursts, exact and near duplicates) always stay together, and
photos of one species, site or observation do if that is asked for.  What is connected through
other photos stays together too: a burst that shows two species joins them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rs_toolkit.data.photos import Photo
from rs_toolkit.errors import ConfigError, DataError

__all__ = ["LEVELS", "Grouping", "connected", "group_photos"]

# ``photo`` and ``duplicates`` mean the same, as duplicates are never separated.
LEVELS = ("photo", "duplicates", "species", "site", "observation")


@dataclass(frozen=True)
class Grouping:
    """The group of each photo.

    ``names`` are n strings, equal for photos that belong together and for no others; they are not
    for people.  ``unknown`` are the paths of the photos whose species, site or observation is
    unknown: each is in a group of its own, or of its duplicates.
    """

    names: tuple[str, ...]
    unknown: tuple[str, ...] = ()


def group_photos(photos: Sequence[Photo], level: str = "duplicates") -> Grouping:
    """Group n photos by their duplicates and by ``level``, one of :data:`LEVELS`.

    Raises
    ------
    ConfigError
        There is no such level.
    DataError
        No photo at all has a species, site or observation to group by.
    """
    if level not in LEVELS:
        raise ConfigError(f"group_by: got {level!r}, wanted one of: {', '.join(LEVELS)}")
    # The NULs keep the keys of one kind apart from those of another.
    own = [photo.group or f"\0{photo.path}" for photo in photos]
    if level in ("photo", "duplicates"):
        return Grouping(tuple(own))
    values = [getattr(photo.taxon if level == "species" else photo, level) for photo in photos]
    if photos and not any(values):
        raise DataError(
            f"group_by {level}: got {len(photos)} photos without a {level}; add it to the data, "
            "or choose --group-by duplicates"
        )
    keys = [
        (name, f"\0\0{level}\0{value}") if value else (name,)
        for name, value in zip(own, values, strict=True)
    ]
    unknown = (photo.path for photo, value in zip(photos, values, strict=True) if not value)
    return Grouping(connected(keys), tuple(unknown))


def connected(keys: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the name of each item's connected component, given at least one key per item.

    Items that share a key are connected, directly or through others (union of disjoint sets,
    Galler and Fischer 1964).  A component's name is the first of its keys in sorted order, so
    that the order of the items does not matter.
    """
    items = list(keys)
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = name = parent[above]
        return name

    for names in items:
        for name in names:
            one, other = sorted((find(names[0]), find(name)))
            parent[other] = one
    return tuple(find(names[0]) for names in items)
