from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import MetadataError

FOX = {
    "scientificName": "Vulpes vulpes",
    "taxonRank": "species",
    "order": "Carnivora",
    "family": "Canidae",
    "vernacularNames": {"eng": "red fox", "nld": "vos"},
}
OBSERVATIONS = (
    "observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,"
    "observationType,scientificName,bboxX,bboxY,bboxWidth,bboxHeight"
)
MEDIA = "mediaID,deploymentID,captureMethod,timestamp,filePath,filePublic,fileName,fileMediatype"


def write(folder: Path, media: list[str], observations: list[str], **package: Any) -> Path:
    """Write a package: media are ``mediaID,deploymentID,minute,filePath``, of JPEG type unless a
    fifth cell says otherwise; observations are ``deploymentID,mediaID,eventID,start,end,type,name``
    with times in minutes, and maybe four numbers of a box."""
    folder.mkdir(exist_ok=True)
    resources = [{"name": n, "path": f"{n}.csv"} for n in ("deployments", "media", "observations")]
    content = {"resources": resources, "taxonomic": [FOX], **package}
    (folder / "datapackage.json").write_text(json.dumps(content))
    (folder / "deployments.csv").write_text("deploymentID,locationID\nd1,loc1\nd2,\n")
    rows = []
    for row in media:
        key, camera, minute, path, *kind = row.split(",")
        rows.append(
            f"{key},{camera},motion,{at(minute)},{path},true,x.jpg,{(kind or ['image/jpeg'])[0]}"
        )
    (folder / "media.csv").write_text("\n".join([MEDIA, *rows]) + "\n")
    lines = []
    for number, row in enumerate(observations):
        camera, key, event, start, end, kind, name, *box = row.split(",")
        times = f"{at(start)},{at(end)},{'media' if key else 'event'}"
        lines.append(
            f"o{number},{camera},{key},{event},{times},{kind},{name},{','.join(box or [''] * 4)}"
        )
    (folder / "observations.csv").write_text("\n".join([OBSERVATIONS, *lines]) + "\n")
    return folder


def at(minute: str) -> str:
    return f"2024-05-01T10:{int(minute):02d}:00+0200" if minute else ""


def read(*content: Any, **package: Any) -> tuple[Photo, ...]:
    return read_dataset(write(*content, **package)).photos


def test_round_trip(tmp_path) -> None:
    fox = Taxon(order="carnivora", family="canidae", genus="vulpes", species="vulpes vulpes")
    wanted = (
        Photo("media/1.jpg", fox, "red fox", site="loc1", observation="e1", box="0.1,0.2,0.3,0.4"),
        Photo("media/2.jpg", fox, "red fox", site="loc1", observation="e2"),
        Photo("media/3.jpg", Taxon(genus="martes"), site="d2", observation="e3"),
        Photo("media/4.jpg", Taxon(), site="d2"),
        Photo("media/5.jpg", Taxon(), site="loc1", no_organism="human"),
    )
    root = write(
        tmp_path / "package",
        [
            *("m1,d1,01,media/1.jpg", "m2,d1,12,media/2.jpg", "m3,d2,12,media/3.jpg"),
            *("m4,d2,30,media/4.jpg", "m5,d1,40,media/5.jpg"),
        ],
        [
            "d1,m1,e1,,,animal,Vulpes vulpes,0.1,0.2,0.3,0.4",
            "d1,,e2,10,15,animal,Vulpes vulpes",
            "d2,,e3,10,15,animal,Martes",
            "d1,m5,,,,human,Homo sapiens",
        ],
    )
    (root / "metadata.csv").write_text("path,family\na.jpg,felidae\n")
    found = read_dataset(root)
    assert found == Dataset(root, wanted, "camtrap", found.notes)
    assert read_dataset(root / "datapackage.json") == read_dataset(root)


@pytest.mark.parametrize(
    ("name", "listed", "taxon"),
    [
        ("Canis lupus", {}, Taxon(genus="canis", species="canis lupus")),
        ("Canis lupus familiaris", {}, Taxon(genus="canis", species="canis lupus")),
        ("Canis", {}, Taxon(genus="canis")),
        ("Canis sp.", {}, Taxon(genus="canis")),
        ("Canidae", {}, Taxon(family="canidae")),
        ("Aves", {"taxonRank": "class"}, Taxon(class_="aves")),
        ("Aves", {"taxonRank": "clade", "phylum": "Chordata"}, Taxon(phylum="chordata")),
        (
            "Canis lupus familiaris",
            {"taxonRank": "subspecies", "class": "Mammalia"},
            Taxon(class_="mammalia", genus="canis", species="canis lupus"),
        ),
    ],
)
def test_names_stand_at_their_ranks(tmp_path, name, listed, taxon) -> None:
    taxonomic = [{"scientificName": name, **listed}] if listed else None
    media, seen = ["m1,d1,01,1.jpg"], [f"d1,m1,,,,animal,{name}"]
    (photo,) = read(tmp_path, media, seen, taxonomic=taxonomic)
    assert photo.taxon == taxon


