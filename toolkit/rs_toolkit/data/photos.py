"""Photos, data sets, and the cache of decoded pixels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.installed import cache_folder
from rs_runtime.photos.boxes import box_text, fitted_box
from rs_runtime.photos.photo import PhotoInfo, read_photo
from rs_runtime.photos.preprocess import Box, Preprocessing, load_together
from rs_toolkit.data.packs import KEY_BYTES, Packs, packs_in
from rs_toolkit.data.taxonomy import LABELS, Taxon, normalize_name
from rs_toolkit.errors import ConfigError, DataError
from rs_toolkit.files import sha256_bytes

__all__ = [
    "FIXED_PIXELS",
    "SIDES",
    "SIDE_NAMES",
    "Dataset",
    "Photo",
    "PhotoCache",
    "default_cache_dir",
    "parse_box",
    "tidy_box",
    "unlabelled",
]

SIDES = ("train", "val", "test")
"""The sides of a split: what :attr:`Photo.split` may be."""

SIDE_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What data sets call the sides, in lower case."""

FIXED_PIXELS = Preprocessing(size=224, resize="squash")
"""The pixels on which photos are checked and compared, whatever a model's input size is."""

# Detectors, and the rounding of pixels, put edges of boxes a little outside the photo.
_OVERSHOOT = 0.01


@dataclass(frozen=True, slots=True)
class Photo:
    """One row of a data set: a file, its label, and what indexing found out about it.

    Attributes
    ----------
    path
        POSIX path relative to the data set's root; in a row with an error, the text as given.
    group
        Photos of one group (a burst, exact duplicates) must not be separated by a split.
    site, observation
        Where the photo was taken, and the encounter that it belongs to (a sequence, an event).
    box
        The part of the upright photo to use, as :func:`tidy_box` writes it; None: all of it.
    sha256
        Hash of the file's content, 64 hexadecimal digits; empty before the photo is indexed.
    bytes, width, height, mode
        File size, size of the upright photo in pixels, and Pillow's name of its colour mode.
    error
        Why the photo cannot be used; None if it can.
    split
        ``train``, ``val`` or ``test``; None where none is assigned.  Readers give the side that
        the data set itself names.
    weight
        How much the photo counts in training, 0 to 1.
    organism
        Probability, 0 to 1, that it shows an organism; None where cleaning used no filter.
    no_organism
        ``blank``, ``human`` or ``vehicle`` if the photo was labelled so; else None.

    Raises
    ------
    ValueError
        The text in ``box`` is not a box.
    """

    path: str
    taxon: Taxon
    common_name: str | None = None
    group: str | None = None
    site: str | None = None
    observation: str | None = None
    box: str | None = None
    sha256: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    mode: str = ""
    error: str | None = None
    split: str | None = None
    weight: float = 1.0
    organism: float | None = None
    no_organism: str | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            parse_box(self.box)

    @property
    def content(self) -> str:
        """Name of the photo's content in the cache: ``sha256``, or ``sha256@box`` with a box."""
        return self.sha256 if self.box is None else f"{self.sha256}@{tidy_box(self.box)}"

    def having(self, **values: Any) -> Photo:
        """Return a copy with other values of fields, any but ``box``.

        No field is checked again: dataclasses.replace, which does that, takes far longer.
        """
        copy = object.__new__(Photo)
        for name, keep in _SLOTS:
            keep(copy, values[name] if name in values else getattr(self, name))
        return copy

    def label(self, rank: str) -> str | None:
        """Return the name at ``rank``, one of :data:`LABELS`; None where it is unknown.

        Raises
        ------
        ConfigError
            There is no such rank.
        """
        if rank not in LABELS:
            raise ConfigError(f"rank: got {rank!r}, wanted one of: {', '.join(LABELS)}")
        return normalize_name(self.common_name) if rank == "common_name" else self.taxon.at(rank)


_SLOTS = tuple((name, getattr(Photo, name).__set__) for name in Photo.__slots__)


@dataclass(frozen=True)
class Dataset:
    """Photos as a reader found them, in the order of its rows, before any of them is opened.

    Their paths are relative to ``root``.  ``source`` is ``csv``, ``tree``, ``coco``, ``camtrap``,
    ``parquet``, ``wildlife_insights`` or ``clean``.  ``notes`` tell of problems in rows that are
    used nevertheless.
    """

    root: Path
    photos: tuple[Photo, ...]
    source: str
    notes: tuple[str, ...] = ()


def parse_box(text: str) -> Box:
    """Read a box: left, top, width, height as fractions of the upright photo's size, 0 to 1.

    Edges up to 0.01 outside the photo are moved to its border.

    Raises
    ------
    ValueError
        The text is not four numbers, or the box reaches out of the photo or has no area.
    """
    try:
        left, top, width, height = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"box {text[:80]!r}: wanted four numbers left,top,width,height") from None
    try:
        return fitted_box(left, top, width, height)
    except ValueError as error:
        raise ValueError(f"box {text[:80]!r} {error}") from None


