"""Camera Trap Data Packages: Camtrap DP (camtrap-dp.tdwg.org), versions 0.1.3 to 1.0.

``datapackage.json`` names three tables and may describe the taxa.  ``deployments.csv`` says where
each camera stood, ``media.csv`` has one row per file, and ``observations.csv`` says what was seen
on a file or during an event (a sequence, in earlier versions).
"""

from __future__ import annotations

import posixpath
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any

from rs_runtime.photos.formats import PHOTO_SUFFIXES
from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import camtrap_tables, rows
from rs_toolkit.data.readers.reading import relative_path
from rs_toolkit.data.readers.rows import Row, described, label_rank, tidy
from rs_toolkit.data.taxonomy import RANKS, normalize_name
from rs_toolkit.errors import MetadataError

__all__ = ["PACKAGE_FILE", "read_camtrap"]

PACKAGE_FILE = "datapackage.json"

# Kinds of observations that contradict an animal on the same file.
_NO_ANIMAL = ("human", "vehicle", "blank")
_BELOW_SPECIES = frozenset({"subspecies", "variety", "form"})
# "Canis sp." is some species of the genus.
_SOME_SPECIES = frozenset({"sp", "sp.", "spp", "spp.", "indet", "indet."})
# A function that returns, for a scientific name, the names by rank and the ``common_name``.
_Names = Callable[[str], dict[str, Any]]
_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
# Kinds of observations, by their names in all versions.
_KINDS = {
    **{kind: kind for kind in ("animal", *_NO_ANIMAL, "unknown", "unclassified")},
    "empty": "blank",
    "undefined": "unknown",
}


