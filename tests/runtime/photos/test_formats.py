"""What is a photo by its content or its name, and what is said about photos that are not read."""

from __future__ import annotations

import pytest

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.photos.formats import photo_kind, unsupported_kind, unsupported_suffix
from rs_runtime.photos.preprocess import Preprocessing


def media(brand: bytes) -> bytes:
    """The start of an ISO base media file."""
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + b"\0" * 500


@pytest.mark.parametrize(
    ("data", "words"),
    [
        *((media(brand), "HEIC") for brand in (b"heic", b"mif1", b"hevx")),
        *((media(brand), "AVIF") for brand in (b"avif", b"avis")),
        *((media(brand), "video") for brand in (b"isom", b"mp42", b"qt  ", b"3gp4")),
        (media(b"crx "), "raw"),
        (b"\0\0\0\x08wide" + b"\0" * 99, "video"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        *((b"FUJIFILMCCD-RAW 0201", "raw"), (b"IIU\0\x08\0", "raw"), (b"8BPS\0\1", "Photoshop")),
    ],
)
def test_photos_of_other_formats_are_named_by_their_content(
    data, words, one_line, without_extras
) -> None:
    text = unsupported_kind(data)
    assert text is not None and words in text and photo_kind(data) is None
    with pytest.raises(UnreadablePhotoError) as caught:
        Preprocessing(32).load(data)
    message = one_line(str(caught.value))
    assert text in message and "not supported" in message and "camera" not in message


@pytest.mark.parametrize("data", [b"", b"hello", media(b"M4A "), b"RIFF\0\0\0\0WAVE", b"PK\3\4"])
def test_files_that_are_no_photos_are_not_taken_for_any(data) -> None:
    assert (unsupported_kind(data), photo_kind(data)) == (None, None)


def test_suffixes_of_photos_that_are_not_read() -> None:
    assert unsupported_suffix(".CR2") == ".cr2 is not supported; convert it to JPEG"
    assert "frames" in (unsupported_suffix(".Mp4") or "")
    assert all(unsupported_suffix(suffix) is None for suffix in ("", ".jpg", ".txt", ".xmp"))
