"""Splits that a data set brings along, and which question the test photos answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pyarrow
import pyarrow.parquet
import pytest

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.splits.places import places_of_test
from rs_toolkit.splits.table import make_splits

CONFIG = TrainConfig(val=0.2, test=0.2)


def photos_on(**sides: int) -> list[Photo]:
    """Return photos of two families on sides of the data set's own split; ``none`` is no side."""
    return [
        Photo(
            f"{side}{n}.jpg",
            Taxon(family=("canidae", "felidae")[n % 2]),
            sha256=f"{side}{n}",
            split=None if side == "none" else side,
        )
        for side, count in sides.items()
        for n in range(count)
    ]


def moved(before, after) -> Counter:
    both = zip(before, after, strict=True)
    return Counter((old.split, new.split) for old, new in both if old.split != new.split)


def test_sides_of_the_data_set_are_kept_and_the_rest_is_assigned(one_line) -> None:
    photos = photos_on(train=60, val=10, test=30, none=20)
    for seed in range(5):
        found, report = make_splits(photos, replace(CONFIG, seed=seed))
        assert {old for old, _ in moved(photos, found)} == {None}
        assert all(item.split for item in found)
        assert report.official and report.kept == 100
        assert one_line(report.notes()[0]) == (
            "100 photos keep the side that the data set gives them, 20 are assigned"
        )


@pytest.mark.parametrize("absent", ["val", "test"])
def test_a_side_that_is_absent_is_taken_from_training_photos(absent) -> None:
    counts = {"train": 80, "val": 20, "test": 20}
    del counts[absent]
    photos = photos_on(**counts)
    found, report = make_splits(photos, CONFIG)
    assert set(moved(photos, found)) == {("train", absent)}
    assert report.photos[absent] == 16


def test_training_photos_alone_are_split_like_photos_without_a_side() -> None:
    photos = photos_on(train=50)
    plain = [replace(item, split=None) for item in photos]
    assert make_splits(photos, CONFIG)[0] == make_splits(plain, CONFIG)[0]


def test_sides_that_leave_nothing_to_train_on_are_no_split() -> None:
    photos = photos_on(val=30, test=30)
    found, report = make_splits(photos, CONFIG)
    assert report.photos == {"train": 36, "val": 12, "test": 12} and report.kept is None
    found, report = make_splits(photos_on(test=30, none=40), CONFIG)
    assert report.photos["test"] >= 30 and report.photos["train"]
    assert all(item.split == "test" for item in found if item.path.startswith("test"))


def test_a_split_that_separates_near_duplicates_loses_the_training_photo(one_line) -> None:
    """The test stays as the data set has it; what would tell its answers is not trained on."""
    photos = photos_on(train=60, val=20, test=20)
    near, event = ("train0.jpg", "test0.jpg"), ("train2.jpg", "val0.jpg")
    photos = [
        replace(
            p,
            group="near" if p.path in near else None,
            observation="e" if p.path in event else None,
        )
        for p in photos
    ]
    found, report = make_splits(photos, CONFIG)
    assert moved(photos, found) == {("train", None): 2}
    assert report.left_out == {"train0.jpg": "train", "train2.jpg": "train"}
    note = one_line(next(note for note in report.notes() if note.startswith("left out")))
    assert note.endswith("the data set's own split separates what belongs together")
    found, report = make_splits(photos, replace(CONFIG, group_by="duplicates"))
    assert report.left_out == {"train0.jpg": "train"}


def test_an_earlier_run_comes_before_the_data_sets_own_split(tmp_path) -> None:
    from rs_toolkit.data.index import write_index

    photos = photos_on(train=60, val=20, test=20)
    earlier = [replace(p, split="test" if p.path == "train0.jpg" else p.split) for p in photos[:90]]
    write_index(tmp_path / "index.parquet", earlier)
    found, report = make_splits(photos, replace(CONFIG, splits_from=str(tmp_path)))
    assert moved(photos, found) == {("train", "test"): 1}
    assert not report.official


# Where the sides are written


def test_a_column_of_a_csv_file_names_the_sides(tmp_path) -> None:
    words = ("train", "TRAINING", "Validation", "val", "test", "", "na", "train_small")
    rows = [f"{n}.jpg,canidae,{word}" for n, word in enumerate(words)]
    (tmp_path / "metadata.csv").write_text("\n".join(["path,family,split", *rows]))
    dataset = read_dataset(tmp_path)
    sides = [photo.split for photo in dataset.photos]
    assert sides == ["train", "train", "val", "val", "test", None, None, None]
    (note,) = [note for note in dataset.notes if note.startswith("split: ")]
    assert note.startswith("split: 1 cells name no side ('train_small' 1), wanted train, val, test")


@pytest.mark.parametrize("named_by", ["column", "file"])
def test_parquet_tables_name_the_sides(tmp_path, monkeypatch, named_by) -> None:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    for number, side in enumerate(("train", "validation", "test")):
        image = {"bytes": b"\xff\xd8\xff" + bytes([number]) * 9, "path": "a.jpg"}
        columns = {"image": [image], "label": ["lion"]}
        columns |= {"split": [side]} if named_by == "column" else {}
        name = f"{side}-00000-of-00001" if named_by == "file" else f"part{number}"
        pyarrow.parquet.write_table(pyarrow.table(columns), folder / f"{name}.parquet")
    assert {photo.split for photo in read_dataset(folder).photos} == {"train", "val", "test"}


def test_a_folder_with_one_side_is_no_error_before_there_is_something_to_train(tmp_path) -> None:
    for name in ("train/canidae/a.jpg", "train/felidae/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"")
    photos = read_dataset(tmp_path).photos
    assert [photo.taxon.family for photo in photos] == ["canidae", "felidae"]
    with pytest.raises(DataError, match="leave the val split empty"):
        make_splits(photos, CONFIG)


# The question


def test_the_report_says_which_question_the_test_answers(one_line) -> None:
    def at(side: str, *sites: str | None) -> list[Photo]:
        return [Photo(f"{side}{n}", Taxon(), site=s, split=side) for n, s in enumerate(sites)]

    train = at("train", "a", "b", None)
    for test, places, said in (
        (at("test", "a", "c", None), "same", "(1 of 2 test photos with a site are from sites of"),
        (
            at("test", "c", "d", None),
            "new",
            "new places? (no test photo is from a site of training",
        ),
        (at("test", None), "unknown", "(no site is known)"),
        ([], "unknown", "no site"),
    ):
        found = places_of_test([*train, *test])
        assert found.places == places and found.test_photos == len(test)
        assert said in one_line(found.text)
        assert found.to_dict()["text"] == found.text
    assert places_of_test([*at("train", None), *at("test", "a")]).places == "unknown"