@pytest.mark.parametrize("kind", ["human", "vehicle", "blank", "unknown", "unclassified"])
def test_other_kinds_have_no_label_and_no_error(tmp_path, kind) -> None:
    (photo,) = read(tmp_path, ["m1,d1,01,1.jpg"], [f"d1,m1,e1,,,{kind},"])
    assert (photo.taxon, photo.error, photo.observation) == (Taxon(), None, "e1")


def test_what_was_seen_on_the_file_comes_before_what_was_seen_in_the_event(tmp_path) -> None:
    event = "d1,,e1,00,20,animal,Meles meles"
    media = ["m1,d1,01,1.jpg", "m2,d1,02,2.jpg", "m3,d1,59,3.jpg"]
    own = ["d1,m1,e1,,,animal,Vulpes vulpes", "d1,m2,,,,unclassified,", "d1,m3,e1,,,unclassified,"]
    found = read(tmp_path, media, [event, *own])
    assert [photo.label("genus") for photo in found] == ["vulpes", "meles", "meles"]
    assert [photo.observation for photo in found] == ["e1", "e1", "e1"]


def test_events_are_of_one_camera_and_include_their_ends(tmp_path) -> None:
    events = ["d1,,long,00,50,animal,Meles meles", "d1,,short,10,12,animal,Meles meles"]
    media = [f"m{minute},d1,{minute},{minute}.jpg" for minute in (0, 10, 30, 50, 51)]
    found = read(tmp_path, [*media, "x,d2,10,x.jpg"], events)
    wanted = ["meles", "meles", "meles", "meles", None, None]
    assert [photo.label("genus") for photo in found] == wanted


def test_people_and_machines_may_classify_the_same_animal(tmp_path) -> None:
    box = "0.1,0.1,0.2,0.2"
    both = [
        *("d1,m1,,,,animal,Vulpes vulpes", f"d1,m1,,,,animal,,{box}", "d1,m1,,,,animal,NaN"),
        *("d1,m1,,,,animal,vulpes  vulpes", "d1,m1,,,,unknown,"),
    ]
    (photo,) = read(tmp_path, ["m1,d1,01,1.jpg"], both)
    assert (photo.label("genus"), photo.box, photo.error) == ("vulpes", box, None)
    twice = [f"d1,m1,,,,animal,Vulpes vulpes,{box}"] * 2
    (photo,) = read(tmp_path, ["m1,d1,01,1.jpg"], twice)
    assert (photo.label("genus"), photo.box, photo.error) == ("vulpes", None, None)


@pytest.mark.parametrize(
    ("media", "seen", "said"),
    [
        ("m2,d1,01,https://x.org/2.jpg", [], "a URL; download"),
        ("m2,d1,01,../2.jpg", [], "out of the folder"),
        ("m2,d1,01,/2.jpg", [], "absolute path"),
        ("m2,d1,01,2.mp4,video/mp4", [], "is a video"),
        ("m2,d1,01,1.jpg", [], "repeats the path of media.csv line 2"),
        ("m1,d1,01,2.jpg", [], "repeats the mediaID 'm1'"),
        ("m2,d1,01,2.jpg", ["animal,A b", "animal,C d"], "has several labels ('a b', 'c d')"),
        ("m2,d1,01,2.jpg", ["animal,A b", "human,"], "has several labels ('a b', 'human')"),
        ("m2,d1,01,2.jpg", ["animal,A b,0.5,0.5,0.9,0.1"], "leaves the photo"),
        ("m2,d1,01,2.jpg", ["animal,A b,0.5,0.5,0.1,"], "wanted four numbers"),
        ("m2,d1,01,2.jpg", ["animal,A b,0,0,1e-15,1"], "has no area"),
    ],
)
def test_a_bad_file_is_named_and_spoils_no_other(tmp_path, one_line, media, seen, said) -> None:
    lines = [f"d1,m2,,,,{cells}" for cells in seen]
    good = ["d1,m1,,,,animal,Vulpes vulpes", "d1,m3,,,,animal,Meles meles"]
    found = read(tmp_path, ["m1,d1,01,1.jpg", media, "m3,d1,01,3.jpg"], [*lines, *good])
    assert [found[0].label("genus"), found[2].label("genus")] == ["vulpes", "meles"]
    assert [found[0].error, found[2].error] == [None, None]
    assert one_line(str(found[1].error)).startswith("media.csv line 3: ")
    assert said in str(found[1].error)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("d1,m9,,,,animal,Vulpes vulpes", "mediaID 'm9' is not in the media table"),
        ("d1,m1,,,,dragon,", "observationType 'dragon'"),
        ("d1,,,,,animal,Vulpes vulpes", "has no mediaID"),
        ("d1,,,05,,animal,Vulpes vulpes", "has no mediaID"),
        ("d1,m1,,,,animal,Vulpes vulpes,1,2,3,4,5", "has 14 cells"),
    ],
)
def test_a_bad_observation_is_named_and_spoils_no_photo(tmp_path, one_line, row, said) -> None:
    good = "d1,m1,,,,animal,Meles meles"
    photo, stray = read(tmp_path, ["m1,d1,01,1.jpg"], [good, row])
    assert (photo.label("genus"), photo.error) == ("meles", None)
    assert one_line(str(stray.error)).startswith("observations.csv line 3: ")
    assert said in str(stray.error)


