"""Tables with the photos' bytes inside; tables are written here as Hugging Face writes them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import build_index, write_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import parquet, read_dataset
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError, MetadataError
from rs_toolkit.files import sha256_bytes

IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])


@pytest.fixture(autouse=True)
def unpacked(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unpacked"


def photo(seed: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


def write(path: Path, images: list[Any], classes: Any = None, **columns: list[Any]) -> Path:
    """Write images (bytes, None, or whole structs) and columns; classes are by column."""
    structs = [item if isinstance(item, dict) else {"bytes": item, "path": "x"} for item in images]
    arrays = {"image": pyarrow.array(structs, IMAGE)} | {
        name: pyarrow.array(values) for name, values in columns.items()
    }
    features = {name: {"names": names, "_type": "ClassLabel"} for name, names in classes or ()}
    about = json.dumps({"info": {"features": {"image": {"_type": "Image"}, **features}}})
    table = pyarrow.table(arrays).replace_schema_metadata({"huggingface": about})
    pyarrow.parquet.write_table(table, path, row_group_size=3)
    return path


def test_round_trip(tmp_path, unpacked) -> None:
    images = [photo(0), photo(1, "JPEG"), photo(2, "WEBP")]
    names = [sha256_bytes(data) for data in images]
    file = write(
        tmp_path / "a.parquet",
        images,
        Family=["Felidae", "Felidae", None],
        species=["Panthera leo", None, None],
        common_name=["lion", None, ""],
        location=["s", "s", None],
        seq_id=[1, 2, None],
        box=["0,0,0.5,1", None, None],
        other=[[1], [2], [3]],
    )
    dataset = read_dataset(file)
    felidae = Taxon(family="felidae")
    lion = Taxon(family="felidae", species="panthera leo")
    assert dataset.photos == (
        Photo(f"{names[0]}.png", lion, "lion", site="s", observation="1", box="0,0,0.5,1"),
        Photo(f"{names[1]}.jpg", felidae, site="s", observation="2"),
        Photo(f"{names[2]}.webp", Taxon()),
    )
    assert dataset.source == "parquet"
    assert dataset.root.parent == unpacked
    for item, data in zip(dataset.photos, images, strict=True):
        assert (dataset.root / item.path).read_bytes() == data
    indexed = build_index(dataset, PhotoCache(tmp_path / "pixels", Preprocessing(size=8)))
    assert [item.error for item in indexed] == [None] * 3


def test_a_folder_of_tables_in_the_order_of_their_names(tmp_path) -> None:
    write(tmp_path / "test-1.parquet", [photo(1)], label=["b"])
    write(tmp_path / "test-0.parquet", [photo(0)], species=["a"])
    found = read_dataset(tmp_path).photos
    assert [item.label("species") for item in found] == ["a", "b"]


def test_class_labels_are_decoded_and_minus_one_is_none(tmp_path) -> None:
    classes = [("label", ["Lion", "Zebra"]), ("family", ["Felidae"])]
    file = write(
        tmp_path / "a.parquet",
        [photo(n) for n in range(4)],
        classes,
        label=[1, 0, -1, 5],
        family=[None, 0, 0, 0],
    )
    found = read_dataset(file).photos
    assert [item.label("species") for item in found] == ["zebra", "lion", None, None]
    assert [item.label("family") for item in found[:3]] == [None, "felidae", "felidae"]
    assert str(found[3].error) == "a.parquet row 4: label is 5, wanted -1 to 1; correct it"
    assert found[0].taxon == Taxon(species="zebra")


@pytest.mark.parametrize("about", [b"{", b"[]", b'{"info": {"features": {"label": 1}}}', b"\xff"])
def test_numbers_without_names_are_labels(tmp_path, about) -> None:
    file = write(tmp_path / "a.parquet", [photo(0)], label=[7])
    table = pyarrow.parquet.read_table(file).replace_schema_metadata({b"huggingface": about})
    pyarrow.parquet.write_table(table, file)
    assert read_dataset(file).photos[0].label("species") == "7"


def test_a_second_reading_unpacks_nothing_and_another_table_anew(tmp_path, monkeypatch) -> None:
    file = write(tmp_path / "a.parquet", [photo(0), photo(1)], label=["a", "b"])
    first = read_dataset(file)
    store = parquet._store
    monkeypatch.setattr(parquet, "_store", None)
    assert read_dataset(file) == first
    monkeypatch.setattr(parquet, "_store", store)
    write(file, [photo(0), photo(1)], label=["a", "c"])
    assert read_dataset(file).photos[1].label("species") == "c"


def test_the_same_bytes_with_two_labels_are_left_out(tmp_path) -> None:
    file = write(tmp_path / "a.parquet", [photo(0), photo(0), photo(2)], label=["a", "b", "c"])
    found = read_dataset(file).photos
    assert [item.error is None for item in found] == [False, False, True]
    assert all("several labels ('a', 'b')" in str(item.error) for item in found[:2])


def test_companions_that_macos_writes_are_no_tables(tmp_path) -> None:
    write(tmp_path / "train.parquet", [photo(0)], label=["a"])
    (tmp_path / "._train.parquet").write_bytes(b"\0\5\x16\7" + b"x" * 100)
    dataset = read_dataset(tmp_path)
    assert (dataset.source, len(dataset.photos)) == ("parquet", 1)


@pytest.mark.parametrize(
    ("image", "label", "said"),
    [
        (None, "b", "has no bytes"),
        (b"", "b", "has no bytes"),
        ({"bytes": None, "path": "photos/b.jpg"}, "b", "has no bytes"),
        (b"hello", "b", "is no JPEG"),
        (photo(0) + bytes(2000), "b", "is larger than 2000 bytes"),
        (photo(0), "a", "repeats the photo of a.parquet row 1 with the same label"),
    ],
)
def test_a_bad_row_is_named_and_spoils_no_other(
    tmp_path, monkeypatch, one_line, image, label, said
) -> None:
    monkeypatch.setattr(parquet, "MAX_PHOTO_BYTES", 2000)
    file = write(tmp_path / "a.parquet", [photo(0), image, photo(2)], label=["a", label, "c"])
    found = read_dataset(file).photos
    assert [found[0].error, found[2].error] == [None, None]
    assert [found[0].label("species"), found[2].label("species")] == ["a", "c"]
    assert one_line(str(found[1].error)).startswith("a.parquet row 2: ")
    assert said in str(found[1].error)
    assert read_dataset(file).photos == found


def test_bad_values_are_named(tmp_path) -> None:
    images = [photo(0), photo(1)]
    file = write(tmp_path / "a.parquet", images, label=["a", "b"], box=["0,0,1,1", "0,0,2,2"])
    assert "a.parquet row 2: box '0,0,2,2'" in str(read_dataset(file).photos[1].error)
    write(file, images, label=[["a"], None])
    assert "a.parquet row 1: label holds a list" in str(read_dataset(file).photos[0].error)


def test_unusable_tables_are_named(tmp_path, one_line) -> None:
    file = write(tmp_path / "a.parquet", [photo(0)], colour=["red"])
    with pytest.raises(MetadataError, match=r"no column kingdom.*got: image, colour"):
        read_dataset(file)
    write(file, [], label=[])
    with pytest.raises(MetadataError, match="has no rows"):
        read_dataset(file)
    pyarrow.parquet.write_table(pyarrow.table({"image": [b"x"], "label": ["a"]}), file)
    with pytest.raises(MetadataError, match="column image is binary, wanted struct"):
        read_dataset(file)
    pyarrow.parquet.write_table(pyarrow.table({"photo": [b"x"], "label": ["a"]}), file)
    with pytest.raises(MetadataError, match="column image is None, wanted struct"):
        read_dataset(file)
    for damage in (b"", b"PAR1", file.read_bytes()[:-9]):
        file.write_bytes(damage)
        with pytest.raises(DataError) as caught:
            read_dataset(file)
        assert f"{file}: cannot be read as Parquet" in one_line(str(caught.value))


def test_damage_within_a_table_leaves_nothing(tmp_path, unpacked) -> None:
    file = write(tmp_path / "a.parquet", [photo(n) for n in range(9)], label=["a"] * 9)
    data = bytearray(file.read_bytes())
    data[800:1200] = bytes(400)
    file.write_bytes(data)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_dataset(file)
    assert not list(unpacked.iterdir())


def test_the_total_is_limited(tmp_path, monkeypatch, unpacked) -> None:
    file = write(tmp_path / "a.parquet", [photo(0), photo(1)], label=["a", "b"])
    monkeypatch.setattr(parquet, "MAX_UNPACKED_BYTES", 300)
    with pytest.raises(DataError, match="more than 300 bytes"):
        read_dataset(file)
    assert not list(unpacked.iterdir())


def test_row_groups_are_limited(tmp_path, monkeypatch, one_line) -> None:
    file = write(tmp_path / "a.parquet", [photo(0), photo(1)], label=["a", "b"])
    monkeypatch.setattr(parquet, "_MAX_ROW_GROUP_BYTES", 300)
    with pytest.raises(DataError, match="row group has") as caught:
        read_dataset(file)
    one_line(str(caught.value))


def test_damaged_notes_in_the_cache_are_named(tmp_path) -> None:
    file = write(tmp_path / "a.parquet", [photo(0)], label=["a"])
    rows = read_dataset(file).root / "rows.json"
    for text in ("", "[]", '{"names": [], "errors": {}}'):
        rows.write_text(text)
        with pytest.raises(DataError, match=r"rows\.json: damaged .* delete its folder"):
            read_dataset(file)


def test_other_tables_beside_class_folders_are_no_photos(tmp_path) -> None:
    os.makedirs(tmp_path / "data" / "lion")
    (tmp_path / "data" / "lion" / "a.jpg").touch()
    write_index(tmp_path / "data" / "index.parquet", [Photo("a.jpg", Taxon())])
    assert read_dataset(tmp_path / "data").source == "tree"
