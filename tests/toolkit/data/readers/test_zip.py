"""Archives are unpacked once, whole, and never outside the cache."""

from __future__ import annotations

import os
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import read_dataset, unpack
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.files import MARK, sha256_file

PACKAGE = {
    "datapackage.json": "{}",
    "deployments.csv": "deploymentID\nd1\n",
    "media.csv": "mediaID,deploymentID,filePath\nm1,d1,media/a.jpg\n",
    "observations.csv": "mediaID,deploymentID,observationType,scientificName\n"
    "m1,d1,animal,Panthera leo\n",
    "media/a.jpg": "bytes of a photo",
}


@pytest.fixture(autouse=True)
def unpacked(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unpacked"


def pack(path: Path, members: dict[str, str] | list[zipfile.ZipInfo], **options: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name in members:
            archive.writestr(name, members[name] if isinstance(members, dict) else "x")
    return path


def test_round_trip_of_a_camera_trap_package(tmp_path, unpacked) -> None:
    path = pack(tmp_path / "a.zip", PACKAGE)
    dataset = read_dataset(path)
    lion = Taxon(genus="panthera", species="panthera leo")
    assert dataset.photos == (Photo("media/a.jpg", lion, site="d1"),)
    assert dataset.source == "camtrap"
    assert dataset.root == unpacked / sha256_file(path)
    assert (dataset.root / "media" / "a.jpg").read_text() == "bytes of a photo"
    assert set(os.listdir(unpacked)) == {dataset.root.name, MARK}


def test_a_second_reading_unpacks_nothing(tmp_path, monkeypatch) -> None:
    path = pack(tmp_path / "a.zip", PACKAGE)
    first = read_dataset(path)
    monkeypatch.setattr(unpack, "_unpack", None)
    assert read_dataset(path) == first


def test_one_folder_around_all_and_other_layouts(tmp_path) -> None:
    wrapped = {f"my package/{name}": text for name, text in PACKAGE.items()}
    dataset = read_dataset(pack(tmp_path / "a.ZIP", {**wrapped, "__MACOSX/._a.jpg": ""}))
    assert (dataset.root.name, dataset.photos[0].path) == ("my package", "media/a.jpg")
    tree = {
        "./": "",
        "lion/a.jpg": "",
        "zebra/b.jpg": "",
        "zebra/.hidden.jpg": "",
        "zebra/run.exe": "",
    }
    dataset = read_dataset(pack(tmp_path / "b.zip", tree))
    assert [photo.path for photo in dataset.photos] == ["lion/a.jpg", "zebra/b.jpg"]
    assert sorted(os.listdir(dataset.root / "zebra")) == ["b.jpg"]


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../evil.jpg": ""}, "leads out of the folder"),
        ({"a/../../evil.jpg": ""}, "leads out of the folder"),
        ({"..\\evil.jpg": ""}, "leads out of the folder"),
        ({"/tmp/evil.jpg": ""}, "absolute path"),
        ({"C:\\evil.jpg": ""}, "absolute path"),
        ({"../evil.txt": ""}, "leads out of the folder"),
        ([link("evil.jpg")], "is a link"),
        ({"a.jpg": "", "A.JPG": ""}, "is in it twice"),
        ({"a.jpg": "", "x/../a.jpg": ""}, "is in it twice"),
        ({"a.jpg": "", "a.jpg/b.jpg": ""}, "is a file and a folder"),
    ],
)
def test_hostile_members_are_refused_and_leave_nothing(
    tmp_path, unpacked, one_line, members, said
) -> None:
    path = pack(tmp_path / "a.zip", members)
    before = {file for file in tmp_path.rglob("*") if unpacked not in file.parents}
    with pytest.raises(DataError) as caught:
        read_dataset(path)
    assert one_line(str(caught.value)).startswith(f"{path}: member ")
    assert said in str(caught.value)
    assert not list(unpacked.iterdir())
    assert set(tmp_path.rglob("*")) <= before | {unpacked, unpacked.parent}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_and_encryption_are_refused(tmp_path, method) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.jpg", "x")
    with pytest.raises(DataError, match="not compressed by deflate"):
        read_dataset(tmp_path / "a.zip")
    data = bytearray(pack(tmp_path / "b.zip", {"a.jpg": ""}).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        read_dataset(tmp_path / "b.zip")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MAX_PHOTO_BYTES", 10, "'media/a.jpg' has 16 bytes, more than 10"),
        ("MAX_UNPACKED_BYTES", 100, "wanted at most"),
        ("MAX_UNPACKED_FILES", 4, "has 5 files"),
        ("_MAX_DIRECTORY_BYTES", 200, "directory is too large"),
    ],
)
def test_limits(tmp_path, monkeypatch, unpacked, name, value, said) -> None:
    path = pack(tmp_path / "a.zip", PACKAGE)
    monkeypatch.setattr(unpack, name, value)
    with pytest.raises(DataError, match=said):
        read_dataset(path)
    assert not list(unpacked.iterdir())


def test_metadata_have_their_own_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("rs_toolkit.data.readers.unpack.MAX_METADATA_BYTES", 20)
    with pytest.raises(DataError, match=r"'media\.csv' has \d+ bytes, more than 20"):
        read_dataset(pack(tmp_path / "a.zip", PACKAGE))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, unpacked) -> None:
    path = pack(tmp_path / "a.zip", PACKAGE)
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(OSError):
        read_dataset(path)
    assert not list(unpacked.iterdir())


def damaged(path: Path, name: str) -> Path:
    """Damage the end of a member's data, of which the beginning is then unpacked."""
    noise = np.random.default_rng(0).bytes(1_000_000).hex()
    pack(path, {**PACKAGE, name: PACKAGE[name] + noise})
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo(name)
    end = member.header_offset + 30 + len(name) + member.compress_size
    data = bytearray(path.read_bytes())
    data[end - 100 : end - 80] = bytes(20)
    path.write_bytes(data)
    return path


def test_a_damaged_photo_is_reported_and_spoils_no_other(tmp_path) -> None:
    dataset = read_dataset(damaged(tmp_path / "a.zip", "media/a.jpg"))
    (photo,) = build_index(dataset, PhotoCache(tmp_path / "pixels", Preprocessing(size=8)))
    assert "is empty" in str(photo.error)
    assert photo.label("genus") == "panthera"


def test_damaged_metadata_and_damaged_archives_are_refused(tmp_path, one_line) -> None:
    with pytest.raises(DataError, match=r"'media\.csv' is damaged"):
        read_dataset(damaged(tmp_path / "a.zip", "media.csv"))
    (tmp_path / "b.zip").write_bytes(b"no zip")
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path / "b.zip")
    assert "cannot be read as a zip" in one_line(str(caught.value))


def test_a_member_without_a_name_is_refused(tmp_path, one_line) -> None:
    data = pack(tmp_path / "a.zip", PACKAGE).read_bytes()
    start = data.rindex(b"media.csv")
    (tmp_path / "a.zip").write_bytes(data[:start] + b"\0" + data[start + 1 :])
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path / "a.zip")
    assert "member ''" in one_line(str(caught.value))


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_any_damage_is_read_or_refused_in_one_line(tmp_path_factory, changes) -> None:
    root = tmp_path_factory.mktemp("any")
    data = bytearray(pack(root / "a.zip", PACKAGE).read_bytes())
    for place, value in changes:
        # From the end, where the directory is.
        data[-1 - place % len(data)] = value
    (root / "a.zip").write_bytes(data)
    try:
        read_dataset(root / "a.zip")
    except DataError as error:
        assert "\n" not in str(error)
