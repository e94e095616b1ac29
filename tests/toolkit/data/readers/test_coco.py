from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError, MetadataError

CATEGORIES = [
    {"id": 0, "name": "Empty"},
    {"id": 1, "name": "Panthera leo", "common_name": "lion"},
    {"id": 2, "name": "Equus quagga"},
    {"id": 3, "name": "human"},
    {"id": 4, "name": "vehicle"},
]


def image(key: Any, **more: Any) -> dict[str, Any]:
    return {"id": key, "file_name": f"{key}.jpg", "width": 200, "height": 100, **more}


def write(
    folder: Path, images: list[Any], annotations: list[Any], categories: list[Any] = CATEGORIES
) -> Path:
    path = folder / "set.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


def mark(image_id: Any, category: Any, **more: Any) -> dict[str, Any]:
    return {"id": f"{image_id}-{category}", "image_id": image_id, "category_id": category, **more}


def read(folder: Path, *content: Any) -> tuple[Photo, ...]:
    return read_dataset(write(folder, *content)).photos


def test_round_trip(tmp_path) -> None:
    lion, zebra = Taxon(species="panthera leo"), Taxon(species="equus quagga")
    wanted = (
        Photo("a/1.jpg", lion, "lion", site="7", observation="s1", box="0.1,0.2,0.5,0.8"),
        Photo("a/2.jpg", zebra, site="north", observation="s2"),
        Photo("b/3.jpg", Taxon(), no_organism="blank"),
        Photo("b/4.jpg", Taxon()),
    )
    path = write(
        tmp_path,
        [
            {**image(1), "file_name": "a/1.jpg", "location": 7, "seq_id": "s1"},
            {"id": "2", "file_name": "a\\2.jpg", "location": "north", "seq_id": "s2"},
            {"id": "3", "file_name": "b/3.jpg", "datetime": "2020-01-01 10:00:00"},
            {"id": "4", "file_name": "b/4.jpg"},
        ],
        [mark(1, 1, bbox=[20, 20, 100, 80]), mark("2", 2), mark("3", 0)],
    )
    found = read_dataset(path)
    assert found == Dataset(tmp_path, wanted, "coco", found.notes)
    assert "1 photo has no label" in found.notes[0]
    assert read_dataset(tmp_path) == read_dataset(path)


def test_frames_without_organisms_have_no_label_and_no_error(tmp_path) -> None:
    images = [image(1), image(2), image(3)]
    found = read(tmp_path, images, [mark(1, 0), mark(2, 3), mark(3, 3), mark(3, 4)])
    assert [(photo.taxon, photo.error) for photo in found] == [(Taxon(), None)] * 3
    assert [photo.no_organism for photo in found] == ["blank", "human", "human"]


def test_names_are_species_and_families_are_families(tmp_path) -> None:
    (photo,) = read(tmp_path, [image(1)], [mark(1, 2)])
    assert photo.taxon == Taxon(species="equus quagga")
    cats = [{"id": 1, "name": "Felidae"}, {"id": 2, "name": "empty"}]
    (photo,) = read(tmp_path, [image(1)], [mark(1, 1)], cats)
    assert photo.taxon == Taxon(family="felidae")


def test_ranks_of_inaturalists_categories_are_taken(tmp_path) -> None:
    cats = [{"id": 1, "name": "Panthera leo", "family": "Felidae", "class": "Mammalia"}]
    (photo,) = read(tmp_path, [image(1)], [mark(1, 1)], cats)
    assert photo.taxon == Taxon(class_="mammalia", family="felidae", species="panthera leo")


def test_several_animals_of_a_kind_are_one_label_and_the_whole_frame(tmp_path) -> None:
    box = {"bbox": [0, 0, 50, 50]}
    both, one = read(
        tmp_path,
        [image(1), image(2)],
        [mark(1, 1, **box), mark(1, 1, **box), mark(2, 1), mark(2, 1, **box)],
    )
    assert (both.label("species"), both.box) == ("panthera leo", None)
    assert (one.label("species"), one.box) == ("panthera leo", "0,0,0.25,0.5")


def test_boxes_a_little_outside_are_moved_to_the_border(tmp_path) -> None:
    (photo,) = read(tmp_path, [image(1)], [mark(1, 1, bbox=[-1, 0, 201.5, 100])])
    assert (photo.error, photo.box) == (None, "0,0,1,1")


