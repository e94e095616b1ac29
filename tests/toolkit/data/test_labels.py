"""Labels that name no organism are treated alike, whatever the layout of the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rs_toolkit.data.labels import is_organism, kind_of_label, kind_of_labels
from rs_toolkit.data.photos import Dataset
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import Taxon

LABELS = ("Blank", "Human", "Vehicle", "No CV Result", "Panthera leo")
SHOWN = ["blank", "human", "vehicle", None, None]


def as_csv(root: Path) -> None:
    rows = [f"{number}.jpg,{label}" for number, label in enumerate(LABELS)]
    (root / "metadata.csv").write_text("\n".join(["path,species", *rows]))


def as_common_names(root: Path) -> None:
    rows = [f"{number}.jpg,,{label}" for number, label in enumerate(LABELS[:4])]
    lion = "4.jpg,Panthera leo,lion"
    (root / "metadata.csv").write_text("\n".join(["path,species,common_name", *rows, lion]))


def as_tree(root: Path) -> None:
    for number, label in enumerate(LABELS):
        (root / label).mkdir()
        (root / label / f"{number}.jpg").touch()


def as_coco(root: Path) -> None:
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(5)],
        "annotations": [{"image_id": n, "category_id": n} for n in range(5)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(LABELS)],
    }
    (root / "set.json").write_text(json.dumps(content))


def as_camtrap(root: Path) -> None:
    (root / "datapackage.json").write_text("{}")
    (root / "deployments.csv").write_text("deploymentID\n")
    media = [f"{number},{number}.jpg" for number in range(5)]
    (root / "media.csv").write_text("\n".join(["mediaID,filePath", *media]))
    kinds = ["blank,", "human,Homo sapiens", "vehicle,", "unclassified,", "animal,Panthera leo"]
    seen = [f"{number},{kind}" for number, kind in enumerate(kinds)]
    text = "\n".join(["mediaID,observationType,scientificName", *seen])
    (root / "observations.csv").write_text(text)


@pytest.mark.parametrize("layout", [as_csv, as_common_names, as_tree, as_coco, as_camtrap])
def test_blanks_people_and_vehicles_are_alike_in_every_layout(tmp_path, layout) -> None:
    layout(tmp_path)
    found = read_dataset(tmp_path)
    photos = sorted(found.photos, key=lambda photo: photo.path.split("/")[-1])
    assert [photo.no_organism for photo in photos] == SHOWN
    assert [photo.error for photo in photos] == [None] * 5
    assert [photo.label("species") for photo in photos] == [*[None] * 4, "panthera leo"]
    assert [photo.label("common_name") for photo in photos[:4]] == [None] * 4
    assert "photos have no label, because the label given names no organism" in found.notes[0]
    assert "1 blank" in found.notes[0]


def test_an_empty_folder_among_families_is_no_family(tmp_path) -> None:
    for name in ("Felidae", "Canidae", "empty"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    photos = read_dataset(tmp_path).photos
    assert [photo.label("family") for photo in photos] == ["canidae", "felidae", None]
    assert photos[2].no_organism == "blank"


def test_what_is_unknown_at_one_rank_keeps_its_other_ranks(tmp_path) -> None:
    rows = ["Felidae,Panthera,unknown,Animal", "Felidae,Panthera,Panthera unknown,"]
    text = "\n".join(f"{number}.jpg,{row}" for number, row in enumerate(rows))
    (tmp_path / "metadata.csv").write_text(f"path,family,genus,species,common_name\n{text}\n")
    found = read_dataset(tmp_path)
    for photo in found.photos:
        assert photo.taxon == Taxon(family="felidae", genus="panthera")
        assert (photo.common_name, photo.no_organism) == (None, None)
    assert found.notes == ()


def test_data_without_such_labels_have_no_note(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_text("path,species\na.jpg,Panthera leo\n")
    found = read_dataset(tmp_path)
    assert found == Dataset(tmp_path, found.photos, "csv")


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        *(("Setup_Pickup", "human"), ("Human-Camera Trapper", "human"), ("EMPTY ", "blank")),
        *(("no_animal", "blank"), ("Car", "vehicle"), ("animal", "unidentified")),
        *(("Carcharodon carcharias", None), ("Human botfly", None), ("", None), (None, None)),
    ],
)
def test_kinds_of_labels(label, kind) -> None:
    assert kind_of_label(label) == kind
    assert is_organism(label) == (kind is None and bool(label))


def test_several_labels_without_an_organism() -> None:
    assert kind_of_labels(["empty", "human", "car"]) == "human"
    assert kind_of_labels(["empty", "animal"]) == "unidentified"
    assert kind_of_labels([]) is None
