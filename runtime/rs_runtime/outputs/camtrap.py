"""A Camtrap DP 1.0.1 (https://camtrap-dp.tdwg.org): deployments, media and observations.

Deployments are those that the user gives, or one for each camera's folder.  They are known when the
last photo is, so what is needed of each photo is kept in a temporary file until then.
"""

from __future__ import annotations

import contextlib
import json
import mimetypes
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rs_runtime.console import counted
from rs_runtime.errors import OutputError
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.datapackage import GUESSED, descriptor, read_metadata, taxon_entry
from rs_runtime.outputs.deployments import COLUMNS, Gathered, Given, camera_folder, stamp
from rs_runtime.outputs.labels import BLANK, FAILURE, TAXON, Label, scientific
from rs_runtime.outputs.pending import PendingFolder
from rs_runtime.outputs.tables import csv_line, url_path
from rs_runtime.results import Failure, Prediction, Result

__all__ = ["CamtrapDP"]

_MEDIA = (
    *("mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic"),
    *("fileName", "fileMediatype", "exifData", "favorite", "mediaComments"),
)
_OBSERVATIONS = (
    *("observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd"),
    *("observationLevel", "observationType", "cameraSetupType", "scientificName", "count"),
    *("lifeStage", "sex", "behavior", "individualID", "individualPositionRadius"),
    *("individualPositionAngle", "individualSpeed", "bboxX", "bboxY", "bboxWidth", "bboxHeight"),
    *("classificationMethod", "classifiedBy", "classificationTimestamp"),
    *("classificationProbability", "observationTags", "observationComments"),
)
_REQUIRED = ("latitude", "longitude", "deploymentStart", "deploymentEnd")
_SPOOL = "spool.jsonl"
_NAMED = 10

Row = dict[str, Any]


