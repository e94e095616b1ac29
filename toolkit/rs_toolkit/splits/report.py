"""The report of a split, for a person to read: what could not be done as asked, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass, field

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.groups import Grouping
from rs_toolkit.data.photos import Photo
from rs_toolkit.splits.assign import SIDES, quotas

__all__ = ["SplitReport", "report_split"]

# A group is large if it has more photos than this, and more than this part of all.
_LARGE, _LARGE_PART = 10, 0.1
# A label is uneven if a side is off by more than this number of photos and this part of its photos.
_PHOTOS, _PART = 2, 0.05
_SHOWN = 5


@dataclass(frozen=True)
class SplitReport:
    """The result of a split in numbers, and what could not be done as asked.

    Attributes
    ----------
    photos, groups
        Numbers of photos and of groups by side.
    missing
        By side, the labels that have no photo on it, each with the reason.
    uneven
        By label, the share of its photos on each side, 0 to 1.  Only labels that lack no side, but
        have on one of them more than 2 photos and more than 5 % too many or too few.
    left_out
        Paths of photos whose group keeps another side than theirs, with the side that they had.
    ungrouped, single
        As :attr:`rs_toolkit.data.groups.Grouping.unknown` and ``single``.
    kept
        Number of photos that keep the side of an earlier split, or the one that the data set gives
        them; None if there is neither.
    official
        Whether these sides are the data set's own.
    largest
        Number of photos of the largest group, and the path of one; only if it is so large, more
        than a tenth of the photos, that the sides cannot have the asked proportions.
    places
        :meth:`rs_toolkit.splits.places.Places.to_dict`: which question the test photos answer.
    """

    group_by: str
    photos: dict[str, int]
    groups: dict[str, int]
    missing: dict[str, dict[str, str]]
    uneven: dict[str, dict[str, float]]
    left_out: dict[str, str]
    ungrouped: tuple[str, ...] = ()
    kept: int | None = None
    single: tuple[str, ...] = ()
    official: bool = False
    largest: tuple[int, str] | None = None
    places: dict[str, str | int] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Return what a person should know, one line each; nothing if all was done as asked."""
        notes = []
        if self.kept is not None:
            new = sum(self.photos.values()) - self.kept
            had = "the data set gives them" if self.official else "they had"
            rest = "are assigned" if self.official else "are new"
            notes.append(f"{self.kept} photos keep the side that {had}, {new} {rest}")
        if self.ungrouped:
            notes.append(
                f"{_number(self.ungrouped, 'photo')} without a {self.group_by}, such as "
                f"{self.ungrouped[0]}: only their duplicates stay together with them"
            )
        total = sum(self.photos.values()) + len(self.left_out)
        if len(self.single) > total / 2:
            notes.append(
                f"{_number(self.single, 'photo')} of {total}, such as {self.single[0]}, share "
                f"their {self.group_by} with no other: grouping by it does little; check the data"
            )
        if self.largest:
            notes.append(self._large(total))
        if self.left_out:
            path, side = next(iter(self.left_out.items()))
            notes.append(
                f"left out: {_number(self.left_out, 'photo')} whose group was on several sides, "
                f"such as {path} (was in {side})"
                + ("; the data set's own split separates what belongs together" * self.official)
            )
        for side, reasons in self.missing.items():
            counts = "; ".join(f"{n}: {why}" for why, n in Counter(reasons.values()).most_common())
            notes.append(
                f"{_number(reasons, 'class', 'es')} without a {side} photo ({counts}): "
                f"{_some(list(reasons))}"
            )
        if self.uneven:
            rows = [
                f"{label} ({', '.join(f'{side} {part:.0%}' for side, part in parts.items())})"
                for label, parts in self.uneven.items()
            ]
            count = _number(rows, "class", "es")
            notes.append(f"{count} far from the asked proportions: {_some(rows)}")
        return notes

    @property
    def question(self) -> str:
        """Which question the test photos answer, in one line."""
        return f"the test answers: {self.places['text']}"

    def _large(self, total: int) -> str:
        """Return the note about the largest group, which makes the split lopsided."""
        number, path = self.largest or (0, "")
        got = ", ".join(f"{side} {count / total:.0%}" for side, count in self.photos.items())
        return (
            f"lopsided: {number} of {total} photos are one group (such as {path}), by chains of "
            f"near-duplicates or a common {self.group_by}, and stay on one side; got {got}; "
            "check that they belong together, or choose another --group-by"
        )


