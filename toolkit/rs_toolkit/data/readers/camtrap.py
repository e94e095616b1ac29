"""Camera Trap Data Packages: Camtrap DP 1.0 (camtrap-dp.tdwg.org).

``datapackage.json`` names three tables and may describe the taxa.  ``deployments.csv`` says where
each camera stood, ``media.csv`` has one row per file, and ``observations.csv`` says what was seen
on a file or during an event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from rs_toolkit.data.photos import Dataset, Photo, tidy_box
from rs_toolkit.data.readers.camtrap_observations import COLUMNS, Observations, Record, Seen
from rs_toolkit.data.readers.rows import keep_first, label_rank, one_label, relative_path, tidy
from rs_toolkit.data.readers.tables import csv_rows, read_object
from rs_toolkit.data.taxonomy import RANKS, Taxon, normalize_name
from rs_toolkit.errors import MetadataError

__all__ = ["PACKAGE_FILE", "read_camtrap"]

PACKAGE_FILE = "datapackage.json"

# Kinds of observations that contradict an animal on the same file.
_NO_ANIMAL = ("human", "vehicle", "blank")
_BELOW_SPECIES = frozenset({"subspecies", "variety", "form"})
# "Canis sp." is some species of the genus.
_SOME_SPECIES = frozenset({"sp", "sp.", "spp", "spp.", "indet", "indet."})
# From a scientific name to its taxon and its English name, if the package has one.
_Names = Callable[[str], tuple[Taxon, str | None]]
_MEDIA = ("mediaID", "deploymentID", "timestamp", "filePath", "fileName", "fileMediatype")


def read_camtrap(package: Path) -> Dataset:
    """Read the Camtrap DP of a ``datapackage.json``; paths start from its folder.

    One photo per row of ``media.csv``, labelled by the classified observations of that file.
    Where it has none, those of its event label it: the event that observations of the file name,
    or else the one during which it was taken.  A photo of several taxa, or of a taxon and people,
    a vehicle or nothing, is an error: it has no one label.  ``locationID`` (else
    ``deploymentID``) becomes the site, ``eventID`` the observation.  If exactly one observation
    of a file has a box, that is the photo's.  Videos and files that are only on the web are
    errors.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    content = read_object(package)

    def records(name: str, columns: Sequence[str]) -> Iterator[Record]:
        return _records(_table(package, content, name), columns)

    places = records("deployments", ("deploymentID", "locationID"))
    sites = {place["deploymentID"]: place["locationID"] for _, place, error in places if not error}
    media = list(records("media", _MEDIA))
    if not media:
        raise MetadataError(f"{package}: its media table has no rows; add one per photo")
    seen = Observations(
        records("observations", COLUMNS), {cells["mediaID"] for _, cells, _ in media}
    )
    photos = keep_first(_rows(media, seen, sites, _names_of(content)))
    return Dataset(package.parent, tuple(photos), "camtrap")


def _table(package: Path, content: dict[str, Any], name: str) -> Path:
    """Return where a table lies, which must be below the package's folder."""
    given: Any = f"{name}.csv"
    resources = content.get("resources")
    for resource in resources if isinstance(resources, list) else []:
        if isinstance(resource, dict) and resource.get("name") == name:
            given = resource.get("path")
    path, error = relative_path(given)
    if error is not None:
        raise MetadataError(f"{package}: path of the resource {name}: {error}")
    return package.parent / path


def _records(path: Path, columns: Sequence[str]) -> Iterator[Record]:
    """Yield the rows of a table of which the first column is required."""
    for line, cells, error in csv_rows(path, columns, [columns[:1]]):
        yield f"{path.name} line {line}", dict.fromkeys(columns, "") | cells, error


def _rows(
    media: list[Record], observations: Observations, sites: dict[str, str], names: _Names
) -> Iterator[tuple[str, Photo]]:
    """Yield every file with its place, then the observations that belong to none."""
    ids: set[str] = set()
    for place, cells, ragged in media:
        path, error = relative_path(cells["filePath"] or cells["fileName"])
        if cells["fileMediatype"].lower().startswith("video/"):
            error = error or "is a video; take photos from it"
        if cells["mediaID"] in ids:
            error = error or f"repeats the mediaID {cells['mediaID'][:80]!r}; renumber it"
        ids.add(cells["mediaID"])
        if error := ragged or error:
            yield place, Photo(path, Taxon(), error=error)
        else:
            yield place, _photo(path, cells, observations, sites, names)
    for place, error in observations.errors:
        yield place, Photo("", Taxon(), error=error)


def _photo(
    path: str,
    cells: dict[str, str],
    observations: Observations,
    sites: dict[str, str],
    names: _Names,
) -> Photo:
    deployment = cells["deploymentID"]
    own, during, event = observations.of(cells["mediaID"], deployment, cells["timestamp"])
    site = tidy(sites.get(deployment) or deployment)
    photo = Photo(path, Taxon(), site=site, observation=tidy(event))
    try:
        name = _label(own or during)
        boxes = [item.box for item in own if item.box]
        box = tidy_box(boxes[0]) if len(boxes) == 1 else None
    except ValueError as error:
        return replace(photo, error=str(error))
    taxon, common_name = names(name) if name else (Taxon(), None)
    return replace(photo, taxon=taxon, common_name=common_name, box=box)


def _label(seen: list[Seen]) -> str | None:
    """Return the one scientific name among observations; None where there is none.

    An animal that one observation names and another does not is the same animal: classifications
    by people and by machines stand side by side.
    """
    animals = {item.name for item in seen if item.kind == "animal" and item.name}
    return one_label(animals | {item.kind for item in seen if item.kind in _NO_ANIMAL})


def _names_of(package: dict[str, Any]) -> _Names:
    """Return what looks names up in the list ``taxonomic`` of ``datapackage.json``."""
    taxonomic = package.get("taxonomic")
    listed: dict[str | None, dict[str, Any]] = {
        normalize_name(item["scientificName"]): item
        for item in (taxonomic if isinstance(taxonomic, list) else [])
        if isinstance(item, dict) and isinstance(item.get("scientificName"), str)
    }

    @cache
    def named(name: str) -> tuple[Taxon, str | None]:
        item = listed.get(normalize_name(name), {})
        common = item.get("vernacularNames")
        english = (common.get("eng") or common.get("en")) if isinstance(common, dict) else None
        return _taxon(name, item), tidy(english)

    return named


def _taxon(name: str, listed: dict[str, Any]) -> Taxon:
    """Put a name at its ``taxonRank`` or, without one, at the rank that its form suggests."""
    names = {rank: tidy(listed.get(rank)) for rank in RANKS}
    first, *rest = name.split()
    given = listed.get("taxonRank")
    rank = normalize_name(given) if isinstance(given, str) else None
    if rank is None:
        rank = "species" if rest else label_rank([first])
        if rank == "species" and (not rest or rest[0].lower() in _SOME_SPECIES):
            rank = "genus"
    if rank == "species" or rank in _BELOW_SPECIES:
        names["species"] = " ".join((first, *rest[:1]))
        names["genus"] = names["genus"] or first
    elif rank in RANKS:
        names[rank] = first
    return Taxon.from_dict(names)
