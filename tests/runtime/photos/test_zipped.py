"""Photos in zip archives: what is read, and what is refused, each for itself."""

from __future__ import annotations

import copy
import io
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from rs_runtime.errors import PhotoError, PhotoTooLargeError, UnreadablePhotoError
from rs_runtime.photos import zipped
from rs_runtime.photos.zipped import zip_photos


def jpeg(colour: str = "red") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, "JPEG")
    return stream.getvalue()


def packed(place: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(place, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return place


def outcomes(archive: Path) -> dict[str, str]:
    """What each photo ends as: its problem, or an empty text if its bytes are read."""
    ends = {}
    for photo, problem in zip_photos(archive):
        try:
            ends[photo.name] = problem or ("" if photo.read() else "empty")
        except PhotoError as error:
            ends[photo.name] = str(error)
            assert str(archive / photo.name) in ends[photo.name]
    return ends


def test_photos_are_found_as_in_a_folder(tmp_path) -> None:
    members = {
        "b/x.jpg": jpeg(),
        "a.JPG": jpeg(),
        "notes.txt": b"no photo",
        "b/._x.jpg": b"a Mac was here",
        "__MACOSX/x.jpg": b"too",
        "raw.cr3": b"x",
        "inner.zip": packed(tmp_path / "inner.zip", {"y.jpg": jpeg()}).read_bytes(),
        "empty/": b"",
        "a clip": b"\0\0\0\x18ftypmp42\0\0\0\0",
    }
    ends = outcomes(packed(tmp_path / "card.zip", members))
    assert list(ends) == ["a clip", "a.JPG", "b/x.jpg", "raw.cr3"]
    assert ends["a.JPG"] == ends["b/x.jpg"] == ""
    assert "is a video" in ends["a clip"] and ".cr3 is not supported" in ends["raw.cr3"]


def test_nothing_is_written_and_bytes_are_those_that_were_packed(tmp_path) -> None:
    archive = packed(tmp_path / "card.zip", {"a.jpg": jpeg(), "b.jpg": jpeg("blue")})
    before = sorted(tmp_path.rglob("*"))
    photos = [photo for photo, _ in zip_photos(archive)]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda photo: photo.read(), photos * 20))
    assert read == [jpeg(), jpeg("blue")] * 20
    assert read[0].path == f"{archive}/a.jpg"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, "leads out") for name in ("../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "C:/x.jpg")),
        *((name, "") for name in ("./x.jpg", "a\nb.jpg", "esc\x1b[2J.jpg", "ä.jpg", "a b.jpg")),
    ],
)
def test_names_are_labels(tmp_path, name, words) -> None:
    ends = outcomes(packed(tmp_path / "card.zip", {name: jpeg(), "good.jpg": jpeg()}))
    assert ends.pop("good.jpg") == ""
    [end] = ends.values()
    assert words in end if words else end == ""


def test_names_that_are_not_utf_8(tmp_path) -> None:
    archive = packed(tmp_path / "card.zip", {"aXb.jpg": jpeg()})
    archive.write_bytes(archive.read_bytes().replace(b"aXb.jpg", b"a\xffb.jpg"))
    assert list(outcomes(archive).values()) == [""]


def patched(archive: Path, name: bytes, offset: int, data: bytes) -> None:
    """Overwrite bytes of an entry of the directory (APPNOTE 4.3.12), which ends the archive."""
    whole = archive.read_bytes()
    at = whole.rindex(b"PK\1\2", 0, whole.rindex(name)) + offset
    archive.write_bytes(whole[:at] + data + whole[at + len(data) :])


FLAGS, METHOD, CRC, PACKED_SIZE, SIZE = 8, 10, 16, 20, 24


