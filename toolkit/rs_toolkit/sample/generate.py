"""Writing the sample: plan, draw, plant faults, record the truth, put in place whole."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from rs_toolkit.data.taxonomy import LABELS, RANKS
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.sample.draw import draw_photo
from rs_toolkit.sample.faults import encode, near_duplicate, non_organism
from rs_toolkit.sample.plan import DAMAGES, FORMATS, Slot, plan, slot_rng
from rs_toolkit.sample.species import FAMILIES

__all__ = ["VERSION", "generate_sample"]

# Raise it when the same seed would give other bytes.
VERSION = "3"
LEAST_PHOTOS, MOST_PHOTOS = 100, 20_000
# Moved in this order: a sample counts as whole once it has its metadata, so they come last.
_CONTENTS = ("photos", "README.txt", "truth.json", "metadata.csv")
# Where it is drawn: inside its folder, which may be a mount point or the one that may be written.
_DRAWING = ".rs-toolkit-drawing"
_FAMILY = {family.name: family for family in FAMILIES}

_README = """This data set is SYNTHETIC: a program drew every picture (rs_toolkit.sample).

Its genera and species do not exist; the names of families and of the ranks above are real.
Good numbers on it show that the software works.  They prove nothing about real animals,
real photos, or how a classifier would do in the field.

metadata.csv  path and label of every photo; about 3 % of the labels are wrong on purpose
photos/       the pictures; some are damaged, duplicated or show no organism, on purpose
truth.json    every planted fault, so that cleaning can be measured

Made with seed {seed}, {photos} photos, version {version} of the generator.
"""


def generate_sample(
    directory: Path,
    *,
    seed: int = 0,
    photos: int = 1000,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic, long-tailed, deliberately faulty photo collection.

    Same arguments, NumPy and Pillow: same bytes.  The sample appears whole or not at all.  One
    run per folder at a time: each removes what a killed one has left.

    Parameters
    ----------
    directory
        Where to write: new, empty, or a finished sample of the same arguments, which is kept.
    seed, photos
        0 or more; and 100 to 20,000, planted duplicates and faults included.
    progress
        Called with (done, total) after each photo.

    Returns
    -------
    Path
        ``directory/metadata.csv``, which lists one row per file under ``photos/``.

    Raises
    ------
    ConfigError, DataError
        ``seed`` or ``photos`` is out of range; ``directory`` holds something else, or another
        run draws there.
    """
    if seed < 0:
        raise ConfigError(f"sample: seed is {seed}, wanted 0 or more; choose another --seed")
    if not LEAST_PHOTOS <= photos <= MOST_PHOTOS:
        wanted = f"{LEAST_PHOTOS} to {MOST_PHOTOS}"
        raise ConfigError(f"sample: photos is {photos}, wanted {wanted}; choose another --photos")
    header = {"seed": seed, "version": VERSION, "photos": photos}
    shutil.rmtree(directory / _DRAWING, ignore_errors=True)
    if not _is_finished(directory, header):
        _refuse_occupied(directory)
        is_new = not directory.exists()
        root = directory.resolve() / _DRAWING
        root.mkdir(parents=True)
        try:
            _write(root, header, plan(seed, photos), progress or (lambda done, total: None))
            if not _is_finished(root, header):
                raise DataError(
                    f"sample: drawn files of {directory} vanished; wait for another run that "
                    "draws there, or choose another folder"
                )
            _move_contents(root, directory)
        finally:
            shutil.rmtree(root, ignore_errors=True)
            if is_new:
                with suppress(OSError):
                    directory.rmdir()  # empty, unless it has the sample
    return directory / "metadata.csv"


def _is_finished(directory: Path, header: dict[str, Any]) -> bool:
    """Tell whether ``directory`` is a complete sample of these very arguments."""
    try:
        truth = json.loads((directory / "truth.json").read_text("utf-8"))
        with (directory / "metadata.csv").open(encoding="utf-8", newline="") as file:
            paths = [row["file_path"] for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError):
        return False
    same = isinstance(truth, dict) and all(truth.get(k) == v for k, v in header.items())
    complete = len(paths) == header["photos"] and (directory / "README.txt").is_file()
    return same and complete and all((directory / path).is_file() for path in paths)


