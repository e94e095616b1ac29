"""Folders with one subfolder per class, also those of iNaturalist's competitions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from rs_runtime.photos.folder import photos_below
from rs_toolkit.data.labels import is_organism
from rs_toolkit.data.photos import SIDE_NAMES, Dataset, Photo
from rs_toolkit.data.readers.reading import reading, some
from rs_toolkit.data.readers.rows import label_rank
from rs_toolkit.data.taxonomy import RANKS, Taxon
from rs_toolkit.errors import DataError

__all__ = ["read_tree"]

# iNaturalist 2021: 04178_Plantae_Tracheophyta_…_Asteraceae_Achillea_millefolium.  Ranks between
# kingdom and genus may be unknown.
_INATURALIST = re.compile(r"[0-9]+_([^_]+)" + "_([^_]*)" * 4 + "_([^_]+)" * 2)


def read_tree(root: Path) -> Dataset:
    """Read photos below a folder, labelled by the first folder on their paths.

    If all first folders are sides of a split (:data:`rs_toolkit.data.photos.SIDE_NAMES`), the
    photos are on these sides, and the second folder is the label.

    If all class folders are named as iNaturalist's (number, kingdom, phylum, class, order,
    family, genus, epithet, joined by ``_``), all ranks are taken from the name.  Otherwise the
    name is a family if all names end as families' names do, else a species.

    Folders that the toolkit wrote are left out, and a note says so.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    outputs: list[str] = []
    found = dict(sorted(_files(root, outputs)))
    notes = _about_outputs([Path(folder).relative_to(root).as_posix() for folder in outputs])
    if not found:
        wanted = "(JPEG, PNG, TIFF, BMP, WebP, GIF) and no metadata.csv"
        told = "; ".join((f"no photos below it {wanted}", *notes))
        raise DataError(f"{root}: {told}; check the path")
    # Folders of videos alone are no classes.
    usable = [path for path, problem in found.items() if problem is None]
    folders = {path.split("/")[0] for path in usable if "/" in path}
    depth = 1 if folders and all(map(_side, folders)) else 0
    taxa = _taxa({path.split("/")[depth] for path in usable if path.count("/") > depth})
    photos = tuple(_photo(*item, taxa, depth) for item in found.items())
    return Dataset(root, photos, "tree", notes)


def _side(folder: str) -> str | None:
    return SIDE_NAMES.get(folder.strip().lower())


def _about_outputs(outputs: list[str]) -> tuple[str, ...]:
    if not outputs:
        return ()
    folders = "1 folder" if len(outputs) == 1 else f"{len(outputs)} folders"
    return (f"left out: {folders} that rs-toolkit wrote: {some(sorted(outputs))}",)


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


def _photo(path: str, error: str | None, taxa: dict[str, Taxon], depth: int) -> Photo:
    """Return a photo whose class is the folder at ``depth``; above it is its side of the split."""
    *folders, _ = path.split("/")
    writable = path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()
    if writable != path:
        error = "the name of the file or folder is not UTF-8; rename it"
    named = len(folders) > depth and error is None
    side = _side(folders[0]) if depth and folders else None
    return Photo(writable, taxa[folders[depth]] if named else Taxon(), error=error, split=side)


def _files(root: Path, outputs: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the photos below ``root``, and why one cannot be used."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check permissions")

    # No Path for each photo, which would take a third of the time of reading the folder.
    above = os.path.join(root, "")
    for path, problem in photos_below(root, fail, outputs):
        yield path.removeprefix(above).replace(os.sep, "/"), problem
