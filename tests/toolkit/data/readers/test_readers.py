from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers import read_dataset, rows
from rs_toolkit.data.taxonomy import RANKS
from rs_toolkit.errors import DataError, MetadataError

RARE_SPECIES = "rare_species_id,eol_content_id,eol_page_id,kingdom,phylum,family,file_path\n"


def table(folder: Path, text: str, name: str = "metadata.csv") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode())
    return folder / name


def photos(folder: Path, text: str) -> tuple[Photo, ...]:
    return read_dataset(table(folder, text)).photos


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_every_column_of_a_full_table(tmp_path) -> None:
    header = ",".join(("file_path", *RANKS, "common_name", "group", "photographer"))
    (photo,) = photos(
        tmp_path,
        f"{header}\nphotos/a.jpg,Animalia,Chordata,Mammalia,Carnivora,Felidae,Panthera,leo,"
        '"Lion, African",burst 7,Ann\n',
    )
    assert photo.path == "photos/a.jpg"
    assert [photo.label(rank) for rank in RANKS] == [
        *("animalia", "chordata", "mammalia", "carnivora", "felidae", "panthera", "panthera leo"),
    ]
    assert photo.common_name == "Lion, African"
    assert photo.group == "burst 7"
    assert photo.error is None


def test_folder_with_metadata_equals_its_csv_file(tmp_path) -> None:
    file = table(tmp_path, "path,family\na.jpg,felidae\n")
    touch(tmp_path, "not_in_the_table/b.jpg")
    dataset = read_dataset(tmp_path)
    assert dataset == read_dataset(file)
    assert (dataset.root, dataset.source, len(dataset.photos)) == (tmp_path, "csv", 1)


def test_rare_species_layout(tmp_path) -> None:
    path = "mollusca_unionidae/12853737_449393_eol-full-size-copy.jpg"
    (photo,) = photos(
        tmp_path, f"{RARE_SPECIES}75fd91cb,12853737,449393,animalia,mollusca,unionidae,{path}\n"
    )
    assert photo.path == path
    assert photo.taxon.to_dict() == {
        "kingdom": "animalia",
        "phylum": "mollusca",
        "family": "unionidae",
    }


def test_bioclip_layout_takes_cls_for_the_class(tmp_path) -> None:
    (photo,) = photos(
        tmp_path,
        ",kingdom,cls,genus,species,filepath,class\n"
        "0,Animalia,Bivalvia,Cyclonaias,tuberculata,2024/1.jpg,Cyclonaias tuberculata\n",
    )
    assert photo.path == "2024/1.jpg"
    assert photo.label("class") == "bivalvia"
    assert photo.label("species") == "cyclonaias tuberculata"


@pytest.mark.parametrize("column", ["file_path", "path", "filepath", "image", " Image "])
def test_names_of_the_path_column(tmp_path, column) -> None:
    (photo,) = photos(tmp_path, f"{column},Family\na.jpg,felidae\n")
    assert (photo.path, photo.label("family")) == ("a.jpg", "felidae")


def test_label_column_fills_the_species_where_it_is_empty(tmp_path) -> None:
    text = "path,label,family,species\na.jpg,lion,,\nb.jpg,tiger,felidae,panthera leo\n"
    found = photos(tmp_path, text)
    assert [photo.label("species") for photo in found] == ["lion", "panthera leo"]
    assert [photo.label("family") for photo in found] == [None, "felidae"]


def test_byte_order_mark_and_windows_line_ends(tmp_path) -> None:
    (photo,) = photos(tmp_path, "\ufefffile_path,family\r\nphotos\\a.jpg,felidae\r\n")
    assert (photo.path, photo.label("family")) == ("photos/a.jpg", "felidae")


def test_blank_lines_are_no_rows(tmp_path) -> None:
    assert len(photos(tmp_path, "path,family\n\na.jpg,felidae\n\n\n")) == 1


def test_rows_of_nothing_but_commas_are_no_rows(tmp_path) -> None:
    (photo,) = photos(tmp_path, "path,family,note\n,,\na.jpg,felidae,\n , ,\t\n,,,,,\n")
    assert (photo.path, photo.error) == ("a.jpg", None)
    with pytest.raises(MetadataError, match="no rows"):
        photos(tmp_path, "path,family\n,\n,\n")


