"""Groups of photos that a split must not separate.

Photos with the same :attr:`Photo.group` (bursts, exact and near duplicates) always stay together.
Photos of one species, site or observation do so if that is asked for.  Groups that share a photo
are merged: when grouping by species, a burst that shows two species joins all photos of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rs_toolkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    # NumPy and Pillow take most of the time in which the command line's help answers.
    from rs_toolkit.data.photos import Photo

__all__ = ["LEVELS", "Grouping", "connected", "group_photos"]

# ``photo`` and ``duplicates`` mean the same, because duplicates are never separated.
LEVELS = ("photo", "duplicates", "species", "site", "observation")


@dataclass(frozen=True)
class Grouping:
    """The groups of n photos.

    ``names`` holds n strings, equal for photos of the same group and for no others; they are not
    meant to be shown.  ``unknown`` holds the paths of photos whose species, site or observation
    is unknown: each is alone in its group, or with its duplicates.  ``single`` holds the paths of
    photos whose site or observation no other photo has.
    """

    names: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    single: tuple[str, ...] = ()


def group_photos(photos: Sequence[Photo], level: str = "duplicates") -> Grouping:
    """Group n photos by their duplicates and by ``level``, one of :data:`LEVELS`.

    Raises
    ------
    ConfigError
        There is no such level.
    DataError
        No photo at all has a species, site or observation to group by, or each has a site that no
        other photo has: that is no place, but perhaps the photo's address.
    """
    if level not in LEVELS:
        raise ConfigError(f"group_by: got {level!r}, wanted one of: {', '.join(LEVELS)}")
    # The NULs keep the keys of groups, of single photos and of the level's values distinct.
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
    unknown = tuple(photo.path for photo, value in zip(photos, values, strict=True) if not value)
    single = () if level == "species" else _single(photos, values)
    known = len(photos) - len(unknown)
    if level == "site" and known > 1 and len(single) == known:
        raise DataError(
            f"group_by site: each of {known} photos has a site of its own, such as "
            f"{next(filter(None, values))[:80]!r}, so nothing is grouped; give the place of each "
            "photo as its site, or choose --group-by duplicates"
        )
    return Grouping(connected(keys), unknown, single)


def _single(photos: Sequence[Photo], values: Sequence[str | None]) -> tuple[str, ...]:
    counts = Counter(values)
    rows = zip(photos, values, strict=True)
    return tuple(photo.path for photo, value in rows if value and counts[value] == 1)


def connected(keys: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Return the name of each item's connected component, given at least one key per item.

    Items that share a key are connected, directly or through other items (union-find, Galler and
    Fischer 1964).  A component's name is the first of its keys in sorted order, so that it does
    not depend on the order of the items.
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
