"""Split photos into train, val and test, as training does; and give the split as a table.

No photo is opened here: near-duplicates are known by the groups that photos have already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import LABELS
from rs_toolkit.errors import DataError
from rs_toolkit.files import read_json
from rs_toolkit.splits.assign import SIDES, split
from rs_toolkit.splits.official import official_sides
from rs_toolkit.splits.places import places_of_test
from rs_toolkit.splits.report import SplitReport, report_split

__all__ = ["EarlierSides", "SplitRow", "known_sides", "make_splits", "split_table"]


@dataclass(frozen=True)
class EarlierSides:
    """The sides that photos had in an earlier run, by SHA-256 and by path."""

    by_content: dict[str, str]
    by_path: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> EarlierSides:
        """Read the sides from a run folder or from its ``index.parquet``.

        Photos that the earlier split left out get the side that they had before it, according to
        ``splits.json`` beside the index: a photo once trained on is never tested on.

        Raises
        ------
        DataError
            There is no index, or the index or ``splits.json`` is damaged.
        """
        from rs_toolkit.data.index import read_index

        index = path / "index.parquet" if path.is_dir() else path
        if not index.is_file():
            raise DataError(f"splits_from {path}: no index.parquet there; give a run's folder")
        left_out = _left_out(index.parent / "splits.json")
        by_content, by_path = {}, {}
        for photo in read_index(index):
            if side := photo.split or left_out.get(photo.path):
                by_path[photo.path] = side
                # A copy that was left out must not replace the side of another copy.
                if photo.sha256 and (photo.split or photo.sha256 not in by_content):
                    by_content[photo.sha256] = side
        return cls(by_content, by_path)

    def of(self, photo: Photo) -> str | None:
        """Return the side that a photo had, by content or else by path; None if it is new."""
        return self.by_content.get(photo.sha256) or self.by_path.get(photo.path)


def _left_out(report: Path) -> dict[str, str]:
    if not report.is_file():
        return {}
    try:
        left_out = dict(read_json(report)["left_out"])
        for path, side in left_out.items():
            if side not in SIDES:
                raise ValueError(f"left_out {path!r} is {side!r}, wanted {', '.join(SIDES)}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{report}: damaged ({error}); delete it to go on without it") from None
    return left_out


def known_sides(
    photos: Sequence[Photo],
    labels: Sequence[str],
    strata: Sequence[str],
    groups: Sequence[str],
    config: TrainConfig | DistillConfig,
    earlier: EarlierSides | None,
) -> list[str | None] | None:
    """Return the side that each of n photos keeps: of the earlier split, else the data set's own.

    Photos whose side is None are to be assigned; None: there is neither split.
    """
    official = official_sides(photos, labels, strata, groups, config)
    if earlier is None:
        return official
    given = official or [None] * len(photos)
    return [earlier.of(photo) or side for photo, side in zip(photos, given, strict=True)]


def make_splits(
    photos: Sequence[Photo], config: TrainConfig
) -> tuple[tuple[Photo, ...], SplitReport]:
    """Assign train, val or test to every readable photo that has a label at the trained rank.

    They are grouped by ``config.group_by`` and stratified by ``config.stratify_by``.  Photos of the
    earlier run ``config.splits_from`` keep their side, others the side that the data set gives
    them (:func:`rs_toolkit.splits.official.official_sides`).  Returns all photos in their order,
    those without a label or readable file without a side, and a report of what could not be done.

    Raises
    ------
    DataError
        There is no readable photo, no label at the rank, fewer than two classes (in all, or among
        the training photos of weight above 0), a side without photos, nothing to group by, or no
        index at ``config.splits_from``.
    """
    found, report, _ = _split(photos, config)
    return found, report


def _split(
    photos: Sequence[Photo], config: TrainConfig
) -> tuple[tuple[Photo, ...], SplitReport, dict[int, str]]:
    """Do what :func:`make_splits` does; return also the group of each row that is split."""
    rows = _usable(photos, config.rank)
    usable = [photos[row] for row in rows]
    labels = [str(photo.label(config.rank)) for photo in usable]
    _require_classes(photos, labels, config.rank)
    grouping = group_photos(usable, config.group_by)
    inner: Sequence[str | None] = labels
    if config.stratum != config.rank:
        inner = [photo.label(config.stratum) for photo in usable]
    strata = [f"{label}\0{name}" for label, name in zip(labels, inner, strict=True)]
    earlier = EarlierSides.read(Path(config.splits_from)) if config.splits_from else None
    before = known_sides(usable, labels, strata, grouping.names, config, earlier)
    sides = split(
        labels,
        strata=strata,
        groups=grouping.names,
        val=config.val,
        test=config.test,
        seed=config.seed,
        before=before,
    )
    report = report_split(usable, grouping, sides, before, config)
    _require_sides(usable, labels, sides, report)
    side_of = dict(zip(rows, sides, strict=True))
    found = tuple(photo.having(split=side_of.get(row)) for row, photo in enumerate(photos))
    report = replace(report, places=places_of_test(found).to_dict())
    return found, report, dict(zip(rows, grouping.names, strict=True))


class SplitRow(NamedTuple):
    """One photo of a table of splits; a text is empty where the photo has no such value."""

    path: str
    side: str
    group: str
    label: str


def split_table(photos: Sequence[Photo], config: TrainConfig) -> tuple[list[SplitRow], SplitReport]:
    """Split photos as :func:`make_splits` does, and return one row per photo, in their order.

    The photos need not be indexed.  Before indexing, however, copies and near-duplicates are not
    recognized.
    """
    photos, report, group_of = _split(photos, config)
    return [
        SplitRow(
            photo.path,
            photo.split or "",
            group_of.get(row, "").lstrip("\0").replace("\0", ":"),
            photo.label(config.rank) or "",
        )
        for row, photo in enumerate(photos)
    ], report


def _usable(photos: Sequence[Photo], rank: str) -> list[int]:
    return [row for row, photo in enumerate(photos) if photo.error is None and photo.label(rank)]


def _require_classes(photos: Sequence[Photo], labels: Sequence[str], rank: str) -> None:
    readable = [photo for photo in photos if photo.error is None]
    if not readable:
        raise DataError(f"none of the {len(photos)} photos can be read; check the data's paths")
    found = sorted(set(labels))
    if len(found) < 2:
        ranks = [name for name in LABELS if any(p.label(name) for p in readable)]
        got = f"only {found[0]!r}" if found else "no label"
        choose = f", or choose --rank among: {', '.join(ranks)}, auto" if ranks else ""
        raise DataError(
            f"rank {rank}: got {got} in {len(readable)} photos, wanted two classes or "
            f"more; add photos of another class{choose}"
        )


def _require_sides(
    photos: Sequence[Photo], labels: Sequence[str], sides: Sequence[str | None], report: SplitReport
) -> None:
    for side, number in report.photos.items():
        if not number:
            raise DataError(
                f"{len(labels)} photos of {len(set(labels))} classes, in groups by "
                f"{report.group_by}, leave the {side} split empty; give at least three groups in "
                "some class, or choose another --group-by"
            )
    rows = zip(photos, labels, sides, strict=True)
    trained = {label for photo, label, side in rows if side == "train" and photo.weight > 0}
    if len(trained) < 2:
        raise DataError(
            f"training photos of weight above 0: got {len(trained)} of {len(set(labels))} classes, "
            "wanted two or more; raise weights, or split anew (no --splits-from)"
        )
