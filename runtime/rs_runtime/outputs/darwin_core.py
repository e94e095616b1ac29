"""A Darwin Core archive of occurrences (https://dwc.tdwg.org/text/), as GBIF takes it."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from rs_runtime.console import counted, printable
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.deployments import Given, camera_folder, stamp
from rs_runtime.outputs.labels import TAXON, Label, scientific
from rs_runtime.outputs.pending import PendingFile
from rs_runtime.outputs.tables import csv_line, url_path
from rs_runtime.results import Prediction, Result

__all__ = ["DarwinCore"]

_TERMS = "http://rs.tdwg.org/dwc/terms/"
_UPPER = ("kingdom", "phylum", "class", "order", "family", "genus")
_COLUMNS = (
    *("occurrenceID", "basisOfRecord", "occurrenceStatus", "scientificName", "taxonRank"),
    *_UPPER,
    *("vernacularName", "eventDate", "decimalLatitude", "decimalLongitude", "geodeticDatum"),
    *("coordinateUncertaintyInMeters", "locationID", "associatedMedia", "identifiedBy"),
    *("identificationRemarks", "identificationVerificationStatus"),
)
# Zip archives hold times; this one makes equal answers equal bytes.
_TIME = (1980, 1, 1, 0, 0, 0)

_META = """<?xml version="1.0" encoding="UTF-8"?>
<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">
  <core encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\r\\n" fieldsEnclosedBy='"'
        ignoreHeaderLines="1" rowType="{terms}Occurrence">
    <files><location>occurrence.csv</location></files>
    <id index="0"/>
{fields}
  </core>
</archive>
"""
_EML = """<?xml version="1.0" encoding="UTF-8"?>
<eml:eml xmlns:eml="https://eml.ecoinformatics.org/eml-2.2.0"
         packageId="{identity}" system="https://gbif.org" scope="system" xml:lang="eng">
  <dataset>
    <title>{title}</title>
    <creator><organizationName>not given</organizationName></creator>
    <metadataProvider><organizationName>not given</organizationName></metadataProvider>
    <language>eng</language>
    <abstract><para>Photos identified by a machine: {by}. No person has verified them.</para>
    </abstract>
    <contact><organizationName>not given</organizationName></contact>
  </dataset>
</eml:eml>
"""


class DarwinCore:
    """Writes one occurrence for each photo with a taxon; other photos are no occurrences.

    Raises
    ------
    OutputError
        The deployments that were given cannot be used.
    """

    def __init__(self, context: Context, file: PendingFile) -> None:
        self._context, self._file = context, file
        try:
            path = context.options.deployments
            self._given = Given(path) if path else None
            self._zip = zipfile.ZipFile(file.temporary, "w", zipfile.ZIP_DEFLATED)
            entry = zipfile.ZipInfo("occurrence.csv", _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            raw = self._zip.open(entry, "w", force_zip64=True)
        except BaseException:
            file.discard()
            raise
        self._text = io.TextIOWrapper(raw, "utf-8", "backslashreplace", newline="")
        self._text.write(csv_line(_COLUMNS))
        self._rows = self._others = 0

    def add(self, found: Result) -> None:
        """Write the occurrence of one photo, if it shows one."""
        label = self._context.labels.of(found)
        if not isinstance(found, Prediction) or label.kind != TAXON:
            self._others += 1
            return
        row = self._row(found, label)
        self._rows += 1
        self._text.write(csv_line(row.get(column) for column in _COLUMNS))

    def _row(self, found: Prediction, label: Label) -> Mapping[str, str | float | None]:
        context = self._context
        path = context.relative(found.path)
        exif = found.photo.exif if found.photo else None
        taken = exif.taken if exif else None
        rank, name = label.finest
        # A time without offset is local time, which Darwin Core allows.
        zone = context.options.timezone
        time = stamp(taken, zone)[0] if zone else taken
        row: dict[str, str | float | None] = {
            "occurrenceID": f"urn:uuid:{context.identifier('occurrence', path, taken)}",
            "basisOfRecord": "MachineObservation",
            "occurrenceStatus": "present",
            "scientificName": scientific(name or ""),
            "taxonRank": rank,
            "vernacularName": label.vernacular,
            "eventDate": time,
            "associatedMedia": url_path(path),
            "identifiedBy": f"{context.model}, {context.software}",
            "identificationRemarks": label.remark,
            "identificationVerificationStatus": "unverified",
        }
        row |= {each: scientific(label.lineage[each]) for each in _UPPER if each in label.lineage}
        latitude, longitude = (exif.latitude, exif.longitude) if exif else (None, None)
        if latitude is not None and longitude is not None:
            return row | _place(latitude, longitude)
        if self._given:
            time = stamp(taken, zone)[0]
            stood = self._given.find(camera_folder(path, context.base), time)
            if stood:
                where = _place(float(stood["latitude"]), float(stood["longitude"]))
                where["coordinateUncertaintyInMeters"] = stood.get("coordinateUncertainty")
                where["locationID"] = stood.get("locationID")
                row |= where
        return row

    def close(self, complete: bool) -> None:
        """Add the descriptions, and put the archive in its place."""
        context = self._context
        self._text.close()
        fields = "\n".join(
            f'    <field index="{place}" term="{_TERMS}{column}"/>'
            for place, column in enumerate(_COLUMNS)
        )
        title = escape(printable(Path(context.base).name or "photos"))
        by = escape(printable(f"{context.model}, {context.software}"))
        eml = _EML.format(title=title, by=by, identity=context.identifier("archive", title, by))
        for name, text in (
            ("meta.xml", _META.format(terms=_TERMS, fields=fields)),
            ("eml.xml", eml),
        ):
            data = text.encode("utf-8", "backslashreplace")
            self._zip.writestr(zipfile.ZipInfo(name, _TIME), data, zipfile.ZIP_DEFLATED)
        self._zip.close()
        place = self._file.close(complete)
        context.tell(
            f"wrote {str(place)!r}: {counted(self._rows, 'occurrence')}; "
            f"{counted(self._others, 'photo')} without an answer or an organism"
        )

    def discard(self) -> None:
        """Remove what was written."""
        # What cannot be written is not wanted any more.
        with contextlib.suppress(OSError, ValueError):
            self._text.close()
            self._zip.close()
        self._file.discard()


def _place(latitude: float, longitude: float) -> dict[str, str | float | None]:
    return {
        "decimalLatitude": latitude,
        "decimalLongitude": longitude,
        "geodeticDatum": "EPSG:4326",
    }
