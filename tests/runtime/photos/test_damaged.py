"""Photos with small faults are used; of others, the message says what can be done."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

import rs_runtime.photos.photo
from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError
from rs_runtime.photos.preprocess import Preprocessing

SMALL = Preprocessing(size=32)
KINDS = ({}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1})


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((800, 600))


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("tail", [b"", b"\0" * 5000, b"\xff" * 5000])
@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_jpeg_that_lacks_a_few_bytes_is_used_with_a_note(scene, options, tail, cut) -> None:
    data = encode(scene, "JPEG", quality=90, **options)
    pixels, info = SMALL.load_with_info(data[:-cut] + tail)
    # With a blank tail, libjpeg misses nothing if only the end marker is gone.
    assert (info.note is None and tail and cut < 3) or "lacks its last bytes" in str(info.note)
    assert np.abs(pixels[:29].astype(int) - SMALL.load(data)[:29]).max() <= 2


@pytest.mark.parametrize("tail", [b"", b"\0" * 5000, b"\xff" * 5000, b"trailer" + b"\0" * 5000])
def test_a_whole_jpeg_has_no_note(scene, tail) -> None:
    data = encode(scene, "JPEG", quality=90)
    pixels, info = SMALL.load_with_info(data + tail)
    assert info.note is None and np.array_equal(pixels, SMALL.load(data))


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("size", [32, 500])
@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9])
def test_a_jpeg_that_lacks_many_rows_is_refused_at_every_size(scene, options, size, keep) -> None:
    data = encode(scene, "JPEG", quality=90, **options)
    for tail in (b"", b"\0" * len(data)):
        with pytest.raises(UnreadablePhotoError, match="copy it again from the camera"):
            Preprocessing(size).load(data[: int(keep * len(data))] + tail)


def test_a_scan_with_too_many_components_is_refused_in_the_words_of_its_decoder(scene) -> None:
    data = bytearray(encode(scene, "JPEG")[:-20])
    data[data.index(b"\xff\xda") + 4] = 200
    with pytest.raises(UnreadablePhotoError, match="broken data stream"):
        SMALL.load(bytes(data))


def test_the_share_of_rows_decides(scene) -> None:
    data = encode(scene, "JPEG", quality=90, subsampling=0)
    used = []
    for share in np.arange(0.90, 1.0, 0.005):
        try:
            info = SMALL.load_with_info(data[: int(share * len(data))])[1]
            used.append(int(str(info.note).split("; ")[1].split("%")[0]))
        except UnreadablePhotoError:
            used.append(0)
    assert used == sorted(used) and used[0] == 0 and min(filter(None, used)) >= 95
    assert sum(map(bool, used)) >= 5


def test_orientation_and_size_of_a_jpeg_without_its_end(scene) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(scene, "JPEG", quality=90, exif=exif)
    pixels, info = SMALL.load_with_info(data[:-2])
    assert (info.width, info.height) == (600, 800)
    assert np.array_equal(pixels, SMALL.load(data))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


LONG = zlib.compress(b"A" * (3 << 20))


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"zTXt", b"Comment\0\0" + LONG),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + LONG),
        chunk(b"iCCP", b"profile\0\0" + LONG),
        chunk(b"zTXt", b"Comment\0\x78" + LONG),
        b"".join(chunk(b"tEXt", b"k%d\0" % i + b"A" * (1 << 20)) for i in range(66)),
    ],
    ids=["text", "xmp", "profile", "unknown compression", "many"],
)
def test_a_large_text_or_profile_does_not_refuse_a_png(scene, extra) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(scene, "PNG", exif=exif)
    pixels, info = SMALL.load_with_info(data[:33] + extra + data[33:])
    assert np.array_equal(pixels, SMALL.load(data)) and info.note is None
    assert (info.width, info.height) == (600, 800)


def test_a_damaged_png_is_refused_as_ever(scene) -> None:
    data = bytearray(encode(scene, "PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnreadablePhotoError, match="copy it again from the camera"):
        SMALL.load(bytes(data))


def float_rgb_tiff() -> bytes:
    values = np.zeros((4, 4, 3), "<f4").tobytes()
    tags = (
        *((256, 3, 1, 4), (257, 3, 1, 4), (258, 3, 1, 32), (259, 3, 1, 1), (262, 3, 1, 2)),
        *((273, 4, 1, 134), (277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 1, len(values))),
        (339, 3, 1, 3),
    )
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    return head + values


def test_an_unsupported_tiff_is_to_be_converted_not_copied(one_line) -> None:
    with pytest.raises(UnreadablePhotoError) as caught:
        SMALL.load(float_rgb_tiff())
    message = one_line(str(caught.value))
    assert "not supported" in message and "convert it" in message
    assert "camera" not in message and "BytesIO" not in message


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory when reading image file")])
def test_too_little_memory_for_a_photo_is_no_damage(scene, monkeypatch, one_line, error) -> None:
    def exhausted(*_: object) -> None:
        raise error

    monkeypatch.setattr(rs_runtime.photos.photo, "to_rgb", exhausted)
    with pytest.raises(PhotoTooLargeError) as caught:
        SMALL.load(encode(scene, "PNG"))
    message = one_line(str(caught.value))
    assert "memory" in message and "camera" not in message


STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"GIF89a")


@pytest.mark.parametrize("start", STARTS)
def test_messages_do_not_name_objects_in_memory(start, one_line) -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        # Random bytes may also claim a size that is refused before anything is read.
        with pytest.raises((UnreadablePhotoError, PhotoTooLargeError)) as caught:
            SMALL.load(start + random.bytes(40))
        assert " at 0x" not in one_line(str(caught.value))
