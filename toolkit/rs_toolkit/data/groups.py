"""Groups of photos that a split must not separate.

Photos with the same :attr:`Photo.group` (copies, near-duplicates, what the data declares as a
group) always stay together, and so do those of an observation unless it is switched off.  Photos of
one site or species do so if that is asked for.  Groups that share a photo are merged, in chains of
any length: when grouping by species, a burst that shows two species joins all photos of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rs_toolkit.errors import ConfigError, DataError

if TYPE_CHECKING:
    # NumPy and Pillow take most of the time in which the command line's help answers.
    import numpy as np
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo

__all__ = ["LEVELS", "LEVELS_TEXT", "Grouping", "connected", "group_photos"]

LEVELS = ("observation", "site", "species", "duplicates", "photo")
"""What a split keeps together; each of the first three includes what ``duplicates`` does.

``photo`` is for those who want no near-duplicates to be looked for: then only copies of the same
bytes, and groups that the data declares, are kept together.
"""
LEVELS_TEXT = (
    "kept on one side of the split: copies, near-duplicates and observations; with site or species "
    "those too; duplicates: no observations; photo: only copies"
)
_BY_LEVEL = {
    "observation": ("observation",),
    "site": ("observation", "site"),
    "species": ("observation", "species"),
}


@dataclass(frozen=True)
class Grouping:
    """The groups of n photos.

    ``names`` holds n strings, equal for photos of the same group and for no others; they are not
    meant to be shown.  ``unknown`` holds the paths of photos whose species, site or observation
    is unknown: each is alone in its group, or with its duplicates.  ``single`` holds the paths of
    photos whose site or observation no other photo has.  Where no photo has an observation, both
    are empty.
    """

    names: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    single: tuple[str, ...] = ()

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Number of each photo's group, (n,), in the order in which groups appear."""
        import numpy as np

        known = {name: number for number, name in enumerate(dict.fromkeys(self.names))}
        return np.array([known[name] for name in self.names], np.int64)


def group_photos(photos: Sequence[Photo], level: str = LEVELS[0]) -> Grouping:
    """Group n photos by their duplicates and by ``level``, one of :data:`LEVELS`.

    Raises
    ------
    ConfigError
        There is no such level.
    DataError
        No photo at all has a species or site to group by, or each has a site that no other photo
        has: that is no place, but perhaps the photo's address.
    """
    if level not in LEVELS:
        raise ConfigError(f"group_by: got {level!r}, wanted one of: {', '.join(LEVELS)}")
    # The NULs keep the keys of groups, of single photos and of the level's values distinct.
    keys = [[photo.group or f"\0{photo.path}"] for photo in photos]
    for attribute in _BY_LEVEL.get(level, ()):
        for key, value in zip(keys, _values(photos, attribute), strict=True):
            key += [f"\0\0{attribute}\0{value}"] if value else []
    values = _values(photos, level) if level in _BY_LEVEL else []
    if not any(values):
        if photos and level in ("species", "site"):
            raise DataError(
                f"group_by {level}: got {len(photos)} photos without a {level}; add it to the "
                f"data, or choose --group-by {LEVELS[0]}"
            )
        return Grouping(connected(keys))
    unknown = tuple(photo.path for photo, value in zip(photos, values, strict=True) if not value)
    single = () if level == "species" else _single(photos, values)
    known = len(photos) - len(unknown)
    if level == "site" and known > 1 and len(single) == known:
        raise DataError(
            f"group_by site: each of {known} photos has a site of its own, such as "
            f"{next(filter(None, values))[:80]!r}, so nothing is grouped; give the place of each "
            f"photo as its site, or choose --group-by {LEVELS[0]}"
        )
    return Grouping(connected(keys), unknown, single)


def _values(photos: Sequence[Photo], attribute: str) -> list[str | None]:
    holders = (photo.taxon if attribute == "species" else photo for photo in photos)
    return [getattr(holder, attribute) for holder in holders]


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
        for name in names[1:]:
            one, other = sorted((find(names[0]), find(name)))
            parent[other] = one
    return tuple(find(names[0]) for names in items)