def _refuse_occupied(directory: Path) -> None:
    fix = "choose another folder or remove this one"
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise DataError(f"sample: {directory} is not a folder; {fix}")
    if directory.is_dir() and any(directory.iterdir()):
        raise DataError(
            f"sample: {directory} is not empty and not this very sample (same seed, number of "
            f"photos and version, all files present); {fix}"
        )


def _write(
    root: Path, header: dict[str, Any], slots: list[Slot], progress: Callable[[int, int], None]
) -> None:
    """Draw every slot under ``root``, then write the tables."""
    for done, (slot, data) in enumerate(_files(root, header["seed"], slots), 1):
        file = root / slot.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        progress(done, len(slots))
    _write_metadata(root / "metadata.csv", slots)
    truth = {**header, "faults": _truth(slots)}
    (root / "truth.json").write_text(json.dumps(truth, indent=2) + "\n", "utf-8", newline="\n")
    (root / "README.txt").write_text(_README.format(**header), "utf-8", newline="\n")


def _files(root: Path, seed: int, slots: list[Slot]) -> Iterator[tuple[Slot, bytes]]:
    """Yield each slot with its file: originals, then their copies, which are made from them."""
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        for copied in (False, True):
            part = [slot for slot in slots if (slot.original >= 0) == copied]
            files = pool.map(lambda slot: _photo(root, seed, slot, slots), part)
            yield from zip(part, files, strict=True)
    finally:
        # After Ctrl-C or a full disk, the photos still waiting must not be drawn.
        pool.shutdown(cancel_futures=True)


def _photo(root: Path, seed: int, slot: Slot, slots: list[Slot]) -> bytes:
    """Return the file of one slot; its own generator keeps it independent of the others."""
    rng = slot_rng(seed, len(slots), slot.index)
    if slot.original >= 0:
        original = (root / slots[slot.original].path).read_bytes()
        exact = slot.fault == "exact_duplicates"
        return original if exact else near_duplicate(rng, original, slot.detail)
    if slot.fault == "non_organism":
        return encode(rng, non_organism(rng, slot.detail), "")
    shown = slot.shown or slot.species
    return encode(rng, draw_photo(rng, _FAMILY[shown.family], shown), slot.fault)


def _write_metadata(path: Path, slots: list[Slot]) -> None:
    """Write one row per file, sorted by path, with the given (sometimes wrong) label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_path", *LABELS])
        for slot in sorted(slots, key=lambda s: s.path):
            writer.writerow([slot.path, *slot.species.ranks, slot.species.common_name])


def _truth(slots: list[Slot]) -> dict[str, list[Any]]:
    """Return every planted fault by kind, each list sorted by path."""
    truth: dict[str, list[Any]] = {fault: [] for fault in (*FORMATS, *DAMAGES)}
    for slot in sorted((s for s in slots if s.fault), key=lambda s: s.path):
        entry: Any = slot.path
        if slot.original >= 0:
            entry = {"original": slots[slot.original].path, "copy": slot.path}
            entry |= {"how": slot.detail} if slot.detail else {}
        elif slot.shown is not None:
            labels = (("given", slot.species), ("true", slot.shown))
            taxa = {name: dict(zip(RANKS, kind.ranks, strict=True)) for name, kind in labels}
            entry = {"path": slot.path, **taxa}
        elif slot.fault == "non_organism":
            entry = {"path": slot.path, "kind": slot.detail}
        truth[slot.fault].append(entry)
    return truth


def _move_contents(root: Path, target: Path) -> None:
    """Move the sample's files into its folder: all of them or, after an error, none."""
    for name in _CONTENTS:
        if (target / name).exists():
            raise DataError(
                f"sample: {target / name} appeared while the sample was drawn; choose another "
                "folder or remove it"
            )
    try:
        for name in _CONTENTS:
            (root / name).rename(target / name)
    except BaseException:
        for name in _CONTENTS:
            if not (root / name).exists():
                (target / name).rename(root / name)
        raise
