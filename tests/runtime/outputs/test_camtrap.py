"""Camtrap DP: valid by the published schemas, with deployments made or given, and honest gaps."""

from __future__ import annotations

import copy
import csv
import json
import zipfile
from pathlib import Path

import pytest

from rs_runtime.outputs.deployments import camera_folder, stamp

# Names, types and constraints of the standard's tables and package, version 1.0.1
# (https://camtrap-dp.tdwg.org), without its texts.
RULES = json.loads(Path(__file__).with_name("camtrap-dp-1.0.1.json").read_text("utf-8"))
HEAD = "deploymentID,locationID,latitude,longitude,deploymentStart,deploymentEnd,mine\n"
SPAN = "2025-03-01T00:00:00+03:00,2025-03-31T00:00:00Z"
GIVEN = f"{HEAD}D1,CAM1,-1.5,36.25,{SPAN},x\nCAM2,,-1.6,36.3,{SPAN},x\n"
TIMES = ("--timezone", "+03:00")


def read(folder: Path, table: str) -> list[dict[str, str]]:
    with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def problems(folder: Path) -> list[str]:
    """Validate a package by the standard's rules; nothing is loaded from the network."""
    frictionless = pytest.importorskip("frictionless")
    jsonschema = pytest.importorskip("jsonschema")
    package = json.loads((folder / "datapackage.json").read_text("utf-8"))
    # Of the profile, the rules of Camtrap DP itself; the others are on the network.
    rules = copy.deepcopy(RULES["package"])
    del rules["properties"]["spatial"]["$ref"]
    found = [error.message for error in jsonschema.Draft7Validator(rules).iter_errors(package)]
    del package["profile"]
    for resource in package["resources"]:
        resource["schema"] = RULES[resource["schema"].rpartition("/")[2].partition("-")[0]]
    # It raises a limit that holds for the whole process.
    limit = csv.field_size_limit()
    checked = frictionless.Package.from_descriptor(package, basepath=str(folder)).validate()
    csv.field_size_limit(limit)
    return found + [" ".join(map(str, row)) for row in checked.flatten(["type", "note"])]


def test_given_deployments_make_a_valid_package(classify, cameras, tmp_path) -> None:
    (tmp_path / "d.csv").write_text(GIVEN)
    made = tmp_path / "package"
    options = ("--format", "camtrap-dp", "-o", made, "--deployments", tmp_path / "d.csv", *TIMES)
    code, out, err = classify(cameras, *options)
    assert (code, out) == (1, "") and "6 photos in 2 deployments" in err, err
    assert sorted(file.name for file in made.iterdir()) == [
        *("datapackage.json", "deployments.csv", "media.csv", "observations.csv"),
    ]
    assert problems(made) == []
    media, seen = read(made, "media"), read(made, "observations")
    assert [row["deploymentID"] for row in media] == ["D1"] * 2 + ["CAM2"] * 4
    assert media[0]["filePath"] == "CAM1/DCIM/100RECNX/IMG_0001.JPG"
    assert media[0]["timestamp"] == "2025-03-09T06:30:12+03:00"
    assert [row["mediaID"] for row in seen] == [row["mediaID"] for row in media]
    assert len({row["observationID"] for row in seen}) == 6
    assert [(row["observationType"], row["scientificName"]) for row in seen] == [
        ("animal", "Vulpes vulpes"),
        ("animal", "Canidae"),
        ("animal", "Vulpes vulpes"),
        ("blank", ""),
        ("unknown", ""),
        ("unclassified", ""),
    ]
    fox, *_, bad = seen
    assert fox["classificationMethod"] == "machine" and "rs-toolkit" in fox["classifiedBy"]
    assert float(fox["classificationProbability"]) > 0.9 and not bad["classifiedBy"]
    assert "bad.jpg" in bad["observationComments"]


