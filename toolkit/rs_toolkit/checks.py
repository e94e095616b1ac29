"""Every check of a data set, over photos that are opened, hashed and embedded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.config import TrainConfig
from rs_toolkit.duplicates import Pair, duplicate_findings, group_photos
from rs_toolkit.findings import FLAGS, Finding
from rs_toolkit.near_duplicates import near_duplicates
from rs_toolkit.noise import doubt_labels, noise_findings
from rs_toolkit.out_of_fold import out_of_fold
from rs_toolkit.outliers import outlier_findings
from rs_toolkit.photos import Photo, PhotoCache
from rs_toolkit.progress import Progress
from rs_toolkit.quality import quality_findings, unreadable_findings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Checks", "Embed"]

# From readable photos, the folder of their paths and the cache to features (n, channels).
Embed = Callable[[list[Photo], Path, PhotoCache], "NDArray[np.float32]"]
_BY_FEATURES = ("label_noise", "outlier")


class Checks:
    """The checks of one data set.

    Parameters
    ----------
    photos
        As indexed; those that cannot be read are reported and passed over.
    root
        Folder that their paths start from.
    cache
        Gives their pixels.
    embed
        Gives their features; None: what needs features is not looked for.
    progress
        Who is told.
    """

    def __init__(
        self,
        photos: Sequence[Photo],
        root: Path,
        cache: PhotoCache,
        embed: Embed | None,
        progress: Progress,
    ) -> None:
        self._photos, self._root, self._cache = tuple(photos), root, cache
        self._progress = progress
        self._rows = [row for row, photo in enumerate(photos) if photo.error is None]
        readable = [photos[row] for row in self._rows]
        self._features = embed(readable, root, cache) if embed and readable else None

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that are looked for."""
        return tuple(f for f in FLAGS if self._features is not None or f not in _BY_FEATURES)

    def pixels(self, photo: Photo) -> NDArray[np.uint8]:
        """Return a photo as uint8 RGB of shape (S, S, 3)."""
        return self._cache.pixels(photo, self._root)

    def duplicates(
        self, apart: Set[frozenset[str]] = frozenset()
    ) -> tuple[tuple[Photo, ...], list[Finding]]:
        """Return the photos with their groups of duplicates, and a finding for every copy.

        Parameters
        ----------
        apart
            Pairs of paths that a person said are not the same.
        """
        pairs = near_duplicates(
            len(self._rows),
            lambda number: self.pixels(self._photos[self._rows[number]]),
            self._features,
            progress=self._progress,
        )
        placed = [Pair(self._rows[p.first], self._rows[p.second], p.similarity) for p in pairs]
        kept = [
            pair
            for pair in placed
            if frozenset((self._photos[pair.first].path, self._photos[pair.second].path))
            not in apart
        ]
        return group_photos(self._photos, kept), duplicate_findings(self._photos, kept)

    def quality(self) -> list[Finding]:
        """Return findings about photos that cannot be read, and blank, dark and blurred ones."""
        readable = [self._photos[row] for row in self._rows]
        return [
            *unreadable_findings(self._photos),
            *quality_findings(readable, self.pixels, self._progress),
        ]

    def labels(self, photos: Sequence[Photo], config: TrainConfig) -> list[Finding]:
        """Return findings about labels that other photos contradict, and about outliers.

        What training photos are weighed by comes from training photos alone: the labels of
        validation and test photos must not shape what they are to judge.

        Parameters
        ----------
        photos
            The same as before, with their groups and splits.
        config
            Its rank and seed.
        """
        if self._features is None:
            return []
        used = [(place, photos[row]) for place, row in enumerate(self._rows) if photos[row].split]
        train = [(place, photo) for place, photo in used if photo.split == "train"]
        self._progress.note("compare labels with those of similar photos")
        found = self._labels(train, config)
        if len(used) > len(train):
            others = {photo.path for _, photo in used if photo.split != "train"}
            found += [item for item in self._labels(used, config) if item.path in others]
        return found

    def _labels(self, used: Sequence[tuple[int, Photo]], config: TrainConfig) -> list[Finding]:
        names = sorted({str(photo.label(config.rank)) for _, photo in used})
        if len(names) < 2:
            return []
        assert self._features is not None
        photos = [photo for _, photo in used]
        features = self._features[[place for place, _ in used]]
        number = {name: place for place, name in enumerate(names)}
        labels = np.array([number[str(photo.label(config.rank))] for photo in photos])
        groups = [photo.group for photo in photos]
        probabilities = out_of_fold(features, labels, groups, classes=len(names), seed=config.seed)
        doubts = doubt_labels(labels, probabilities)
        return [
            *noise_findings(photos, labels, names, doubts),
            *outlier_findings(photos, features, labels, names),
        ]
