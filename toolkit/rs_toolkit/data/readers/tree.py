"""Folders with one subfolder per class, also those of iNaturalist's competitions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rs_runtime.photos.folder import photos_below
from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers.rows import label_rank
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError

__all__ = ["read_tree"]

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
    found = dict(sorted(_files(root)))
    if not found:
        wanted = "(JPEG, PNG, TIFF, BMP, WebP, GIF) and no metadata.csv"
        raise DataError(f"{root}: no photos below it {wanted}; check the path")
    # Folders of videos alone are no classes.
    usable = [path for path, problem in found.items() if problem is None]
    folders = {path.split("/")[0] for path in usable if "/" in path}
    splits = {name.strip().lower() for name in folders}
    if folders and splits <= _SPLIT_FOLDERS:
        raise DataError(
            f"{root}: holds {', '.join(sorted(splits))}, which are splits, not classes; give one "
            "of them, or merge them (rs-toolkit makes its own splits)"
        )
    taxa = _taxa(folders)
    return Dataset(root, tuple(_photo(*item, taxa) for item in found.items()), "tree")


def _taxa(folders: set[str]) -> dict[str, Taxon]:
    """Return the taxon that each class folder's name stands for."""
    parts = {name: _INATURALIST.fullmatch(name) for name in folders}
    if folders and all(parts.values()):
        return {name: Taxon(*match.groups()) for name, match in parts.items() if match}
    rank = label_rank(folders)
    return {name: Taxon.from_dict({rank: name}) for name in folders}


def _photo(path: str, error: str | None, taxa: dict[str, Taxon]) -> Photo:
    folder, slash, _ = path.partition("/")
    writable = path.encode("utf-8", "backslashreplace").decode()
    if writable != path:
        error = "the name of the file or folder is not UTF-8; rename it"
    return Photo(writable, taxa[folder] if slash and error is None else Taxon(), error=error)


def _files(root: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the photos below ``root``, and why one cannot be used."""

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check permissions")

    for path, problem in photos_below(root, fail):
        yield Path(path).relative_to(root).as_posix(), problem
