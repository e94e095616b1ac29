"""The export of Wildlife Insights: tables of images and of deployments.

``images.csv`` (in newer exports ``images_<project>.csv``, maybe several) has a row per
identification: ``deployment_id``, ``image_id``, ``filename``, ``location`` (the address of the
file, not a place), ``timestamp``, ``class`` … ``species`` (the epithet only) and ``common_name``.
``deployments.csv`` gives the ``placename`` of a deployment.  In projects of sequences,
``sequences.csv`` has the identifications.
"""

from __future__ import annotations

import csv
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rs_toolkit.data.labels import is_organism, kind_of_labels
from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import rows
from rs_toolkit.data.readers.found_files import FoundFiles
from rs_toolkit.data.readers.rows import csv_rows, described
from rs_toolkit.errors import MetadataError

__all__ = ["find_wildlife_insights", "is_wildlife_insights", "read_wildlife_insights"]

_RANKS = ("class", "order", "family", "genus")
_NAMES = (*_RANKS, "species", "common_name", "is_blank")
_IMAGES = (
    *("deployment_id", "project_id", "image_id", "sequence_id", "filename", "location"),
    *("timestamp", *_NAMES),
)
# The reader of CSV files calls a location so.
_ADDRESS = "site"
_VIDEOS = (".mp4", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".asf", ".mts")
# Photos of a camera at most so far apart are one observation, as Wildlife Insights shows them.
_BURST = timedelta(seconds=60)
# A row: its place, its cells by column, and its error or None.
_Rows = list[tuple[str, dict[str, str], str | None]]


def find_wildlife_insights(root: Path) -> list[Path]:
    """Return the tables of images of an export in a folder."""
    return [file for file in sorted(root.glob("images*.csv")) if is_wildlife_insights(file)]


def is_wildlife_insights(file: Path) -> bool:
    """Return whether a CSV file has the columns of an export's table of images."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            names = {name.strip().lower() for name in next(csv.reader(text), [])}
    except (OSError, ValueError, csv.Error):
        return False
    identified = names >= {"common_name", "genus", "species"} or "sequence_id" in names
    found = names >= {"deployment_id", "location"} and bool(names & {"filename", "image_id"})
    return found and identified and not names & set(rows.PATH_COLUMNS)


def read_wildlife_insights(files: Sequence[Path]) -> Dataset:
    """Read the tables of images of one folder; the photos lie anywhere below it.

    Each image becomes a photo.  Its file is found by the name in ``location``, ``filename`` or
    ``image_id``; where a name is not unique, below a folder named like the deployment or its
    place.  An image with several identifications, at least one of them an organism, is an error,
    because its label is ambiguous.  The place of the deployment (else the deployment) becomes the
    site.  ``sequence_id`` becomes the observation; without it, photos of a deployment that were
    taken within a minute of each other are one.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    root = files[0].parent
    images: dict[str, _Rows] = defaultdict(list)
    for file in files:
        for place, cells, error in _table(file, _IMAGES):
            where = f"{file.name} {place}"
            key = cells["image_id"] or f"{cells['deployment_id']}\0{cells['filename']}"
            images[key if key != "\0" else where].append((where, cells, error))
    if not images:
        raise MetadataError(f"{files[0]}: has a header and no rows; add one row per photo")
    sites, sequences = _sites(root), _sequences(root)
    first = [own[0][1] for own in images.values()]
    names = [_file_names(cells) for cells in first]
    below = FoundFiles(root, names)
    photos = []
    for own, found, observation in zip(images.values(), names, _observations(first), strict=True):
        place, cells, _ = own[0]
        project, deployment = cells["project_id"], cells["deployment_id"]
        site = sites.get((project, deployment)) or sites.get(("", deployment)) or deployment
        path, error = below.find(found, {deployment, site})
        if found and found[0].lower().endswith(_VIDEOS):
            error = "is a video; extract photos from it"
        error = next((ragged for _, _, ragged in own if ragged), error)
        seen = [cells for _, cells, _ in own]
        if not any(map(_identified, seen)):
            seen = sequences.get(cells["sequence_id"], [])
        about = {"site": site, "observation": observation}
        photos.append((place, _photo(about, path, error, seen)))
    return Dataset(root, tuple(rows.keep_first(photos)), "wildlife_insights")


def _table(file: Path, columns: Sequence[str]) -> Iterator[rows.Row]:
    for place, cells, error in csv_rows(file, columns, [columns[:1]]):
        yield place, dict.fromkeys((*columns, _ADDRESS), "") | cells, error


def _sites(root: Path) -> dict[tuple[str, str], str]:
    """Return the place of each deployment, by project and deployment."""
    columns = ("deployment_id", "project_id", "placename")
    return {
        (cells["project_id"], cells["deployment_id"]): cells["placename"]
        for file in sorted(root.glob("deployments*.csv"))
        for _, cells, error in _table(file, columns)
        if error is None
    }


def _sequences(root: Path) -> dict[str, list[dict[str, str]]]:
    """Return the identifications of each sequence."""
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for file in sorted(root.glob("sequences*.csv")):
        for _, cells, error in _table(file, ("sequence_id", *_NAMES)):
            if error is None:
                found[cells["sequence_id"]].append(cells)
    return found


def _file_names(cells: dict[str, str]) -> list[str]:
    """Return the names that the file of an image may have, the surest first."""
    address = posixpath.basename(cells[_ADDRESS])
    return [name for name in (address, cells["filename"], cells["image_id"]) if name]


def _observations(images: Sequence[dict[str, str]]) -> list[str]:
    """Return the sequence of each image or, without one, its burst; else an empty text."""
    found = [cells["sequence_id"] for cells in images]
    times: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
    for number, cells in enumerate(images):
        try:
            taken = datetime.fromisoformat(cells["timestamp"]).replace(tzinfo=None)
        except ValueError:
            continue
        if not found[number] and cells["deployment_id"]:
            times[cells["deployment_id"]].append((taken, number))
    for deployment, taken_at in times.items():
        before, name = datetime.min, ""
        for taken, number in sorted(taken_at):
            if taken - before > _BURST:
                name = f"{deployment} {taken}"
            before, found[number] = taken, name
    return found


def _photo(
    cells: dict[str, Any], path: str, error: str | None, seen: list[dict[str, str]]
) -> Photo:
    """Return the photo of one image, labelled by the identifications in ``seen``."""
    labels = dict(filter(None, map(_identified, seen)))
    try:
        name = rows.one_label(labels)
        cells |= labels.get(name, {"species": name}) if name else {}
    except ValueError as problem:
        error = error or str(problem)
    return described(cells, path, error)


def _identified(cells: dict[str, str]) -> tuple[str, dict[str, str]] | None:
    """Return the label of a row, and the names by rank that it gives; None if it has none."""
    names = {name: cells[name] for name in (*_RANKS, "species", "common_name")}
    kind = kind_of_labels(list(names.values()))
    names = {name: text for name, text in names.items() if is_organism(text)}
    if kind in ("human", "vehicle", "blank"):
        return kind, {"species": kind}
    if not names:
        blank = cells["is_blank"].lower() in ("1", "true", "yes")
        kind = "blank" if blank else kind
        return (kind, {"species": kind}) if kind else None
    if "species" in names and "genus" in names:
        # A subspecies has two words here.
        names["species"] = f"{names['genus']} {names['species'].split()[0]}"
    lowest = next(
        names[name] for name in ("species", *_RANKS[::-1], "common_name") if name in names
    )
    return lowest.lower(), names
