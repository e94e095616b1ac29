"""Folders with one subfolder per class, also those of iNaturalist's competitions."""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass, field
from pathlib import Path

from rs_runtime.photos.photo import PHOTO_SUFFIXES
from rs_toolkit.data.labels import is_organism
from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers.reading import reading, some
from rs_toolkit.data.readers.rows import label_rank
from rs_toolkit.data.taxonomy import RANKS, Taxon
from rs_toolkit.errors import DataError
from rs_toolkit.files import is_output

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

    Folders that the toolkit wrote are left out, and a note says so.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    found = _search(root)
    if not found.paths:
        wanted = "(JPEG, PNG, TIFF, BMP, WebP, GIF) and no metadata.csv"
        told = "; ".join((f"no photos below it {wanted}", *found.notes()))
        raise DataError(f"{root}: {told}; check the path")
    paths = sorted(found.paths)
    folders = {path.split("/")[0] for path in paths if "/" in path}
    splits = {name.strip().lower() for name in folders}
    if folders and splits <= _SPLIT_FOLDERS:
        raise DataError(
            f"{root}: holds {', '.join(sorted(splits))}, which are splits, not classes; give one "
            "of them, or merge them (rs-toolkit makes its own splits)"
        )
    taxa = _taxa(folders)
    return Dataset(root, tuple(_photo(path, taxa) for path in paths), "tree", found.notes())


def _taxa(folders: set[str]) -> dict[str, Taxon]:
    """Return the taxon that each class folder's name stands for."""
    cell = reading().cell
    parts = {name: _INATURALIST.fullmatch(name) for name in folders}
    if any(parts.values()) and all(match or not is_organism(name) for name, match in parts.items()):
        return {
            name: Taxon(*map(cell, match.groups(), RANKS)) if match else Taxon(species=name)
            for name, match in parts.items()
        }
    names = {name: cell(name, "label") for name in folders}
    rank = label_rank(filter(None, names.values()))
    return {folder: Taxon.from_dict({rank: name}) for folder, name in names.items()}


def _photo(path: str, taxa: dict[str, Taxon]) -> Photo:
    folder, slash, _ = path.partition("/")
    suffix = posixpath.splitext(path)[1].lower()
    error = f"{suffix} is not supported; convert it to JPEG" if suffix in _FOREIGN else None
    writable = path.encode("utf-8", "backslashreplace").decode()
    if writable != path:
        error = "the name of the file or folder is not UTF-8; rename it"
    return Photo(writable, taxa[folder] if slash and error is None else Taxon(), error=error)


@dataclass
class _Found:
    """What a folder holds: photos, folders that the toolkit wrote, links that lead nowhere."""

    paths: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    dangling: list[str] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """Return one line each for the folders and for the links, if there are any."""
        told = (
            ("folder", "that rs-toolkit wrote", self.outputs),
            ("link", "to what is not there", self.dangling),
        )
        return tuple(
            f"left out: {len(left)} {noun}{'' if len(left) == 1 else 's'} {which}: "
            f"{some(sorted(left))}"
            for noun, which, left in told
            if left
        )


def _search(root: Path) -> _Found:
    """Find the photos below ``root``; follow links to folders, but enter each real folder once.

    Folders that the toolkit wrote are not entered.  Links named as photos count as photos.
    """
    found, seen = _Found(), {os.path.realpath(root)}

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check permissions")

    for folder, below, files in os.walk(root, onerror=fail, followlinks=True):
        inside = Path(folder).relative_to(root)
        if folder != os.fspath(root) and is_output(Path(folder), files):
            found.outputs.append(inside.as_posix())
            below.clear()
            continue
        real = {name: os.path.realpath(os.path.join(folder, name)) for name in below}
        below[:] = [
            name
            for name in sorted(below)
            if not name.startswith((".", "__MACOSX")) and real[name] not in seen
        ]
        seen.update(real[name] for name in below)
        for name in files:
            suffix, path = os.path.splitext(name)[1].lower(), os.path.join(folder, name)
            if name.startswith("."):
                continue
            if suffix in PHOTO_SUFFIXES or suffix in _FOREIGN:
                found.paths.append((inside / name).as_posix())
            elif os.path.islink(path) and not os.path.exists(path):
                found.dangling.append(f"{(inside / name).as_posix()} (to {os.readlink(path)})")
    return found