@pytest.mark.parametrize(
    ("bad", "marks", "said"),
    [
        (image(5), [mark(5, 1), mark(5, 2)], "has several labels ('Equus quagga', 'Panthera leo')"),
        (image(5), [mark(5, 1), mark(5, 3)], "has several labels"),
        (image(5), [mark(5, 99)], "category_id 99 is of no category"),
        (image(5), [mark(5, None)], "category_id null is of no category"),
        (image(5), [mark(5, 1, bbox=[150, 0, 100, 50])], "leaves the photo"),
        (image(5), [mark(5, 1, bbox=[0, 0, 0, 50])], "has no area"),
        (image(5), [mark(5, 1, bbox=[0, 0, 50])], "wanted left, top, width, height in pixels"),
        (image(5), [mark(5, 1, bbox="large")], "wanted left, top, width, height in pixels"),
        (image(5), [mark(5, 1, bbox=[0, 0, 10**400, 1])], "wanted left, top, width, height"),
        (image(5, file_name="../../etc/passwd"), [mark(5, 1)], "out of the folder"),
        (image(5, file_name="/a.jpg"), [mark(5, 1)], "absolute path"),
        (image(5, file_name="http://x/a.jpg"), [mark(5, 1)], "a URL"),
        (image(5, file_name="\ud800.jpg"), [mark(5, 1)], "not Unicode"),
        (image(5, file_name=None), [mark(5, 1)], "no path"),
        (image(5, file_name="1.jpg"), [mark(5, 1)], "repeats the path of images[0] (id '1')"),
        (image(1, file_name="x.jpg"), [], "repeats the id of another image"),
        ("rubbish", [], "is no object with an id"),
        (image([5]), [], "is no object with an id that is a number or text (got [5])"),
        (image(True), [], "(got true)"),
        (image(5), [mark(5, [7])], "category_id [7] is of no category"),
        (image(5), [mark(5, 9.5)], "category_id 9.5 is of no category"),
        (image("5\n"), [mark("5\n", 9)], "category_id 9"),
    ],
)
def test_a_bad_image_is_named_and_spoils_no_other(tmp_path, one_line, bad, marks, said) -> None:
    images = [image(1), bad, image(2)]
    found = read(tmp_path, images, [mark(1, 1), *marks, mark(2, 2)])
    assert len(found) == 3
    for photo, name in ((found[0], "panthera leo"), (found[2], "equus quagga")):
        assert (photo.error, photo.label("species")) == (None, name)
    assert one_line(str(found[1].error)).startswith("images[1]")
    assert said in str(found[1].error)
    found[1].path.encode()


def test_an_annotation_of_no_image_is_named_with_its_value(tmp_path, one_line) -> None:
    strays = [mark(7, 1), "rubbish", {"category_id": 1}, mark([2], 1)]
    found = read(tmp_path, [image(1)], [mark(1, 1), *strays])
    assert len(found) == 5
    assert found[0].error is None
    for number, shown in enumerate(("7", '"rubbish"', "null", "[2]"), 1):
        error = one_line(str(found[number].error))
        assert error.startswith(f"annotations[{number}]: image_id {shown} is of no image")


@pytest.mark.parametrize("number", [str, float, lambda n: f"{n}.0"])
def test_equal_numbers_are_equal_ids(tmp_path, number) -> None:
    images = [image(1, location=3), image(2, location=number(3))]
    first, second = read(tmp_path, images, [mark(number(1), number(1)), mark(number(2), 2)])
    assert (first.label("species"), second.label("species")) == ("panthera leo", "equus quagga")
    assert (first.error, second.error) == (None, None)
    assert (first.site, second.site) == ("3", "3")


def test_texts_that_look_alike_are_different_ids(tmp_path) -> None:
    images = [image(key) for key in ("7", "007", "7.10", "7.1")]
    found = read(tmp_path, images, [mark("007", 1), mark("7.10", 2)])
    wanted = [None, "panthera leo", "equus quagga", None]
    assert [photo.label("species") for photo in found] == wanted


def test_a_missing_number_is_no_site(tmp_path) -> None:
    (photo,) = read(tmp_path, [image(1, location=float("nan"), seq_id=float("nan"))], [mark(1, 1)])
    assert (photo.site, photo.observation, photo.error) == (None, None, None)


