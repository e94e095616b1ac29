"""Photos in an object store; a folder stands in for the store, and a local server for S3."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.fs
import pytest
from PIL import Image

from rs_runtime.errors import PhotoTooLargeError, RuntimeKitError, UnreadablePhotoError
from rs_runtime.journal import photo_key
from rs_toolkit.evaluation import remote
from rs_toolkit.evaluation.remote import RemotePhoto, with_remote

NAMES = ("card/a b.png", "card/sub/ü.png", "card/.hidden/c.png", "card/notes.txt", "other/d.png")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch) -> Path:
    """A bucket's folder: four photos, of which one is hidden, and another file."""
    monkeypatch.setattr(remote, "_PAUSE_S", 0)
    for number, name in enumerate(NAMES):
        file = tmp_path / "store" / "bucket" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (60 * number, 90, 200)).save(file, "PNG")
    local = pyarrow.fs.SubTreeFileSystem(str(tmp_path / "store"), pyarrow.fs.LocalFileSystem())
    monkeypatch.setattr(remote, "_store", lambda scheme, bucket: local)
    return tmp_path / "store" / "bucket"


def test_an_address_stands_for_the_photos_below_it(bucket) -> None:
    card = ["s3://bucket/card/a b.png", "s3://bucket/card/sub/ü.png"]
    # pathlib takes one slash away.
    here = Path("photos")
    given = with_remote([Path("s3://bucket/card"), here, Path("gs://bucket/other/d.png")])
    assert [os.fspath(photo) for photo in given] == [*card, "photos", "gs://bucket/other/d.png"]
    assert given[1].read() == (bucket / "card/sub/ü.png").read_bytes()
    assert [str(photo) for photo in with_remote([Path("s3://bucket/")])][:2] == card
    first, again = (photo_key(with_remote([Path("s3://bucket/card")])[0], 8) for _ in range(2))
    assert first == again and first.path == card[0] and first.mtime_ns > 0
    (bucket / "card/a b.png").write_bytes(b"other")
    assert photo_key(with_remote([Path("s3://bucket/card")])[0], 8) != first


@pytest.mark.parametrize("address", ["s3://bucket/absent", "s3://bucket/card/notes.txt"])
def test_an_address_without_photos_is_one_that_is_not_read(bucket, address) -> None:
    (photo,) = with_remote([Path(address)])
    with pytest.raises(UnreadablePhotoError, match=f"'{address}': there is no photo at this"):
        photo.read()


def test_what_cannot_be_read_says_why(bucket, monkeypatch, one_line) -> None:
    photos = with_remote([Path("s3://bucket/card")])
    (bucket / "card/a b.png").unlink()
    with (bucket / "card/sub/ü.png").open("ab") as file:
        file.write(b"more")
    for photo, said in zip(photos, ("does not exist", "has changed since"), strict=True):
        with pytest.raises(UnreadablePhotoError, match=said) as caught:
            photo.read()
        one_line(str(caught.value))
    # Nothing is fetched of one that is too large.
    monkeypatch.setattr(remote, "_store", None)
    with pytest.raises(PhotoTooLargeError, match="is larger than 200000000 bytes"):
        RemotePhoto("s3", "bucket/x.jpg", 200_000_001).read()


def test_a_lost_connection_is_tried_again(bucket, monkeypatch) -> None:
    store, lost = remote._store("s3", "bucket"), []

    def fails(times: int) -> None:
        def losing(scheme: str, name: str) -> object:
            lost.append(name)
            if len(lost) <= times:
                raise OSError("curl:\nno route")
            return store

        lost.clear()
        monkeypatch.setattr(remote, "_store", losing)

    fails(2)
    (photo,) = with_remote([Path("s3://bucket/other")])
    fails(2)
    assert photo.read() and len(lost) == 3
    fails(3)
    with pytest.raises(UnreadablePhotoError, match=r"cannot be read: curl: no route; check"):
        photo.read()
    fails(3)
    with pytest.raises(RuntimeKitError, match=r"s3://bucket/other: cannot be listed \(curl: no ro"):
        with_remote([Path("s3://bucket/other")])


@pytest.fixture
def s3(monkeypatch) -> Iterator[pyarrow.fs.S3FileSystem]:
    """A server of S3 on this machine, with a bucket."""
    pytest.importorskip("moto.server", reason="needs moto[server], to stand for S3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        try:
            for _ in range(200):
                with socket.socket() as asked:
                    if asked.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            address = "s3://bucket?allow_bucket_creation=true"
            store = pyarrow.fs.FileSystem.from_uri(address)[0]
            store.create_dir("bucket")
            yield store
        finally:
            process.terminate()


def test_photos_in_s3_are_classified_on_ray(s3, trained, tmp_path, run) -> None:
    """Rows are those of the same photos in a folder, under their addresses."""
    pytest.importorskip("ray", reason="needs the [ray] extra")
    generator = np.random.default_rng(1)
    for number in range(12):
        photo = tmp_path / "bucket" / "card" / f"{number:02} x.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        colour = tuple(generator.integers(0, 256, 3).tolist())
        Image.new("RGB", (40, 40), colour).save(photo)
    photo.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for file in (tmp_path / "bucket" / "card").iterdir():
        with s3.open_output_stream(f"bucket/card/{file.name}") as stream:
            stream.write(file.read_bytes())
    code, wanted, said = run("predict", trained, tmp_path / "bucket", "--json")
    assert code == 1 and "11 x.png" in said
    journal = tmp_path / "a.journal"
    options = ("--json", "--journal", journal, "--address", "local")
    found = run("predict", trained, "s3://bucket/card", "s3://bucket/card/no.png", *options)
    assert found[0] == 1 and "photo 's3://bucket/card/11 x.png' cannot be decoded" in found[2]
    assert "photo 's3://bucket/card/no.png': there is no photo at this address" in found[2]
    lines = found[1].splitlines()
    here = wanted.replace(f"{tmp_path}/bucket", "s3://bucket").splitlines()
    assert [line for line in lines if "no.png" not in line] == here
    assert journal.read_bytes().count(b'"crc32"') == 11
    told = run("predict", trained, "s3://bucket/card", *options, "--csv", tmp_path / "a.csv")
    assert told[1].splitlines() == here
