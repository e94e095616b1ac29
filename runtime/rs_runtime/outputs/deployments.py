"""Deployments: where and when a camera stood, from a table of Camtrap DP or from the photos."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rs_runtime.errors import OutputError
from rs_runtime.files import read_text
from rs_runtime.photos.exif import Exif

__all__ = ["COLUMNS", "Gathered", "Given", "camera_folder", "stamp"]

COLUMNS = (
    *("deploymentID", "locationID", "locationName", "latitude", "longitude"),
    *("coordinateUncertainty", "deploymentStart", "deploymentEnd", "setupBy", "cameraID"),
    *("cameraModel", "cameraDelay", "cameraHeight", "cameraDepth", "cameraTilt", "cameraHeading"),
    *("detectionDistance", "timestampIssues", "baitUse", "featureType", "habitat"),
    *("deploymentGroups", "deploymentTags", "deploymentComments"),
)
"""The columns of deployments in Camtrap DP 1.0.1, in their order."""

_NEEDED = ("deploymentID", "latitude", "longitude", "deploymentStart", "deploymentEnd")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", re.A)
# Folders that cameras make (DCF, CIPA DC-009): DCIM, and in it 100RECNX and the like.
_DCF = re.compile(r"DCIM|\d{3}[A-Z0-9_]{5}", re.I)
_MOST_ROWS, _MAX_BYTES = 100_000, 50_000_000
_DEGREE_M = 111_195.0


def stamp(taken: str | None, zone: timezone | None) -> tuple[str | None, bool]:
    """Return a camera's time as Camtrap DP wants it, and whether its offset was only assumed.

    The offset is the photo's own, else ``zone``, else UTC, which is then an assumption.
    """
    if taken is None:
        return None, False
    time = datetime.fromisoformat(re.sub(r"\.\d+", "", taken))
    assumed = time.tzinfo is None and zone is None
    if time.tzinfo is None:
        time = time.replace(tzinfo=zone or timezone(timedelta(0)))
    return time.isoformat(), assumed


def camera_folder(path: str, base: str) -> str:
    """Return the folder of a camera: that of the photo, without those that cameras make.

    ``path`` is relative to the folder ``base``, which is the camera's if the photo lies in it.
    """
    parts = path.split("/")[:-1]
    while parts and _DCF.fullmatch(parts[-1]):
        parts.pop()
    return "/".join(parts) or Path(base).name or "photos"


@dataclass
class Gathered:
    """What the photos of one folder say of their deployment."""

    first: str | None = None
    last: str | None = None
    latitudes: tuple[float, float] | None = None
    longitudes: tuple[float, float] | None = None
    cameras: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    doubtful: bool = False

    def add(self, time: str | None, exif: Exif | None) -> None:
        """Take the time (of :func:`stamp`) and the EXIF data of one photo."""
        if time is not None:
            self.first = min(filter(None, (self.first, time)), key=datetime.fromisoformat)
            self.last = max(filter(None, (self.last, time)), key=datetime.fromisoformat)
        if exif is None:
            return
        if exif.latitude is not None and exif.longitude is not None:
            self.latitudes = _range(self.latitudes, exif.latitude)
            self.longitudes = _range(self.longitudes, exif.longitude)
        # Two are enough to know that there is not one.
        for known, name in ((self.cameras, exif.serial), (self.models, _model(exif))):
            if name and len(known) < 2:
                known.add(name)

    def row(self, name: str) -> dict[str, str]:
        """Return the row of ``deployments.csv``; what is not known is not in it.

        The place is the middle of the photos' places, their distance its uncertainty in metres.
        """
        row = {"deploymentID": name, "deploymentStart": self.first, "deploymentEnd": self.last}
        if self.latitudes and self.longitudes and _width(self.longitudes) < 180:
            latitude = sum(self.latitudes) / 2
            row["latitude"] = f"{latitude:.6f}"
            row["longitude"] = f"{sum(self.longitudes) / 2:.6f}"
            east = _width(self.longitudes) * math.cos(math.radians(latitude))
            if metres := math.ceil(math.hypot(_width(self.latitudes), east) / 2 * _DEGREE_M):
                row["coordinateUncertainty"] = str(metres)
        for column, known in (("cameraID", self.cameras), ("cameraModel", self.models)):
            row[column] = next(iter(known)) if len(known) == 1 else None
        row["timestampIssues"] = "true" if self.doubtful else "false"
        row["deploymentComments"] = "made by rs-toolkit from the photos of a folder"
        return {column: value for column, value in row.items() if value}


def _range(known: tuple[float, float] | None, value: float) -> tuple[float, float]:
    low, high = known or (value, value)
    return min(low, value), max(high, value)


def _width(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]


def _model(exif: Exif) -> str | None:
    return "-".join(filter(None, (exif.make, exif.model))) or None


class Given:
    """The deployments of a table that the user gives.

    Raises
    ------
    OutputError
        The file cannot be read, has more than 50 MB, or is no such table; or a row lacks what
        Camtrap DP requires.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: dict[str, dict[str, str]] = {}
        self._places: dict[str, list[dict[str, str]]] = {}
        where = f"deployments {str(path)!r}"
        text = read_text(path, _MAX_BYTES, where, OutputError)
        try:
            self._read(csv.reader(io.StringIO(text, newline="")))
        except csv.Error as error:
            raise OutputError(f"{where}: no CSV table ({error}); save it as one") from error

    def _read(self, lines: Iterable[list[str]]) -> None:
        header: list[str] | None = None
        for number, cells in enumerate(lines, 1):
            if header is None:
                header = [cell.strip() for cell in cells]
                if lacking := [name for name in _NEEDED if name not in header]:
                    self._refuse(1, f"lacks the columns {', '.join(lacking)}")
            elif any(cells):
                row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
                self._take(number, {name: row[name] for name in COLUMNS if row.get(name)})
        if not self.rows:
            self._refuse(1, "has no deployments")

    def _take(self, number: int, row: dict[str, str]) -> None:
        for name in _NEEDED:
            if name not in row:
                self._refuse(number, f"has no {name}")
        for name, most in (("latitude", 90), ("longitude", 180)):
            try:
                inside = abs(float(row[name])) <= most
            except ValueError:
                inside = False
            if not inside:
                self._refuse(number, f"has {name} {row[name]!r}, wanted -{most} to {most} degrees")
        for name in ("deploymentStart", "deploymentEnd"):
            if _time(row[name]) is None:
                wanted = "a time with its offset, such as 2025-03-09T06:30:00+03:00"
                self._refuse(number, f"has {name} {row[name]!r}, wanted {wanted}")
        if row["deploymentID"] in self.rows or len(self.rows) >= _MOST_ROWS:
            self._refuse(number, f"has deploymentID {row['deploymentID']!r} again, or is too many")
        self.rows[row["deploymentID"]] = row
        if place := row.get("locationID"):
            self._places.setdefault(place, []).append(row)

    def _refuse(self, line: int, problem: str) -> None:
        raise OutputError(f"deployments {str(self._path)!r}: line {line} {problem}; mend the table")

    def find(self, folder: str, time: str | None) -> Mapping[str, str] | None:
        """Return the deployment of a photo; None if there is none, or several are possible.

        It is the one whose deploymentID is the camera's folder (:func:`camera_folder`), or the name
        of one of its folders, the innermost first; else the one whose locationID is such a name.
        Of several deployments at a location, the one at the photo's time.
        """
        names = [folder, *reversed(folder.split("/"))]
        for name in names:
            if name in self.rows:
                return self.rows[name]
        for name in names:
            if fitting := self._places.get(name):
                if len(fitting) > 1 and time is not None:
                    fitting = [row for row in fitting if _within(row, time)]
                return fitting[0] if len(fitting) == 1 else None
        return None


def _time(text: str) -> datetime | None:
    """Return a time of the table; None if it is none, or has no offset."""
    try:
        return (
            datetime.fromisoformat(text.replace("Z", "+00:00")) if _TIME.fullmatch(text) else None
        )
    except ValueError:
        return None


def _within(row: Mapping[str, str], time: str) -> bool:
    start, end = _time(row["deploymentStart"]), _time(row["deploymentEnd"])
    taken = datetime.fromisoformat(time)
    return start is not None and end is not None and start <= taken <= end
