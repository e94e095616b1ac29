"""What pairs of near-duplicates mean: groups, photos with these groups, and findings.

Photos are those of the index, where exact copies share a group already.  A pair holds positions in
this sequence.  Pairs that a person has declared different are not passed to these functions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from rs_toolkit.checks.findings import Finding
from rs_toolkit.data.groups import connected
from rs_toolkit.data.photos import Photo

__all__ = ["Pair", "duplicate_findings", "duplicate_groups", "join_groups"]


class Pair(NamedTuple):
    """Two photos that show the same picture: their positions from 0, ``first < second``.

    ``similarity``, 0 to 1, is defined in :mod:`rs_toolkit.checks.duplicates.same_picture`.
    """

    first: int
    second: int
    similarity: float


def duplicate_groups(count: int, pairs: Sequence[Pair]) -> tuple[int | None, ...]:
    """Return the group of each of ``count`` photos; groups are the pairs' connected components.

    Groups are numbered from 0 in the order of their first photos; a photo in no pair has None.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), bool), ends.T), shape=(count, count))
    found = connected_components(graph, directed=False)[1].tolist()
    paired = set(ends.ravel().tolist())
    numbers: dict[int, int] = {}
    return tuple(
        numbers.setdefault(group, len(numbers)) if photo in paired else None
        for photo, group in enumerate(found)
    )


def join_groups(photos: Sequence[Photo], pairs: Sequence[Pair]) -> tuple[Photo, ...]:
    """Return the photos with a common group for the two of each pair; groups they had are joined.

    Photos that no pair concerns keep their group or None.  The order of photos changes no name.
    """
    own = [photo.group or f"near:{photo.sha256 or photo.path}" for photo in photos]
    keys = [[name] for name in own]
    for pair in pairs:
        keys[pair.second].append(own[pair.first])
    joined = {own[number] for pair in pairs for number in pair[:2]}
    return tuple(
        photo.having(group=name) if own[number] in joined else photo
        for number, (photo, name) in enumerate(zip(photos, connected(keys), strict=True))
    )


def duplicate_findings(photos: Sequence[Photo], pairs: Sequence[Pair]) -> list[Finding]:
    """Return a finding for every duplicate except the best photo of its group.

    The best has the most pixels, then the most bytes, as the larger file is less compressed.  A
    copy of the same bytes (and box) is only an ``exact_duplicate``, no ``near_duplicate``.  The
    suggested weight is 1, because a group counts as one photo in training anyway.
    A near-duplicate's score is its similarity to the photo that ``detail`` names: the best of the
    group if the two are a pair, else the most similar photo.
    """
    exact = _repeated(photos)
    partners: dict[int, dict[int, float]] = defaultdict(dict)
    for first, second, similarity in pairs:
        partners[first][second] = partners[second][first] = similarity
    groups = duplicate_groups(len(photos), pairs)
    best: dict[int | None, int] = {}
    for number in sorted(partners, key=lambda number: _rank(photos[number])):
        best.setdefault(groups[number], number)
    findings = []
    for number, photo in enumerate(photos):
        centre = best.get(groups[number], number)
        if number in exact:
            flag, score, other = "exact_duplicate", 1.0, exact[number]
        elif number != centre:
            near = partners[number]
            most = max(near, key=lambda one: (near[one], -one))
            other = centre if centre in near else most
            flag, score = "near_duplicate", near[other]
        else:
            continue
        what = "file" if number in exact else "picture"
        detail = f"the same {what} as {photos[other].path}{_disagreement(photo, photos[other])}"
        findings.append(Finding(photo.path, flag, score, detail=detail))
    return findings


def _rank(photo: Photo) -> tuple[int, int, str]:
    """Return a key that sorts the best photo first."""
    return -photo.width * photo.height, -photo.bytes, photo.path


def _repeated(photos: Sequence[Photo]) -> dict[int, int]:
    """Return for each exact copy (bytes and box) the photo that it repeats: the first by path."""
    same: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    for number, photo in enumerate(photos):
        if photo.error is None and photo.sha256:
            same[photo.sha256, photo.box].append(number)
    first = {key: min(numbers, key=lambda n: photos[n].path) for key, numbers in same.items()}
    return {n: first[key] for key, numbers in same.items() for n in numbers if n != first[key]}


def _disagreement(photo: Photo, other: Photo) -> str:
    """Return the part of a detail that names two photos' labels, empty where they are equal."""
    if photo.taxon == other.taxon:
        return ""
    names = (
        " ".join(list(item.taxon.to_dict().values())[-1:]) or "nothing" for item in (photo, other)
    )
    return "; labelled {}, that one {}".format(*names)