def read_camtrap(package: Path) -> Dataset:
    """Read the Camtrap DP of a ``datapackage.json``; paths are relative to its folder.

    Each row of ``media.csv`` becomes a photo, labelled by the classified observations of the file
    or, if it has none, by those of its event: the event that observations of the file name, else
    the one during which it was taken.  A photo is an error if its label is ambiguous, that is, if
    observations give several taxa, or a taxon and also a human, a vehicle or ``blank``.
    ``locationID`` (else ``deploymentID``) becomes the site, ``eventID`` the observation.  If
    exactly one observation of a file has a box, that is the photo's box.  Videos and files that
    are only on the web are errors.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    content = rows.read_object(package)
    places = camtrap_tables.deployments(package, content)
    sites = {place["deploymentID"]: place["locationID"] for _, place, error in places if not error}
    media = list(camtrap_tables.media(package, content))
    if not media:
        raise MetadataError(f"{package}: its media table has no rows; add one per photo")
    taxa = _listed(content)
    seen = _Observations(
        camtrap_tables.observations(package, content),
        {cells["mediaID"] for _, cells, _ in media},
        {str(item.get("taxonid")): name for name, item in taxa.items()},
    )
    photos = rows.keep_first(_rows(media, seen, sites, _names_of(taxa), package.parent))
    return Dataset(package.parent, tuple(photos), "camtrap")


def _rows(
    media: list[Row], observations: _Observations, sites: dict[str, str], names: _Names, root: Path
) -> Iterator[tuple[str, Photo]]:
    """Yield a photo and its place for each file, then an error for each bad observation."""
    ids: set[str] = set()
    is_folder = cache(lambda path: (root / path).is_dir())
    for place, cells, ragged in media:
        path, error = relative_path(_given_path(cells, is_folder))
        if cells["fileMediatype"].lower().startswith("video/"):
            error = error or "is a video; extract photos from it"
        key, camera = cells["mediaID"], cells["deploymentID"]
        if key and key in ids:
            error = error or f"repeats the mediaID {key[:80]!r}; renumber it"
        ids.add(key)
        own, during, event = observations.of(cells)
        if not key and not event:
            error = error or "has no mediaID; fill it in"
        error = ragged or error
        found: dict[str, Any] = {}
        if error is None:
            boxes = [item.box for item in own if item.box]
            found = {"site": sites.get(camera) or camera, "observation": event}
            try:
                name = _label(own or during)
                found["box"] = boxes[0] if len(boxes) == 1 else None
                found |= names(name) if name else {}
            except ValueError as problem:
                error = str(problem)
        yield place, described(found, path, error)
    for place, error in observations.errors:
        yield place, described({}, "", error)


def _given_path(cells: dict[str, str], is_folder: Callable[[str], bool]) -> str:
    """Return the path of a file; some packages give its folder as ``filePath``."""
    path, name = cells["filePath"], cells["fileName"]
    if not path or not name or path.lower().endswith(tuple(PHOTO_SUFFIXES)):
        return path or name
    joined, error = relative_path(f"{path}/{name}")
    folder = error is None and (path.endswith(("/", "\\")) or is_folder(posixpath.dirname(joined)))
    return joined if folder else path


def _label(seen: list[_Seen]) -> str | None:
    """Return the one scientific name among observations; None where there is none.

    Animals without a name are ignored: people and machines may both have classified the same
    animal, and only one of them named it.
    """
    animals = {item.name for item in seen if item.kind == "animal" and item.name}
    return rows.one_label(animals | {item.kind for item in seen if item.kind in _NO_ANIMAL})


@dataclass(frozen=True)
class _Seen:
    """One observation; a field is empty where the row has no value."""

    kind: str
    name: str  # scientific, in lower case
    event: str
    box: str  # left,top,width,height as given


class _Observations:
    """Observations by file and by event.

    ``media`` are the IDs of all files, and ``taxa`` scientific names by their IDs.

    ``errors`` holds the place and the fault of each row that cannot be used.
    """

    def __init__(
        self, rows: Iterable[Row], media: Collection[str], taxa: Mapping[str, str]
    ) -> None:
        self._taxa = taxa
        self.errors: list[tuple[str, str]] = []
        self._own: dict[str, list[_Seen]] = defaultdict(list)
        # Observations of events: by deployment and eventID, and by deployment and time.
        self._named: dict[tuple[str, str], list[_Seen]] = defaultdict(list)
        self._timed: dict[str, list[tuple[datetime, datetime, _Seen]]] = defaultdict(list)
        for place, row, error in rows:
            if error := error or self._add(row, media):
                self.errors.append((place, error))
        # Events sorted by start: for each, the latest end of it and those before it.
        self._latest: dict[str, list[datetime]] = {}
        for camera, spans in self._timed.items():
            spans.sort(key=itemgetter(0))
            self._latest[camera] = list(accumulate((end for _, end, _ in spans), max))

    def _add(self, row: dict[str, str], media: Collection[str]) -> str | None:
        """Add one row; return why it cannot be used, or None."""
        given = row["observationType"].lower()
        if (kind := _KINDS.get(given)) is None:
            wanted = ", ".join(sorted(set(_KINDS.values())))
            return f"observationType {given[:80]!r}, wanted one of: {wanted}"
        name = normalize_name(row["scientificName"]) or self._taxa.get(row["taxonID"], "")
        box = ",".join(row[name] for name in _BOX) if any(row[name] for name in _BOX) else ""
        seen = _Seen(kind, name, row["eventID"], box)
        if own := row["mediaID"]:
            if own not in media:
                return f"mediaID {own[:80]!r} is not in the media table; add it, or delete this row"
            self._own[own].append(seen)
            return None
        start, end = _moment(row["eventStart"]), _moment(row["eventEnd"])
        if not seen.event and (start is None or end is None):
            return "has no mediaID, and no eventID or eventStart and eventEnd; add one"
        camera = row["deploymentID"]
        self._named[camera, seen.event].append(seen)
        if start is not None and end is not None:
            self._timed[camera].append((start, end, seen))
        return None

    def of(self, media: Mapping[str, str]) -> tuple[list[_Seen], list[_Seen], str]:
        """Return the observations of a row of media, those of its event, and the event's ID.

        Observations of the kind ``unclassified`` are left out.
        """
        camera = media["deploymentID"]
        own = self._own.get(media["mediaID"], [])
        event = next((item.event for item in own if item.event), media["eventID"])
        during: list[_Seen] = []
        if event:
            # In version 0.6, observations of events do not name the camera.
            during = self._named.get((camera, event)) or self._named.get(("", event), [])
        elif (taken := _moment(media["timestamp"])) and camera in self._timed:
            begin = bisect_left(self._latest[camera], taken)
            stop = bisect_right(self._timed[camera], taken, key=itemgetter(0))
            spans = self._timed[camera][begin:stop]
            during = [seen for _, end, seen in spans if end >= taken]
            event = next((item.event for item in during if item.event), "")
        own, during = ([x for x in part if x.kind != "unclassified"] for part in (own, during))
        return own, during, event


def _moment(text: str) -> datetime | None:
    """Read a date and time in ISO 8601, as UTC if it has no time zone; None if it is not one."""
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        return None


def _listed(package: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the taxa of ``datapackage.json`` by their scientific names.

    Their keys are in lower case without underscores, because earlier versions have both forms.
    """
    taxonomic = package.get("taxonomic")
    listed = {}
    for item in taxonomic if isinstance(taxonomic, list) else []:
        taxon = item if isinstance(item, dict) else {}
        taxon = {str(key).replace("_", "").lower(): value for key, value in taxon.items()}
        name = taxon.get("scientificname")
        if isinstance(name, str) and (name := normalize_name(name) or ""):
            listed[name] = taxon
    return listed


def _names_of(taxa: Mapping[str, dict[str, Any]]) -> _Names:
    """Return a function that looks names up among the listed taxa."""

    @cache
    def named(name: str) -> dict[str, Any]:
        item = taxa.get(name, {})
        common = item.get("vernacularnames")
        english = (common.get("eng") or common.get("en")) if isinstance(common, dict) else None
        return {**_ranks(name, item), "common_name": english}

    return named


def _ranks(name: str, listed: dict[str, Any]) -> dict[str, Any]:
    """Put a name at its ``taxonRank`` or, without one, at the rank that its form suggests."""
    names = {rank: tidy(listed.get(rank), rank) for rank in RANKS}
    first, *rest = name.split()
    given = listed.get("taxonrank")
    rank = normalize_name(tidy(given)) if isinstance(given, str) else None
    if rank is None:
        rank = "species" if rest else label_rank([first])
        if rank == "species" and (not rest or rest[0].lower() in _SOME_SPECIES):
            rank = "genus"
    if rank == "species" or rank in _BELOW_SPECIES:
        names["species"] = " ".join((first, *rest[:1]))
        names["genus"] = names["genus"] or first
    elif rank in RANKS:
        names[rank] = first
    return names