def test_a_photo_without_a_time_lasts_as_long_as_its_deployment(
    classify, cameras, tmp_path
) -> None:
    (tmp_path / "d.csv").write_text(GIVEN)
    options = ("--format", "camtrap-dp", "-o", tmp_path / "p", "--deployments", tmp_path / "d.csv")
    _, _, err = classify(cameras, *options)
    assert "2 photos without a time" in err and "4 photos without an offset are taken as UTC" in err
    timeless = read(tmp_path / "p", "observations")[2]
    assert [timeless["eventStart"], timeless["eventEnd"]] == SPAN.split(",")
    media = read(tmp_path / "p", "media")[2]
    assert "time unknown" in media["mediaComments"] and "encoded" in media["mediaComments"]
    assert media["filePath"] == "CAM2/%3D1%2B1%2C%0A%22%C3%A9%22.jpg"


def test_deployments_are_made_from_folders_and_coordinates(
    classify, cameras, photo, tmp_path
) -> None:
    for number, place in enumerate(((-1.5, 36.25), (-1.502, 36.25))):
        photo(cameras / "CAM2" / f"{number}.jpg", "fox", place=place)
    made = tmp_path / "p"
    assert classify(cameras, "--format", "camtrap-dp", "-o", made, *TIMES)[0] == 1
    assert problems(made) == []
    one, two = read(made, "deployments")
    assert (one["deploymentID"], two["deploymentID"]) == ("CAM1", "CAM2")
    assert one["deploymentStart"] == "2025-03-09T06:30:12+03:00"
    assert one["deploymentEnd"] == "2025-03-11T23:00:00+03:00"
    assert (float(one["latitude"]), float(one["longitude"])) == (-1.5, 36.25)
    assert one["cameraModel"] == "RECONYX-HF2X" and one["coordinateUncertainty"] == ""
    # Half of 0.002 degrees of latitude.
    assert float(two["latitude"]) == -1.501 and two["coordinateUncertainty"] == "112"
    package = json.loads((made / "datapackage.json").read_text())
    assert package["temporal"] == {"start": "2025-03-09", "end": "2025-03-11"}
    names = {item["scientificName"]: item["taxonRank"] for item in package["taxonomic"]}
    assert names == {"Canidae": "family", "Vulpes vulpes": "species"}


def test_gaps_are_named_and_can_be_filled(classify, cameras, tmp_path) -> None:
    made, kept = tmp_path / "p", ("--journal", tmp_path / "j")
    options = (cameras, "--format", "camtrap-dp", "-o", made, *TIMES, *kept)
    code, _, err = classify(*options)
    assert code == 2 and not made.exists()
    assert "deployment 'CAM2' has no latitude, longitude;" in err.splitlines()[-1]
    template = tmp_path / "p.partial" / "deployments.csv"
    assert [bool(row["latitude"]) for row in read(template.parent, "deployments")] == [True, False]
    assert problems(template.parent)
    filled = template.read_text().replace("CAM2,,,,,", "CAM2,,,-1.6,36.3,")
    template.write_text(filled)
    assert classify(*options, "--deployments", template)[0] == 1
    assert problems(made) == []
    # The user's table is left alone.
    assert template.read_text() == filled


