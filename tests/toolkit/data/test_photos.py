from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError
from rs_runtime.photos import photo as photo_module
from rs_runtime.photos.photo import read_photo
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.packs import packs_in
from rs_toolkit.data.photos import (
    Photo,
    PhotoCache,
    default_cache_dir,
    parse_box,
    tidy_box,
    unlabelled,
)
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.files import sha256_bytes, sha256_file

PREP = Preprocessing(size=8)


@pytest.fixture
def photo(tmp_path) -> Photo:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return Photo("a.png", Taxon(), sha256=sha256_file(tmp_path / "a.png"))


@pytest.fixture
def cache(tmp_path) -> PhotoCache:
    return PhotoCache(tmp_path / "cache", PREP)


def cached_file(cache: PhotoCache, suffix: str) -> Path:
    (file,) = cache.directory.rglob(f"*{suffix}")
    return file


def test_label_at_ranks_and_common_name() -> None:
    photo = Photo("a.jpg", Taxon(family="Felidae"), common_name="African  Lion")
    assert photo.label("family") == "felidae"
    assert photo.label("common_name") == "african lion"
    assert photo.label("species") is None
    with pytest.raises(ConfigError, match=r"'tribe'.*common_name"):
        photo.label("tribe")


def test_unlabelled_are_found_and_broken_ones_are_not_among_them() -> None:
    lion = Photo("a.jpg", Taxon(family="felidae"))
    nameless = Photo("b.jpg", Taxon(order="carnivora"))
    broken = Photo("c.jpg", Taxon(), error="does not exist")
    assert unlabelled([lion, nameless, broken], "family") == (nameless,)


def test_cache_directory(monkeypatch) -> None:
    monkeypatch.setenv("RS_CACHE", "/somewhere")
    assert default_cache_dir() == Path("/somewhere")
    monkeypatch.delenv("RS_CACHE")
    assert default_cache_dir() == Path.home() / ".cache" / "rs-toolkit"
    # A shell leaves ~ alone between quotes, and so does a service's configuration.
    monkeypatch.setenv("RS_CACHE", "~/pixels")
    assert default_cache_dir() == Path.home() / "pixels"


def test_cached_pixels_are_the_decoded_ones_and_need_no_file(photo, cache, tmp_path) -> None:
    wanted = PREP.load(tmp_path / "a.png")
    assert np.array_equal(cache.pixels(photo, tmp_path), wanted)
    (tmp_path / "a.png").unlink()
    again = cache.pixels(photo, tmp_path)
    assert np.array_equal(again, wanted)
    assert again.dtype == np.uint8
    info = cache.info(photo)
    assert info is not None
    assert (info.width, info.height, info.mode) == (30, 20, "RGB")


def test_layout(photo, cache, tmp_path) -> None:
    cache.pixels(photo, tmp_path)
    (folder,) = cache.directory.iterdir()
    assert folder.name == PREP.fingerprint()
    assert sorted(file.suffix for file in folder.iterdir()) == [".index", ".pack"]


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        (".pack", lambda data: b""),
        (".pack", lambda data: b"rubbish"),
        (".pack", lambda data: data[:-5]),
        (".pack", lambda data: data[:90] + bytes(len(data) - 90)),
        (".index", lambda data: b""),
        (".index", lambda data: data[:-5]),
        (".index", lambda data: data[:-4] + b"none"),
    ],
)
def test_damaged_cache_is_made_again(photo, cache, tmp_path, suffix, damage) -> None:
    wanted = cache.pixels(photo, tmp_path)
    file = cached_file(cache, suffix)
    file.write_bytes(damage(file.read_bytes()))
    for known in (False, True):
        packs_in.cache_clear()  # as a new process
        again = PhotoCache(cache.directory, PREP)
        assert (again.info(photo) is not None) is known
        assert np.array_equal(again.pixels(photo, tmp_path), wanted)


def test_other_preprocessing_has_other_files(photo, cache, tmp_path) -> None:
    cache.pixels(photo, tmp_path)
    other = PhotoCache(cache.directory, Preprocessing(size=9))
    assert other.info(photo) is None
    assert other.pixels(photo, tmp_path).shape == (9, 9, 3)


