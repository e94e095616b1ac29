"""Near-duplicates: candidates by hash and by feature, decided on pixels.

Photos with near hashes (whole, mirrored, or one of them cropped) or near features are candidates;
:func:`rs_toolkit.checks.duplicates.same_picture.picture_similarity` decides.  Features only
propose: their cosine tells copies from other photos far less well than pixels do, and averaged with
them it adds nothing (``benchmarks/results/near-duplicates.md``, which also justifies the
threshold).

Groups are the connected components of the pairs, so that a burst is one group although its
subject wanders off.  In a large component, though, a chain may join photos that have nothing in
common: it is broken up around central photos, with which every photo of a part was compared.
"""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.groups import Pair, duplicate_groups
from rs_toolkit.checks.duplicates.hashes import greys, perceptual_hashes
from rs_toolkit.checks.duplicates.neighbours import near_features, near_hashes
from rs_toolkit.checks.duplicates.same_picture import THUMBNAIL, picture_similarity
from rs_toolkit.files import require_space
from rs_toolkit.progress import Progress

__all__ = ["DuplicateSettings", "near_duplicates"]

Pixels = NDArray[np.uint8]

# From pairs of photos by number, (m, 2), to those that show the same picture.
Alike = Callable[[NDArray[np.int64]], list[Pair]]

_BATCH = 256
# Thumbnail pixels cut from each side: copies cropped by 1 to 8 % are near the hash of what is left.
_INNER = 3
# With central photos, for each photo of a component; then only its own candidates are compared.
_COMPARISONS = 50


@dataclass(frozen=True)
class DuplicateSettings:
    """What counts as a near-duplicate: a pair of at least this ``similarity``, above 0 to 1.

    Hashes that differ in more than ``radius`` bits, 0 to 64, and features of a smaller ``cosine``,
    above 0 to 1, are no candidates.  A component of more than ``largest`` photos, 2 or more, is
    taken for a chain and broken up.
    """

    similarity: float = 0.65
    radius: int = 12
    cosine: float = 0.85
    largest: int = 50


def near_duplicates(
    count: int,
    pixels: Callable[[int], Pixels],
    features: NDArray[np.float32] | None = None,
    settings: DuplicateSettings | None = None,
    progress: Progress | None = None,
) -> tuple[Pair, ...]:
    """Return the pairs of photos that show the same picture, exact copies included, in order.

    Of a group, not every pair is returned.  Each photo's pixels are asked for once; 4 KB a photo
    are kept in a temporary file.  Beside the features, memory grows by some hundred bytes a photo.

    Parameters
    ----------
    pixels
        Gives the RGB pixels of one of ``count`` photos by its number: uint8 of shape (S, S, 3),
        squashed.
    features
        float32 of shape (count, d), finite, rows of any length; those of zeros propose nothing.
        None: only hashes propose.

    Raises
    ------
    OSError
        The disk of temporary files is full.
    """
    settings, progress = settings or DuplicateSettings(), progress or Progress()
    if count < 2:
        return ()
    # A full disk would end the process when a page of the file is first written.
    require_space(Path(tempfile.gettempdir()), count * THUMBNAIL**2)
    with tempfile.TemporaryFile() as file:
        thumbnails = np.memmap(file, np.uint8, "w+", shape=(count, THUMBNAIL, THUMBNAIL))
        views = _hashes(thumbnails, pixels, progress)
        candidates = _candidates(views, features, settings)

        def alike(numbers: NDArray[np.int64]) -> list[Pair]:
            first, second = (np.asarray(thumbnails[side]) for side in numbers.T)
            scores = picture_similarity(first, second, settings.similarity)
            good = scores >= settings.similarity
            rows = zip(*numbers[good].T.tolist(), scores[good].tolist(), strict=True)
            return [Pair(*row) for row in rows]

        pairs: list[Pair] = []
        for start in range(0, len(candidates), _BATCH):
            batch = candidates[start : start + _BATCH]
            pairs += alike(batch)
            progress.update("compare photos", start + len(batch), len(candidates))
        return _unchained(count, pairs, alike, settings.largest, progress)


def _hashes(
    thumbnails: Pixels, pixels: Callable[[int], Pixels], progress: Progress
) -> tuple[Pixels, ...]:
    """Fill in the thumbnails; return hashes (n, 8) of them whole, mirrored, and cropped."""
    count = len(thumbnails)
    views: list[list[Pixels]] = [[], [], []]
    for start in range(0, count, _BATCH):
        rows = range(start, min(start + _BATCH, count))
        photos = np.stack([pixels(row) for row in rows])
        small = np.rint(greys(photos, THUMBNAIL)).astype(np.uint8)
        thumbnails[start : rows.stop] = small
        inner = small[:, _INNER:-_INNER, _INNER:-_INNER]
        for view, frames in zip(views, (small, small[:, :, ::-1], inner), strict=True):
            view.append(perceptual_hashes(frames))
        progress.update("hash photos", rows.stop, count)
    return tuple(np.concatenate(view) for view in views)


def _candidates(
    views: tuple[Pixels, ...], features: NDArray[np.float32] | None, settings: DuplicateSettings
) -> NDArray[np.int64]:
    """Return pairs to compare, (m, 2), each once, smaller number first, sorted."""
    whole, mirrored, inner = views
    near = [
        near_hashes(whole, whole, settings.radius),
        near_hashes(mirrored, whole, settings.radius),
        near_hashes(inner, whole, settings.radius, symmetric=False),
    ]
    if features is not None:
        near.append(near_features(features, settings.cosine))
    pairs = np.sort(np.concatenate(near), axis=1)
    codes = np.unique(pairs[:, 0] * len(whole) + pairs[:, 1])
    return np.stack(np.divmod(codes, len(whole)), axis=1)


def _unchained(
    count: int, pairs: list[Pair], alike: Alike, largest: int, progress: Progress
) -> tuple[Pair, ...]:
    """Replace the pairs of every component that is too large by those of its central photos."""
    groups = duplicate_groups(count, pairs)
    sizes = Counter(groups)
    chains: dict[int | None, list[Pair]] = defaultdict(list)
    kept: list[Pair] = []
    for pair in pairs:
        group = groups[pair.first]
        (chains[group] if sizes[group] > largest else kept).append(pair)
    for group, chain in chains.items():
        parts = list(_around_centres(chain, alike))
        kept += itertools.chain.from_iterable(parts)
        progress.note(
            f"near-duplicates: {sizes[group]} photos connected by similar ones are {len(parts)} "
            "groups, each similar to one of its photos"
        )
    return tuple(sorted(kept))


def _around_centres(pairs: list[Pair], alike: Alike) -> Iterator[list[Pair]]:
    """Yield, for each central photo, its pairs; the photo with most candidates left comes first."""
    members, flat = np.unique([pair[:2] for pair in pairs], return_inverse=True)
    ends = flat.reshape(-1, 2)
    left = np.ones(len(members), bool)
    budget = _COMPARISONS * len(members)
    while len(ends := ends[left[ends].all(axis=1)]):
        centre = int(np.bincount(ends.ravel()).argmax())
        left[centre] = False
        others = np.flatnonzero(left)
        if len(others) > budget:
            own = ends[(ends == centre).any(axis=1)]
            others = own[own != centre]
        budget -= len(others)
        both = np.sort(np.stack([np.full_like(others, centre), others], axis=1), axis=1)
        batches = (both[start : start + _BATCH] for start in range(0, len(both), _BATCH))
        found = [pair for batch in batches for pair in alike(members[batch])]
        left[np.searchsorted(members, [pair[:2] for pair in found])] = False
        yield found