def tidy_box(text: str) -> str:
    """Return the text of a box in its standard form: at most 6 decimals, and no blanks.

    Raises as :func:`parse_box` does.
    """
    tidied = box_text(parse_box(text))
    parse_box(tidied)
    return tidied


def unlabelled(photos: Iterable[Photo], rank: str) -> tuple[Photo, ...]:
    """Return the usable photos that have no label at ``rank``; raises as :meth:`Photo.label`."""
    return tuple(photo for photo in photos if photo.error is None and photo.label(rank) is None)


def default_cache_dir() -> Path:
    """Return ``$RS_CACHE``, or ``~/.cache/rs-toolkit``; ConfigError: there is no home folder."""
    folder = cache_folder()
    if folder is None:
        raise ConfigError(
            "no home folder is known for this user; set RS_CACHE to a folder for decoded photos"
        )
    return folder


@dataclass(frozen=True)
class PhotoCache:
    """A cache of decoded photos below ``directory``; each content is decoded once.

    The packs (:mod:`rs_toolkit.data.packs`) in ``<preprocessing fingerprint>/`` hold the pixels of
    each photo, or those inside its box, then the size and mode of the whole photo, and what is
    missing of it, as JSON.  Damaged records are made again, so that the folder can be shared,
    copied or deleted freely.  If ``strict``, photos of which anything is missing are refused.  A
    photo that must be decoded is cached by the settings ``beside`` too, whose pixels the same
    command will want.
    """

    directory: Path
    preprocessing: Preprocessing
    strict: bool = False
    beside: tuple[Preprocessing, ...] = ()

    @classmethod
    def default(cls, size: int, resize: str, strict: bool) -> Self:
        """Return the cache in :func:`default_cache_dir`, for a command that checks photos too."""
        preprocessing = Preprocessing(size=size, resize=resize)
        return cls(default_cache_dir(), preprocessing, strict, beside=(FIXED_PIXELS,))

    def pixels(self, photo: Photo, root: Path) -> NDArray[np.uint8]:
        """Return the pixels of an indexed photo: RGB, 0 to 255, shape (size, size, 3).

        Raises
        ------
        DataError
            The pixels are not cached and the file is no longer the one that was indexed.
        PhotoError
            The pixels are not cached and the file cannot be read.
        """
        cached = self._packs.read(self._key(photo))
        if cached is not None:
            side = self.preprocessing.size
            return cached[: side * side * 3].reshape(side, side, 3)
        path = root / photo.path
        data = read_photo(path)
        if sha256_bytes(data) != photo.sha256:
            raise DataError(
                f"{path}: changed since it was indexed; restore the file, or train a new run"
            )
        return self.decode(photo, data)[0]

    def stacked(
        self, photos: Sequence[Photo], root_of: Callable[[Photo], Path]
    ) -> NDArray[np.uint8]:
        """Return the pixels of n indexed photos, shape (n, size, size, 3), each from its own root.

        Raises as :meth:`pixels` does.
        """
        size = self.preprocessing.size
        pixels = np.empty((len(photos), size, size, 3), np.uint8)
        for row, photo in enumerate(photos):
            pixels[row] = self.pixels(photo, root_of(photo))
        return pixels

    def holds(self, photo: Photo) -> bool:
        """Return whether a photo's pixels are in the cache; they may be damaged."""
        return self._packs.holds(self._key(photo))

    def info(self, photo: Photo) -> PhotoInfo | None:
        """Return what a photo is; None where its pixels are not cached, or it is refused."""
        cached = self._packs.read(self._key(photo))
        if cached is None:
            return None
        info = PhotoInfo(*json.loads(cached[self.preprocessing.size**2 * 3 :].tobytes()))
        return None if self.strict and info.note else info

    def decode(self, photo: Photo, data: bytes) -> tuple[NDArray[np.uint8], PhotoInfo]:
        """Decode a photo's bytes and cache the pixels; return these, and the photo's size and mode.

        Raises
        ------
        PhotoError
            The bytes cannot be decoded, the box has less than a pixel, or the cache is strict and
            something is missing of the photo.
        OSError
            The cache cannot be written.
        """
        part = None if photo.box is None else parse_box(photo.box)
        caches = [self, *(other for other in self._others if not other.holds(photo))]
        found, info = load_together(data, [cache.preprocessing for cache in caches], part)
        if self.strict and info.note:
            raise UnreadablePhotoError(f"{info.note}; copy it again, or leave out --strict-photos")
        kept = json.dumps([info.width, info.height, info.mode, info.note]).encode()
        for cache, pixels in zip(caches, found, strict=True):
            cache._packs.write(self._key(photo), pixels, kept)
        return found[0], info

    @cached_property
    def _others(self) -> list[PhotoCache]:
        others = [replace(self, preprocessing=item) for item in self.beside]
        return [other for other in others if other._packs is not self._packs]

    @cached_property
    def _packs(self) -> Packs:
        packs = packs_in(os.path.abspath(self.directory / self.preprocessing.fingerprint()))
        packs.refresh()
        return packs

    @staticmethod
    def _key(photo: Photo) -> bytes:
        return hashlib.sha256(photo.content.encode()).digest()[:KEY_BYTES]