def test_a_file_changed_since_the_index_is_refused(photo, cache, tmp_path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="changed since it was indexed"):
        cache.pixels(photo, tmp_path)
    assert not cache.directory.exists()


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("0,0,1,1", "0,0,1,1"),
        (" 0.10, 2e-1,.30000000004,0.4", "0.1,0.2,0.3,0.4"),
        ("-0.009,0,1.018,1", "0,0,1,1"),
        ("0.9,0.9,0.109,0.1", "0.9,0.9,0.1,0.1"),
        ("0,0,0.000001,1", "0,0,1e-06,1"),
        ("0.333333333,0,0.666666667,1", "0.333333,0,0.666667,1"),
    ],
)
def test_boxes_are_written_in_one_way(text, tidied) -> None:
    assert tidy_box(text) == tidied
    assert tidy_box(tidied) == tidied
    assert Photo("a.jpg", Taxon(), box=text).box == text


@given(st.tuples(*[st.floats(0, 1)] * 4))
def test_any_box_is_tidied_to_its_numbers_or_refused(numbers) -> None:
    try:
        tidied = tidy_box(",".join(map(repr, numbers)))
    except ValueError:
        left, top, width, height = numbers
        outside = left + width > 1.009 or top + height > 1.009
        assert outside or min(width, height, 1 - left, 1 - top) < 2e-6
    else:
        left, top, width, height = parse_box(tidied)
        assert parse_box(tidied)[:2] == pytest.approx(numbers[:2], abs=1e-6)
        assert 0 <= left < left + width <= 1 + 1e-9
        assert 0 <= top < top + height <= 1 + 1e-9
        assert tidy_box(tidied) == tidied


@pytest.mark.parametrize("box", ["", "0,0,1", "0,0,1,1,1", "0,0,nan,1", "0,0,2,1", "../../x"])
def test_a_photo_cannot_have_a_bad_box(box) -> None:
    with pytest.raises(ValueError, match="box "):
        Photo("a.jpg", Taxon(), box=box)


def test_a_box_has_pixels_of_its_own(photo, cache, tmp_path) -> None:
    part = replace(photo, box="0.5,0,0.5,1")
    whole = cache.pixels(photo, tmp_path)
    wanted = PREP.load(tmp_path / "a.png", (0.5, 0.0, 0.5, 1.0))
    assert not np.array_equal(whole, wanted)
    assert cache.info(part) is None
    assert np.array_equal(cache.pixels(part, tmp_path), wanted)
    (tmp_path / "a.png").unlink()
    assert np.array_equal(cache.pixels(part, tmp_path), wanted)
    assert np.array_equal(cache.pixels(replace(photo, box="0.50,0.0,5e-1,1"), tmp_path), wanted)
    assert np.array_equal(cache.pixels(photo, tmp_path), whole)
    assert cache.info(part) == cache.info(photo)


def test_one_decode_is_cached_for_all_that_a_command_wants(tmp_path) -> None:
    Image.new("RGB", (60, 40), (1, 2, 3)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    photo = Photo("a.png", Taxon(), sha256=sha256_bytes(data))
    small, large = Preprocessing(size=16), Preprocessing(size=24)
    cache = PhotoCache(tmp_path / "cache", large, beside=(small, large))
    cache.decode(photo, data)
    (tmp_path / "a.png").unlink()
    for item in (small, large):
        alone = PhotoCache(tmp_path / "cache", item)
        assert np.array_equal(alone.pixels(photo, tmp_path), item.load(data))
        assert alone.info(photo) == cache.info(photo)
    assert len(list(cache.directory.rglob("*.pack"))) == 2


def test_read_photo_refuses_what_is_no_file(tmp_path) -> None:
    with pytest.raises(UnreadablePhotoError, match="does not exist"):
        read_photo(tmp_path / "none.jpg")
    with pytest.raises(UnreadablePhotoError, match="not a regular file"):
        read_photo(tmp_path)


def test_read_photo_has_a_limit(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")
    monkeypatch.setattr(photo_module, "MAX_PHOTO_BYTES", 5)
    assert read_photo(tmp_path / "a.jpg") == b"12345"
    monkeypatch.setattr(photo_module, "MAX_PHOTO_BYTES", 4)
    with pytest.raises(PhotoTooLargeError, match="larger than 4 bytes"):
        read_photo(tmp_path / "a.jpg")


def test_a_copy_with_other_values_is_what_dataclasses_make() -> None:
    photo = Photo("a.jpg", Taxon(species="apis mellifera"), box="0,0,1,1")
    copy = photo.having(group="g", width=3)
    assert copy == replace(photo, group="g", width=3)
    assert (photo.group, photo.width) == (None, 0)