@pytest.mark.parametrize("row", ["a.jpg,felidae", "a.jpg,felidae,,,,", "a.jpg,felidae,, , "])
def test_missing_and_surplus_cells_that_are_blank_lose_no_row(tmp_path, row) -> None:
    (photo,) = photos(tmp_path, f"path,family,common_name,site\n{row}\n")
    assert (photo.path, photo.label("family"), photo.error) == ("a.jpg", "felidae", None)
    assert (photo.common_name, photo.site) == (None, None)


def test_a_row_that_ends_before_its_path_is_named(tmp_path) -> None:
    good, bad = photos(tmp_path, "family,path\nfelidae,a.jpg\ncanidae\n")
    assert (good.error, bad.error) == (None, "line 3: no path; fill it in")


def test_a_photo_with_two_labels_is_left_out_and_all_its_rows_are_named(tmp_path, one_line) -> None:
    found = photos(
        tmp_path,
        "path,species\na.jpg,zebra\nb.jpg,zebra\n./a.jpg,gnu\na.jpg,zebra\n",
    )
    assert [photo.error is None for photo in found] == [False, True, False, False]
    for line, photo in zip((2, 4, 5), (found[0], *found[2:]), strict=True):
        error = one_line(str(photo.error))
        assert error.startswith(f"line {line}: has several labels ('gnu', 'zebra')")
        assert "line 2, line 4, line 5" in error


@pytest.mark.parametrize("column", [*RANKS, "label", "common_name"])
def test_two_labels_are_found_in_every_column(tmp_path, column) -> None:
    # A table needs one column of labels besides the common name.
    text = f"path,{column},{'label' if column != 'label' else 'genus'}\na.jpg,x y,\na.jpg,x z,\n"
    found = photos(tmp_path, text)
    assert all("several labels ('x y', 'x z')" in str(photo.error) for photo in found)


def test_rows_that_agree_give_one_photo_that_with_the_most_names(tmp_path) -> None:
    text = "path,family,species,common_name\na.jpg,felidae,,cat\na.jpg,,,\na.jpg,felidae,leo,lion\n"
    found = photos(tmp_path, text)
    assert [photo.error is None for photo in found] == [False, False, True]
    assert found[2].label("species") == "leo"
    assert str(found[0].error).startswith("line 2: repeats the path of line 4 with the same label")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("../a.jpg,felidae", "out of the folder"),
        ("photos/../../a.jpg,felidae", "out of the folder"),
        (".,felidae", "out of the folder"),
        ("..\\a.jpg,felidae", "out of the folder"),
        ("/etc/passwd,felidae", "absolute path"),
        ("C:\\photos\\a.jpg,felidae", "absolute path"),
        ("\\\\server\\share\\a.jpg,felidae", "absolute path"),
        (" ,felidae", "no path"),
        ("a\0.jpg,felidae", "NUL"),
        ("a.jpg,felidae,lion", "3 cells, the header 2"),
        ("first.jpg,felidae", "repeats the path of line 2 with the same label"),
    ],
)
def test_a_bad_row_is_reported_with_its_line_and_spoils_no_other(tmp_path, row, said) -> None:
    found = photos(tmp_path, f"path,family\nfirst.jpg,felidae\n\n{row}\nlast.jpg,felidae\n")
    assert [photo.error for photo in (found[0], found[2])] == [None, None]
    assert [photo.path for photo in (found[0], found[2])] == ["first.jpg", "last.jpg"]
    assert str(found[1].error).startswith("line 4: ")
    assert said in str(found[1].error)


def test_lines_are_counted_as_an_editor_counts_them(tmp_path) -> None:
    found = photos(tmp_path, 'path,family,common_name\na.jpg,felidae,"big\ncat"\n,felidae,x\n')
    assert found[0].common_name == "big cat"
    assert str(found[1].error).startswith("line 4: no path")


