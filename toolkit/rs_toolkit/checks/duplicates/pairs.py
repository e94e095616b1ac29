"""Near-duplicates: hashes and features propose pairs of photos, and pixels decide.

Photos with similar hashes (whole, mirrored, one of them cropped, or without the edges that may hold
a bar) or similar features are candidates.  Then
:func:`rs_toolkit.checks.duplicates.same_picture.picture_similarity` decides or, where it finds a
difference, :func:`rs_toolkit.checks.duplicates.overlay.overlay_similarity`.  Features
only propose: their cosine similarity separates copies from other photos far less well than pixels
do, and averaging the two is no better (``benchmarks/results/near-duplicates.md``, which also
justifies the threshold).

Groups are the connected components of the pairs, of any length: a burst is one group although its
subject moves away.  A chain may so join photos that have nothing in common.  It is not cut, because
the two photos of each of its pairs must be on one side of a split; the report of a split tells of
groups that are too large for it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.groups import Pair, duplicate_groups
from rs_toolkit.checks.duplicates.hashes import greys, perceptual_hashes
from rs_toolkit.checks.duplicates.neighbours import near_features, near_hashes
from rs_toolkit.checks.duplicates.overlay import DETAIL, overlay_similarity
from rs_toolkit.checks.duplicates.same_picture import THUMBNAIL, picture_similarity
from rs_toolkit.files import require_space
from rs_toolkit.progress import Progress

__all__ = ["DuplicateSettings", "near_duplicates"]

Pixels = NDArray[np.uint8]

_BATCH, _DETAILED = 256, 64
# Pairs after which components are looked for first, and photos of a component that is large.
_MANY, _LARGE = 1000, 50
# Thumbnail pixels cut from each side.  The hash of the rest matches copies cropped by 1 to 8 %.
_INNER = 3
# Thumbnail pixels cut from both the upper and the lower edge, which may hold a bar, or from one of
# them.  The last two match copies whose bar extends the picture.
_EDGES, _EDGE = 8, 5


@dataclass(frozen=True)
class DuplicateSettings:
    """What counts as near-duplicates: candidate pairs of at least this ``similarity``.

    Candidates are photos whose hashes differ in at most ``radius`` bits, 0 to 64, or whose features
    have at least this ``cosine`` similarity.  Both similarities are above 0 and at most 1.
    """

    similarity: float = 0.65
    radius: int = 12
    cosine: float = 0.85


def near_duplicates(
    count: int,
    pixels: Callable[[int], Pixels],
    features: NDArray[np.float32] | None = None,
    settings: DuplicateSettings | None = None,
    progress: Progress | None = None,
) -> tuple[Pair, ...]:
    """Return the pairs of photos that show the same picture, exact copies included, in order.

    The pairs connect each group, but not every two of its photos are a pair.  ``pixels`` is called
    once a photo, and again for candidates that may differ by an overlay.  A temporary file takes
    4 KB a photo, memory some hundred bytes and the features.

    Parameters
    ----------
    pixels
        Returns the pixels of the photo at a position below ``count``: uint8 RGB of shape (S, S, 3),
        squashed to a square.
    features
        float32 of shape (count, d), finite; rows of zeros propose nothing.  None: only hashes
        propose pairs.

    Raises
    ------
    OSError
        The disk of temporary files is full.
    """
    from threadpoolctl import threadpool_limits

    settings, progress = settings or DuplicateSettings(), progress or Progress()
    if count < 2:
        return ()
    # Known before the first of a million photos is hashed, not after.
    require_space(Path(tempfile.gettempdir()), count * THUMBNAIL**2)
    # The matrices are small: several threads wait for each other longer than they compute.
    with tempfile.TemporaryFile() as file, threadpool_limits(1, user_api="blas"):
        views = _hashes(file, count, pixels, progress)
        candidates = _candidates(views, features, settings, progress)

        def alike(numbers: NDArray[np.int64]) -> list[Pair]:
            first, second = (_thumbnails(file, side) for side in numbers.T.tolist())
            scores = picture_similarity(first, second, settings.similarity)
            other = np.flatnonzero(scores < settings.similarity)
            scores[other] = np.maximum(scores[other], _overlaid(numbers[other], pixels))
            good = scores >= settings.similarity
            rows = zip(*numbers[good].T.tolist(), scores[good].tolist(), strict=True)
            return [Pair(*row) for row in rows]

        pairs: list[Pair] = []
        left, many = candidates, _MANY
        while len(left):
            pairs += alike(left[:_BATCH])
            left = left[_BATCH:]
            if len(pairs) >= many:
                left, many = _undecided(count, pairs, left), 2 * len(pairs)
            progress.update("compare photos", len(candidates) - len(left), len(candidates))
        return tuple(pairs)


def _undecided(count: int, pairs: list[Pair], left: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the candidates (m, 2) that are left without those inside one large component.

    Of n photos of one view, all pairs are candidates, and n - 1 are enough to connect them.
    """
    groups = np.array([-1 if group is None else group for group in duplicate_groups(count, pairs)])
    sizes = np.bincount(groups + 1)
    first, second = groups[left.T]
    return left[(first != second) | (first < 0) | (sizes[first + 1] <= _LARGE)]


