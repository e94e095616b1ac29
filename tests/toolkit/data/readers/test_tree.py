"""Folder names of iNaturalist's competitions; the rest of the tree is in test_readers.py."""

from __future__ import annotations

from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import RANKS, Taxon

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
    touch(tmp_path, f"{folder}/a.jpg", f"{folder}/b.heic")
    good, bad = read_dataset(tmp_path).photos
    assert good.label("family") == "asteraceae"
    assert bad.path == f"{folder}/b.heic"
    assert "convert it" in str(bad.error)
