"""Photos, their groups, and the sides they are on: from photos to rows, and from run to run."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import write_index
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.files import write_csv, write_json
from rs_toolkit.splits.assign import SIDES
from rs_toolkit.splits.table import EarlierSides, SplitRow, make_splits, split_table

CONFIG = TrainConfig(val=0.2, test=0.2)


def photo(path: str, family: str = "felidae", species: str | None = None, **known) -> Photo:
    return Photo(path, Taxon(family=family, species=species), **known)


def many(count: int, family: str = "felidae", **known) -> list[Photo]:
    return [
        photo(f"{family}/{n}.jpg", family, sha256=f"{family}{n}", **known) for n in range(count)
    ]


def sides_of(photos) -> dict[str, str | None]:
    return {photo.path: photo.split for photo in photos}


def saved(photos, report, folder: Path) -> Path:
    """Write what a run folder holds of its splits."""
    write_index(folder / "index.parquet", photos)
    write_json(folder / "splits.json", asdict(report))
    return folder


# The Rare Species catalogue


def check_all_sides(photos: list[Photo], config: TrainConfig) -> None:
    rows, report = split_table(photos, config)
    sides, groups, of_group = defaultdict(set), defaultdict(set), defaultdict(set)
    for row in rows:
        sides[row.label].add(row.side)
        groups[row.label].add(row.group)
        of_group[row.group].add(row.side)
    assert all(len(found) == 1 for found in of_group.values())
    for label, names in groups.items():
        wanted = {1: {"train"}, 2: {"train", "test"}}.get(len(names), set(SIDES))
        assert sides[label] == wanted, label
        for side in set(SIDES) - wanted:
            number = "1 group" if len(names) == 1 else f"{len(names)} groups"
            assert report.missing[side].pop(label) == number
    assert not any(report.missing.values())


@pytest.fixture(scope="module")
def rare_species(shared) -> list[Photo]:
    path = shared / "data" / "rare_species" / "metadata.csv"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    with path.open(encoding="utf-8", newline="") as file:
        # A page of the Encyclopedia of Life is a species.
        return [
            photo(row["file_path"], row["family"], row["eol_page_id"])
            for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("level", ["photo", "duplicates"])
def test_every_family_of_the_rare_species_is_on_all_sides(rare_species, level) -> None:
    assert len(rare_species) == 11_983
    check_all_sides(rare_species, TrainConfig(group_by=level))


def test_species_disjoint_tests_cover_the_families_of_several_species(rare_species) -> None:
    config = TrainConfig(group_by="species")
    check_all_sides(rare_species, config)
    photos, report = make_splits(rare_species, config)
    tested = {photo.taxon.family for photo in photos if photo.split == "test"}
    trained = {photo.taxon.species for photo in photos if photo.split == "train"}
    assert len(tested) == 84
    assert not trained & {photo.taxon.species for photo in photos if photo.split == "test"}
    assert len(report.missing["test"]) == 202 - 84


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=12), st.integers(0, 9), st.data())
def test_generated_families_are_on_all_sides(species, seed, data) -> None:
    photos = [
        photo(f"{family}-{number}-{n}.jpg", f"f{family}", f"s{family} {number}")
        for family, count in enumerate([*species, 3])
        for number in range(count)
        for n in range(data.draw(st.integers(1, 4)))
    ]
    config = replace(CONFIG, group_by="species", seed=seed)
    check_all_sides(photos, config)


# The report


def test_what_could_not_be_done_is_said_with_the_reason(one_line) -> None:
    photos = [
        *many(100, "canidae", site="a"),
        *[replace(photo, site=str(n)) for n, photo in enumerate(many(40, "felidae"))],
        # At the one site of all the dogs.
        *[photo(f"m{n}.jpg", "mustelidae", site="a") for n in range(3)],
        *[photo(f"u{n}.jpg", "ursidae") for n in range(2)],
        photo("v.jpg", "viverridae"),
    ]
    _, report = make_splits(photos, replace(CONFIG, group_by="site"))
    assert report.group_by == "site"
    assert report.missing["test"] == {
        "canidae": "1 group", "mustelidae": "1 group", "viverridae": "1 group",
    }  # fmt: skip
    assert report.missing["val"] == {**report.missing["test"], "ursidae": "2 groups"}
    assert "train" not in report.missing
    assert sum(report.photos.values()) == 146
    assert sum(report.groups.values()) == 44
    assert report.ungrouped == ("u0.jpg", "u1.jpg", "v.jpg")
    notes = "\n".join(one_line(note) for note in report.notes())
    assert "3 photos without a site, such as u0.jpg" in notes
    assert "4 classes without a val photo (3: 1 group; 1: 2 groups): canidae, mustelidae" in notes
    assert json.loads(json.dumps(asdict(report)))["missing"] == report.missing


def test_a_level_that_groups_hardly_anything_is_said(one_line) -> None:
    rows = [*many(20, "canidae"), *many(20)]
    alone = [replace(photo, observation=f"e{n}") for n, photo in enumerate(rows)]
    _, report = make_splits(alone, replace(CONFIG, group_by="observation"))
    (note,) = report.notes()
    assert one_line(note).startswith("40 photos of 40, such as canidae/0.jpg, share their obs")
    pairs = [replace(photo, observation=f"e{n // 2}") for n, photo in enumerate(rows)]
    _, report = make_splits(pairs, replace(CONFIG, group_by="observation"))
    assert report.notes() == []


def test_labels_that_share_groups_are_told_apart_from_small_ones() -> None:
    """Each of four labels is in another three of four groups: two groups must share a side."""
    mixed = [
        photo(f"{name}{n}.jpg", f"{family}idae", group=name)
        for name, families in {"p": "abc", "q": "abd", "r": "acd", "s": "bcd"}.items()
        for family in families
        for n in range(2)
    ]
    _, report = make_splits(mixed, CONFIG)
    reasons = {why for missing in report.missing.values() for why in missing.values()}
    assert reasons == {"its groups hold other labels"}


def test_far_proportions_are_said(one_line) -> None:
    photos = many(50, "canidae") + [
        photo(f"f{n}.jpg", "felidae", group=str(min(n // 10, 2))) for n in range(60)
    ]
    _, report = make_splits(photos, CONFIG)
    assert list(report.uneven) == ["felidae"]
    assert sorted(report.uneven["felidae"].values()) == [0.167, 0.167, 0.667]
    assert "1 class far from the asked proportions: felidae (train 67%" in one_line(
        report.notes()[-1]
    )


def test_what_an_earlier_split_makes_impossible_is_said(tmp_path) -> None:
    """Bears were all trained on, and the only lynx is a copy of a dog that was tested on."""
    base = [*many(20, "canidae"), *many(20)]
    photos, report = make_splits(base, CONFIG)
    tested = next(p.path for p in photos if p.split == "test")
    earlier = [*photos, *(replace(p, split="train") for p in many(15, "ursidae"))]
    earlier.append(photo("lynx.jpg", "lyncidae", split="train"))
    folder = saved(earlier, report, tmp_path)
    later = [replace(p, split=None) for p in earlier]
    later = [replace(p, group="g" if p.path in ("lynx.jpg", tested) else None) for p in later]
    _, report = make_splits(later, replace(CONFIG, splits_from=str(folder)))
    kept = {"ursidae": "its groups keep the sides they had"}
    lynx = {"lyncidae": "all left out"}
    assert report.missing == {"train": lynx, "val": {**lynx, **kept}, "test": {**lynx, **kept}}
    assert report.uneven == {}


def test_nothing_odd_gives_no_notes() -> None:
    _, report = make_splits(many(50, "canidae") + many(30), CONFIG)
    assert report.notes() == []
    assert report.photos == {"train": 48, "val": 16, "test": 16}


# From run to run


@st.composite
def histories(draw):
    """Photos, of which some come later, some with links that join what was apart."""
    rows = draw(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("uvwxyz")), max_size=30
        )
    )
    base = [*many(20, "canidae"), *many(20, "felidae")]
    photos = [
        photo(f"{n}.jpg", f"{family}idae", group=group, sha256=f"sha{n}")
        for n, (family, group) in enumerate(rows)
    ]
    linked = draw(st.dictionaries(st.integers(0, 39), st.sampled_from("uv"), max_size=10))
    later = [replace(p, group=linked.get(n)) for n, p in enumerate(base)]
    return base, later + photos


@settings(deadline=None, max_examples=50)
@given(histories(), st.integers(0, 5))
def test_no_photo_changes_side_and_no_duplicates_are_separated(
    tmp_path_factory, data, seed
) -> None:
    base, later = data
    config = replace(CONFIG, seed=seed)
    photos, report = make_splits(base, config)
    folder = saved(photos, report, tmp_path_factory.mktemp("run"))
    first = sides_of(photos)
    photos, report = make_splits(later, replace(config, splits_from=str(folder)))
    groups = defaultdict(set)
    for item in photos:
        groups[item.group or item.path].add(item.split)
        if item.path in first:
            assert item.split == first[item.path] or report.left_out[item.path]
    assert all(len(sides - {None}) == 1 for sides in groups.values())
    assert report.kept == 40 - len(report.left_out)
    assert {p.path for p in photos if p.split is None} == set(report.left_out)


def test_a_link_leaves_out_what_was_trained_on_and_for_good(tmp_path, one_line) -> None:
    """Also when the split after next forgets the link, nothing comes to another side."""
    base = [*many(20, "canidae"), *many(20)]
    photos, report = make_splits(base, CONFIG)
    first = saved(photos, report, tmp_path / "first")
    one, two = (next(p for p in photos if p.split == side) for side in ("train", "test"))
    linked = [replace(p, group="same" if p.path in (one.path, two.path) else None) for p in base]
    photos, report = make_splits(linked, replace(CONFIG, splits_from=str(first)))
    assert report.left_out == {one.path: "train"}
    assert sides_of(photos)[one.path] is None
    assert f"left out: 1 photo whose group was on several sides, such as {one.path}" in one_line(
        report.notes()[1]
    )
    second = saved(photos, report, tmp_path / "second")
    config = replace(CONFIG, splits_from=str(second))
    photos, report = make_splits(linked, config)
    assert report.left_out == {one.path: "train"}
    photos, report = make_splits(base, config)
    assert sides_of(photos)[one.path] == "train"
    assert report.left_out == {}


def test_photos_are_known_by_content_then_by_path(tmp_path) -> None:
    base = [*many(20, "canidae"), *many(20)]
    photos, report = make_splits(base, CONFIG)
    saved(photos, report, tmp_path)
    sides = sides_of(photos)
    moved = [replace(p, path=f"moved/{p.path}") for p in base]
    unread = [replace(p, sha256="") for p in base]
    config = replace(CONFIG, splits_from=str(tmp_path / "index.parquet"), seed=9)
    for name, later in (("moved/", moved), ("", unread)):
        found, report = make_splits(later, config)
        assert sides_of(found) == {name + path: side for path, side in sides.items()}
        assert report.kept == 40
        assert report.notes()[0] == "40 photos keep the side that they had, 0 are new"
    earlier = EarlierSides.read(tmp_path)
    swapped = replace(base[0], sha256=base[1].sha256)
    assert earlier.of(swapped) == sides[base[1].path]
    assert earlier.of(photo("other.jpg")) is None


def test_a_copy_that_was_left_out_does_not_speak_for_the_other(tmp_path) -> None:
    photos = [photo(f"{n}.jpg", sha256="same", split=side) for n, side in enumerate(["test", None])]
    write_index(tmp_path / "index.parquet", photos)
    write_json(tmp_path / "splits.json", {"left_out": {"1.jpg": "train"}})
    earlier = EarlierSides.read(tmp_path)
    assert earlier.of(photos[0]) == "test"
    assert earlier.by_path == {"0.jpg": "test", "1.jpg": "train"}


def test_a_wrong_earlier_run_is_one_line(tmp_path, one_line) -> None:
    base = [*many(10, "canidae"), *many(10)]

    def refused(path: Path, said: str) -> None:
        with pytest.raises(DataError, match=said) as caught:
            make_splits(base, replace(CONFIG, splits_from=str(path)))
        one_line(str(caught.value))

    refused(tmp_path / "none", "no index.parquet there")
    refused(tmp_path, "no index.parquet there")
    (tmp_path / "index.parquet").write_bytes(b"PAR1")
    refused(tmp_path, "cannot be read as an index")
    photos, report = make_splits(base, CONFIG)
    folder = saved([replace(photos[0], split="half"), *photos[1:]], report, tmp_path / "run")
    refused(folder, "is in split 'half'")
    saved(photos, report, folder)
    for text, said in (
        ("{", "damaged"), ("[]", "damaged"), ('{"left_out": 3}', "damaged"),
        ('{"left_out": {"a.jpg": "half"}}', "'a.jpg' is 'half'"),
    ):  # fmt: skip
        (folder / "splits.json").write_text(text)
        refused(folder, said)
    (folder / "splits.json").unlink()
    assert make_splits(base, replace(CONFIG, splits_from=str(folder)))[1].kept == 20


# What cannot be split


def test_splits_that_cannot_train_are_refused(tmp_path, one_line) -> None:
    def refused(photos, said: str, **settings) -> None:
        with pytest.raises(DataError, match=said) as caught:
            make_splits(photos, replace(CONFIG, **settings))
        one_line(str(caught.value))

    sites = [replace(p, site=p.taxon.family) for p in [*many(9, "canidae"), *many(9)]]
    refused(sites, "in groups by site, leave the val split empty", group_by="site")
    light = [*many(9, "canidae", weight=0.0), *many(9)]
    refused(light, "got 1 of 2 classes")
    refused(many(9), "only 'felidae' in 9 photos")
    refused([replace(p, error="broken") for p in many(3)], "none of the 3 photos can be read")


def test_weights_leave_the_splits_alone() -> None:
    photos = [*many(9, "canidae"), *many(9)]
    light = [replace(p, weight=0.1 * (n % 5)) for n, p in enumerate(photos)]
    assert sides_of(make_splits(photos, CONFIG)[0]) == sides_of(make_splits(light, CONFIG)[0])


# The table


def test_the_table_has_a_row_a_photo_and_is_read_again(tmp_path) -> None:
    photos = [
        *many(8, "canidae", site="north"), *many(8, site="south, west"),
        photo("lone, fox.jpg", "canidae", group="burst 1"), photo("gone.jpg", error="broken"),
        Photo("nameless.jpg", Taxon(kingdom="animalia")),
    ]  # fmt: skip
    photos += [replace(p, path=f"more/{p.path}", site=None) for p in photos[:16]]
    rows, report = split_table(photos, replace(CONFIG, group_by="site"))
    assert [row.path for row in rows] == [photo.path for photo in photos]
    assert rows[0].group == "site:north"
    assert rows[16].group == "burst 1"
    assert rows[19].group == rows[19].path == "more/canidae/0.jpg"
    assert rows[17] == SplitRow("gone.jpg", "", "", "felidae")
    assert rows[18] == SplitRow("nameless.jpg", "", "", "")
    assert sum(report.photos.values()) == 33
    write_csv(tmp_path / "deep" / "split.csv", SplitRow._fields, rows)
    with (tmp_path / "deep" / "split.csv").open(encoding="utf-8", newline="") as file:
        assert [SplitRow(**row) for row in csv.DictReader(file)] == rows


def test_a_table_and_a_run_split_the_same() -> None:
    photos = [*many(30, "canidae"), *many(20)]
    rows, _ = split_table(photos, CONFIG)
    assert {row.path: row.side for row in rows} == sides_of(make_splits(photos, CONFIG)[0])
