"""What was seen on a file of a Camera Trap Data Package, or during the event that it is of."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from operator import itemgetter

from rs_toolkit.data.taxonomy import normalize_name

__all__ = ["COLUMNS", "Observations", "Record", "Seen"]

Record = tuple[str, dict[str, str], str | None]
"""A row of a table: where it stands, its cells by column, and why it cannot be used, if so."""

_BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
COLUMNS = (
    *("observationType", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd"),
    *("scientificName", *_BOX),
)
_KINDS = frozenset({"animal", "human", "vehicle", "blank", "unknown", "unclassified"})


@dataclass(frozen=True)
class Seen:
    """One observation; what it does not have is empty.

    ``kind`` is one of _KINDS, ``name`` the scientific name in lower case, ``event`` the
    ``eventID``, and ``box`` is ``left,top,width,height`` as they were given.
    """

    kind: str
    name: str
    event: str
    box: str


@dataclass
class _Deployment:
    """Observations during events of one camera, by the event's name and by its time.

    ``spans`` are sorted by their starts; ``latest`` holds for each span the latest end of it and
    those before it.
    """

    named: dict[str, list[Seen]] = field(default_factory=lambda: defaultdict(list))
    spans: list[tuple[datetime, datetime, Seen]] = field(default_factory=list)
    latest: list[datetime] = field(default_factory=list)

    def at(self, taken: datetime) -> list[Seen]:
        """Return what was seen in the events that a moment is in, both ends included."""
        found = []
        place = bisect_right(self.spans, taken, key=itemgetter(0))
        while place and self.latest[place - 1] >= taken:
            place -= 1
            if self.spans[place][1] >= taken:
                found.append(self.spans[place][2])
        return found[::-1]


class Observations:
    """Rows of the observations table, found by the files that they are of.

    ``rows`` have COLUMNS, and ``media`` is every ``mediaID`` that there is.  ``errors`` are the
    place and fault of each row that belongs to no file.
    """

    def __init__(self, rows: Iterable[Record], media: Collection[str]) -> None:
        self.errors: list[tuple[str, str]] = []
        self._own: dict[str, list[Seen]] = defaultdict(list)
        self._deployments: dict[str, _Deployment] = defaultdict(_Deployment)
        for place, row, error in rows:
            if error := error or self._add(row, media):
                self.errors.append((place, error))
        for deployment in self._deployments.values():
            deployment.spans.sort(key=itemgetter(0))
            deployment.latest = list(accumulate((span[1] for span in deployment.spans), max))

    def _add(self, row: dict[str, str], media: Collection[str]) -> str | None:
        """Take one row; return why it cannot be used, if so."""
        kind = row["observationType"].lower()
        if kind not in _KINDS:
            return f"observationType {kind[:80]!r}, wanted one of: {', '.join(sorted(_KINDS))}"
        box = ",".join(row[name] for name in _BOX) if any(row[name] for name in _BOX) else ""
        seen = Seen(kind, normalize_name(row["scientificName"]) or "", row["eventID"], box)
        if own := row["mediaID"]:
            if own not in media:
                return f"mediaID {own[:80]!r} is of no media; add the file, or delete this"
            self._own[own].append(seen)
            return None
        start, end = _moment(row["eventStart"]), _moment(row["eventEnd"])
        if not seen.event and (start is None or end is None):
            return "has no mediaID, and no eventID or eventStart and eventEnd; add one"
        deployment = self._deployments[row["deploymentID"]]
        deployment.named[seen.event].append(seen)
        if start is not None and end is not None:
            deployment.spans.append((start, end, seen))
        return None

    def of(self, media: str, deployment: str, timestamp: str) -> tuple[list[Seen], list[Seen], str]:
        """Return what was seen on a file, what was seen during its event, and the event's ID.

        Observations that classify nothing are left out.
        """
        own = self._own.get(media, [])
        event = next((item.event for item in own if item.event), "")
        camera = self._deployments.get(deployment) or _Deployment()
        if event:
            during = camera.named.get(event, [])
        else:
            taken = _moment(timestamp)
            during = camera.at(taken) if taken else []
            event = next((item.event for item in during if item.event), "")
        own, during = ([x for x in part if x.kind != "unclassified"] for part in (own, during))
        return own, during, event


def _moment(text: str) -> datetime | None:
    """Read a date and time in ISO 8601; without a time zone, in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        return None
