"""The photos of a distillation: of organisms and of none, split together, saved as an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.checks.duplicates.search import group_near_duplicates
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.index import fingerprint, read_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import open_data, require_data
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES, split
from rs_toolkit.splits.places import places_of_test
from rs_toolkit.splits.table import EarlierSides, known_sides
from rs_train.classifier.checkpoint import weights_sha256
from rs_train.run_folder import resumed, write_begun

__all__ = ["DistillData", "class_of", "kind_of", "prepare_distillation"]

# The first of these that is known is the photo's class.  Families come first, because a filter's
# threshold limits the share of wrongly flagged photos in each family.
_NAMED_BY = ("family", "genus", "species", "order", "class", "phylum", "kingdom", "common_name")


@dataclass(frozen=True)
class DistillData:
    """All photos: first the ``data_photos`` photos of the data, then the photos of no organism.

    Photos that are not used have no split.  The paths of the two kinds are relative to ``root``
    and ``not_organism_root``; ``mark`` is the photos' fingerprint.  With ``own_blanks``, photos of
    the data that were labelled as blanks, people or vehicles show no organism.
    """

    photos: tuple[Photo, ...]
    data_photos: int
    root: Path
    not_organism_root: Path | None
    mark: str
    own_blanks: bool = False

    @property
    def of_data(self) -> NDArray[np.bool_]:
        """Which photos belong to the data, bool (n,)."""
        return np.arange(len(self.photos)) < self.data_photos

    @property
    def organism(self) -> NDArray[np.bool_]:
        """Which photos show an organism, unless they have no label, bool (n,)."""
        rows = enumerate(self.photos)
        own = [_is_of_organism(p, row < self.data_photos, self.own_blanks) for row, p in rows]
        return np.array(own, bool)

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which photos are known to show an organism or none, bool (n,)."""
        named = np.array([kind_of(photo) is not None for photo in self.photos], bool)
        return np.asarray(named | ~self.organism)

    def rows(self, side: str | None = None) -> NDArray[np.int64]:
        """Return the row numbers of the photos that are used, of one split or of all."""
        wanted = SIDES if side is None else (side,)
        return np.flatnonzero(np.array([photo.split in wanted for photo in self.photos], bool))

    def pixels(self, cache: PhotoCache) -> Callable[[int], NDArray[np.uint8]]:
        """Return a function from a photo's row number to its pixels, uint8 (S, S, 3)."""
        roots = (self.root, self.not_organism_root or self.root)
        return lambda row: cache.pixels(self.photos[row], roots[row >= self.data_photos])


def kind_of(photo: Photo) -> str | None:
    """Return a photo's family, or its next best label where that is unknown; None: no label."""
    return next((name for rank in _NAMED_BY if (name := photo.label(rank))), None)


def _is_of_organism(photo: Photo, of_data: bool, own_blanks: bool) -> bool:
    return of_data and not (own_blanks and photo.no_organism)


def prepare_distillation(
    data: Path,
    not_organism: Path | None,
    config: DistillConfig,
    out: Path,
    cache: PhotoCache,
    progress: Progress,
) -> DistillData:
    """Index and split the photos and write the result to ``out``, or read it from there.

    Raises
    ------
    DataError
        A folder cannot be read, or a split has no photo.
    RunError
        ``out`` holds a distillation with other settings, or its files are damaged.
    """
    if (out / "config.json").is_file():
        with resumed(out, config) as saved:
            return _prepared(out, saved, config)
    for folder in filter(None, (data, not_organism)):
        require_data(folder)
    earlier = EarlierSides.read(Path(config.splits_from)) if config.splits_from else None
    dataset, photos = open_data(data, cache, progress, config.keep_names)
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
    if config.group_by != "photo":
        roots = [dataset.root] * count + [other_root or dataset.root] * len(others)
        judged = count * (dataset.source == "clean")
        everything = group_near_duplicates(everything, roots, cache.directory, progress, judged)
    sides = _sides(everything, count, used, config, earlier)
    everything = tuple(replace(p, split=sides.get(row)) for row, p in enumerate(everything))
    if lost := sum(sides[row] is None for row in used):
        progress.note(f"left out: {lost} photos whose group was on several sides of the split")
    progress.note(f"the test answers: {places_of_test(everything).text}")
    root, mark = dataset.root.resolve(), fingerprint(everything)
    found = DistillData(everything, count, root, other_root, mark, config.blanks == "other")
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


def _prepared(out: Path, saved: dict[str, Any], config: DistillConfig) -> DistillData:
    other = saved["not_organism_root"]
    return DistillData(
        read_index(out / "index.parquet"),
        int(saved["data_photos"]),
        Path(saved["data_root"]),
        None if other is None else Path(other),
        str(saved["data_fingerprint"]),
        config.blanks == "other",
    )


def _used(
    photos: Sequence[Photo], count: int, config: DistillConfig, progress: Progress
) -> list[int]:
    """Return the row numbers of the photos to use; report the others to ``progress``."""
    contents = {photo.content for photo in photos[:count] if photo.error is None}
    used, nameless, blanks, both = [], 0, 0, 0
    for row, photo in enumerate(photos):
        shows = _is_of_organism(photo, row < count, config.blanks == "other")
        if photo.error is not None:
            progress.note(f"left out: {photo.path}: {photo.error}")
        elif shows and kind_of(photo) is None and not config.has_teacher:
            nameless += 1
            blanks += photo.no_organism is not None
        elif row >= count and photo.content in contents:
            both += 1
        else:
            used.append(row)
    if nameless:
        advice = f", or --blanks other ({blanks} of them are blanks and such)" if blanks else ""
        progress.note(f"left out: {nameless} photos without a label; they need a --teacher{advice}")
    if both:
        progress.note(f"left out: {both} photos of --not-organism that are also in the data")
    return used


def _sides(
    photos: Sequence[Photo],
    count: int,
    used: Sequence[int],
    config: DistillConfig,
    earlier: EarlierSides | None,
) -> dict[int, str | None]:
    """Return the split of each photo that is used; photos of both kinds can share a group."""
    chosen, own_blanks = [photos[row] for row in used], config.blanks == "other"
    of_data = [row < count for row in used]
    shows = [_is_of_organism(photos[row], row < count, own_blanks) for row in used]
    labels = list(map(class_of, chosen, shows))
    # Both folders may hold a photo of one path, by which photos without a group are told apart.
    paths, both = {photo.path for photo in photos[:count]}, zip(chosen, of_data, strict=True)
    own = [p if d or p.path not in paths else replace(p, path=f"other:{p.path}") for p, d in both]
    strata = [f"{labels[n]}\0{photo.taxon.species}" for n, photo in enumerate(chosen)]
    groups = group_photos(own, config.group_by).names
    found = split(
        labels,
        strata=strata,
        groups=groups,
        val=config.val,
        test=config.test,
        seed=config.seed,
        before=known_sides(chosen, labels, strata, groups, config, earlier),
    )
    return dict(zip(used, found, strict=True))


def class_of(photo: Photo, organism: bool) -> str:
    """Return the class for splits and oversampling: a family, or what other photos show.

    That is what their labels say, or else their folder.
    """
    if organism:
        return f"organism:{kind_of(photo)}"
    folder, slash, _ = photo.path.partition("/")
    return f"other:{photo.no_organism or (folder if slash else '')}"