def test_ragged_media_rows_are_named(tmp_path) -> None:
    root = write(tmp_path, ["m1,d1,01,1.jpg"], [])
    with (root / "media.csv").open("a") as file:
        file.write("m2,d1,motion,,2.jpg,true,x.jpg,image/jpeg,and,more\n")
    assert "media.csv line 3: has 10 cells" in str(read_dataset(root).photos[1].error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resources": [{"name": "media", "path": "../media.csv"}]}, "out of the folder"),
        ({"resources": [{"name": "media", "path": "https://x.org/media.csv"}]}, "a URL"),
        ({"resources": [{"name": "media", "path": ["media.csv", "b.csv"]}]}, "b.csv: cannot be"),
        ({"resources": [{"name": "media", "path": ["media.csv", "../b.csv"]}]}, "out of the"),
        ({"resources": [{"name": "media", "path": []}]}, "no path"),
        ({"resources": [{"name": "media"}]}, "no path"),
        ({"resources": [{"name": "media", "path": "none.csv"}]}, "cannot be read"),
        ({"resources": [{"name": "media", "path": "deployments.csv"}]}, "no column mediaID"),
    ],
)
def test_unusable_packages_are_named(tmp_path, one_line, change, said) -> None:
    root = write(tmp_path, ["m1,d1,01,1.jpg"], [], **change)
    with pytest.raises(MetadataError) as caught:
        read_dataset(root)
    assert said in one_line(str(caught.value))
    assert str(root) in str(caught.value)


def test_a_package_without_media_is_named(tmp_path) -> None:
    with pytest.raises(MetadataError, match="media table has no rows"):
        read_dataset(write(tmp_path, [], []))
    (tmp_path / "datapackage.json").write_text("{")
    with pytest.raises(MetadataError, match="not a JSON file"):
        read_dataset(tmp_path)


def test_odd_metadata_are_taken_for_absent(tmp_path) -> None:
    odd = [None, 7, {"scientificName": 7}, {**FOX, "taxonRank": 7, "vernacularNames": [1]}]
    media, seen = ["m1,d1,01,1.jpg"], ["d1,m1,,,,animal,Vulpes vulpes"]
    (photo,) = read(tmp_path, media, seen, resources={"name": "media"}, taxonomic=odd)
    assert (photo.label("species"), photo.common_name) == ("vulpes vulpes", None)


def test_tables_lie_where_the_package_says(tmp_path) -> None:
    root = write(
        tmp_path, ["m1,d1,01,1.jpg"], [], resources=[{"name": "media", "path": "t/media.csv"}]
    )
    (root / "t").mkdir()
    (root / "media.csv").rename(root / "t" / "media.csv")
    assert [photo.path for photo in read_dataset(root).photos] == ["1.jpg"]


def test_cells_of_na_are_empty_ids_and_names(tmp_path) -> None:
    media = ["m1,d1,01,1.jpg", "m2,NA,02,2.jpg"]
    seen = [
        "d1,m1,NA,,,animal,Vulpes vulpes,NA,NA,NA,NA",
        "d1,m1,NA,,,animal,NA",
        "d1,m2,,,,blank,-",
    ]
    listed = {**FOX, "genus": "NA", "taxonRank": "none", "vernacularNames": {"eng": "n/a"}}
    dataset = read_dataset(write(tmp_path, media, seen, taxonomic=[listed]))
    first, second = dataset.photos
    assert (first.error, second.error) == (None, None)
    assert (first.label("genus"), first.label("species")) == ("vulpes", "vulpes vulpes")
    assert (first.common_name, first.observation, first.box) == (None, None, None)
    assert (second.site, second.taxon) == (None, Taxon())
    assert "na 9" in dataset.notes[0]