class CamtrapDP:
    """Writes the package into a new folder.

    Raises
    ------
    OutputError
        The deployments or the metadata that were given cannot be used.
    """

    def __init__(self, context: Context, folder: PendingFolder) -> None:
        self._context, self._folder = context, folder
        options = context.options
        try:
            self._given = Given(options.deployments) if options.deployments else None
            self._metadata = read_metadata(options.metadata) if options.metadata else {}
            path = folder.temporary / _SPOOL
            self._spool = path.open("w+", encoding="utf-8", newline="\n")
        except BaseException:
            folder.discard()
            raise
        self._made: dict[str, Gathered] = {}
        self._taxa: dict[str, dict[str, str]] = {}
        self._photos = self._assumed = self._timeless = 0

    def add(self, found: Result) -> None:
        """Keep what is needed of one photo."""
        if isinstance(found, Failure) and found.kind == "folder":
            return
        context = self._context
        path, label = context.relative(found.path), context.labels.of(found)
        exif = found.photo.exif if isinstance(found, Prediction) and found.photo else None
        time, assumed = stamp(exif.taken if exif else None, context.options.timezone)
        folder = camera_folder(path, context.base)
        given = self._given.find(folder, time) if self._given else None
        name = given["deploymentID"] if given else folder
        if given is None:
            gathered = self._made.setdefault(folder, Gathered())
            gathered.add(time, exif)
            gathered.doubtful = gathered.doubtful or assumed or time is None
        self._photos += 1
        self._assumed += assumed
        self._timeless += time is None
        row = {"path": path, "deployment": name, "time": time, **_observed(label)}
        row["archive"] = context.archive(found.path)
        if isinstance(found, Prediction) and found.sequence:
            row["eventID"] = found.sequence.id
        self._spool.write(json.dumps(row) + "\n")
        if row["scientificName"]:
            self._taxa.setdefault(row["scientificName"], taxon_entry(label))

    def close(self, complete: bool) -> None:
        """Write the tables; a package with gaps gets another name, and an error says which.

        Raises
        ------
        OutputError
            Deployments lack what Camtrap DP requires.
        """
        rows = self._deployments()
        folder = self._folder.temporary
        _write(folder / "deployments.csv", COLUMNS, iter(rows.values()))
        _write(folder / "media.csv", _MEDIA, self._media(rows))
        _write(folder / "observations.csv", _OBSERVATIONS, self._observations(rows))
        taxa = [self._taxa[name] for name in sorted(self._taxa)]
        title = Path(self._context.base).name or "photos"
        software = self._context.software
        package = descriptor(title, software, rows.values(), taxa, self._metadata)
        (folder / "datapackage.json").write_text(json.dumps(package, indent=2) + "\n", "utf-8")
        self._spool.close()
        (folder / _SPOOL).unlink()
        gaps = [
            f"{name!r} has no {', '.join(lacking)}"
            for name, row in rows.items()
            if (lacking := [column for column in _REQUIRED if column not in row])
        ]
        place = self._folder.close(complete and not gaps)
        self._say(place, rows)
        if gaps:
            more = f" and {len(gaps) - _NAMED} more" if len(gaps) > _NAMED else ""
            raise OutputError(
                f"Camtrap DP {str(place)!r} has gaps: deployment {'; '.join(gaps[:_NAMED])}{more}; "
                "fill them in its deployments.csv, and give that file as --deployments"
            )

    def discard(self) -> None:
        """Remove what was written."""
        # What cannot be written is not wanted any more.
        with contextlib.suppress(OSError):
            self._spool.close()
        self._folder.discard()

    def _say(self, place: Path, rows: Mapping[str, object]) -> None:
        tell = self._context.tell
        if self._given and self._made:
            names = ", ".join(map(repr, list(self._made)[:_NAMED]))
            tell(
                f"warning: folders without a deployment in the table, which got their own: {names}"
            )
        if self._assumed:
            tell(
                f"warning: times of {counted(self._assumed, 'photo')} without an offset are taken "
                "as UTC; "
                "give --timezone, such as +03:00"
            )
        if self._timeless:
            tell(
                f"warning: {counted(self._timeless, 'photo')} without a time, whose observations "
                "last as long as the deployment"
            )
        if "project" not in self._metadata:
            tell(f"warning: datapackage.json says {GUESSED}; correct it, or give --metadata")
        of = counted(len(rows), "deployment")
        tell(f"wrote {str(place)!r}: {counted(self._photos, 'photo')} in {of}")

    def _deployments(self) -> dict[str, dict[str, str]]:
        rows = dict(self._given.rows) if self._given else {}
        for name, gathered in self._made.items():
            rows[name] = gathered.row(name)
        return rows

    def _rows(self, deployments: Mapping[str, Mapping[str, str]]) -> Iterator[Row]:
        """Yield what was kept of each photo, with its identifiers and times."""
        self._spool.seek(0)
        for line in self._spool:
            row = json.loads(line)
            stood = deployments[row["deployment"]]
            start, end = stood.get("deploymentStart"), stood.get("deploymentEnd")
            identity = self._context.identifier
            facts = (row["deployment"], row["path"], row["time"])
            row |= {
                "deploymentID": row["deployment"],
                "mediaID": identity("media", *facts),
                "observationID": identity("observation", *facts),
                "timestamp": row["time"] or start,
                "eventStart": row["time"] or start,
                "eventEnd": row["time"] or end,
            }
            yield row

    def _media(self, deployments: Mapping[str, Mapping[str, str]]) -> Iterator[Row]:
        for row in self._rows(deployments):
            path, comments = row["path"], []
            if url_path(path) != path:
                path = url_path(path)
                comments.append("filePath is percent-encoded")
            if row["archive"]:
                comments.append(f"the file is in the archive {row['archive']}")
            if row["time"] is None:
                comments.append("time unknown: timestamp is the start of the deployment")
            yield row | {
                "filePath": path,
                "filePublic": "false",
                "fileName": path.rpartition("/")[2],
                "fileMediatype": _media_type(row["path"]),
                "mediaComments": "; ".join(comments),
            }

    def _observations(self, deployments: Mapping[str, Mapping[str, str]]) -> Iterator[Row]:
        by = f"{self._context.model}, {self._context.software}"
        for row in self._rows(deployments):
            known = row["observationType"] != "unclassified"
            yield row | {
                "observationLevel": "media",
                "classificationMethod": "machine" if known else None,
                "classifiedBy": by if known else None,
            }


def _write(path: Path, columns: tuple[str, ...], rows: Iterator[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        file.write(csv_line(columns))
        for row in rows:
            file.write(csv_line(row.get(column) for column in columns))


def _observed(label: Label) -> Row:
    """Return the columns of an observation that say what was seen."""
    _, name = label.finest
    row: Row = {"scientificName": None, "observationComments": label.remark}
    if label.kind != FAILURE:
        row["classificationProbability"] = label.probability
    if label.kind == TAXON and name:
        kingdom = label.lineage.get("kingdom", "animalia").lower()
        human = label.lineage.get("species", "").lower() == "homo sapiens"
        row["scientificName"] = scientific(name)
        # The standard has no type for plants and fungi.
        row["observationType"] = "unknown" if kingdom != "animalia" else "animal"
        if human:
            row["observationType"] = "human"
    else:
        kinds = {BLANK: "blank", FAILURE: "unclassified"}
        row["observationType"] = kinds.get(label.kind, "unknown")
    return row


def _media_type(path: str) -> str:
    known = mimetypes.guess_type(path)[0] or ""
    if known.startswith(("image/", "video/", "audio/")):
        return known
    suffix = path.rpartition(".")[2].lower()
    return f"image/{suffix}" if suffix in ("heic", "heif", "avif", "webp") else "image/unknown"
