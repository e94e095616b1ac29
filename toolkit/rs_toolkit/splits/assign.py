"""Assign photos to train, val and test: stratified, in whole groups, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from rs_toolkit.data.photos import SIDES

__all__ = ["SIDES", "quotas", "split"]

# If a group's photos were on several sides, the group keeps the first of these that it was on.
# Photos that were trained on must never be tested on; leaving them out of training does no harm.
_KEEPS = ("test", "val", "train")


def split(
    labels: Sequence[str],
    *,
    strata: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    val: float = 0.15,
    test: float = 0.2,
    seed: int = 0,
    before: Sequence[str | None] | None = None,
) -> list[str | None]:
    """Assign every photo to ``train``, ``val`` or ``test``.

    Groups are assigned one by one, ordered by label and stratum, each to the side that lacks most
    photos: its fraction of the photos so far, less the photos that it has.  What a side lacks is
    carried over to the next stratum and label, so that strata too small for the fractions meet
    them together (cumulative rounding).  Hashes of the names and the seed decide the order of
    labels, of strata, and of groups of equal size.

    - A group is never divided.
    - A label with three groups or more is on all three sides (so small labels exceed ``val`` and
      ``test``), with two groups in train and test, with one in train.  Groups with several labels
      can make that impossible.  A label that lacks a side then gets a group moved to it, if no
      other label loses a side.
    - The same names, fractions and seed give the same sides, whatever the order of the photos
      (without ``groups``, a photo's position is its group's name, so the order matters).
    - With ``before``, photos keep the side that they had, and only groups without a side are
      assigned, after all photos that stay are counted.  If groups of different sides have become
      one group, it keeps its test side if it has one, else val, else train, and its photos from
      other sides are left out (None).

    Parameters
    ----------
    labels, strata, groups
        n strings each: the photos' classes; what to spread evenly over the sides within each
        label, such as the species of a family (default: the labels); and which photos must stay
        together (default: every photo alone).
    val, test
        Fractions of the photos, each 0 or more; their sum is below 1.
    before
        The sides that the n photos had, None for new photos.  Default: all photos are new.
    """
    strata = labels if strata is None else strata
    groups = [str(n) for n in range(len(labels))] if groups is None else groups
    before = [None] * len(labels) if before is None else before
    kept = _kept_sides(groups, before)
    stays = [side in (None, kept.get(name)) for name, side in zip(groups, before, strict=True)]
    rows = zip(labels, strata, groups, stays, strict=True)
    units = _units([row[:3] for row in rows if row[3]], kept)
    _assign(units, {"train": 1 - val - test, "val": val, "test": test}, seed)
    return [units[name].side if stay else None for name, stay in zip(groups, stays, strict=True)]


def quotas(fractions: Mapping[str, float], groups: int) -> dict[str, float]:
    """Return the sides that a label with ``groups`` >= 1 groups should be on, with fractions.

    These are above 0 and add up to 1.  ``fractions`` are the ones asked for, by side, 0 to 1.
    """
    if groups < 2:
        return {"train": 1.0}
    if groups == 2:
        return {"train": 0.5, "test": 0.5} if fractions["test"] else {"train": 1.0}
    least = {side: max(part, 1 / groups) for side, part in fractions.items() if part}
    least["train"] = max(1 - least.get("val", 0.0) - least.get("test", 0.0), 1 / groups)
    total = sum(least.values())
    return {side: part / total for side, part in least.items()}


def _kept_sides(groups: Sequence[str], before: Sequence[str | None]) -> dict[str, str]:
    """Return the side to keep, by group, of all groups that had a side."""
    had: dict[str, set[str]] = defaultdict(set)
    for name, side in zip(groups, before, strict=True):
        if side is not None:
            had[name].add(side)
    return {name: next(side for side in _KEEPS if side in sides) for name, sides in had.items()}


@dataclass
class _Unit:
    """A group of photos; ``label`` and ``stratum`` are the most frequent pair of them."""

    name: str
    members: dict[tuple[str, str], int]
    side: str

    def __post_init__(self) -> None:
        shares = self.members
        self.fixed = bool(self.side)
        self.label, self.stratum = min(shares, key=lambda share: (-shares[share], share))
        self.size = sum(shares.values())
        self.labels = sorted({label for label, _ in shares})


def _units(rows: Iterable[tuple[str, str, str]], kept: Mapping[str, str]) -> dict[str, _Unit]:
    # Most groups are one photo, and making a Counter for each is slow.
    members: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for label, stratum, name in rows:
        shares = members[name]
        shares[label, stratum] = shares.get((label, stratum), 0) + 1
    return {name: _Unit(name, shares, kept.get(name, "")) for name, shares in members.items()}


def _assign(units: dict[str, _Unit], fractions: dict[str, float], seed: int) -> None:
    waiting: dict[str, int] = Counter(label for unit in units.values() for label in unit.labels)
    wanted = {label: quotas(fractions, number) for label, number in waiting.items()}
    covered: dict[str, set[str]] = defaultdict(set)

    def settle(unit: _Unit) -> None:
        for label in unit.labels:
            waiting[label] -= 1
            covered[label].add(unit.side)

    for unit in units.values():
        if unit.fixed:
            settle(unit)
    owed = dict.fromkeys(SIDES, 0.0)
    label = None
    for unit in sorted(units.values(), key=lambda unit: _turn(unit, seed)):
        if unit.label != label:
            label = unit.label
            # Carry over at most 1 photo, so that a huge group does not shift the next labels.
            owed = {side: min(1.0, max(-1.0, due)) for side, due in owed.items()}
        for side, quota in wanted[unit.label].items():
            owed[side] += quota * unit.size
        if not unit.fixed:
            allowed = _allowed(unit, wanted, waiting, covered)
            unit.side = max((side for side in SIDES if side in allowed), key=owed.__getitem__)
            settle(unit)
        owed[unit.side] -= unit.size
    _repair(units, wanted)


def _allowed(
    unit: _Unit,
    wanted: dict[str, dict[str, float]],
    waiting: dict[str, int],
    covered: dict[str, set[str]],
) -> set[str]:
    """Return the sides that a group may go to: if few groups are left, only those still lacking."""
    allowed = set(wanted[unit.label])
    for other in (unit.label, *unit.labels):
        missing = set(wanted[other]) - covered[other]
        if waiting[other] <= len(missing):
            allowed = allowed & missing or allowed
    return allowed


def _repair(units: dict[str, _Unit], wanted: dict[str, dict[str, float]]) -> None:
    """Move groups, small ones first, to a side that lacks their label, if no label loses one."""
    counts = Counter((label, unit.side) for unit in units.values() for label in unit.labels)
    if all(counts[label, side] for label, sides in wanted.items() for side in sides):
        return
    free = [unit for unit in units.values() if not unit.fixed]
    for unit in sorted(free, key=lambda unit: (unit.size, unit.name)):
        held = [label for label in unit.labels if unit.side in wanted[label]]
        gains = Counter(
            side for label in unit.labels for side in wanted[label] if not counts[label, side]
        )
        if gains and all(counts[label, unit.side] > 1 for label in held):
            counts.subtract((label, unit.side) for label in unit.labels)
            unit.side = max(SIDES, key=gains.__getitem__)
            counts.update((label, unit.side) for label in unit.labels)


def _turn(unit: _Unit, seed: int) -> tuple[object, ...]:
    """Sort key: by label, then groups with a side first, then by stratum, large groups first."""
    return (
        _draw(seed, unit.label),
        unit.label,
        not unit.fixed,
        _draw(seed, unit.label, unit.stratum),
        unit.stratum,
        -unit.size,
        _draw(seed, unit.name),
        unit.name,
    )


@lru_cache(maxsize=100_000)
def _draw(*parts: object) -> bytes:
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
