"""What every reader does with words that mean an empty cell, and with spellings of paths."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from rs_toolkit.data.index import read_index, write_index
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import EMPTY_WORDS, RANKS, Taxon
from rs_toolkit.errors import ConfigError

COLUMNS = (*RANKS, "common_name", "group", "site", "observation", "box")
NFC, NFD = (unicodedata.normalize(form, "Coëlidae") for form in ("NFC", "NFD"))


def table(folder: Path, *rows: str, header: str = "path,species") -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(f"{line}\n" for line in (header, *rows))
    (folder / "metadata.csv").write_text(text, "utf-8")
    return folder


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def paths(folder: Path) -> list[tuple[str, str | None]]:
    return [(photo.path, photo.error) for photo in read_dataset(folder).photos]


@pytest.mark.parametrize("word", [*sorted(EMPTY_WORDS), "NA", "N/A", " NULL ", "NaN"])
def test_a_word_for_empty_is_empty_in_every_column(tmp_path, word) -> None:
    row = ",".join(["a.jpg", *[word] * len(COLUMNS)])
    dataset = read_dataset(table(tmp_path, row, header=",".join(("path", *COLUMNS))))
    assert dataset.photos == (Photo("a.jpg", Taxon()),)
    (note,) = dataset.notes
    assert note.startswith(f"taken as empty: 12 cells ({word.strip().lower()} 12), by column: ")
    assert all(f"{column} 1" in note for column in COLUMNS)
    assert "--keep-names" in note


def test_longer_words_are_values(tmp_path) -> None:
    header = "path,species,site,group"
    dataset = read_dataset(table(tmp_path, "a.jpg,Nannus,NA-1,none of them", header=header))
    (photo,) = dataset.photos
    assert (photo.label("species"), photo.site, photo.group) == ("nannus", "NA-1", "none of them")
    assert dataset.notes == ()


def test_a_path_of_na_is_no_path(tmp_path) -> None:
    assert paths(table(tmp_path, "NA,lion")) == [("", "line 2: no path; fill it in")]


def test_the_note_names_no_option_where_no_name_is_concerned(tmp_path) -> None:
    dataset = read_dataset(table(tmp_path, "a.jpg,lion,NA", header="path,species,site"))
    assert dataset.notes == ("taken as empty: 1 cells (na 1), by column: site 1",)


def test_words_for_empty_in_json(tmp_path) -> None:
    images = [
        {"id": n, "file_name": f"{n}.jpg", "location": "NA", "seq_id": "null"} for n in range(2)
    ]
    marks = [{"image_id": n, "category_id": c} for n, c in ((0, 0), (0, 1), (1, 1))]
    names = [{"id": 0, "name": "lion", "genus": "NA", "common_name": "-"}, {"id": 1, "name": "NA"}]
    content = {"images": images, "annotations": marks, "categories": names}
    (tmp_path / "set.json").write_text(json.dumps(content))
    dataset = read_dataset(tmp_path)
    assert dataset.photos == (Photo("0.jpg", Taxon(species="lion")), Photo("1.jpg", Taxon()))
    assert "taken as empty" in dataset.notes[0]
    kept = read_dataset(tmp_path, "NA").photos
    assert "several labels ('NA', 'lion')" in str(kept[0].error)
    assert (kept[1].label("species"), kept[1].site) == ("na", None)


def test_words_for_empty_in_parquet(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    data = b"\xff\xd8\xff" + b"x" * 20
    rows = [{"image": {"bytes": data, "path": None}, "label": "lion", "site": "NA", "box": "N/A"}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    dataset = read_dataset(tmp_path)
    (photo,) = dataset.photos
    assert (photo.label("species"), photo.site, photo.box, photo.error) == ("lion", *[None] * 3)
    assert "site 1, box 1" in dataset.notes[0]


def test_words_for_empty_as_names_of_folders(tmp_path) -> None:
    touch(tmp_path, "Felidae/a.jpg", "NA/b.jpg", "none/c.jpg")
    dataset = read_dataset(tmp_path)
    # They do not turn families into species.
    assert [photo.label("family") for photo in dataset.photos] == ["felidae", None, None]
    assert "label 2" in dataset.notes[0]
    assert read_dataset(tmp_path, "none").photos[2].label("species") == "none"


def test_an_organism_of_such_a_name_can_be_kept(tmp_path) -> None:
    header = "path,species,common_name,site,label"
    rows = ("a.jpg,None,NA,none,", "b.jpg,NA,none,x,")
    dataset = read_dataset(table(tmp_path, *rows, header=header), "None, null")
    first, second = dataset.photos
    assert (first.label("species"), first.label("common_name"), first.site) == ("none", None, None)
    assert (second.label("species"), second.label("common_name")) == (None, "none")
    # The index keeps such names too.
    write_index(tmp_path / "index.parquet", dataset.photos)
    assert read_index(tmp_path / "index.parquet") == dataset.photos


def test_only_words_for_empty_can_be_kept(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"keep_names: got 'lion'.*n/a, na, nan, none, null"):
        read_dataset(table(tmp_path, "a.jpg,lion"), "none,lion")


@pytest.mark.parametrize(("written", "stored"), [(NFC, NFD), (NFD, NFC)])
def test_paths_in_another_form_of_unicode_are_found(tmp_path, written, stored) -> None:
    touch(tmp_path, f"{stored}/{stored}.jpg")
    if len(os.listdir(tmp_path)) != 1 or (tmp_path / written).exists():
        pytest.skip("the file system knows one form only")
    dataset = read_dataset(table(tmp_path, f"{written}/{written}.jpg,lion"))
    assert [photo.path for photo in dataset.photos] == [f"{stored}/{stored}.jpg"]
    assert dataset.notes[0].startswith("found: 1 paths that are written otherwise on disk")


@pytest.mark.parametrize("written", ["a/b.JPG", "a/B.jpg", "A/b.jpg", "./A//B.Jpg", "a\\b.jpg"])
def test_paths_in_other_case_are_found(tmp_path, written) -> None:
    touch(tmp_path, "a/b.jpg")
    assert paths(table(tmp_path, f"{written},lion")) == [("a/b.jpg", None)]


def test_where_case_is_all_that_differs_the_exact_path_is_taken(tmp_path) -> None:
    touch(tmp_path, "a.jpg", "a.JPG", "b.jpg")
    if len(os.listdir(tmp_path)) != 3:
        pytest.skip("the file system ignores case")
    found = paths(table(tmp_path, "a.jpg,lion", "a.JPG,zebra", "A.JPG,gnu", "none.jpg,gnu"))
    assert found[:2] == [("a.jpg", None), ("a.JPG", None)]
    assert found[2] == (
        "A.JPG",
        "line 4: fits several files ('a.JPG', 'a.jpg'); write the name as it is on disk",
    )
    assert found[3] == ("none.jpg", None)


def test_two_spellings_of_one_file_are_one_photo(tmp_path) -> None:
    touch(tmp_path, "a.jpg")
    (_, first), (_, second) = paths(table(tmp_path, "a.jpg,lion", "A.JPG,zebra"))
    assert "several labels ('lion', 'zebra') in line 2, line 3" in str(first)
    assert "several labels" in str(second)


@pytest.mark.parametrize("start", ["", "file://", "file://localhost", "file:", "FILE://"])
def test_absolute_paths_inside_the_folder_are_found(tmp_path, start) -> None:
    root = touch(tmp_path / "my photos", "a b/c.jpg")
    folder = str(root) if not start else str(root).replace(" ", "%20")
    assert paths(table(root, f"{start}{folder}/a b/c.jpg,lion")) == [("a b/c.jpg", None)]


def test_absolute_paths_are_found_through_links(tmp_path, monkeypatch) -> None:
    root = touch(tmp_path / "photos", "a.jpg")
    (tmp_path / "link").symlink_to(root)
    table(root, f"{tmp_path}/link/a.jpg,lion")
    assert paths(root) == paths(tmp_path / "link") == [("a.jpg", None)]
    table(root, f"{root}/a.jpg,lion")
    assert paths(root) == paths(tmp_path / "link") == [("a.jpg", None)]
    monkeypatch.chdir(tmp_path)
    assert paths(Path("photos")) == [("a.jpg", None)]


def test_relative_file_urls_are_found(tmp_path) -> None:
    touch(tmp_path, "a b.jpg")
    assert paths(table(tmp_path, "file://a%20b.jpg,lion")) == [("a b.jpg", None)]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("/photos-2/a.jpg", "absolute path"),
        ("/photos/../secret.jpg", "absolute path"),
        ("file:///photos/%2e%2e/secret.jpg", "absolute path"),
        ("file:///etc/passwd", "absolute path"),
        ("file:///C:/photos/a.jpg", "absolute path"),
        ("file://%2e%2e/secret.jpg", "out of the folder"),
        ("file://a%00.jpg", "NUL"),
        ("sub/._a.jpg", "companion file of macOS"),
    ],
)
def test_paths_out_of_the_folder_stay_refused(tmp_path, one_line, written, said) -> None:
    root = touch(tmp_path / "photos", "a.jpg")
    touch(tmp_path, "photos-2/a.jpg", "secret.jpg")
    written = written.replace("/photos", f"{tmp_path}/photos") if "C:" not in written else written
    ((_, error),) = paths(table(root, f"{written},lion"))
    assert said in one_line(str(error))
