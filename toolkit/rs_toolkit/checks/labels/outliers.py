"""Outliers: photos unlike the other photos of their class, whether or not the label is right.

A photo's distance is 1 - cosine similarity of features to the k-th nearest other photo of its class
(Ramaswamy, Rastogi, Shim 2000); of each group of near-duplicates one photo counts, of the photo's
own group none.  k is 3; with fewer than five others it is half of them (rounded up), so that one
odd photo does not make its whole class odd.

A distance that is z robust standard deviations (1.4826 times the median absolute deviation) above
the median of all photos has the score ``max(0, erf(z / sqrt 2))``: the share of a normal population
that is less extreme, 0.95 at z = 2 and 0.997 at z = 3 (Kriegel, Kröger, Schubert, Zimek 2009, LoOP:
local outlier probabilities).

The distance to the k-th nearest photo of any class is only reported: it is small for a photo that
resembles another class, and large for one that resembles none.  It has no score, because photos
without an organism (documents, blank frames) mostly resemble each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.findings import Finding
from rs_toolkit.checks.labels.out_of_fold import group_numbers
from rs_toolkit.checks.similar.nearest import Search
from rs_toolkit.data.photos import Photo
from rs_toolkit.progress import Progress

__all__ = ["Outliers", "find_outliers", "outlier_findings"]

Features = NDArray[np.float32]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float64]

_NEIGHBOUR = 3
_THRESHOLD = 0.997
_LEAST_WEIGHT = 0.1


@dataclass(frozen=True)
class Outliers:
    """How far each of n photos is from others; the module says how this is measured.

    ``own`` and ``any`` are distances, (n,), to photos of the same class and of any class: 0 to 2,
    NaN where there is no other photo.  ``score`` is (n,), 0 where ``own`` is NaN.  ``typical`` is
    the median of ``own``, NaN if all are NaN.
    """

    own: Floats
    any: Floats
    score: Floats
    typical: float


def find_outliers(
    features: Features,
    labels: Numbers,
    groups: Sequence[str | None] | None = None,
    progress: Progress | None = None,
) -> Outliers:
    """Measure how far each photo is from the photos of its class, and from all photos.

    Features have the shape (n, d) and are finite; labels, (n,), are 0 or more; groups are n names,
    equal for near-duplicates, None alone.  Among many photos, of a class or of all, the nearest are
    searched by :class:`rs_toolkit.checks.similar.nearest.Search`, whose recall ``progress`` notes.
    """
    from sklearn.preprocessing import normalize

    group = group_numbers(groups, len(labels))
    unit = normalize(features.astype(np.float32))
    own = np.empty(len(labels))
    for number in np.unique(labels):
        members = np.flatnonzero(labels == number)
        own[members] = _distances(unit[members], group[members], progress)
    score, typical = _scores(own)
    return Outliers(own, _distances(unit, group, progress), score, typical)


def _distances(unit: Features, group: Numbers, progress: Progress | None = None) -> Floats:
    """Return each photo's distance to the k-th nearest of one photo from every other group."""
    _, first = np.unique(group, return_index=True)
    others = len(first) - 1
    if not others:
        return np.full(len(unit), np.nan)
    k = min(_NEIGHBOUR, (others + 1) // 2)
    # k + 1, because at most one of those that are found belongs to the photo's own group.
    cosines, found = Search(unit[first], k + 1, progress=progress).find(unit)
    foreign = group[first][found] != group[:, None]
    place = np.argmax(np.cumsum(foreign, axis=1) == k, axis=1)
    nearest = np.take_along_axis(cosines, place[:, None], axis=1)[:, 0]
    return np.clip(1 - nearest.astype(np.float64), 0, 2)


def _scores(distances: Floats) -> tuple[Floats, float]:
    from scipy.special import erf

    known = ~np.isnan(distances)
    if not known.any():
        return np.zeros(len(distances)), float("nan")
    typical = float(np.median(distances[known]))
    deviation = 1.4826 * float(np.median(np.abs(distances[known] - typical)))
    # If the deviation is 0, z is infinite for farther photos, and 0 / 0 for the typical ones.
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.nan_to_num((distances - typical) / deviation, nan=0.0)
    return np.clip(erf(z / np.sqrt(2)), 0, 1), typical


def outlier_findings(
    photos: Sequence[Photo],
    features: Features,
    labels: Numbers,
    class_names: Sequence[str],
    progress: Progress | None = None,
) -> list[Finding]:
    """Return a finding for each photo whose score is 0.997 or more, the farthest first.

    ``suggested_weight`` is the typical distance divided by the photo's, at least 0.1.  The photos
    have their groups of near-duplicates.  ``features`` and ``labels`` are as in
    :func:`find_outliers`, as is ``progress``; a label is a position in ``class_names``.
    """
    found = find_outliers(features, labels, [photo.group for photo in photos], progress)
    far = (found.score >= _THRESHOLD) & (found.own > found.typical)
    return [
        Finding(
            photos[row].path,
            "outlier",
            float(found.score[row]),
            suggested_weight=max(_LEAST_WEIGHT, found.typical / float(found.own[row])),
            detail=f"{found.own[row]:.2f} from other photos of {class_names[labels[row]]} "
            f"(typical: {found.typical:.2f}), {found.any[row]:.2f} from any",
        )
        for row in np.argsort(-found.own, kind="stable").tolist()
        if far[row]
    ]
