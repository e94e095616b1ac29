"""Names of iNaturalist's competitions, and folders that are no data; more is in test_readers.py."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from rs_runtime.photos.folder import MARK
from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import read_dataset, tree
from rs_toolkit.data.taxonomy import RANKS, Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.files import mark_output

YARROW = ("Plantae", "Tracheophyta", "Magnoliopsida", "Asterales", "Asteraceae", "Achillea")
WORM = ("Animalia", "Annelida", "", "", "Lumbricidae", "Lumbricus")


def touch(root, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_round_trip_of_inaturalist_names(tmp_path) -> None:
    wanted = []
    for number, ranks, epithet in ((0, WORM, "terrestris"), (4178, YARROW, "millefolium")):
        path = f"{number:05d}_{'_'.join(ranks)}_{epithet}/a.jpg"
        touch(tmp_path, path)
        names = dict(zip(RANKS, (*ranks, epithet), strict=True))
        wanted.append(Photo(path, Taxon.from_dict(names)))
    touch(tmp_path, "loose.jpg")
    wanted.append(Photo("loose.jpg", Taxon()))
    assert read_dataset(tmp_path) == Dataset(tmp_path, tuple(wanted), "tree")
    assert wanted[1].label("species") == "achillea millefolium"
    assert (wanted[0].label("class"), wanted[0].label("family")) == (None, "lumbricidae")


def test_one_other_folder_makes_them_ordinary_names(tmp_path) -> None:
    name = f"04178_{'_'.join(YARROW)}_millefolium"
    touch(tmp_path, f"{name}/a.jpg", "lion/b.jpg")
    assert [photo.taxon for photo in read_dataset(tmp_path).photos] == [
        *(Taxon(species=name.lower()), Taxon(species="lion"))
    ]


def test_names_of_another_length_are_ordinary_names(tmp_path) -> None:
    touch(tmp_path, f"04178_{'_'.join(YARROW)}/a.jpg")
    assert read_dataset(tmp_path).photos[0].label("genus") is None


def test_a_bad_file_in_such_a_folder_is_named(tmp_path) -> None:
    folder = f"04178_{'_'.join(YARROW)}_millefolium"
    touch(tmp_path, f"{folder}/a.jpg", f"{folder}/b.cr2")
    good, bad = read_dataset(tmp_path).photos
    assert good.label("family") == "asteraceae"
    assert bad.path == f"{folder}/b.cr2"
    assert "convert it" in str(bad.error)


# Pictures that commands write, and the files that they have always written beside them.
OUTPUTS = {
    "runs/birds": ("config.json", "classes.json", "splits.json", "confusion.png"),
    "runs/birds/export": ("report.json", "accuracy_vs_size.png"),
    "runs/birds/export/benchmark": ("benchmark.json", "pareto.png"),
}


def labels(root) -> list[str | None]:
    return [photo.label("species") for photo in read_dataset(root).photos]


@pytest.mark.parametrize("folder", OUTPUTS)
def test_what_earlier_versions_wrote_is_no_data(tmp_path, folder) -> None:
    touch(tmp_path, "lion/a.jpg", "zebra/b.jpg")
    touch(tmp_path, *(f"{folder}/{name}" for name in OUTPUTS[folder]))
    dataset = read_dataset(tmp_path)
    assert [photo.path for photo in dataset.photos] == ["lion/a.jpg", "zebra/b.jpg"]
    assert dataset.notes == (f"left out: 1 folder that rs-toolkit wrote: {folder}",)


@pytest.mark.parametrize("folder", ["runs/photos", "lion/checked", "cache/unpacked", "my kit"])
def test_whatever_the_toolkit_marked_is_no_data(tmp_path, folder) -> None:
    touch(tmp_path, "lion/a.jpg", "zebra/b.jpg", f"{folder}/deep/picture.png")
    mark_output(tmp_path / folder)
    assert labels(tmp_path) == ["lion", "zebra"]
    assert folder in read_dataset(tmp_path).notes[0]


def test_many_skipped_folders_are_one_note(tmp_path) -> None:
    names = ["runs/a", "runs/b", "runs/c", "runs/d", "runs/e", "runs/f", "runs/g"]
    for name in names:
        touch(tmp_path, f"{name}/confusion.png")
        mark_output(tmp_path / name)
    touch(tmp_path, "lion/a.jpg")
    (note,) = read_dataset(tmp_path).notes
    shown = f"{', '.join(names[:5])} and 2 more"
    assert note == f"left out: 7 folders that rs-toolkit wrote: {shown}"


def test_a_class_may_be_called_runs(tmp_path) -> None:
    touch(tmp_path, "runs/a.jpg", "clean/b.jpg", "export/config.json", "export/c.jpg")
    # An empty mark is a lock that a killed command left in somebody's folder.
    touch(tmp_path, f"runs/{MARK}")
    assert labels(tmp_path) == ["clean", "export", "runs"]
    assert read_dataset(tmp_path).notes == ()


def test_only_outputs_are_no_data_at_all(tmp_path) -> None:
    touch(tmp_path, "runs/a/confusion.png")
    mark_output(tmp_path / "runs" / "a")
    with pytest.raises(DataError, match=r"no photos below it.*left out: 1 folder "):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="rs-toolkit wrote this folder"):
        read_dataset(tmp_path / "runs" / "a")


def test_outputs_in_an_archive_and_unpacked_archives_are_no_data(tmp_path, monkeypatch) -> None:
    data = tmp_path / "photos"
    monkeypatch.setenv("RS_CACHE", str(data / "cache"))
    touch(data, "lion/a.jpg", "zebra/b.jpg")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("lion/a.jpg", "zebra/b.jpg"):
            archive.writestr(name, "")
        for name in (MARK, *OUTPUTS["runs/birds"]):
            archive.writestr(f"runs/birds/{name}", "x")
    assert labels(tmp_path / "a.zip") == ["lion", "zebra"]
    assert labels(data) == ["lion", "zebra"]


@pytest.mark.parametrize("root", [".", "..", "/"])
def test_paths_are_relative_to_a_folder_however_it_is_written(tmp_path, monkeypatch, root) -> None:
    below = tmp_path / "data" / "lion"
    touch(below, "a.jpg", "b/c.jpg")
    monkeypatch.chdir(below.parent if root == "." else below)
    if root == "/":
        monkeypatch.setattr(tree, "photos_below", lambda *_: [("/lion/a.jpg", None)])
    found = [photo.path for photo in tree.read_tree(Path(root)).photos]
    assert found == ["lion/a.jpg", "lion/b/c.jpg"][: 1 if root == "/" else 2]