def report_split(
    photos: Sequence[Photo],
    grouping: Grouping,
    sides: Sequence[str | None],
    before: Sequence[str | None] | None,
    config: TrainConfig,
) -> SplitReport:
    """Compare the result of :func:`rs_toolkit.splits.assign.split` with what was asked for.

    ``sides`` is what it returned for n photos, ``before`` is the argument that it was given.
    """
    fractions = {"train": 1 - config.val - config.test, "val": config.val, "test": config.test}
    had = before or [None] * len(photos)
    labels, groups = [str(photo.label(config.rank)) for photo in photos], grouping.names
    rows = list(zip([photo.path for photo in photos], had, sides, strict=True))
    side_of = {group: side for group, side in zip(groups, sides, strict=True) if side is not None}
    groups_of: dict[str, set[str]] = {label: set() for label in sorted(set(labels))}
    for label, group, side in zip(labels, groups, sides, strict=True):
        if side is not None:
            groups_of[label].add(group)
    counts = Counter(zip(labels, sides, strict=True))
    fixed = {group for group, side in zip(groups, had, strict=True) if side is not None}
    missing: dict[str, dict[str, str]] = {side: {} for side in SIDES if fractions[side]}
    uneven = {}
    for label, own in groups_of.items():
        lacking = [side for side in missing if not counts[label, side]]
        for side in lacking:
            missing[side][label] = _reason(own, side, fractions, fixed)
        numbers = {side: counts[label, side] for side in SIDES}
        if not lacking and _is_uneven(numbers, fractions):
            total = sum(numbers.values())
            uneven[label] = {side: round(number / total, 3) for side, number in numbers.items()}
    kept = sum(was is not None and was == now for _, was, now in rows)
    return SplitReport(
        group_by=config.group_by,
        photos=_by_side(sides),
        groups=_by_side(side_of.values()),
        missing={side: reasons for side, reasons in missing.items() if reasons},
        uneven=uneven,
        left_out={path: was for path, was, now in rows if was is not None and now is None},
        ungrouped=grouping.unknown,
        kept=None if before is None else kept,
        single=grouping.single,
        official=before is not None and not config.splits_from,
        largest=_largest(photos, groups),
    )


def _largest(photos: Sequence[Photo], groups: Sequence[str]) -> tuple[int, str] | None:
    """Return size and a member of the largest group, if it makes the split lopsided."""
    name, size = Counter(groups).most_common(1)[0] if groups else ("", 0)
    if size <= max(_LARGE, _LARGE_PART * len(groups)):
        return None
    return size, photos[groups.index(name)].path


def _reason(groups: set[str], side: str, fractions: dict[str, float], fixed: set[str]) -> str:
    """Return why a label with these groups has no photo on a side."""
    if not groups:
        return "all left out"
    if side not in quotas(fractions, len(groups)):
        return _number(groups, "group")
    if fixed & groups:
        return "its groups keep the sides they had"
    # A label in three groups of its own is on all sides; see rs_toolkit.splits.assign.split.
    return "its groups hold other labels"


def _is_uneven(numbers: dict[str, int], fractions: dict[str, float]) -> bool:
    total = sum(numbers.values())
    slack = max(_PHOTOS, _PART * total)
    return any(abs(number - fractions[side] * total) > slack for side, number in numbers.items())


def _by_side(sides: Iterable[str | None]) -> dict[str, int]:
    counts = Counter(sides)
    return {side: counts[side] for side in SIDES}


def _number(items: Sized, one: str, plural: str = "s") -> str:
    return f"{len(items)} {one}{plural if len(items) != 1 else ''}"


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (" …" if len(items) > _SHOWN else "")
