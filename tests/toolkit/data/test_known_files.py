"""Files that an index knows are not read again, unless anything about them may have changed."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.photos.photo import PhotoInfo, read_photo
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data import index, known_files
from rs_toolkit.data.index import build_index
from rs_toolkit.data.known_files import KnownFile, KnownFiles
from rs_toolkit.data.photos import Dataset, Photo, PhotoCache
from rs_toolkit.data.taxonomy import Taxon

NAMES = ("a.bmp", "b/c.bmp", "d\udcff.bmp")


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    root = tmp_path / "data"
    (root / "b").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(root / name)
    return Dataset(root, tuple(Photo(name, Taxon()) for name in NAMES), "csv")


@pytest.fixture
def cache(tmp_path) -> PhotoCache:
    return PhotoCache(tmp_path / "cache", Preprocessing(size=16))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []

    def read(path: Path) -> bytes:
        names.append(path.name)
        return read_photo(path)

    monkeypatch.setattr(index, "read_photo", read)
    return names


@pytest.fixture
def settled(monkeypatch) -> None:
    """Files that were written just now count as old."""
    monkeypatch.setattr(known_files, "_CLOCK_STEP_NS", -(10**18))


def rewrite(path: Path, data: bytes) -> None:
    """Put other bytes into a file, and its time of modification back."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("settled")
def test_known_files_are_not_read_again(dataset, cache, opened) -> None:
    first = build_index(dataset, cache)
    assert len(opened) == 3
    shown: list[tuple[int, int]] = []
    assert build_index(dataset, cache, lambda *done: shown.append(done)) == first
    assert len(opened) == 3
    assert shown == [(1, 3), (2, 3), (3, 3)]
    # The same folder by another path.
    link = dataset.root.with_name("link")
    link.symlink_to(dataset.root)
    assert build_index(replace(dataset, root=link), cache) == first
    assert len(opened) == 3


@pytest.mark.usefixtures("settled")
def test_a_changed_file_is_read_again(dataset, cache, opened) -> None:
    """Also where size and time of modification are the same."""
    before = build_index(dataset, cache)[0]
    other = (dataset.root / "b/c.bmp").read_bytes()
    assert len(other) == before.bytes
    time.sleep(0.02)  # the clock of a file system may count in hundredths of a second
    rewrite(dataset.root / "a.bmp", other)
    del opened[:]
    after = build_index(dataset, cache)
    assert opened == ["a.bmp"]
    assert after[0].sha256 == after[1].sha256 != before.sha256
    assert build_index(dataset, cache) == after
    (dataset.root / "a.bmp").unlink()
    assert "does not exist" in str(build_index(dataset, cache)[0].error)


def test_a_file_that_changed_just_now_is_read_again(dataset, cache, opened, monkeypatch) -> None:
    """Another change in the same tick of the clock would leave its times as they are."""
    first = build_index(dataset, cache)
    assert build_index(dataset, cache) == first
    assert len(opened) == 6
    later = time.time_ns() + 10**10
    monkeypatch.setattr("rs_toolkit.data.index.time.time_ns", lambda: later)
    for _ in range(2):
        assert build_index(dataset, cache) == first
    assert len(opened) == 9


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("fault", ["a digit", "cut", "empty", "no table"])
def test_a_damaged_list_is_made_again(dataset, cache, opened, fault) -> None:
    first = build_index(dataset, cache)
    (file,) = (cache.directory / "known-files-1").iterdir()
    sound = file.read_bytes()
    place = sound.index(first[0].sha256.encode())
    digit = b"0" if sound[place : place + 1] != b"0" else b"1"
    damaged = {
        "a digit": sound[:place] + digit + sound[place + 1 :],
        "cut": sound[:-30],
        "empty": b"",
        "no table": b"\xff\n[]",
    }
    file.write_bytes(damaged[fault])
    del opened[:]
    assert build_index(dataset, cache) == first
    assert sorted(opened) == sorted(Path(name).name for name in NAMES)
    assert file.read_bytes() == sound


@pytest.mark.usefixtures("settled")
def test_what_an_interrupted_index_has_read_is_known(dataset, cache, opened) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(dataset, cache, interrupt)
    before = opened[:2]
    del opened[:]
    build_index(dataset, cache)
    assert not set(before) & set(opened)


@pytest.mark.usefixtures("settled")
def test_two_processes_keep_what_both_have_read(dataset, cache) -> None:
    both = [KnownFiles(dataset.root, cache.directory) for _ in range(2)]
    for files, name in zip(both, NAMES, strict=False):
        stamp = files.stamp(name)
        assert stamp is not None
        learned = KnownFile("0" * 64, stamp.size, PhotoInfo(8, 6, "RGB"))
        files.learn(name, stamp, time.time_ns(), learned)
        files.save()
    found = KnownFiles(dataset.root, cache.directory)
    assert [found.find(name) is None for name in NAMES] == [False, False, True]
    assert found.find(NAMES[1]) == learned


@pytest.mark.usefixtures("settled")
def test_deleted_files_are_forgotten_and_files_of_another_list_are_not(dataset, cache) -> None:
    build_index(dataset, cache)
    (dataset.root / NAMES[0]).unlink()
    Image.new("RGB", (8, 6), (0, 9, 0)).save(dataset.root / "new.bmp")
    build_index(replace(dataset, photos=(Photo("new.bmp", Taxon()),)), cache)
    (file,) = (cache.directory / "known-files-1").iterdir()
    assert {*json.loads(file.read_bytes().split(b"\n", 1)[1])} == {*NAMES[1:], "new.bmp"}


@pytest.mark.usefixtures("settled")
def test_a_known_file_is_read_where_its_pixels_are_wanted_or_doubtful(
    dataset, cache, opened, tmp_path
) -> None:
    first = build_index(dataset, cache)
    # At another size, inside a box, and with its pixels gone.
    for other in (
        (dataset, PhotoCache(cache.directory, Preprocessing(size=8))),
        (replace(dataset, photos=(replace(dataset.photos[0], box="0,0,0.01,1"),)), cache),
    ):
        del opened[:]
        found = build_index(*other)
        assert len(opened) == len(found)
    assert "less than one pixel" in str(found[0].error)
    (file,) = (cache.directory / cache.preprocessing.fingerprint()).glob("*.index")
    file.write_bytes(file.read_bytes()[32:])
    del opened[:]
    assert build_index(dataset, replace(cache)) == first
    assert len(opened) == 1


@pytest.mark.usefixtures("settled")
def test_strict_refuses_a_known_photo_that_lacks_its_end(tmp_path, cache) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((800, 600)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-2])
    dataset = Dataset(tmp_path, (Photo("cut.jpg", Taxon()),), "csv")
    for _ in range(2):
        notes: list[str] = []
        (used,) = build_index(dataset, cache, note=notes.append)
        assert used.error is None and "cut.jpg" in notes[0]
    (refused,) = build_index(dataset, replace(cache, strict=True))
    assert "lacks its last bytes" in str(refused.error)


@pytest.mark.usefixtures("settled")
def test_a_list_that_cannot_be_written_stops_nothing(dataset, cache) -> None:
    cache.directory.mkdir()
    (cache.directory / "known-files-1").write_text("in the way")
    assert all(photo.error is None for photo in build_index(dataset, cache))