def _overlaid(numbers: NDArray[np.int64], pixels: Callable[[int], Pixels]) -> NDArray[np.float32]:
    """Return the similarity of pairs (m, 2) that may differ by an overlay."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(numbers), _DETAILED):
        rows, places = np.unique(numbers[start : start + _DETAILED], return_inverse=True)
        photos = np.concatenate([greys(pixels(row)[None], DETAIL) for row in rows.tolist()])
        frames = np.rint(photos).astype(np.uint8)[places.reshape(-1, 2)]
        found.append(overlay_similarity(frames[:, 0], frames[:, 1]))
    return np.concatenate(found)


def _thumbnails(file: IO[bytes], rows: list[int]) -> Pixels:
    """Return the thumbnails of m photos, (m, 64, 64); not mapped, which would count as memory."""
    found = np.empty((len(rows), THUMBNAIL, THUMBNAIL), np.uint8)
    for frame, row in zip(found, rows, strict=True):
        file.seek(row * THUMBNAIL**2)
        file.readinto(frame)  # type: ignore[attr-defined]
    return found


def _hashes(
    file: IO[bytes], count: int, pixels: Callable[[int], Pixels], progress: Progress
) -> tuple[Pixels, ...]:
    """Write the thumbnails of all photos; return the hashes (n, 8) of their six views."""
    views: list[list[Pixels]] = [[] for _ in range(6)]
    for start in range(0, count, _BATCH):
        rows = range(start, min(start + _BATCH, count))
        photos = np.stack([pixels(row) for row in rows])
        small = np.rint(greys(photos, THUMBNAIL)).astype(np.uint8)
        file.write(small.tobytes())
        cuts = (small[:, _INNER:-_INNER, _INNER:-_INNER], small[:, _EDGE:], small[:, :-_EDGE])
        seen = (small, small[:, :, ::-1], small[:, _EDGES:-_EDGES], *cuts)
        for view, frames in zip(views, seen, strict=True):
            view.append(perceptual_hashes(frames))
        progress.update("hash photos", rows.stop, count)
    return tuple(np.concatenate(view) for view in views)


def _candidates(
    views: tuple[Pixels, ...],
    features: NDArray[np.float32] | None,
    settings: DuplicateSettings,
    progress: Progress,
) -> NDArray[np.int64]:
    """Return the pairs to compare, (m, 2): sorted, each once, the smaller position first.

    Whole frames are near each other, or mirrored ones, or those without both edges; or a frame that
    is cropped, without its upper or without its lower edge is near a whole one.
    """
    whole, mirrored, middle, *cuts = views
    searches: list[Callable[[], NDArray[np.int64]]] = [
        lambda: near_hashes(whole, whole, settings.radius),
        lambda: near_hashes(mirrored, whole, settings.radius),
        lambda: near_hashes(middle, middle, settings.radius),
        *(partial(near_hashes, cut, whole, settings.radius, symmetric=False) for cut in cuts),
    ]
    if features is not None:
        searches.append(lambda: near_features(features, settings.cosine, progress))
    codes = np.empty(0, np.int64)
    for search in searches:
        pairs = search()
        fresh = pairs.min(axis=1) * len(whole) + pairs.max(axis=1)
        # After each search, as most pairs are found by several.
        codes = np.unique(np.concatenate([codes, fresh]))
    return np.stack(np.divmod(codes, len(whole)), axis=1)
