"""The export of Wildlife Insights is read as what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError

COLUMNS = (
    *("project_id", "deployment_id", "image_id", "filename", "location", "is_blank"),
    *("identified_by", "wi_taxon_id", "class", "order", "family", "genus", "species"),
    *("common_name", "uncertainty", "timestamp", "number_of_objects", "bounding_boxes"),
)
LION = "Mammalia,Carnivora,Felidae,Panthera,leo,Lion"
LION_TAXON = Taxon(
    class_="mammalia", order="carnivora", family="felidae", genus="panthera", species="leo"
)


def row(key: str, names: str = LION, **more: str) -> str:
    """Return a row of images.csv; ``names`` are the class to the common name."""
    cells = dict.fromkeys(COLUMNS, "")
    cells |= dict(zip(COLUMNS[8:14], names.split(","), strict=True))
    cells |= {"project_id": "1", "deployment_id": "d1", "image_id": key, "is_blank": "0"}
    cells |= {"filename": f"{key}.JPG", "location": f"gs://main/deployment/7/prod/{key}.jpg"}
    return ",".join((cells | more).values())


def export(
    root: Path, rows: list[str], name: str = "images_1.csv", places: str = "1,d1,waterhole\n"
) -> Path:
    (root / name).write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    (root / "deployments.csv").write_text(f"project_id,deployment_id,placename\n{places}")
    (root / "projects.csv").write_text("project_id,project_name\n1,Test\n")
    return root


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def read(root: Path, rows: list[str], *names: str) -> list[Photo]:
    touch(root, *names)
    return list(read_dataset(export(root, rows)).photos)


@pytest.mark.parametrize("name", ["images.csv", "images_1.csv", "metadata.csv", "my_photos.csv"])
def test_an_export_is_recognized_by_its_columns(tmp_path, name) -> None:
    touch(tmp_path, "photos/a.jpg")
    export(tmp_path, [row("a", timestamp="2024-05-01 10:00:00")], name)
    found = read_dataset(tmp_path / name if name == "my_photos.csv" else tmp_path)
    (photo,) = found.photos
    assert found.source == "wildlife_insights"
    wanted = Photo("photos/a.jpg", LION_TAXON, "Lion", site="waterhole")
    assert photo == replace(wanted, observation="d1 2024-05-01 10:00:00")


def test_the_address_of_a_file_is_no_site(tmp_path) -> None:
    rows = [row("a"), row("b"), row("c", deployment_id="d2")]
    found = read(tmp_path, rows, "a.jpg", "b.jpg", "c.jpg")
    assert [photo.site for photo in found] == ["waterhole", "waterhole", "d2"]


def test_deployments_of_the_same_name_in_two_projects_are_two_places(tmp_path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    export(tmp_path, [row("a"), row("b", project_id="2")], places="1,d1,north\n2,d1,south\n")
    assert [photo.site for photo in read_dataset(tmp_path).photos] == ["north", "south"]


@pytest.mark.parametrize(
    ("names", "blank", "shown"),
    [
        (",,,,,Blank", "1", "blank"),
        ("Blank,Blank,Blank,Blank,Blank,Blank", "1", "blank"),
        (",,,,,", "1", "blank"),
        (",,,,,", "true", "blank"),
        ("Mammalia,Primates,Hominidae,Homo,sapiens,Human", "0", "human"),
        ("Mammalia,Primates,Hominidae,Homo,,Homo Species", "0", "human"),
        (",,,,,Human-Camera Trapper", "0", "human"),
        (",,,,,Vehicle", "0", "vehicle"),
        (",".join(["No CV Result"] * 6), "0", None),
        (",,,,,", "0", None),
        (",,,,,Unknown", "0", None),
        (",,,,,Animal", "0", None),
    ],
)
def test_what_is_no_organism_has_no_label(tmp_path, names, blank, shown) -> None:
    (photo,) = read(tmp_path, [row("a", names, is_blank=blank)], "a.jpg")
    assert (photo.taxon, photo.common_name, photo.error) == (Taxon(), None, None)
    assert photo.no_organism == shown


@pytest.mark.parametrize(
    ("names", "taxon", "common_name"),
    [
        (
            "Mammalia,,Felidae,,,Cat Family",
            Taxon(class_="mammalia", family="felidae"),
            "Cat Family",
        ),
        ("Aves,,,,,Bird", Taxon(class_="aves"), "Bird"),
        (",,,,,Bird", Taxon(), "Bird"),
        (
            ",,Canidae,Canis,lupus familiaris,Dog",
            Taxon(None, *[None] * 3, "canidae", "canis", "lupus"),
            "Dog",
        ),
        ("Mammalia,,,,,Unknown", Taxon(class_="mammalia"), None),
    ],
)
def test_names_stand_at_their_ranks(tmp_path, names, taxon, common_name) -> None:
    (photo,) = read(tmp_path, [row("a", names, is_blank="1")], "a.jpg")
    assert (photo.taxon, photo.common_name, photo.no_organism) == (taxon, common_name, None)


def test_identifications_of_an_image_are_one_photo(tmp_path) -> None:
    hyena = "Mammalia,Carnivora,Hyaenidae,Crocuta,crocuta,Spotted Hyena"
    rows = [row("a"), row("a"), row("b"), row("b", hyena), row("c"), row("c", ",,,,,Human")]
    same, two, human = read(tmp_path, rows, "a.jpg", "b.jpg", "c.jpg")
    assert (same.label("species"), same.error) == ("panthera leo", None)
    assert "images_1.csv line 4: has several labels" in str(two.error)
    assert "has several labels ('human', 'panthera leo')" in str(human.error)


def test_files_are_found_by_any_of_their_names(tmp_path) -> None:
    (tmp_path / "by id").mkdir()
    rows = [
        *(row("a"), row("b", location="gs://main/7f.jpg"), row("c", filename="x/IMG_7.JPG")),
        *(row("d", location="", filename=""), row("e")),
    ]
    names = ("one/a.JPG", "two/7F.jpg", "img_7.jpg", "by id/d.jpeg")
    found = read(tmp_path, rows, *names)
    assert [photo.path for photo in found[:4]] == list(names)
    assert [photo.error for photo in found[:4]] == [None] * 4
    assert "no file called 'e.jpg' or 'e.JPG' or 'e' below the folder" in str(found[4].error)


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path) -> None:
    same = {"filename": "IMG_1.JPG", "location": ""}
    rows = [
        *(row("a", **same), row("b", deployment_id="d2", **same)),
        *(
            row("c", deployment_id="d3", **same),
            row("d", **same | {"filename": "card 4/IMG_1.JPG"}),
        ),
    ]
    names = ("waterhole/IMG_1.JPG", "d2/100EK/IMG_1.JPG", "card 4/IMG_1.JPG")
    found = read(tmp_path, rows, *names)
    assert [photo.path for photo in found[:2]] == list(names[:2])
    assert "several photos or files are called 'img_1.jpg'; put the files" in str(found[2].error)
    assert found[0].error is found[1].error is None


def test_a_file_is_not_given_to_the_wrong_one_of_two_images(tmp_path) -> None:
    same = {"filename": "IMG_1.JPG", "location": ""}
    rows = [row("a", **same), row("b", deployment_id="d2", **same)]
    found = read(tmp_path, rows, "d2/IMG_1.JPG")
    assert "several photos or files are called" in str(found[0].error)
    assert (found[1].path, found[1].error) == ("d2/IMG_1.JPG", None)


def test_photos_of_a_burst_are_one_observation(tmp_path) -> None:
    times = ["10:00:00", "10:00:50", "10:01:40", "10:03:00", "rubbish"]
    rows = [row(f"p{n}", timestamp=f"2024-05-01 {time}") for n, time in enumerate(times)]
    rows.append(row("q", deployment_id="d2", timestamp="2024-05-01 10:00:00"))
    found = read(tmp_path, rows, *(f"{name}.jpg" for name in ("p0", "p1", "p2", "p3", "p4", "q")))
    first, later = "d1 2024-05-01 10:00:00", "d1 2024-05-01 10:03:00"
    wanted = [first, first, first, later, None, "d2 2024-05-01 10:00:00"]
    assert [photo.observation for photo in found] == wanted


def test_sequences_label_their_photos(tmp_path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    images = ["deployment_id,sequence_id,image_id,filename,location,timestamp"]
    images += [
        f"d1,s{s},{key},{key}.jpg,gs://m/{key}.jpg," for key, s in zip("abc", "112", strict=True)
    ]
    (tmp_path / "images.csv").write_text("\n".join(images))
    (tmp_path / "sequences.csv").write_text(
        f"sequence_id,is_blank,class,order,family,genus,species,common_name\ns1,0,{LION}\ns2,1,,,,,,\n"
    )
    found = read_dataset(tmp_path).photos
    species = [photo.label("species") for photo in found]
    assert species == ["panthera leo", "panthera leo", None]
    assert [photo.observation for photo in found] == ["s1", "s1", "s2"]
    assert found[2].no_organism == "blank"


def test_what_is_no_usable_photo_is_named(tmp_path, one_line) -> None:
    rows = [
        *(row("a"), row("v", filename="v.mp4", location="gs://m/v.mp4")),
        *(row("", location="", filename=""), row("h"), row("z") + ",more"),
    ]
    found = read(tmp_path, rows, "a.jpg", "h.cr2", "z.jpg")
    said = [None, "is a video", "no file name", ".cr2 is not supported", "has 19 cells"]
    assert found[0].error is None
    for photo, text in zip(found[1:], said[1:], strict=True):
        assert text in one_line(str(photo.error))


def test_an_export_without_its_photos_or_rows_is_named(tmp_path, one_line) -> None:
    with pytest.raises(DataError, match="copy the photos of the table below") as caught:
        read_dataset(export(tmp_path, [row("a")]))
    one_line(str(caught.value))
    with pytest.raises(DataError, match="no rows"):
        read_dataset(export(tmp_path, []))


def test_a_table_with_paths_of_its_own_is_no_export(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_text(
        "path,deployment_id,location,filename,genus,species,common_name\n"
        "a.jpg,d1,north,x.jpg,Panthera,leo,Lion\n"
    )
    found = read_dataset(tmp_path)
    assert (found.source, found.photos[0].site) == ("csv", "north")
