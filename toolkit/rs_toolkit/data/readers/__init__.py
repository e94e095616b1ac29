"""Readers of data sets: from files of many layouts to lists of labelled photos.

Takes a folder, an archive or a metadata file.  Gives photos with paths and labels, or with the
reason why one cannot be used.  No photo is decoded here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from rs_runtime.photos.folder import is_marked
from rs_toolkit.data.index import build_index, read_index
from rs_toolkit.data.labels import without_no_organisms
from rs_toolkit.data.photos import Dataset, Photo, PhotoCache
from rs_toolkit.data.readers.camtrap import PACKAGE_FILE, read_camtrap
from rs_toolkit.data.readers.coco import find_coco, read_coco
from rs_toolkit.data.readers.csv_file import read_csv
from rs_toolkit.data.readers.parquet import find_parquet, read_parquet
from rs_toolkit.data.readers.reading import reads
from rs_toolkit.data.readers.tree import read_tree
from rs_toolkit.data.readers.unpack import unpack_zip
from rs_toolkit.data.readers.wildlife_insights import (
    find_wildlife_insights,
    is_wildlife_insights,
    read_wildlife_insights,
)
from rs_toolkit.errors import DataError
from rs_toolkit.files import read_json
from rs_toolkit.garbage import rarely_collecting
from rs_toolkit.progress import Progress

__all__ = [
    "CLEAN_FILE",
    "index_and_tell",
    "open_data",
    "read_and_tell",
    "read_dataset",
    "require_data",
]

# The file that rs-toolkit clean writes last into its folder.
CLEAN_FILE = "clean.json"


def read_dataset(path: Path, keep_names: str = "") -> Dataset:
    """Read the photos of a data set and their labels.

    ``keep_names`` are names of organisms that would otherwise mean an empty cell (``none``, ``na``,
    …), separated by commas: see :class:`rs_toolkit.data.readers.reading.Reading`.

    ``docs/data.md`` says how each layout is read.  A folder is read as the first of these that
    fits: a folder made by ``rs-toolkit clean`` (its groups, splits and weights are kept); a Camera
    Trap Data Package; a folder with a ``metadata.csv``, an export of Wildlife Insights, a COCO
    Camera Traps file or Parquet files; one folder per class.  A ``.zip`` file is unpacked into the
    cache, once.  Folders below it that the toolkit wrote are never read as photos; a note tells
    which were left out.

    No row is dropped but blank ones.  Rows that cannot be used (too many cells, no path, a path out
    of the folder, a repeated path, several labels, a box outside the photo) and photos in a format
    that is not supported get an ``error``.  Files without a class folder have no label, nor have
    photos that a label calls blank, people, a vehicle or unidentified; a note counts them.

    Raises
    ------
    ConfigError
        ``keep_names`` holds a name that never means an empty cell.
    DataError
        The folder is missing, holds no photo or was written by the toolkit; an archive is damaged,
        too large or hostile.
    MetadataError
        A metadata file is too large, not UTF-8, not CSV or JSON, empty, or lacks a required
        column or key.
    """
    require_data(path)
    if path.suffix.lower() == ".zip" and path.is_file():
        path = unpack_zip(path)
    with reads(path if path.is_dir() else path.parent, keep_names) as begun:
        found = _read_folder(path) if path.is_dir() else _read_file(path)
    found = replace(found, notes=(*found.notes, *begun.notes()))
    return found if found.source == "clean" else without_no_organisms(found)


@rarely_collecting()
def open_data(
    data: Path, cache: PhotoCache, progress: Progress, keep_names: str = ""
) -> tuple[Dataset, tuple[Photo, ...]]:
    """Read a data set, show its notes, and return it and its indexed photos.

    Raises as :func:`read_dataset` and :func:`rs_toolkit.data.index.build_index` do.
    """
    dataset = read_and_tell(data, progress, keep_names)
    return dataset, index_and_tell(dataset, cache, progress)


def read_and_tell(data: Path, progress: Progress, keep_names: str = "") -> Dataset:
    """Read a data set and show its notes; raises as :func:`read_dataset` does."""
    dataset = read_dataset(data, keep_names)
    for note in dataset.notes:
        progress.note(note)
    return dataset


def index_and_tell(dataset: Dataset, cache: PhotoCache, progress: Progress) -> tuple[Photo, ...]:
    """Index a data set and show how far that is, as :func:`build_index` does."""
    shown = partial(progress.update, "index photos")
    return build_index(dataset, cache, shown, progress.note)


def require_data(path: Path) -> None:
    """Raise DataError where ``path`` does not exist; called before anything slow begins."""
    if not path.exists():
        wanted = "folder or CSV file (or .json, .parquet, .zip)"
        raise DataError(f"{path}: no such {wanted}; check the path")


def _read_folder(root: Path) -> Dataset:
    if (root / CLEAN_FILE).is_file():
        return _read_clean(root)
    if is_marked(root):
        raise DataError(f"{root}: rs-toolkit wrote this folder; give the folder of the photos")
    for name in (PACKAGE_FILE, "metadata.csv"):
        if (root / name).is_file():
            return _read_file(root / name)
    if tables := find_wildlife_insights(root):
        return read_wildlife_insights(tables)
    if (file := find_coco(root)) is not None:
        return read_coco(file)
    if files := find_parquet(root):
        return read_parquet(files)
    return read_tree(root)


def _read_file(path: Path) -> Dataset:
    if path.name == PACKAGE_FILE:
        return read_camtrap(path)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return read_parquet([path])
    if suffix == ".csv" and is_wildlife_insights(path):
        return read_wildlife_insights([path])
    if suffix in (".csv", ".json"):
        return (read_csv if suffix == ".csv" else read_coco)(path)
    wanted = "a folder or a .csv, .json, .parquet or .zip file"
    raise DataError(f"{path}: got a {suffix or 'plain'} file, wanted {wanted}")


def _read_clean(folder: Path) -> Dataset:
    try:
        root = Path(read_json(folder / CLEAN_FILE)["data_root"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / CLEAN_FILE}: damaged ({error}); run clean again") from None
    if not root.is_dir():
        raise DataError(f"{folder}: the photos are no longer in {root}; run clean again")
    return Dataset(root, read_index(folder / "index.parquet"), "clean")
