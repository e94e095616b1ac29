"""The near-duplicates of a data set: searched once for the same photos, whatever the command.

All commands compare the same pixels, so that splits do not depend on a model's input size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.groups import Pair, join_groups
from rs_toolkit.checks.duplicates.pairs import DuplicateSettings, near_duplicates
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import FIXED_PIXELS, Photo, PhotoCache, default_cache_dir
from rs_toolkit.data.readers import index_and_tell, read_and_tell
from rs_toolkit.data.remembered import remembered
from rs_toolkit.progress import Progress

__all__ = ["group_near_duplicates", "photos_to_split", "remembered_pairs"]


def remembered_pairs(
    photos: Sequence[Photo],
    roots: Sequence[Path],
    folder: Path,
    progress: Progress,
    features: NDArray[np.float32] | None = None,
) -> tuple[Pair, ...]:
    """Return the pairs of n indexed photos that show the same picture, by position.

    Photos with an error are left out.  ``roots`` holds the folder that each photo's path is
    relative to; ``folder`` is that of the cache, which remembers the pairs by the photos' contents.
    ``features`` are those of the photos without an error: see :func:`near_duplicates`.
    """
    rows = [row for row, photo in enumerate(photos) if photo.error is None]
    cache = PhotoCache(folder, FIXED_PIXELS)

    def search() -> NDArray[np.float64]:
        pairs = near_duplicates(
            len(rows),
            lambda number: cache.pixels(photos[rows[number]], roots[rows[number]]),
            features,
            progress=progress,
        )
        return np.array(pairs, np.float64).reshape(-1, 3)

    contents = (photos[row].content for row in rows)
    inputs = [FIXED_PIXELS.fingerprint(), *contents, repr(DuplicateSettings()), features]
    found = remembered(folder, "near-duplicates-4", inputs, search)
    return tuple(
        Pair(rows[int(first)], rows[int(second)], similarity)
        for first, second, similarity in found.tolist()
    )


def group_near_duplicates(
    photos: Sequence[Photo],
    roots: Sequence[Path],
    folder: Path,
    progress: Progress,
    judged: int = 0,
) -> tuple[Photo, ...]:
    """Return n indexed photos with a common group for near-duplicates, found by hashes alone.

    Groups that they had are joined.  The first ``judged`` photos come from a clean folder: their
    groups, which a person may have decided about, stay unless other photos join them.  Other
    parameters are those of :func:`remembered_pairs`.
    """
    if judged == len(photos):
        return tuple(photos)
    found = remembered_pairs(photos, roots, folder, progress)
    pairs = [pair for pair in found if pair.second >= judged]
    grouped = join_groups(photos, pairs)
    if pairs:
        members = {number for pair in pairs for number in pair[:2]}
        groups = len({grouped[number].group for number in members})
        progress.note(
            f"near-duplicates: {len(members)} of {len(photos)} photos, in {groups} groups, which "
            "no split separates"
        )
    return grouped


def photos_to_split(data: Path, config: TrainConfig, progress: Progress) -> tuple[Photo, ...]:
    """Return the photos of a data set with the groups that training gives them.

    With ``config.group_by`` photo, none is opened; those of a clean folder have groups already.

    Raises as :func:`rs_toolkit.data.readers.open_data` does.
    """
    dataset = read_and_tell(data, progress, config.keep_names)
    if config.group_by == "photo" or dataset.source == "clean":
        return dataset.photos
    cache = PhotoCache(default_cache_dir(), FIXED_PIXELS, config.strict_photos)
    photos = index_and_tell(dataset, cache, progress)
    return group_near_duplicates(photos, [dataset.root] * len(photos), cache.directory, progress)
