"""CSV files with one row per photo, and the full taxonomy of the Rare Species catalogue.

The catalogue's ``metadata.csv`` has kingdom, phylum and family; ``bioclip_annotation.csv`` beside
it (imageomics/bioclip, data/annotation/rare_species) has all ranks and the common name of the same
photos.  They are joined by the content and page numbers of the Encyclopedia of Life, which the
annotation gives in its ``filepath`` only: ``2024-03-20/12853737_449393_eol-full-size-copy.jpg``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers import rows
from rs_toolkit.data.readers.reading import relative_path
from rs_toolkit.data.readers.rows import csv_rows, described, taxon_of, tidy
from rs_toolkit.data.taxonomy import RANKS
from rs_toolkit.errors import MetadataError

__all__ = ["read_csv"]

_ID_COLUMNS = ("eol_content_id", "eol_page_id")
_ANNOTATION = "bioclip_annotation.csv"
_ANNOTATED = (*("cls" if rank == "class" else rank for rank in RANKS), "common_name", "filepath")
_IDS = re.compile(r"(?:.*/)?([0-9]+)_([0-9]+)_[^/]*")
# Names by rank, and the common name, by content and page number.
_Names = dict[tuple[str, ...], tuple[dict[str, str], str | None]]


def read_csv(path: Path) -> Dataset:
    """Read a CSV file; if it is the Rare Species catalogue, add the full taxonomy.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    used = (*rows.PATH_COLUMNS, *rows.DESCRIBING_COLUMNS, *_ID_COLUMNS)
    table = csv_rows(path, used, (rows.PATH_COLUMNS, rows.LABEL_COLUMNS))
    first = next(table, None)
    if first is None:
        raise MetadataError(f"{path}: has a header and no rows; add one row per photo")
    notes: list[str] = []
    has_ids = first[1].keys() >= set(_ID_COLUMNS)
    known = _annotated(path.parent / _ANNOTATION, notes) if has_ids else None
    photos = tuple(rows.keep_first(_photos(chain([first], table), known, notes)))
    return Dataset(path.parent, photos, "csv", tuple(notes))


def _photos(
    table: Iterable[rows.Row], known: _Names | None, notes: list[str]
) -> Iterator[tuple[str, Photo]]:
    for place, cells, ragged in table:
        path, error = relative_path(cells["file_path"])
        # In a row with too few or too many cells, any cell may be in the wrong column.
        photo = described(cells, path, ragged or error)
        if photo.error is None and known is not None:
            photo = _completed(photo, tuple(cells[name] for name in _ID_COLUMNS), known, notes)
        yield place, photo


def _annotated(path: Path, notes: list[str]) -> _Names | None:
    """Read the annotation file, if there is one; note the rows that cannot be used."""
    if not path.is_file():
        return None
    known: _Names = {}
    for place, cells, error in csv_rows(path, _ANNOTATED, [(name,) for name in _ANNOTATED]):
        given = cells["file_path"]
        taxon = taxon_of(*map(cells.get, RANKS))
        names = taxon.to_dict(), tidy(cells["common_name"], "common_name")
        ids = _IDS.fullmatch(given)
        if ids is None:
            error = error or f"filepath {given[:80]!r} has no content and page number"
        elif error is None and known.setdefault(ids.groups(), names) != names:
            error = f"repeats {'_'.join(ids.groups())} with other names, which are not used"
        if error is not None:
            notes.append(f"{_ANNOTATION} {place}: {error}")
    return known


def _completed(photo: Photo, ids: tuple[str, ...], known: _Names, notes: list[str]) -> Photo:
    """Return a photo with the annotation's names; unchanged, and with a note, if they conflict."""
    given = photo.taxon.to_dict()
    names, common_name = known.get(ids, ({}, None))
    other = [rank for rank, name in given.items() if names.get(rank, name) != name]
    if ids not in known:
        problem = f"{'_'.join(ids)} is not in {_ANNOTATION}"
    elif other:
        problem = f"{other[0]} is {given[other[0]]}, but {names[other[0]]} in {_ANNOTATION}"
    else:
        taxon = taxon_of(*map((given | names).get, RANKS))
        return replace(photo, taxon=taxon, common_name=photo.common_name or common_name)
    notes.append(f"{photo.path}: {problem}; only the names of metadata.csv are used")
    return photo
