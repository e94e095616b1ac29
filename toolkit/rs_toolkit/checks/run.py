"""All checks of a data set but the filter's; photos are decoded, hashed and embedded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.groups import duplicate_findings, join_groups
from rs_toolkit.checks.duplicates.search import remembered_pairs
from rs_toolkit.checks.findings import FLAGS, Finding
from rs_toolkit.checks.labels.label_noise import FILTERS, doubt_labels, noise_findings
from rs_toolkit.checks.labels.out_of_fold import out_of_fold
from rs_toolkit.checks.labels.outliers import outlier_findings
from rs_toolkit.checks.quality import quality_findings, unreadable_findings
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import FIXED_PIXELS, Photo, PhotoCache
from rs_toolkit.data.remembered import remembered
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress

__all__ = ["Checks", "Embed"]

# Takes readable photos, the folder that paths start from, and the cache; returns (n, channels).
Embed = Callable[[list[Photo], Path, PhotoCache], NDArray[np.float32]]
_BY_FEATURES = ("label_noise", "outlier")


class Checks:
    """The checks of one data set.

    Parameters
    ----------
    photos, root
        All photos of the index, and the folder that their paths are relative to.  Photos that
        cannot be read are reported; the other checks leave them out.
    cache, embed
        Where their pixels and features come from.  If ``embed`` is None, label noise and outliers
        are not looked for, and duplicates are found by hashes alone.

    Raises
    ------
    DataError
        The features of a photo are not finite.
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
        self._readable = [photos[row] for row in self._rows]
        self._features = embed(self._readable, root, cache) if embed and self._readable else None
        if self._features is not None:
            finite = np.isfinite(self._features).all(axis=1)
            if not finite.all():
                photo = self._readable[int(np.argmin(finite))]
                raise DataError(f"{photo.path}: its features are not finite; check --weights")

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that are looked for."""
        unseen = {"not_organism", *(_BY_FEATURES if self._features is None else ())}
        return tuple(flag for flag in FLAGS if flag not in unseen)

    def pixels(self, photo: Photo) -> NDArray[np.uint8]:
        """Return a photo as uint8 RGB of shape (S, S, 3)."""
        return self._cache.pixels(photo, self._root)

    def duplicates(
        self, apart: Set[frozenset[str]] = frozenset()
    ) -> tuple[tuple[Photo, ...], list[Finding]]:
        """Return the photos with their groups of duplicates, and a finding for every copy.

        ``apart`` are pairs of paths that a person said are not the same; they are not joined.
        """
        roots, folder = [self._root] * len(self._photos), self._cache.directory
        found = remembered_pairs(self._photos, roots, folder, self._progress, self._features)
        pairs = [
            pair
            for pair in found
            if frozenset(self._photos[number].path for number in pair[:2]) not in apart
        ]
        return join_groups(self._photos, pairs), duplicate_findings(self._photos, pairs)

    def quality(self) -> list[Finding]:
        """Return findings about unreadable, blank, dark and blurred photos."""
        # With the default settings, these pixels were cached when the photos were indexed.
        fixed = PhotoCache(self._cache.directory, FIXED_PIXELS)
        return [
            *unreadable_findings(self._photos),
            *quality_findings(
                self._readable, lambda photo: fixed.pixels(photo, self._root), self._progress
            ),
        ]

    def labels(
        self, photos: Sequence[Photo], config: TrainConfig, label_filter: str = FILTERS[0]
    ) -> list[Finding]:
        """Return findings about labels that similar photos contradict, and about outliers.

        Findings about training photos, which lower their weights, are made from training photos
        alone, so that labels of validation and test photos do not influence training.

        ``photos`` are those of this object, with groups and splits.  ``label_filter`` is one of
        :data:`rs_toolkit.checks.labels.label_noise.FILTERS`.
        """
        if self._features is None:
            return []
        used = [(place, photos[row]) for place, row in enumerate(self._rows) if photos[row].split]
        train = [(place, photo) for place, photo in used if photo.split == "train"]
        self._progress.note("compare labels with those of similar photos")
        found = self._labels(train, config, label_filter)
        if len(used) > len(train):
            others = {photo.path for _, photo in used if photo.split != "train"}
            every = self._labels(used, config, label_filter)
            found += [item for item in every if item.path in others]
        return found

    def _labels(
        self, used: Sequence[tuple[int, Photo]], config: TrainConfig, label_filter: str
    ) -> list[Finding]:
        photos = [photo for _, photo in used]
        given = [str(photo.label(config.rank)) for photo in photos]
        names, labels = np.unique(given, return_inverse=True)
        groups = [photo.group for photo in photos]
        if len(names) < 2 or (len(set(groups)) < 2 and None not in groups):
            return []
        assert self._features is not None
        features = self._features[[place for place, _ in used]]
        settings = {"classes": len(names), "seed": config.seed}

        def compute() -> NDArray[np.float64]:
            return out_of_fold(features, labels, groups, **settings)

        inputs = (features, labels, repr(groups), repr(settings))
        probabilities = remembered(self._cache.directory, "out-of-fold-1", inputs, compute)
        doubts = doubt_labels(labels, probabilities, filter_by=label_filter)
        return [
            *noise_findings(photos, labels, names.tolist(), doubts),
            *outlier_findings(photos, features, labels, names.tolist(), self._progress),
        ]