@pytest.mark.parametrize(
    ("offset", "data", "words"),
    [
        (FLAGS, b"\1\0", "is encrypted"),
        (METHOD, struct.pack("<H", 12), "another method"),
        (METHOD, struct.pack("<H", 9), "another method"),
        (CRC, b"1234", "CRC"),
        (SIZE, struct.pack("<I", 200_000_001), "larger than 200000000 bytes"),
        (SIZE, struct.pack("<I", 190_000_000), "compressed to less than 1/200"),
        (PACKED_SIZE, struct.pack("<I", 9), "damaged"),
    ],
)
def test_a_bad_entry_costs_itself(tmp_path, offset, data, words) -> None:
    archive = packed(tmp_path / "card.zip", {"bad.jpg": jpeg(), "good.jpg": jpeg()})
    patched(archive, b"bad.jpg", offset, data)
    ends = outcomes(archive)
    assert words in ends["bad.jpg"] and "\n" not in ends["bad.jpg"]
    assert ends["good.jpg"] == ""


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch) -> None:
    archive = packed(tmp_path / "card.zip", {"bomb.bmp": bytes(50_000_000)})
    assert archive.stat().st_size < 100_000
    monkeypatch.setattr(zipped, "_read", None)
    [(photo, _)] = zip_photos(archive)
    with pytest.raises(PhotoTooLargeError, match="1/200"):
        photo.read()


def test_a_photo_without_memory_to_read_it(tmp_path, monkeypatch) -> None:
    [(photo, _)] = zip_photos(packed(tmp_path / "card.zip", {"a.jpg": jpeg()}))

    def read(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(zipped, "_read", read)
    with pytest.raises(PhotoTooLargeError, match=r"a\.jpg' needs more memory"):
        photo.read()


def test_entries_of_one_name(tmp_path) -> None:
    archive = tmp_path / "card.zip"
    with zipfile.ZipFile(archive, "w") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("a.jpg", jpeg("red"))
        opened.writestr("a.jpg", jpeg("blue"))
    (first, _), (second, problem) = zip_photos(archive)
    assert first.read() == jpeg("red") and second.path == first.path
    assert "twice" in str(problem)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "absent", "many", "long"])
def test_archives_that_cannot_be_read(tmp_path, damage, monkeypatch) -> None:
    archive = packed(tmp_path / "card.zip", {"a.jpg": jpeg(), "b.jpg": jpeg()})
    data = archive.read_bytes()
    if damage == "many":
        monkeypatch.setattr(zipped, "_MAX_ENTRIES", 1)
        # Not even an object of each is made.
        monkeypatch.setattr(zipfile, "ZipInfo", None)
    elif damage == "long":
        monkeypatch.setattr(zipped._Bounded, "limit", 50)
    elif damage == "absent":
        archive.unlink()
    else:
        archive.write_bytes(
            {"cut": data[:-30], "empty": b"PK\3\4", "garbage": b"PK\3\4" * 99}[damage]
        )
    with pytest.raises(UnreadablePhotoError, match=r"card\.zip") as caught:
        list(zip_photos(archive))
    assert "\n" not in str(caught.value)


def test_an_archive_with_any_byte_changed_raises_nothing_else(tmp_path) -> None:
    """Every byte of a small archive is changed once: each photo is read or has a reason."""
    archive = packed(
        tmp_path / "card.zip", {"a.jpg": b"\xff\xd8\xff" + bytes(9)}, zipfile.ZIP_STORED
    )
    data = archive.read_bytes()
    for place in range(len(data)):
        archive.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            outcomes(archive)
        except UnreadablePhotoError as error:
            assert "cannot be read as a zip" in str(error)


def test_another_process_opens_the_archive_itself(tmp_path) -> None:
    archive = packed(tmp_path / "a.zip", {"x.jpg": jpeg()})
    ((photo, _),) = zip_photos(archive)
    # What is copied is what pickle would send.
    again = copy.copy(photo)
    assert again._opened is not photo._opened
    assert again == photo and again.read() == jpeg()
    packed(archive, {"x.jpg": jpeg("blue")})
    zipped._kept_open.cache_clear()
    with pytest.raises(UnreadablePhotoError, match="has changed"):
        copy.copy(photo)
