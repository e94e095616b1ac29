"""The photos of a distillation: organisms and others, split together, and written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.index import fingerprint, read_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import open_data, require_data
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES, split
from rs_toolkit.splits.table import EarlierSides
from rs_train.classifier.checkpoint import weights_sha256
from rs_train.run_folder import resumed, write_begun

__all__ = ["DistillData", "class_of", "kind_of", "prepare_distillation"]

# The first of these that is known names a photo's class; families come first, because what a
# filter may wrongly flag is limited by family.
_NAMED_BY = ("family", "genus", "species", "order", "class", "phylum", "kingdom", "common_name")


@dataclass(frozen=True)
class DistillData:
    """All photos: those of the data first, ``data_photos`` of them, then those of no organism.

    A photo that is not used has no split.  The paths of the two kinds start from ``root`` and
    ``not_organism_root``; ``mark`` is the photos' fingerprint.
    """

    photos: tuple[Photo, ...]
    data_photos: int
    root: Path
    not_organism_root: Path | None
    mark: str

    @property
    def of_data(self) -> NDArray[np.bool_]:
        """Which photos are of the data, bool (n,)."""
        return np.arange(len(self.photos)) < self.data_photos

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Of which photos it is known whether they show an organism, bool (n,)."""
        named = np.array([kind_of(photo) is not None for photo in self.photos], bool)
        return np.asarray(named | ~self.of_data)

    def rows(self, side: str | None = None) -> NDArray[np.int64]:
        """Return the numbers of the photos that are used, on one side or on any."""
        wanted = SIDES if side is None else (side,)
        return np.flatnonzero(np.array([photo.split in wanted for photo in self.photos], bool))

    def pixels(self, cache: PhotoCache) -> Callable[[int], NDArray[np.uint8]]:
        """Return what gives the pixels of a photo by its number."""
        roots = (self.root, self.not_organism_root or self.root)
        return lambda row: cache.pixels(self.photos[row], roots[row >= self.data_photos])


def kind_of(photo: Photo) -> str | None:
    """Return the family of a photo or else another name that is known; None: no label at all."""
    return next((name for rank in _NAMED_BY if (name := photo.label(rank))), None)


def prepare_distillation(
    data: Path,
    not_organism: Path | None,
    config: DistillConfig,
    out: Path,
    cache: PhotoCache,
    progress: Progress,
) -> DistillData:
    """Index and split the photos, and write that down; or read what an earlier session wrote.

    Raises
    ------
    DataError
        A folder cannot be read, or a side has no photo.
    RunError
        The earlier session had other settings, or its files are damaged.
    """
    if (out / "config.json").is_file():
        with resumed(out, config) as saved:
            return _prepared(out, saved)
    for folder in filter(None, (data, not_organism)):
        require_data(folder)
    earlier = EarlierSides.read(Path(config.splits_from)) if config.splits_from else None
    dataset, photos = open_data(data, cache, progress)
    if earlier is None and dataset.source == "clean":
        earlier = EarlierSides.read(data)
    others: tuple[Photo, ...] = ()
    other_root = None
    if not_organism is not None:
        other, others = open_data(not_organism, cache, progress)
        others = tuple(replace(p, group=p.group and f"other:{p.group}") for p in others)
        other_root = other.root.resolve()
    everything, count = (*photos, *others), len(photos)
    used = _used(everything, count, config, progress)
    sides = _sides(everything, count, used, config, earlier)
    everything = tuple(replace(p, split=sides.get(row)) for row, p in enumerate(everything))
    found = DistillData(
        everything, count, dataset.root.resolve(), other_root, fingerprint(everything)
    )
    for side in SIDES:
        if not len(found.rows(side)):
            raise DataError(f"{data}: too few photos, the {side} split is empty; add photos")
    sources = {
        "data": str(data),
        "not_organism": None if not_organism is None else str(not_organism),
        "data_root": str(found.root),
        "not_organism_root": None if other_root is None else str(other_root),
        "data_photos": count,
        "data_fingerprint": found.mark,
        "student_weights_sha256": weights_sha256(config.student_weights),
    }
    write_begun(out, config, everything, sources)
    return found


def _prepared(out: Path, saved: dict[str, Any]) -> DistillData:
    other = saved["not_organism_root"]
    return DistillData(
        read_index(out / "index.parquet"),
        int(saved["data_photos"]),
        Path(saved["data_root"]),
        None if other is None else Path(other),
        str(saved["data_fingerprint"]),
    )


def _used(
    photos: Sequence[Photo], count: int, config: DistillConfig, progress: Progress
) -> list[int]:
    """Return the numbers of the photos to use; the others are told."""
    contents = {photo.content for photo in photos[:count] if photo.error is None}
    used, nameless, both = [], 0, 0
    for row, photo in enumerate(photos):
        if photo.error is not None:
            progress.note(f"left out: {photo.path}: {photo.error}")
        elif row < count and kind_of(photo) is None and not config.has_teacher:
            nameless += 1
        elif row >= count and photo.content in contents:
            both += 1
        else:
            used.append(row)
    if nameless:
        progress.note(f"left out: {nameless} photos without a label; a --teacher could judge them")
    if both:
        progress.note(f"left out: {both} photos of no organism that are among the data too")
    return used


def _sides(
    photos: Sequence[Photo],
    count: int,
    used: Sequence[int],
    config: DistillConfig,
    earlier: EarlierSides | None,
) -> dict[int, str | None]:
    """Return the side of each photo that is used; a site may have photos of both kinds."""
    chosen, of_data = [photos[row] for row in used], [row < count for row in used]
    labels = list(map(class_of, chosen, of_data))
    found = split(
        labels,
        strata=[f"{labels[n]}\0{photo.taxon.species}" for n, photo in enumerate(chosen)],
        groups=group_photos(chosen, config.group_by).names,
        val=config.val,
        test=config.test,
        seed=config.seed,
        before=None if earlier is None else [earlier.of(photo) for photo in chosen],
    )
    return dict(zip(used, found, strict=True))


def class_of(photo: Photo, of_data: bool) -> str:
    """Return what photos are stratified and oversampled by: the family, or the folder of others."""
    if of_data:
        return f"organism:{kind_of(photo)}"
    folder, slash, _ = photo.path.partition("/")
    return f"other:{folder if slash else ''}"