def test_paths_are_tidied(tmp_path) -> None:
    found = photos(tmp_path, "path,family\n./a//b.jpg,felidae\na/../c.jpg,felidae\n")
    assert [(photo.path, photo.error) for photo in found] == [("a/b.jpg", None), ("c.jpg", None)]


def test_a_row_without_label_is_kept(tmp_path) -> None:
    (photo,) = photos(tmp_path, "path,family\na.jpg,\n")
    assert (photo.error, photo.label("family")) == (None, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("name,family\na.jpg,felidae\n", "no column file_path, path, filepath or image; got: name"),
        ("path,colour\na.jpg,red\n", "got: path, colour"),
        ("path;family\na.jpg;felidae\n", "comma-separated"),
        ("path,family\n", "no rows"),
        ("path,family,Family\na.jpg,x,y\n", "column family appears twice"),
        ('path,family\na.jpg,"felidae\n', "line 2"),
        (f"path,family\na.jpg,{'x' * 200_000}\n", "field larger"),
    ],
)
def test_unusable_tables_name_the_file_and_the_fault(tmp_path, text, said) -> None:
    file = table(tmp_path, text)
    with pytest.raises(MetadataError) as caught:
        read_dataset(tmp_path)
    message = str(caught.value)
    assert str(file) in message
    assert said in message
    assert "\n" not in message


def test_other_encodings_are_refused(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_bytes("path,family\né.jpg,felidae\n".encode("latin-1"))
    with pytest.raises(MetadataError, match="not UTF-8"):
        read_dataset(tmp_path)


def test_size_limit(tmp_path, monkeypatch) -> None:
    file = table(tmp_path, "path,family\na.jpg,felidae\n")
    monkeypatch.setattr(rows, "MAX_METADATA_BYTES", 5)
    with pytest.raises(MetadataError, match="larger than 5 bytes"):
        read_dataset(file)


@settings(deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"(path|family|,|\n|a\.jpg|\"|\.\./|/){0,40}"))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory, text) -> None:
    root = tmp_path_factory.mktemp("any")
    (root / "metadata.csv").write_bytes(text.encode("utf-8", "replace"))
    try:
        found = read_dataset(root).photos
    except DataError as error:
        assert "\n" not in str(error)
    else:
        usable = [photo.path for photo in found if photo.error is None]
        assert len(set(usable)) == len(usable)
        for path in usable:
            joined = os.path.normpath(os.path.join("/root", path))
            assert joined.startswith("/root/")


def test_tree_takes_the_first_folder_as_label(tmp_path) -> None:
    touch(tmp_path, "Lion/a.JPG", "Lion/2024/night/b.png", "zebra/c.tiff", "zebra/notes.txt")
    dataset = read_dataset(tmp_path)
    assert dataset.source == "tree"
    assert [(photo.path, photo.label("species")) for photo in dataset.photos] == [
        ("Lion/2024/night/b.png", "lion"),
        ("Lion/a.JPG", "lion"),
        ("zebra/c.tiff", "zebra"),
    ]


def test_tree_of_families_and_tree_of_species(tmp_path) -> None:
    touch(tmp_path, "felidae/a.jpg", "Rosaceae/b.jpg")
    assert [p.label("family") for p in read_dataset(tmp_path).photos] == ["rosaceae", "felidae"]
    touch(tmp_path, "empty shots/c.jpg")
    assert {p.label("family") for p in read_dataset(tmp_path).photos} == {None}
    assert "empty shots" in {p.label("species") for p in read_dataset(tmp_path).photos}


def test_tree_reports_what_it_cannot_use(tmp_path) -> None:
    touch(tmp_path, "lion/a.jpg", "lion/b.CR2", "lion/c.nef", "loose.jpg")
    found = {photo.path: photo for photo in read_dataset(tmp_path).photos}
    assert found["lion/a.jpg"].error is None
    assert "convert it" in str(found["lion/b.CR2"].error)
    assert "convert it" in str(found["lion/c.nef"].error)
    assert found["loose.jpg"].label("species") is None


