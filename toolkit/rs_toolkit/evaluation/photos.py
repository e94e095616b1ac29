"""The photos that a model is measured on, and which of them it has learned from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rs_toolkit.data.index import fingerprint
from rs_toolkit.data.photos import SIDES, Photo, PhotoCache
from rs_toolkit.data.readers import open_data
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress

__all__ = ["SPLITS", "Measured", "choose_photos", "learned_sides"]

SPLITS = (*SIDES, "all")


@dataclass(frozen=True)
class Measured:
    """Photos to measure a model on.

    Attributes
    ----------
    root
        Folder that the photos' paths are relative to.
    photos
        Readable photos of the chosen split, in their order.
    seen
        For each photo the side on which the model's run had the same bytes, if the model has
        learned from that side, and the caller did not ask for it; else None.
    split
        The split that was chosen, one of SPLITS.
    unreadable
        Paths of photos that cannot be read, with the reasons.
    """

    root: Path
    photos: tuple[Photo, ...]
    seen: tuple[str | None, ...]
    split: str
    unreadable: tuple[tuple[str, str], ...]


def choose_photos(
    data: Path | None,
    run: Run | None,
    trained_on: str,
    split: str | None,
    cache: PhotoCache,
    keep_names: str,
    progress: Progress,
) -> Measured:
    """Read photos and labels, and tell apart those that the model has learned from.

    Parameters
    ----------
    data
        A data set, or a run folder for the photos of that run; None: the photos of ``run``.
    run
        The run that the model comes from; None if it is not known.
    trained_on
        Fingerprint of the photos that the model was trained on.
    split
        One of SPLITS.  The side of a photo is that of the same bytes in ``run``, or else its own.
        None: all photos of a data set, the test photos of a run.

    Raises
    ------
    ConfigError
        There is no such split, or neither ``data`` nor ``run``.
    DataError
        No photo can be read, or none is in the split; the model has learned from every photo of
        its run, and no split of them was named; or as :func:`open_data`.
    """
    if split not in (None, *SPLITS):
        raise ConfigError(f"--split: got {split!r}, wanted one of: {', '.join(SPLITS)}")
    source = data or (run.path if run else None)
    if source is None:
        raise ConfigError("val: got no photos; give DATA, or --run RUN for those of the kit's run")
    own = run if data is None else _run_at(data)
    if own is not None and run is not None and run.learned_all and split is None:
        raise DataError(
            f"{source}: the model has learned from every photo of its run; metrics.json and "
            "run.html there have the scores of its folds; give other photos, or --split test"
        )
    if own is not None:
        root, photos = own.data_root, own.photos
    else:
        dataset, photos = open_data(source, cache, progress, keep_names)
        root = dataset.root
    wanted = split or ("all" if own is None else "test")
    readable = [photo for photo in photos if photo.error is None]
    if not readable:
        raise DataError(f"{source}: none of {len(photos)} photos can be read; check the data")
    sides = {photo.sha256: photo.split for photo in run.photos if photo.split} if run else {}
    learned = learned_sides(run)
    placed = [(photo, sides.get(photo.sha256) or photo.split) for photo in readable]
    kept = [(photo, side) for photo, side in placed if wanted in ("all", side)]
    if not kept:
        counts = Counter(side or "in no split" for _, side in placed)
        got = ", ".join(f"{count} {side}" for side, count in counts.most_common())
        raise DataError(f"{source}: no photo in the {wanted} split ({got}); give another --split")
    found = Measured(
        root,
        tuple(photo for photo, _ in kept),
        tuple(_seen(sides.get(photo.sha256), wanted, learned) for photo, _ in kept),
        wanted,
        tuple((photo.path, photo.error) for photo in photos if photo.error is not None),
    )
    same = fingerprint(photos) == trained_on
    for warning in _warnings(found, run, same):
        progress.note(f"warning: {warning}")
    return found


def _run_at(data: Path) -> Run | None:
    """Return the run that a folder holds; None if it holds something else."""
    is_run = all((data / name).is_file() for name in ("index.parquet", "config.json"))
    return Run.open(data) if is_run else None


def learned_sides(run: Run | None) -> tuple[str, ...]:
    """Return the sides from which a run's model has its weights, or its epoch and thresholds."""
    return SIDES if run and run.learned_all else ("train", "val")


def _seen(side: str | None, wanted: str, learned: tuple[str, ...]) -> str | None:
    return side if side in learned and side != wanted else None


def _warnings(found: Measured, run: Run | None, same: bool) -> list[str]:
    """Return what a person must know to believe the scores."""
    learned = learned_sides(run)
    if run is None and same:
        return [
            "the model was trained on some of these photos, and which is not known: the scores are "
            "too good; give --run RUN, the run that the kit was exported from"
        ]
    if run is None:
        return [
            "it is not known whether the model was trained on some of these photos; to find out, "
            "give --run RUN, the run that the kit was exported from"
        ]
    if found.split in learned:
        return [
            f"the model has learned from the {found.split} photos: the scores say nothing about "
            "new photos"
        ]
    counts = Counter(side for side in found.seen if side)
    said = " and ".join(f"{counts[side]} {side} photos" for side in learned if counts[side])
    return [f"{said} of the model's run are among these; counted apart"] if said else []
