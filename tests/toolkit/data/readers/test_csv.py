"""Columns that came later, and BioCLIP's annotation file beside the Rare Species catalogue."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import RANKS, Taxon
from rs_toolkit.errors import MetadataError

METADATA = "rare_species_id,eol_content_id,eol_page_id,kingdom,phylum,family,file_path\n"
ANNOTATION = ",kingdom,phylum,cls,order,family,genus,species,common_name,filepath,class\n"
MUSSEL = "animalia,mollusca,unionidae"
FULL = "Animalia,Mollusca,Bivalvia,Unionida,Unionidae,Cyclonaias,tuberculata,purple wartyback"


def rare(folder: Path, metadata: str, annotation: str) -> Dataset:
    (folder / "metadata.csv").write_text(METADATA + metadata)
    (folder / "bioclip_annotation.csv").write_text(ANNOTATION + annotation)
    return read_dataset(folder)


def test_round_trip_with_site_observation_and_box(tmp_path) -> None:
    wanted = (
        Photo("a.jpg", Taxon(family="felidae"), site="S1", observation="E1", box="0.1,0.2,0.3,0.4"),
        Photo("b.jpg", Taxon(family="felidae"), common_name="lion", site="S2", observation="E2"),
        Photo("c.jpg", Taxon(family="canidae")),
    )
    names = ("path", "family", "common_name", "site", "observation", "box")
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names)
        for photo in wanted:
            cells = [photo.label("family") if n == "family" else getattr(photo, n) for n in names]
            table.writerow(cells)
    assert read_dataset(tmp_path) == Dataset(tmp_path, wanted, "csv")


@pytest.mark.parametrize("site", ["site", "location", "location_id", "Deployment"])
@pytest.mark.parametrize("observation", ["observation", "seq_id", "sequence", "event_id"])
def test_other_names_of_the_columns(tmp_path, site, observation) -> None:
    (tmp_path / "metadata.csv").write_text(f"path,family,{site},{observation}\na.jpg,x,S,E\n")
    (photo,) = read_dataset(tmp_path).photos
    assert (photo.site, photo.observation) == ("S", "E")


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("0.1,0.2,0.3", "wanted four numbers"),
        ("a,b,c,d", "wanted four numbers"),
        ("0,0,nan,1", "leaves the photo"),
        ("0,0,inf,1", "leaves the photo"),
        ("0.5,0,0.6,1", "leaves the photo"),
        ("-0.1,0,0.5,1", "leaves the photo"),
        ("10,20,300,400", "leaves the photo"),
        ("0.1,0.1,0,0.5", "has no area"),
        ("0.5,0.5,-0.2,0.2", "has no area"),
        ("0.5,0.5,1e-9,0.2", "has no area"),
    ],
)
def test_a_bad_box_is_reported_with_its_line(tmp_path, one_line, box, said) -> None:
    (tmp_path / "metadata.csv").write_text(f'path,family,box\na.jpg,x,\nb.jpg,x,"{box}"\n')
    first, second = read_dataset(tmp_path).photos
    assert first.error is None
    assert one_line(str(second.error)).startswith("line 3: box ")
    assert said in str(second.error)
    assert second.box is None


def test_a_url_is_reported_with_its_line(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_text("path,family\nhttps://x.org/a.jpg,felidae\n")
    assert str(read_dataset(tmp_path).photos[0].error).startswith("line 2: a URL")


def test_annotation_gives_all_ranks_and_the_common_name(tmp_path) -> None:
    dataset = rare(
        tmp_path,
        f"id,12,34,{MUSSEL},mollusca_unionidae/12_34_eol.jpg\n",
        f"0,{FULL},2024-03-20/12_34_eol.jpg,Cyclonaias tuberculata\n",
    )
    (photo,) = dataset.photos
    names = FULL.lower().split(",")[:6]
    assert photo.path == "mollusca_unionidae/12_34_eol.jpg"
    assert [photo.label(rank) for rank in RANKS] == [*names, "cyclonaias tuberculata"]
    assert photo.common_name == "purple wartyback"
    assert dataset.notes == ()


def test_annotation_is_joined_by_both_numbers(tmp_path) -> None:
    dataset = rare(
        tmp_path,
        f"id,12,34,{MUSSEL},a.jpg\nid,12,35,{MUSSEL},b.jpg\nid,1,234,{MUSSEL},c.jpg\n",
        f"0,{FULL},2024/12_35_eol.jpg,x\n",
    )
    assert [photo.label("order") for photo in dataset.photos] == [None, "unionida", None]


def test_what_does_not_fit_is_noted_and_loses_no_row(tmp_path, one_line) -> None:
    dataset = rare(
        tmp_path,
        f"id,1,1,{MUSSEL},good.jpg\nid,2,2,{MUSSEL},absent.jpg\n"
        "id,3,3,animalia,mollusca,felidae,other.jpg\n"
        f"id,4,4,{MUSSEL},nowhere.jpg\n,ragged\nid,1,1,{MUSSEL},../out.jpg\n",
        f"0,{FULL},x/1_1_a.jpg,x\n1,{FULL},x/3_3_a.jpg,x\n2,{FULL},x/4-4.jpg,x\n3,short\n"
        f"4,{FULL.replace('tuberculata', 'pustulosa')},x/1_1_b.jpg,x\n",
    )
    found = {photo.path: photo for photo in dataset.photos}
    assert found["good.jpg"].label("species") == "cyclonaias tuberculata"
    for name in ("absent.jpg", "other.jpg", "nowhere.jpg"):
        assert found[name].error is None
        assert found[name].label("family") in ("unionidae", "felidae")
        assert found[name].label("species") is None
    assert str(found["../out.jpg"].error).startswith("line 7: ")
    starts = (
        "line 4: filepath",
        "line 5: filepath '' has no content",
        "line 6: repeats 1_1 with other names",
    )
    wanted = (
        *(f"bioclip_annotation.csv {start}" for start in starts),
        "absent.jpg: 2_2 is not in",
        "other.jpg: family is felidae, but unionidae in",
        "nowhere.jpg: 4_4 is not in",
    )
    assert len(dataset.notes) == len(wanted)
    for note, start in zip(dataset.notes, wanted, strict=True):
        assert one_line(note).startswith(start)


def test_an_unusable_annotation_is_named(tmp_path) -> None:
    (tmp_path / "metadata.csv").write_text(f"{METADATA}id,1,1,{MUSSEL},a.jpg\n")
    (tmp_path / "bioclip_annotation.csv").write_text("kingdom,phylum\nanimalia,mollusca\n")
    with pytest.raises(MetadataError, match=r"bioclip_annotation\.csv: no column cls"):
        read_dataset(tmp_path)
    (tmp_path / "bioclip_annotation.csv").unlink()
    assert read_dataset(tmp_path).photos[0].label("family") == "unionidae"


def test_the_whole_catalogue_is_joined(shared) -> None:
    dataset = read_dataset(shared / "data" / "rare_species")
    assert len(dataset.photos) == 11_983
    assert dataset.notes == ()
    assert all(photo.label(rank) for photo in dataset.photos for rank in RANKS)
    assert len({photo.label("species") for photo in dataset.photos}) == 400
