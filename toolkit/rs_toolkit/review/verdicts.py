"""Apply the decisions of a review to photos: to their labels, weights and groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from rs_toolkit.data.groups import connected
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import RANKS, Taxon, normalize_name, printable
from rs_toolkit.review.journal import JOURNAL, Decision, Report, ignore, of_photos

__all__ = ["Relations", "apart", "apply_decisions", "settled"]

_Names = tuple[Taxon, str | None]


class Relations:
    """Which photos a person put together and which the person set apart, by path.

    Decisions come oldest first; if two contradict each other, the later one counts.  ``together``
    are sets of photos of one animal, which may overlap; ``apart`` holds, by photo, those that it
    was set apart from.
    """

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self.together: list[set[str]] = []
        self.apart: dict[str, set[str]] = {}
        for decision in decisions:
            group = set(decision.group)
            if decision.action == "same":
                members = group | {decision.path}
                for path in members & self.apart.keys():
                    self.apart[path] -= members
                self.together.append(members)
            elif decision.action == "different":
                self.apart.setdefault(decision.path, set()).update(group)
                for members in self.together:
                    if decision.path in members and members & group:
                        members.remove(decision.path)

    def rest(self, group: Sequence[str]) -> list[str]:
        """Return the photos of a group, in order, without those set apart from all others of it."""

        def differ(one: str, other: str) -> bool:
            return other in self.apart.get(one, ()) or one in self.apart.get(other, ())

        return [one for one in group if not all(differ(one, two) for two in group if two != one)]

    def cover(self, group: Sequence[str]) -> bool:
        """Return whether a group of duplicates is decided: its photos are together or apart."""
        rest = set(self.rest(group))
        return len(rest) < 2 or any(rest <= members for members in self.together)


def apart(decisions: Mapping[str, Decision]) -> set[frozenset[str]]:
    """Return the pairs of paths of photos that a person set apart.

    The two may still get the same group: through a third photo, or as files with the same bytes.
    """
    found = Relations(decisions.values()).apart
    return {frozenset((path, other)) for path, others in found.items() for other in others}


def settled(decisions: Mapping[str, Decision]) -> frozenset[str]:
    """Return the paths of photos that were kept, relabelled or dropped: ignore their findings."""
    return frozenset(item.path for item in decisions.values() if not item.group)


def apply_decisions(
    photos: Sequence[Photo], decisions: Mapping[str, Decision], rank: str, report: Report = ignore
) -> tuple[Photo, ...]:
    """Return the photos with the decisions applied; none is removed, and the order stays.

    =========  ====================================================================
    action     effect on the photo
    =========  ====================================================================
    keep       none; see :func:`settled`
    relabel    ``taxon`` and ``common_name`` become those of the photos of the named
               class (the most frequent ones, if they differ).  If ``rank`` is above
               species, names below ``rank`` and the common name become unknown: the
               person named a family, for example, and no species.  No effect if the
               photo has that label already
    drop       ``weight`` becomes 0; ``error`` stays as it is
    same       the photo, those of the decision, and all photos in the groups of any of
               them get one ``group``, named as the first of these groups
    different  none; see :func:`apart`
    =========  ====================================================================

    ``decisions`` are those of :func:`rs_toolkit.review.journal.read_decisions`; ``report`` gets a
    line for each that cannot be applied.  An unknown rank raises ConfigError.
    """
    known = of_photos(decisions.values(), photos, report)
    of_photo = {(item.path, item.sha256): item for item in known if not item.group}
    classes = _classes(photos, rank)
    groups = _groups(photos, Relations(known).together)

    def apply(photo: Photo) -> Photo:
        decision = of_photo.get((photo.path, photo.sha256))
        if decision is not None and decision.action == "relabel":
            photo = _relabel(photo, decision, rank, classes, report)
        elif decision is not None and decision.action == "drop":
            photo = replace(photo, weight=0.0)
        return replace(photo, group=groups.get(_name(photo), photo.group))

    return tuple(apply(photo) for photo in photos)


def _relabel(
    photo: Photo, decision: Decision, rank: str, classes: Mapping[str, _Names], report: Report
) -> Photo:
    label = normalize_name(decision.label) or ""
    if label == photo.label(rank):
        return photo
    if label not in classes:
        where = f"{JOURNAL} line {decision.line}, relabel {printable(photo.path)[:100]!r}"
        report(f"{where}: no photo is of class {label[:100]!r}; label left as it is")
        return photo
    taxon, common_name = classes[label]
    return replace(photo, taxon=taxon, common_name=common_name)


def _classes(photos: Iterable[Photo], rank: str) -> dict[str, _Names]:
    """Return, by class, the names down to the rank that most of its photos have."""
    counts: dict[str, Counter[_Names]] = defaultdict(Counter)
    for photo in photos:
        label = photo.label(rank)
        if label is not None and photo.error is None:
            counts[label][_names(photo, rank)] += 1
    return {label: count.most_common(1)[0][0] for label, count in counts.items()}


def _names(photo: Photo, rank: str) -> _Names:
    if rank in (RANKS[-1], "common_name"):
        return photo.taxon, photo.common_name
    upper = RANKS[: RANKS.index(rank) + 1]
    return Taxon.from_dict({name: photo.taxon.at(name) for name in upper}), None


def _groups(photos: Iterable[Photo], together: Iterable[set[str]]) -> dict[str, str]:
    """Return the new group's name by the old group, or photo without one, that it includes."""
    names: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        names[photo.path].add(_name(photo))
    joined = [set().union(*(names[path] for path in paths)) for paths in together if paths]
    new = connected([sorted(nodes) for nodes in joined])
    return {node: name for nodes, name in zip(joined, new, strict=True) for node in nodes}


def _name(photo: Photo) -> str:
    return photo.group or f"same:{photo.path}"
