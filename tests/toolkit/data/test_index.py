from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from rs_runtime.photos import photo as photo_module
from rs_runtime.photos.photo import read_photo
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data import index
from rs_toolkit.data.index import build_index, fingerprint, read_index, write_index
from rs_toolkit.data.photos import Dataset, Photo, PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.files import sha256_file

GOOD = ("a.jpg", "b.png", "grey.png")
BROKEN = {
    "cut.jpg": "cannot be decoded",
    "empty.jpg": "is empty",
    "missing.jpg": "does not exist",
    "text.jpg": "is no JPEG",
    "folder.jpg": "is not a regular file",
    "../outside.jpg": "line 7: path leads out",
}


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Three good photos and every kind of bad one, in a table."""
    root = tmp_path / "data"
    root.mkdir()
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise[0]).save(root / "a.jpg")
    Image.fromarray(noise[1]).save(root / "b.png")
    Image.fromarray(noise[2, :, :, 0]).save(root / "grey.png")
    Image.fromarray(noise[2]).save(tmp_path / "outside.jpg")
    (root / "cut.jpg").write_bytes((root / "a.jpg").read_bytes()[:700])
    (root / "empty.jpg").write_bytes(b"")
    (root / "text.jpg").write_text("no picture")
    (root / "folder.jpg").mkdir()
    names = [*GOOD, *("cut.jpg", "empty.jpg", "../outside.jpg", "missing.jpg", "text.jpg")]
    rows = "".join(f"{name},felidae,\n" for name in [*names, "folder.jpg"])
    (root / "metadata.csv").write_text(f"path,family,group\n{rows}")
    return read_dataset(root)


@pytest.fixture
def cache(tmp_path) -> PhotoCache:
    return PhotoCache(tmp_path / "cache", Preprocessing(size=16))


def by_path(photos) -> dict[str, Photo]:
    return {photo.path: photo for photo in photos}


def test_good_photos_are_described_and_bad_ones_say_why(dataset, cache) -> None:
    photos = build_index(dataset, cache)
    assert [photo.path for photo in photos] == [photo.path for photo in dataset.photos]
    found = by_path(photos)
    assert {path for path, photo in found.items() if photo.error is None} == set(GOOD)
    for path, said in BROKEN.items():
        assert said in str(found[path].error)
        assert "\n" not in str(found[path].error)
    grey = found["grey.png"]
    assert (grey.width, grey.height, grey.mode) == (60, 40, "L")
    assert grey.bytes == (dataset.root / "grey.png").stat().st_size
    assert grey.sha256 == sha256_file(dataset.root / "grey.png")


def test_pixels_after_the_index_come_from_the_cache(dataset, cache) -> None:
    photos = by_path(build_index(dataset, cache))
    wanted = cache.preprocessing.load(dataset.root / "a.jpg")
    shutil.rmtree(dataset.root)
    assert np.array_equal(cache.pixels(photos["a.jpg"], dataset.root), wanted)


def refuse(*_: object) -> None:
    raise AssertionError("decoded")


def test_a_warm_index_decodes_nothing(dataset, cache, monkeypatch) -> None:
    good = Dataset(dataset.root, tuple(p for p in dataset.photos if p.path in GOOD), "csv")
    cold = build_index(good, cache)
    monkeypatch.setattr(photo_module, "decode", refuse)
    assert build_index(good, cache) == cold
    with pytest.raises(AssertionError, match="decoded"):
        build_index(good, PhotoCache(cache.directory / "other", cache.preprocessing))


def test_a_changed_photo_is_indexed_anew(dataset, cache) -> None:
    before = by_path(build_index(dataset, cache))["a.jpg"]
    Image.new("RGB", (7, 5)).save(dataset.root / "a.jpg")
    after = by_path(build_index(dataset, cache))["a.jpg"]
    assert after.sha256 != before.sha256
    assert (after.width, after.height) == (7, 5)


def test_photos_without_their_end_are_used_with_a_note_or_refused(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    names = ("whole.jpg", *(f"cut{number}.jpg" for number in range(7)))
    for number, name in enumerate(names):
        Image.fromarray(noise).resize((800, 600)).save(tmp_path / name, quality=80 + number)
        if number:
            (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-2])
    dataset = Dataset(tmp_path, tuple(Photo(name, Taxon()) for name in names), "csv")
    given = (tmp_path / "cache", Preprocessing(size=16))
    # The second time, pixels and notes come from the cache.
    for _ in range(2):
        notes: list[str] = []
        used = build_index(dataset, PhotoCache(*given), note=notes.append)
        assert all(photo.error is None for photo in used)
        (note,) = notes
        assert (
            "7 photos: cut0.jpg, " in note and note.endswith("cut4.jpg, …") and "whole" not in note
        )
        strict = by_path(build_index(dataset, PhotoCache(*given, strict=True), note=notes.append))
        assert len(notes) == 1 and strict["whole.jpg"].error is None
        for name in names[1:]:
            assert str(strict[name].error).startswith("lacks its last bytes")


def test_progress_reaches_the_end_once(dataset, cache) -> None:
    seen: list[tuple[int, int]] = []
    build_index(dataset, cache, lambda done, total: seen.append((done, total)))
    assert seen == [(n + 1, len(dataset.photos)) for n in range(len(dataset.photos))]


def test_an_interrupt_leaves_the_waiting_photos_alone(dataset, cache, monkeypatch) -> None:
    many = Dataset(dataset.root, dataset.photos[:1] * 2000, "csv")
    opened: list[Path] = []

    def read(path: Path) -> bytes:
        opened.append(path)
        return read_photo(path)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(index, "read_photo", read)
    with pytest.raises(KeyboardInterrupt):
        build_index(many, cache, interrupt)
    assert 1 <= len(opened) < len(many.photos)


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_photos(dataset, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        build_index(dataset, PhotoCache(tmp_path / "file", Preprocessing(size=16)))


def copies(root: Path, layout: dict[str, tuple[int, str | None]]) -> Dataset:
    """Make photos from path: (which picture, group)."""
    for path, (picture, _) in layout.items():
        Image.new("RGB", (4, 4), (picture, 0, 0)).save(root / path)
    rows = tuple(Photo(path, Taxon(), group=group) for path, (_, group) in layout.items())
    return Dataset(root, rows, "csv")


def test_exact_duplicates_share_a_group(tmp_path, cache) -> None:
    layout = {"a.png": (1, None), "b.png": (1, None), "c.png": (2, None), "d.png": (3, "site")}
    found = by_path(build_index(copies(tmp_path, layout), cache))
    assert found["a.png"].group == found["b.png"].group == f"sha256:{found['a.png'].sha256}"
    assert (found["c.png"].group, found["d.png"].group) == (None, "site")


def test_duplicates_join_the_groups_that_they_connect(tmp_path, cache) -> None:
    layout = {
        "a.png": (1, "x"),
        "b.png": (2, "x"),
        "c.png": (2, "y"),
        "d.png": (3, "y"),
        "e.png": (3, None),
        "f.png": (4, "z"),
    }
    found = build_index(copies(tmp_path, layout), cache)
    joined = {photo.group for photo in found[:5]}
    assert len(joined) == 1
    assert found[5].group == "z"
    backwards = copies(tmp_path, dict(reversed(layout.items())))
    assert by_path(build_index(backwards, cache)) == by_path(found)


def test_parquet_keeps_everything(dataset, cache, tmp_path) -> None:
    photos = list(build_index(dataset, cache))
    full = Taxon("animalia", "chordata", "mammalia", "carnivora", "felidae", "panthera", "leo")
    photos[0] = replace(
        photos[0], taxon=full, common_name="Löwe", group="g", split="val", weight=0.25
    )
    photos[1] = replace(photos[1], site="s", observation="o", box="0,0,0.5,1")
    write_index(tmp_path / "index.parquet", photos)
    assert read_index(tmp_path / "index.parquet") == tuple(photos)
    write_index(tmp_path / "index.parquet", [])
    assert read_index(tmp_path / "index.parquet") == ()


@pytest.mark.parametrize("version", [b"1", b"2", b"3"])
def test_parquet_of_earlier_versions_is_still_read(tmp_path, version) -> None:
    about = {"sha256": "0" * 64, "bytes": 9, "width": 4, "height": 3, "mode": "RGB"}
    row = {"path": "a.jpg", "common_name": "lion", "group": "g"}
    if version != b"1":
        row |= {"site": "s", "observation": None, "box": None}
    row |= {**about, "error": None}
    row |= {"split": "train", "weight": 0.5, "kingdom": None, "phylum": None, "class": None}
    row |= {"order": None, "family": "felidae", "genus": "panthera", "species": "panthera leo"}
    if version == b"3":
        split = list(row).index("kingdom")
        row = dict([*list(row.items())[:split], ("organism", None), *list(row.items())[split:]])
    kinds = {
        **dict.fromkeys(("bytes", "width", "height"), pyarrow.int64()),
        **dict.fromkeys(("weight", "organism"), pyarrow.float64()),
    }
    schema = pyarrow.schema(
        [(name, kinds.get(name, pyarrow.string())) for name in row],
        metadata={b"rs_toolkit.index": version},
    )
    file = tmp_path / "index.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row], schema), file)
    lion = Taxon(family="felidae", genus="panthera", species="leo")
    assert read_index(file) == (
        Photo("a.jpg", lion, "lion", "g", row.get("site"), split="train", weight=0.5, **about),
    )


def test_a_box_is_indexed_and_its_pixels_cached(tmp_path, cache) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    rows = [Photo("a.png", Taxon(), box=box) for box in (None, "0.5,0,0.5,1", "0.5,0,0.001,1")]
    (whole,) = build_index(Dataset(tmp_path, tuple(rows[:1]), "csv"), cache)
    part, tiny = build_index(Dataset(tmp_path, tuple(rows[1:]), "csv"), cache)
    assert (part.width, part.height, part.error) == (60, 40, None)
    assert str(tiny.error).startswith("box 0.5, 0, 0.001, 1 has less than one pixel of 60 x 40")
    wanted = cache.preprocessing.load(tmp_path / "a.png", (0.5, 0.0, 0.5, 1.0))
    (tmp_path / "a.png").unlink()
    assert np.array_equal(cache.pixels(part, tmp_path), wanted)
    assert not np.array_equal(cache.pixels(whole, tmp_path), wanted)


def test_an_index_with_a_bad_box_is_refused(tmp_path) -> None:
    file = tmp_path / "index.parquet"
    write_index(file, [Photo("a.jpg", Taxon(), box="0,0,1,1")])
    table = pyarrow.parquet.read_table(file)
    place = table.schema.get_field_index("box")
    bad = table.set_column(place, "box", pyarrow.array(["../../etc"]))
    pyarrow.parquet.write_table(bad, file)
    with pytest.raises(DataError, match=r"cannot be read as an index \(box '\.\./\.\./etc'"):
        read_index(file)


def test_damaged_and_foreign_tables_are_refused(tmp_path) -> None:
    file = tmp_path / "index.parquet"
    with pytest.raises(DataError, match="cannot be read as an index"):
        read_index(file)
    write_index(file, [Photo("a.jpg", Taxon())])
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as an index"):
        read_index(file)
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.jpg"]}), file)
    with pytest.raises(DataError, match="not an index of this version"):
        read_index(file)


def test_fingerprint_ignores_order_and_splits_only() -> None:
    photos = [
        Photo(f"{n}.jpg", Taxon(family="felidae"), sha256=f"{n:064x}", common_name="cat")
        for n in range(9)
    ]
    mark = fingerprint(photos)
    assert len(mark) == 64
    shuffled = random.Random(0).sample(photos, len(photos))
    assert fingerprint([replace(photo, split="val", weight=0.5) for photo in shuffled]) == mark
    for change in (
        {"path": "x.jpg"},
        {"sha256": "f" * 64},
        {"taxon": Taxon(family="canidae")},
        {"taxon": Taxon(order="felidae")},
        {"common_name": None},
    ):
        assert fingerprint([replace(photos[0], **change), *photos[1:]]) != mark
    assert fingerprint(photos[1:]) != mark