def test_a_folder_of_videos_is_named_and_no_class(tmp_path) -> None:
    touch(tmp_path, "felidae/a.jpg", "canidae/b.jpg", "clips/c.MP4", "clips/d.mov")
    found = {photo.path: photo for photo in read_dataset(tmp_path).photos}
    assert {photo.label("family") for photo in found.values() if photo.error is None} == {
        *("felidae", "canidae")
    }
    assert all("not supported" in str(found[f"clips/{name}"].error) for name in ("c.MP4", "d.mov"))


def test_tree_skips_hidden_files(tmp_path) -> None:
    touch(tmp_path, "lion/a.jpg", "lion/._a.jpg", ".trash/b.jpg", "__MACOSX/lion/a.jpg")
    assert [photo.path for photo in read_dataset(tmp_path).photos] == ["lion/a.jpg"]


def test_tree_names_links_that_lead_nowhere(tmp_path, one_line) -> None:
    touch(tmp_path, "lion/a.jpg")
    (tmp_path / "vulpes").symlink_to(tmp_path / "nas" / "gone")
    (tmp_path / "lion" / "night.2024").symlink_to("lost")
    (tmp_path / "lion" / "b.jpg").symlink_to("lost.jpg")
    found = {photo.path: photo.error for photo in read_dataset(tmp_path).photos}
    # A link that is named as a photo is found to be none when it is opened.
    assert (found.pop("lion/a.jpg"), found.pop("lion/b.jpg")) == (None, None)
    gone = str(tmp_path / "nas" / "gone")
    assert f"is a link to {gone!r}, which is not there" in one_line(str(found.pop("vulpes")))
    assert "'lost'" in str(found.pop("lion/night.2024"))
    assert not found


def test_tree_follows_links_and_no_circles(tmp_path) -> None:
    touch(tmp_path, "store/a.jpg", "data/zebra/b.jpg")
    (tmp_path / "data" / "lion").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "store" / "circle").symlink_to(tmp_path / "store", target_is_directory=True)
    (tmp_path / "data" / "zebra" / "up").symlink_to(tmp_path / "data", target_is_directory=True)
    found = read_dataset(tmp_path / "data").photos
    assert [photo.path for photo in found] == ["lion/a.jpg", "zebra/b.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="Windows names are Unicode")
def test_names_that_are_not_utf8_are_reported(tmp_path) -> None:
    folder = os.fsencode(tmp_path) + b"/lion"
    os.mkdir(folder)
    try:
        with open(folder + b"/\xff.jpg", "wb"):
            pass
    except OSError:
        pytest.skip("the file system takes Unicode names only")
    (photo,) = read_dataset(tmp_path).photos
    assert "not UTF-8" in str(photo.error)
    photo.path.encode()


def test_folders_of_a_split_are_no_classes_and_are_kept(tmp_path) -> None:
    paths = ("Train/lion/a.jpg", "Train/zebra/b.jpg", "test/lion/deep/c.jpg", "valid/d.jpg")
    touch(tmp_path, *paths, "e.jpg", "test/lion/f.cr2")
    found = {p.path: (p.taxon.species, p.split) for p in read_dataset(tmp_path).photos}
    assert found == {
        "Train/lion/a.jpg": ("lion", "train"), "Train/zebra/b.jpg": ("zebra", "train"),
        "test/lion/deep/c.jpg": ("lion", "test"), "valid/d.jpg": (None, "val"),
        "e.jpg": (None, None), "test/lion/f.cr2": (None, "test"),
    }  # fmt: skip
    touch(tmp_path, "lynx/g.jpg")
    assert read_dataset(tmp_path).photos[0].taxon.species == "train"


def test_missing_empty_and_wrong_places(tmp_path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(tmp_path / "none")
    with pytest.raises(DataError, match="no such folder"):
        read_dataset(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photos below it"):
        read_dataset(tmp_path / "empty")
    touch(tmp_path, "texts/lion/a.txt", "photo.jpg")
    with pytest.raises(DataError, match="no photos below it"):
        read_dataset(tmp_path / "texts")
    with pytest.raises(DataError, match=r"wanted a folder or a \.csv"):
        read_dataset(tmp_path / "photo.jpg")
