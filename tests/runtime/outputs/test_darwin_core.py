"""The Darwin Core archive: an occurrence for each photo with a taxon, and no other."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

TEXT = "{http://rs.tdwg.org/dwc/text/}"
SPAN = "2025-03-01T00:00:00Z,2025-03-31T00:00:00Z"


def occurrences(path: Path) -> list[dict[str, str]]:
    """Read an archive as GBIF does: columns by the terms in ``meta.xml``."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {*archive.namelist()} == {"meta.xml", "occurrence.csv", "eml.xml"}
        ElementTree.fromstring(archive.read("eml.xml"))
        core = ElementTree.fromstring(archive.read("meta.xml")).find(f"{TEXT}core")
        text = archive.read(core.find(f"{TEXT}files/{TEXT}location").text).decode("utf-8")
    assert core.get("rowType") == "http://rs.tdwg.org/dwc/terms/Occurrence"
    assert (core.get("fieldsTerminatedBy"), core.get("fieldsEnclosedBy")) == (",", '"')
    assert core.find(f"{TEXT}id").get("index") == "0"
    lines = [*csv.reader(io.StringIO(text, newline=""))][int(core.get("ignoreHeaderLines")) :]
    terms = {int(field.get("index")): field.get("term") for field in core.iter(f"{TEXT}field")}
    assert all(len(line) == len(terms) for line in lines)
    prefix = "http://rs.tdwg.org/dwc/terms/"
    assert all(term.startswith(prefix) for term in terms.values())
    names = {index: term.removeprefix(prefix) for index, term in terms.items()}
    return [{names[index]: cell for index, cell in enumerate(line)} for line in lines]


def test_occurrences(classify, cameras, tmp_path) -> None:
    path = tmp_path / "a.zip"
    code, out, err = classify(cameras, "--format", "darwin-core", "-o", path)
    assert (code, out) == (1, "")
    assert "3 occurrences; 3 photos without an answer or an organism" in err
    fox, dog, odd = occurrences(path)
    assert {row["basisOfRecord"] for row in (fox, dog, odd)} == {"MachineObservation"}
    assert fox["scientificName"] == "Vulpes vulpes" and fox["taxonRank"] == "species"
    assert (fox["kingdom"], fox["family"], fox["genus"]) == ("Animalia", "Canidae", "Vulpes")
    assert fox["vernacularName"] == "red fox"
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", fox["occurrenceID"])
    assert (fox["decimalLatitude"], fox["geodeticDatum"]) == ("-1.5", "EPSG:4326")
    assert fox["eventDate"] == "2025-03-09T06:30:12"
    assert fox["identifiedBy"].startswith("field (onnx_fp32), rs-toolkit ")
    assert "probability" in fox["identificationRemarks"]
    assert (dog["scientificName"], dog["taxonRank"], dog["genus"]) == ("Canidae", "family", "")
    assert dog["identificationRemarks"].startswith("no species is certain enough; family canidae")
    assert odd["decimalLatitude"] == odd["geodeticDatum"] == odd["eventDate"] == ""
    assert odd["associatedMedia"].startswith("CAM2/%3D")
    assert len({row["occurrenceID"] for row in (fox, dog, odd)}) == 3


def test_the_same_answers_make_the_same_bytes(classify, cameras, tmp_path) -> None:
    for name in "ab":
        classify(cameras, "--format", "darwin-core", "-o", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_deployments_give_coordinates_where_the_photo_has_none(classify, cameras, tmp_path) -> None:
    table = "deploymentID,locationID,latitude,longitude,deploymentStart,deploymentEnd\n"
    (tmp_path / "d.csv").write_text(f"{table}X,CAM2,-1.6,36.3,{SPAN}\n")
    options = ("--deployments", tmp_path / "d.csv", "--timezone", "-03:00")
    classify(cameras, "--format", "darwin-core", "-o", tmp_path / "a.zip", *options)
    fox, _, odd = occurrences(tmp_path / "a.zip")
    assert (fox["decimalLatitude"], fox["locationID"]) == ("-1.5", "")
    assert fox["eventDate"] == "2025-03-09T06:30:12-03:00"
    assert (odd["decimalLatitude"], odd["decimalLongitude"]) == ("-1.6", "36.3")
    assert odd["locationID"] == "CAM2"


def test_names_with_control_characters_make_no_broken_xml(classify, cameras, tmp_path) -> None:
    renamed = cameras.rename(tmp_path / "a<&\x01>b")
    classify(renamed, "--format", "darwin-core", "-o", tmp_path / "a.zip")
    assert len(occurrences(tmp_path / "a.zip")) == 3
