"""The tables of a Camera Trap Data Package, of any version from 0.1.3 to 1.0.

The versions differ in the names of tables and columns (github.com/tdwg/camtrap-dp, its tags).
Rows are given under the names of version 1.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rs_toolkit.data.readers import rows
from rs_toolkit.data.readers.reading import relative_path
from rs_toolkit.data.readers.rows import Row
from rs_toolkit.errors import MetadataError

__all__ = ["deployments", "media", "observations"]

# Columns, and the names that they had in earlier versions.
_COLUMNS = {
    "deploymentID": ("deployment_id",),
    "locationID": ("location_id",),
    "mediaID": ("multimedia_id", "media_id"),
    "eventID": ("sequenceID", "sequence_id"),
    "timestamp": (),
    "filePath": ("file_path",),
    "fileName": ("file_name",),
    "fileMediatype": ("file_mediatype",),
    "observationType": ("observation_type",),
    "eventStart": (),
    "eventEnd": (),
    "scientificName": ("scientific_name",),
    "taxonID": ("taxon_id",),
    **dict.fromkeys(("bboxX", "bboxY", "bboxWidth", "bboxHeight"), ()),
}
_DEPLOYMENTS = ("deploymentID", "locationID")
_MEDIA = (
    *("mediaID", "deploymentID", "eventID", "timestamp", "filePath", "fileName"),
    "fileMediatype",
)
_OBSERVATIONS = (
    *("observationType", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd"),
    *("scientificName", "taxonID", "bboxX", "bboxY", "bboxWidth", "bboxHeight"),
)
_VERSION = re.compile(r"camtrap-dp/v?([0-9][0-9A-Za-z.-]*)")


def deployments(package: Path, content: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of the table of cameras; ``content`` is that of ``datapackage.json``.

    Raises as :func:`rs_toolkit.data.readers.rows.csv_rows` does, also if a path is not usable.
    """
    return _rows(_files(package, content, "deployments"), _DEPLOYMENTS)


def media(package: Path, content: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of the table of photos; raises as :func:`deployments` does."""
    files = _files(package, content, "media", "multimedia")
    if not files:
        version = _VERSION.search(str(content.get("profile")))
        got = f"version {version[1]}" if version else "an unknown version"
        raise MetadataError(
            f"{package}: names no media table, and there is no media.csv (Camtrap DP, {got}); "
            "wanted version 0.1.3 or later; export the data again as 1.0"
        )
    return _rows(files, _MEDIA)


def observations(package: Path, content: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of the tables of observations; raises as :func:`deployments` does."""
    names = ("observations", "media-observations", "event-observations")
    files = _files(package, content, *names)
    return _rows(files or [package.parent / "observations.csv"], _OBSERVATIONS)


def _files(package: Path, content: dict[str, Any], *names: str) -> list[Path]:
    """Return the files of the tables that have one of these names in the package.

    If it lists none of them, files of these names beside it are taken; deployments are needed.
    """
    resources = content.get("resources")
    listed = [
        (item["name"], item.get("path"))
        for item in (resources if isinstance(resources, list) else [])
        if isinstance(item, dict) and item.get("name") in names
    ]
    if not listed:
        beside = [package.parent / f"{name}.csv" for name in names]
        return [file for file in beside if file.is_file() or names == ("deployments",)]
    files = []
    for name, given in listed:
        for one in given if isinstance(given, list) and given else [given]:
            path, error = relative_path(one)
            if error is not None:
                raise MetadataError(f"{package}: path of the resource {name}: {error}")
            files.append(package.parent / path)
    return files


def _rows(files: Sequence[Path], columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of files with all of ``columns``, the first of which must be there."""
    wanted = {old: name for name in columns for old in (name, *_COLUMNS[name])}
    required = [old for old, name in wanted.items() if name == columns[0]]
    # The reader of CSV files calls location_id so.
    named = {**wanted, "site": "locationID"}
    for file in files:
        for place, cells, error in rows.csv_rows(file, wanted, [required]):
            row = dict.fromkeys(columns, "")
            for old, cell in cells.items():
                row[named[old]] = row[named[old]] or cell
            yield f"{file.name} {place}", row, error
