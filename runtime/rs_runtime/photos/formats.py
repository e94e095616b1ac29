"""What a file is, by its first bytes and its suffix: a photo that is read, or one that is not."""

from __future__ import annotations

from functools import cache

__all__ = [
    "HEAD_BYTES",
    "PHOTO_SUFFIXES",
    "UNSUPPORTED_SUFFIXES",
    "can_read",
    "is_video",
    "is_zip",
    "photo_kind",
    "photo_suffix",
    "unsupported_kind",
    "unsupported_suffix",
]

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".webp", ".gif"}
)

_VIDEO_SUFFIXES = frozenset(
    {
        *(".3gp", ".asf", ".avi", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"),
        *(".mts", ".webm", ".wmv"),
    }
)
# Pillow cannot decode them, or decodes only the thumbnail.
_OTHER_SUFFIXES = frozenset(
    {
        *(".3fr", ".arw", ".avif", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff"),
        *(".heic", ".heif", ".hif", ".iiq", ".j2k", ".jp2", ".jxl", ".kdc", ".mef", ".mos"),
        *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".psd", ".raf", ".raw", ".rw2", ".rwl"),
        *(".sr2", ".srf", ".srw", ".x3f"),
    }
)
UNSUPPORTED_SUFFIXES = _VIDEO_SUFFIXES | _OTHER_SUFFIXES
"""Suffixes of photos and videos, in lower case, that are not read, or only with an extra."""

# What reads each format that not every installation reads.
_READERS = {"HEIF": "pillow_heif", "AVIF": "PIL._avif", "video": "av"}
_EXTRAS = {"HEIF": "heic", "AVIF": "heic", "video": "video"}
_EXTRA_SUFFIXES = {".avif": "AVIF", **dict.fromkeys((".heic", ".heif", ".hif"), "HEIF")}

HEAD_BYTES = 32
"""How many of a file's first bytes show its kind."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)
_UNSUPPORTED = (
    *((start, "raw image") for start in (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR")),
    *((start, "raw image") for start in (b"II\x1a\0\0\0HEAPCCDR", b"FOVb")),
    *((start, "JPEG 2000 image") for start in (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    *((start, "JPEG XL image") for start in (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
    (b"8BPS", "Photoshop image"),
    *((start, "video") for start in (b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"0&\xb2u\x8ef\xcf\x11")),
)
# Major brands of ISO base media files (ISO/IEC 14496-12); all brands but these are of videos.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIF"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
    b"crx ": "raw image",
    b"M4A ": None,
}
_TITLES = {"AVIF": "AVIF image", "HEIF": "HEIC image"}


@cache
def can_read(kind: str) -> bool:
    """Return whether files of a kind, ``HEIF``, ``AVIF`` or ``video``, can be read here."""
    # Most photos need none of these, and so not this module either.
    from importlib.util import find_spec

    return find_spec(_READERS[kind]) is not None


def photo_kind(data: bytes) -> str | None:
    """Return Pillow's name of a file's format by its first bytes; None if it is not read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    kind = next((kind for start, kind in _SIGNATURES if data.startswith(start)), None)
    if kind is None and (media := _media_kind(data)) in _TITLES and can_read(media):
        return media
    return kind


def is_video(data: bytes) -> bool:
    """Return whether a file is a video, by its first bytes."""
    return _other_kind(data) == "video"


def is_zip(data: bytes) -> bool:
    """Return whether a file is a zip archive, by its first bytes (PKWARE's APPNOTE, 4.3)."""
    return data.startswith((b"PK\3\4", b"PK\5\6"))


def photo_suffix(data: bytes) -> str | None:
    """Return the suffix of the format that a file's first bytes show; None if it is unknown."""
    kind = photo_kind(data)
    short = {"JPEG": "jpg", "TIFF": "tif", "HEIF": "heic"}
    return None if kind is None else f".{short.get(kind, kind.lower())}"


def unsupported_kind(data: bytes) -> str | None:
    """Return why a photo or video cannot be read, by its first bytes; None for other files."""
    kind = _other_kind(data)
    if kind is None or photo_kind(data):
        return None
    title = _TITLES.get(kind, kind)
    article = "an" if title[0] == "A" else "a"
    return f"is {article} {title}, which is not supported; {_advice(kind)}"


def unsupported_suffix(suffix: str) -> str | None:
    """Return why files of a suffix are not read; None unless it is of a photo or video."""
    suffix = suffix.lower()
    kind = _EXTRA_SUFFIXES.get(suffix, "video" if suffix in _VIDEO_SUFFIXES else "")
    if suffix not in UNSUPPORTED_SUFFIXES or (kind in _TITLES and can_read(kind)):
        return None
    return f"{suffix} is not supported; {_advice(kind)}"


def _other_kind(data: bytes) -> str | None:
    """Return what a file is that is no photo which every installation reads."""
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "video"
    return _media_kind(data) or next(
        (kind for start, kind in _UNSUPPORTED if data.startswith(start)), None
    )


def _media_kind(data: bytes) -> str | None:
    if data[4:8] in (b"moov", b"wide", b"mdat"):
        return "video"
    if data[4:8] != b"ftyp":
        return None
    kind = _BRANDS.get(data[8:12], "video")
    # A general brand is made precise by those that follow.
    return "AVIF" if kind == "HEIF" and b"avif" in data[16:HEAD_BYTES] else kind


def _advice(kind: str) -> str:
    convert = "save its frames as JPEG" if kind == "video" else "convert it to JPEG"
    if kind not in _EXTRAS or can_read(kind):
        return convert
    reads = "rs-classify reads it" if kind == "video" else "it is read"
    return f'{convert}; {reads} after: pip install "rs-toolkit[{_EXTRAS[kind]}]"'