@pytest.mark.parametrize("box", [[], {}, None, [0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0]])
def test_a_box_that_marks_nothing_is_no_box(tmp_path, box) -> None:
    photo, blank = read(
        tmp_path, [image(1), image(2)], [mark(1, 1, bbox=box), mark(2, 0, bbox=[0, 0, 0, 5])]
    )
    assert (photo.label("species"), photo.box, photo.error) == ("panthera leo", None, None)
    assert (blank.no_organism, blank.error) == ("blank", None)


@pytest.mark.parametrize("sides", [{"width": None}, {"width": 0}, {"height": "100"}])
def test_a_photo_without_sizes_loses_its_box_only(tmp_path, one_line, sides) -> None:
    box = {"bbox": [10, 10, 40, 40]}
    file = write(tmp_path, [image(1, **sides), image(2)], [mark(1, 1, **box), mark(2, 2, **box)])
    found = read_dataset(file)
    assert [photo.box for photo in found.photos] == [None, "0.05,0.1,0.2,0.4"]
    assert [photo.error for photo in found.photos] == [None, None]
    assert found.photos[0].label("species") == "panthera leo"
    assert one_line(found.notes[0]).startswith(
        "photos with a bbox in pixels, but no width and height: 1, such as images[0]"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "holds a list"),
        ('{"images": [], "annotations": []}', "no list 'categories'"),
        ('{"images": {}, "annotations": [], "categories": []}', "no list 'images'"),
        ('{"images": [], "annotations": [], "categories": []}', "has no images"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "categories[0] lacks"),
        (
            '{"images": [], "annotations": [], "categories": '
            '[{"id": 1, "name": "a"}, {"id": "1", "name": "b"}]}',
            "categories[1] repeats the id '1'",
        ),
    ],
)
def test_unusable_files_name_the_fault(tmp_path, one_line, text, said) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(MetadataError) as caught:
        read_dataset(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in one_line(str(caught.value))
    assert said in str(caught.value)


def test_limits_and_encodings(tmp_path, monkeypatch) -> None:
    path = write(tmp_path, [image(1)], [])
    monkeypatch.setattr("rs_toolkit.data.readers.rows.MAX_METADATA_BYTES", 5)
    with pytest.raises(MetadataError, match="larger than 5 bytes"):
        read_dataset(path)
    monkeypatch.undo()
    path.write_bytes(b'{"images": "\xe9"}')
    with pytest.raises(MetadataError, match="not UTF-8"):
        read_dataset(path)


def test_other_json_files_do_not_make_a_folder_coco(tmp_path) -> None:
    (tmp_path / "lion").mkdir()
    (tmp_path / "lion" / "a.jpg").touch()
    (tmp_path / "notes.json").write_text('{"images": "many"}')
    (tmp_path / "empty.json").touch()
    assert read_dataset(tmp_path).source == "tree"
    write(tmp_path, [image(1)], [])
    assert read_dataset(tmp_path).source == "coco"
    write(tmp_path, [image(1)], []).rename(tmp_path / "b.json")
    write(tmp_path, [image(1)], [])
    with pytest.raises(DataError, match=r"2 COCO files \(b\.json, set\.json\)"):
        read_dataset(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(JSON, min_size=1, max_size=6), JSON)
def test_any_values_are_read_or_refused_in_one_line(tmp_path_factory, values, odd) -> None:
    root = tmp_path_factory.mktemp("any")
    keys = ("file_name", "width", "height", "location", "seq_id", "id")
    images = [image(1, **{key: value}) for key, value in zip(keys, values, strict=False)]
    marks = [*values, mark(1, 1, bbox=odd), mark(1, 1, bbox=[odd, 0, 1, 1]), mark(odd, odd)]
    try:
        found = read(root, [*images, odd], marks)
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert len(found) > len(images)
        for photo in found:
            assert "\n" not in str(photo.error)
            photo.path.encode()


def test_companions_that_macos_writes_are_no_coco_files(tmp_path) -> None:
    text = write(tmp_path, [image(1)], [mark(1, 1)]).read_text()
    (tmp_path / "._set.json").write_text(text)
    assert read_dataset(tmp_path).source == "coco"
