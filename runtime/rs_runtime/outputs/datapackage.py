"""``datapackage.json`` of a Camtrap DP: what the tables are, and what the study is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rs_runtime.errors import OutputError
from rs_runtime.kit.manifest import RANKS
from rs_runtime.outputs.labels import Label, scientific

__all__ = ["GUESSED", "descriptor", "read_metadata", "taxon_entry"]

_SPEC = "https://raw.githubusercontent.com/tdwg/camtrap-dp/1.0.1"
_TABLES = ("deployments", "media", "observations")
_MOST_BYTES = 2**20
# What is measured here is not taken from another package.
_OWN = ("resources", "profile", "created", "spatial", "temporal", "taxonomic")

GUESSED = (
    "samplingDesign 'opportunistic', captureMethod 'activityDetection', individualAnimals false"
)
"""What a package says of its project, which Camtrap DP requires, if the user gives no metadata."""


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the project, contributors, licences and the like of a user's ``datapackage.json``.

    Raises
    ------
    OutputError
        The file is no JSON object of at most 1 MB.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    try:
        found = json.loads(data) if len(data) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise OutputError(f"metadata {str(path)!r}: no JSON object of at most 1 MB; mend the file")
    return {name: value for name, value in found.items() if name not in _OWN}


def taxon_entry(label: Label) -> dict[str, str]:
    """Return a taxon as ``taxonomic`` lists it, without common names: no language is known."""
    rank, name = label.finest
    upper = RANKS[: RANKS.index("species")]
    above = {each: scientific(label.lineage[each]) for each in upper if each in label.lineage}
    return {"scientificName": scientific(name or ""), "taxonRank": rank or "", **above}


def descriptor(
    name: str,
    software: str,
    deployments: Iterable[Mapping[str, str]],
    taxa: Iterable[dict[str, str]],
    metadata: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of ``datapackage.json``.

    Parameters
    ----------
    name
        Title of the project, if ``metadata`` has none.
    software
        Name and version of the program that makes the package.
    deployments
        Rows of ``deployments.csv``.
    taxa
        As :func:`taxon_entry` gives them.
    metadata
        As :func:`read_metadata` gives it; overrides what is said here of the project.
    """
    rows = list(deployments)
    times = [
        row[each] for row in rows for each in ("deploymentStart", "deploymentEnd") if each in row
    ]
    days = sorted(time[:10] for time in times) or [""]
    project = {
        "title": name,
        "samplingDesign": "opportunistic",
        "captureMethod": ["activityDetection"],
        "individualAnimals": False,
        "observationLevel": ["media"],
    }
    return {
        "profile": f"{_SPEC}/camtrap-dp-profile.json",
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "resources": [_resource(table) for table in _TABLES],
        "contributors": [{"title": software, "role": "contributor"}],
        "sources": [{"title": software}],
        "project": project,
        **metadata,
        "spatial": _spatial(rows),
        "temporal": {"start": days[0], "end": days[-1]},
        "taxonomic": list(taxa),
    }


def _resource(table: str) -> dict[str, str]:
    return {
        "name": table,
        "path": f"{table}.csv",
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "schema": f"{_SPEC}/{table}-table-schema.json",
    }


def _spatial(rows: Iterable[Mapping[str, str]]) -> dict[str, Any]:
    """Return the box around all deployments as GeoJSON (RFC 7946): a polygon, or a point."""
    places = [
        (float(row["longitude"]), float(row["latitude"]))
        for row in rows
        if "latitude" in row and "longitude" in row
    ]
    if not places:
        return {}
    (west, south), (east, north) = (
        tuple(pick(values) for values in zip(*places, strict=True)) for pick in (min, max)
    )
    if (west, south) == (east, north):
        return {"type": "Point", "coordinates": [west, south]}
    corners = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [corners]}