def test_a_project_comes_from_the_users_metadata(classify, cameras, tmp_path) -> None:
    (tmp_path / "d.csv").write_text(GIVEN)
    project = {
        "title": "Mine",
        "samplingDesign": "systematicRandom",
        "captureMethod": ["timeLapse"],
        "individualAnimals": False,
        "observationLevel": ["media"],
    }
    mine = {"project": project, "created": "1999", "contributors": [{"title": "Me"}]}
    (tmp_path / "m.json").write_text(json.dumps(mine))
    asked = ("--deployments", tmp_path / "d.csv", "--metadata", tmp_path / "m.json", *TIMES)
    _, _, err = classify(cameras, "--format", "camtrap-dp", "-o", tmp_path / "p", *asked)
    assert "samplingDesign" not in err
    package = json.loads((tmp_path / "p" / "datapackage.json").read_text())
    assert package["project"] == project and package["created"] != "1999"
    assert problems(tmp_path / "p") == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "line 1 has no deployments"),
        ("deploymentID,latitude\n", "lacks the columns longitude, deploymentStart"),
        (HEAD, "has no deployments"),
        (f"{HEAD}D1,,,36,{SPAN},\n", "line 2 has no latitude"),
        (f"{HEAD}D1,,91,36,{SPAN},\n", "latitude '91'"),
        (f"{HEAD}D1,,nan,36,{SPAN},\n", "latitude 'nan'"),
        (f"{HEAD}D1,,1,36,2025-03-01,2025-04-01,\n", "deploymentStart '2025-03-01'"),
        (f"{HEAD}D1,,1,36,2025-03-01T00:00:00,{SPAN},\n", "wanted a time with its offset"),
        (f"{HEAD}D1,,1,36,2025-13-01T00:00:00Z,2025-03-01T00:00:00Z,\n", "2025-13-01"),
        (f"{HEAD}D1,,1,36,{SPAN},\nD1,,1,36,{SPAN},\n", "line 3 has deploymentID 'D1' again"),
        ("\udcff", "no text in UTF-8"),
    ],
)
def test_a_wrong_table_of_deployments_is_one_line(classify, cameras, tmp_path, table, said) -> None:
    (tmp_path / "d.csv").write_bytes(table.encode("utf-8", "surrogateescape"))
    options = ("--format", "camtrap-dp", "-o", tmp_path / "p", "--deployments", tmp_path / "d.csv")
    code, out, err = classify(cameras, *options)
    assert (code, out, err.count("\n")) == (2, "", 1) and said in err
    assert not [*tmp_path.glob(".tmp*"), *tmp_path.glob("p*")]


def test_a_table_of_deployments_has_a_limit(classify, cameras, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("rs_runtime.outputs.deployments._MAX_BYTES", 100)
    test_a_wrong_table_of_deployments_is_one_line(
        classify, cameras, tmp_path, "\n" * 101, "larger than 100 bytes"
    )


def test_a_location_with_several_deployments_is_told_by_the_time(
    classify, cameras, tmp_path
) -> None:
    march = "2025-03-01T00:00:00Z,2025-03-10T00:00:00Z"
    later = "2025-03-10T00:00:00Z,2025-03-20T00:00:00Z"
    rows = f"A,CAM1,1,1,{march},\nB,CAM1,1,1,{later},\nCAM2,,1,1,{SPAN},\n"
    (tmp_path / "d.csv").write_text(HEAD + rows)
    options = ("--format", "camtrap-dp", "-o", tmp_path / "p", "--deployments", tmp_path / "d.csv")
    classify(cameras, *options)
    assert [row["deploymentID"] for row in read(tmp_path / "p", "media")][:2] == ["A", "B"]


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("CAM1/DCIM/100RECNX/a.jpg", "CAM1"),
        ("site/CAM1/a.jpg", "site/CAM1"),
        ("a.jpg", "survey"),
        ("DCIM/101MEDIA/a.jpg", "survey"),
    ],
)
def test_the_folders_that_cameras_make_are_none_of_a_camera(path, folder) -> None:
    assert camera_folder(path, "/data/survey") == folder


def test_times_have_the_offset_of_the_photo_or_the_users_or_utc() -> None:
    from datetime import timedelta, timezone

    zone = timezone(timedelta(hours=-3))
    assert stamp("2025-03-09T06:30:12.25+02:00", zone) == ("2025-03-09T06:30:12+02:00", False)
    assert stamp("2025-03-09T06:30:12", zone) == ("2025-03-09T06:30:12-03:00", False)
    assert stamp("2025-03-09T06:30:12", None) == ("2025-03-09T06:30:12+00:00", True)
    assert stamp(None, zone) == (None, False)


def test_media_of_an_archive_say_so(classify, cameras, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "card.zip", "w") as writer:
        writer.write(sorted(cameras.rglob("IMG_0001.JPG"))[0], "DCIM/a.jpg")
    output = ("--format", "camtrap-dp", "-o", tmp_path / "p", "--timezone", "UTC")
    classify(tmp_path / "card.zip", sorted(cameras.rglob("IMG_0002.JPG"))[0], *output)
    (folder,) = tmp_path.glob("p*")
    media = read(folder, "media")
    assert media[0]["filePath"] == "card.zip/DCIM/a.jpg"
    said = [row["mediaComments"] for row in media]
    assert said == ["the file is in the archive card.zip", ""] and problems(folder) == []
