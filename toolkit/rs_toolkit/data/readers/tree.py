"""Folders with one subfolder per class, also those of iNaturalist's competitions."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from rs_runtime.photos.formats import PHOTO_SUFFIXES
from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers.rows import label_rank
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError

__all__ = ["read_tree"]

# Formats of cameras that Pillow cannot decode, or of which it decodes only the thumbnail.
_FOREIGN = frozenset(
    {".arw", ".avif", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".nef", ".orf", ".raf", ".rw2"}
)
_SPLIT_FOLDERS = frozenset({"train", "val", "valid", "validation", "test"})
# iNaturalist 2021: 04178_Plantae_Tracheophyta_…_Asteraceae_Achillea_millefolium.  Ranks between
# kingdom and genus may be unknown.
_INATURALIST = re.compile(r"[0-9]+_([^_]+)" + "_([^_]*)" * 4 + "_([^_]+)" * 2)


def read_tree(root: Path) -> Dataset:
    """Read photos below a folder, labelled by the first folder on their paths.

    If all class folders are named as iNaturalist's (number, kingdom, phylum, class, order,
    family, genus, epithet, joined by ``_``), all ranks are taken from the name.  Otherwise the
    name is a family if all names end as families' names do, else a species.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    paths = sorted(_files(root))
    if not paths:
        wanted = "(JPEG, PNG, TIFF, BMP, WebP, GIF) and no metadata.csv"
        raise DataError(f"{root}: no photos below it {wanted}; check the path")
    folders = {path.split("/")[0] for path in paths if "/" in path}
    splits = {name.strip().lower() for name in folders}
    if folders and splits <= _SPLIT_FOLDERS:
        raise DataError(
            f"{root}: holds {', '.join(sorted(splits))}, which are splits, not classes; give one "
            "of them, or merge them (rs-toolkit makes its own splits)"
        )
    taxa = _taxa(folders)
    return Dataset(root, tuple(_photo(path, taxa) for path in paths), "tree")


def _taxa(folders: set[str]) -> dict[str, Taxon]:
    """Return the taxon that each class folder's name stands for."""
    parts = {name: _INATURALIST.fullmatch(name) for name in folders}
    if folders and all(parts.values()):
        return {name: Taxon(*match.groups()) for name, match in parts.items() if match}
    rank = label_rank(folders)
    return {name: Taxon.from_dict({rank: name}) for name in folders}


def _photo(path: str, taxa: dict[str, Taxon]) -> Photo:
    folder, slash, _ = path.partition("/")
    suffix = posixpath.splitext(path)[1].lower()
    error = f"{suffix} is not supported; convert it to JPEG" if suffix in _FOREIGN else None
    writable = path.encode("utf-8", "backslashreplace").decode()
    if writable != path:
        error = "the name of the file or folder is not UTF-8; rename it"
    return Photo(writable, taxa[folder] if slash and error is None else Taxon(), error=error)


def _files(root: Path) -> Iterator[str]:
    """Yield photos below ``root``; follow links to folders, but enter each real folder once."""
    seen = {os.path.realpath(root)}

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check permissions")

    for folder, below, files in os.walk(root, onerror=fail, followlinks=True):
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in below}
        below[:] = [
            name
            for name in sorted(below)
            if not name.startswith((".", "__MACOSX")) and real[name] not in seen
        ]
        seen.update(real[name] for name in below)
        for name in files:
            suffix = os.path.splitext(name)[1].lower()
            if not name.startswith(".") and (suffix in PHOTO_SUFFIXES or suffix in _FOREIGN):
                yield Path(folder, name).relative_to(root).as_posix()
