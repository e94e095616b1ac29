"""Camera Trap Data Packages as earlier versions of the format and other programs write them."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.errors import MetadataError

FOX = {"scientificName": "Vulpes vulpes", "taxonID": "5BSG3", "vernacularNames": {"en": "red fox"}}
DEPLOYMENTS = "deploymentID,locationID\nd1,north\n"
MEDIA = "mediaID,deploymentID,timestamp,filePath,fileName,fileMediatype\n"
OBSERVATIONS = "observationID,deploymentID,mediaID,eventID,observationType,scientificName\n"
SEEN = OBSERVATIONS + "o1,d1,m1,e1,animal,Vulpes vulpes\n"


def package(folder: Path, tables: dict[str, str], **content: Any) -> Path:
    """Write tables, named by their files, and the resources that list them."""
    resources = [{"name": name.split(".")[0], "path": name} for name in tables]
    content = {"resources": resources, "taxonomic": [FOX], **content}
    (folder / "datapackage.json").write_text(json.dumps(content))
    for name, text in tables.items():
        (folder / name).write_bytes(
            gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
        )
    return folder


def small(folder: Path, media: str, observations: str = SEEN, **content: Any) -> list[Photo]:
    tables = {"deployments.csv": DEPLOYMENTS, "media.csv": MEDIA + media}
    tables["observations.csv"] = observations
    return list(read_dataset(package(folder, tables, **content)).photos)


def described(photo: Photo) -> tuple[Any, ...]:
    return photo.path, photo.label("species"), photo.site, photo.observation, photo.error


# What each version calls the same: one photo with a fox of its own, one with that of its event.
VERSIONS = {
    "0.1.3": {
        "deployments.csv": "deployment_id,location_id\nd1,north\n",
        "multimedia.csv": "multimedia_id,deployment_id,sequence_id,timestamp,file_path,file_name,"
        "file_mediatype\nm1,d1,s1,,a.jpg,x,image/jpeg\nm2,d1,s2,,b.jpg,y,image/jpeg\n"
        "m3,d1,s3,,c.jpg,z,image/jpeg\n",
        "observations.csv": "observation_id,deployment_id,sequence_id,multimedia_id,timestamp,"
        "observation_type,scientific_name\no1,d1,s1,m1,,animal,Vulpes vulpes\n"
        "o2,d1,s2,,,animal,Vulpes vulpes\no3,d1,s3,,,empty,\n",
    },
    "0.1.6": {
        "deployments.csv": DEPLOYMENTS,
        "media.csv": "mediaID,deploymentID,sequenceID,timestamp,filePath,fileName,fileMediatype\n"
        "m1,d1,s1,,a.jpg,x,image/jpeg\nm2,d1,s2,,b.jpg,y,image/jpeg\nm3,d1,s3,,c.jpg,z,image/jpeg\n",
        "observations.csv": "observationID,deploymentID,sequenceID,mediaID,timestamp,"
        "observationType,taxonID,scientificName\no1,d1,s1,m1,,animal,5BSG3,\n"
        "o2,d1,s2,,,animal,5BSG3,Vulpes vulpes\no3,d1,s3,,,blank,,\n",
    },
    "0.6": {
        "deployments.csv": DEPLOYMENTS,
        "media.csv": "mediaID,deploymentID,eventID,timestamp,filePath,fileName,fileMediatype\n"
        "m1,d1,s1,,a.jpg,x,image/jpeg\nm2,d1,s2,,b.jpg,y,image/jpeg\nm3,d1,s3,,c.jpg,z,image/jpeg\n",
        "media-observations.csv": "observationID,mediaID,observationType,scientificName\n"
        "o1,m1,animal,Vulpes vulpes\n",
        "event-observations.csv": "observationID,eventID,observationType,scientificName\n"
        "o2,s2,animal,Vulpes vulpes\no3,s3,blank,\n",
    },
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("listed", [True, False])
def test_earlier_versions_are_read(tmp_path, version, listed) -> None:
    more = {} if listed or version == "0.6" else {"resources": []}
    own, during, blank = read_dataset(package(tmp_path, VERSIONS[version], **more)).photos
    assert described(own) == ("a.jpg", "vulpes vulpes", "north", "s1", None)
    assert described(during) == ("b.jpg", "vulpes vulpes", "north", "s2", None)
    assert described(blank) == ("c.jpg", None, "north", "s3", None)
    assert (own.common_name, blank.no_organism) == ("red fox", "blank")


def test_names_of_taxa_in_snake_case_are_read(tmp_path) -> None:
    fox = {"scientific_name": "Vulpes vulpes", "vernacular_names": {"en": "red fox"}}
    photos = read_dataset(package(tmp_path, VERSIONS["0.1.3"], taxonomic=[fox])).photos
    assert photos[0].common_name == "red fox"


def test_a_version_without_a_media_table_is_named(tmp_path, one_line) -> None:
    tables = {
        "deployments.csv": "deployment_id,location_id\nd1,north\n",
        "observations.csv": "observation_id,deployment_id,file_name,species_latin\n",
    }
    profile = "https://raw.githubusercontent.com/tdwg/camtrap-dp/0.1.2/camtrap-package-profile.json"
    with pytest.raises(MetadataError, match=r"version 0\.1\.2\); wanted version 0\.1\.3 or later"):
        read_dataset(package(tmp_path, tables, profile=profile))
    with pytest.raises(MetadataError, match="an unknown version") as caught:
        read_dataset(package(tmp_path, tables))
    one_line(str(caught.value))


def test_packed_tables_are_read_also_from_a_zip(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    tables = {
        "deployments.csv.gz": DEPLOYMENTS,
        "media.csv.gz": MEDIA + "m1,d1,,a.jpg,,image/jpeg\n",
        "observations.csv.gz": SEEN,
    }
    root = tmp_path / "package"
    root.mkdir()
    package(root, tables)
    (root / "a.jpg").touch()
    (root / "notes.gz").touch()
    wanted = ("a.jpg", "vulpes vulpes", "north", "e1", None)
    assert described(read_dataset(root).photos[0]) == wanted
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for file in root.iterdir():
            archive.write(file, file.name)
    found = read_dataset(tmp_path / "package.zip")
    assert described(found.photos[0]) == wanted
    assert not (found.root / "notes.gz").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: b"deploymentID\n", "damaged"),
        (lambda data: data[:20], "damaged"),
        (lambda data: data[:12] + b"\xff\xff\xff" + data[15:], "damaged"),
        (lambda data: gzip.compress(b"deploymentID\n" + b"d\n" * 1000), "unpacks to more than 99"),
    ],
)
def test_an_unusable_packed_table_is_named(tmp_path, monkeypatch, one_line, change, said) -> None:
    monkeypatch.setattr("rs_toolkit.data.readers.rows.MAX_METADATA_BYTES", 999)
    package(tmp_path, {"deployments.csv.gz": DEPLOYMENTS, "media.csv": MEDIA})
    file = tmp_path / "deployments.csv.gz"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(MetadataError, match=said) as caught:
        read_dataset(tmp_path)
    assert str(file) in one_line(str(caught.value))


def test_a_table_in_several_files_is_read_whole(tmp_path) -> None:
    tables = {
        "deployments.csv": DEPLOYMENTS,
        "a.csv": MEDIA + "m1,d1,,1.jpg,,image/jpeg\n",
        "b.csv.gz": MEDIA + "m2,d1,,2.jpg,,image/jpeg\nm2,d1,,3.jpg,,\n",
        "observations.csv": SEEN,
    }
    resources = [
        {"name": "deployments", "path": ["deployments.csv"]},
        {"name": "media", "path": ["a.csv", "b.csv.gz"]},
    ]
    found = read_dataset(package(tmp_path, tables, resources=resources)).photos
    assert [photo.path for photo in found] == ["1.jpg", "2.jpg", "3.jpg"]
    assert found[0].label("species") == "vulpes vulpes"
    assert str(found[2].error).startswith("b.csv.gz line 3: repeats the mediaID 'm2'")


@pytest.mark.parametrize("path", ["media", "media/", "media\\", "./media"])
def test_a_path_of_the_folder_only_is_completed_by_the_name(tmp_path, path) -> None:
    (tmp_path / "media").mkdir()
    (photo,) = small(tmp_path, f"m1,d1,,{path},IMG 1.JPG,image/jpeg\n")
    assert (photo.path, photo.error) == ("media/IMG 1.JPG", None)


def test_a_path_of_a_file_is_not_completed(tmp_path) -> None:
    (tmp_path / "media").mkdir()
    rows = ["media/a.JPG,IMG1.JPG", "media/0815,IMG2.JPG", "https://x.org/media/,IMG3.JPG"]
    media = "".join(f"m{n},d1,,{row},image/jpeg\n" for n, row in enumerate(rows, 1))
    found = small(tmp_path, media)
    assert [photo.path for photo in found[:2]] == ["media/a.JPG", "media/0815"]
    assert "a URL; download" in str(found[2].error)


@pytest.mark.parametrize("empty", ["NA", "NaN", "nan"])
def test_words_for_an_empty_cell_are_no_ids(tmp_path, empty) -> None:
    times = "2024-05-01T10:00:00Z,2024-05-01T10:09:00Z"
    observations = (
        OBSERVATIONS.replace("eventID", "eventID,eventStart,eventEnd").strip()
        + ",bboxX,bboxY,bboxWidth,bboxHeight\n"
        + f"o1,d1,{empty},{empty},{times},animal,Vulpes vulpes"
        + f",{empty}" * 4
        + "\n"
    )
    row = f"d1,2024-05-01T10:0{{}}:00Z,{{}}.jpg,{empty},image/jpeg\n"
    media = "m1," + row.format(1, 1) + "m2," + row.format(2, 2) + "m3," + row.format(1, empty)
    one, two, nameless = small(tmp_path, media, observations)
    assert described(one) == ("1.jpg", "vulpes vulpes", "north", None, None)
    assert described(two) == ("2.jpg", "vulpes vulpes", "north", None, None)
    assert nameless.path == f"{empty}.jpg"


def test_an_organism_whose_name_means_an_empty_cell_can_be_kept(tmp_path) -> None:
    tables = {"deployments.csv": DEPLOYMENTS, "media.csv": MEDIA + "m1,d1,,1.jpg,,image/jpeg\n"}
    tables["observations.csv"] = SEEN.replace("Vulpes vulpes", "nan")
    file = package(tmp_path, tables)
    labels = [
        photo.label("genus")
        for keep in ("", "nan")
        for photo in read_dataset(file, keep_names=keep).photos
    ]
    assert labels == [None, "nan"]


def test_a_camera_that_is_not_known_is_no_site(tmp_path) -> None:
    media = "".join(f"m{n},NA,,{n}.jpg,,image/jpeg\n" for n in (1, 2))
    assert [photo.site for photo in small(tmp_path, media)] == [None, None]


def test_a_photo_without_an_id_and_an_event_is_named(tmp_path) -> None:
    media = "NA,d1,,1.jpg,,image/jpeg\n,d1,,2.jpg,,image/jpeg\n"
    found = small(tmp_path, media, OBSERVATIONS)
    assert ["has no mediaID; fill it in" in str(photo.error) for photo in found] == [True, True]
