"""Full taxonomy for the Rare Species catalogue, from BioCLIP's annotation file beside it.

The catalogue's ``metadata.csv`` has kingdom, phylum and family; ``bioclip_annotation.csv``
(imageomics/bioclip, data/annotation/rare_species) has all ranks and the common name of the same
photos.  What joins them are the content and page numbers of the Encyclopedia of Life, which the
annotation has in its ``filepath`` only: ``2024-03-20/12853737_449393_eol-full-size-copy.jpg``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rs_toolkit.data.photos import Photo
from rs_toolkit.data.readers.rows import tidy
from rs_toolkit.data.readers.tables import open_csv, taxon_of
from rs_toolkit.data.taxonomy import RANKS, Taxon

__all__ = ["ID_COLUMNS", "Annotation", "read_annotation"]

ID_COLUMNS = ("eol_content_id", "eol_page_id")

_FILE = "bioclip_annotation.csv"
_IDS = re.compile(r"(?:.*/)?([0-9]+)_([0-9]+)_[^/]*")
_COLUMNS = (*("cls" if rank == "class" else rank for rank in RANKS), "common_name", "filepath")


@dataclass
class Annotation:
    """Names of photos by content and page number, and what did not fit so far.

    Attributes
    ----------
    names
        Taxon and common name.
    notes
        One line a fault: rows that cannot be used, photos that are missing or named otherwise.
    """

    names: dict[tuple[str, str], tuple[Taxon, str | None]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def complete(self, photo: Photo, content: str, page: str) -> Photo:
        """Return a photo with all its names; as it was, and noted, where that is impossible."""
        known = photo.taxon.to_dict()
        taxon, common_name = self.names.get((content, page), (Taxon(), None))
        other = [rank for rank, name in known.items() if taxon.at(rank) not in (name, None)]
        if (content, page) not in self.names:
            problem = f"{content}_{page} is not in {_FILE}"
        elif other:
            problem = f"{other[0]} is {known[other[0]]}, but {taxon.at(other[0])} in {_FILE}"
        else:
            names = tuple(taxon.at(rank) or known.get(rank) for rank in RANKS)
            common_name = photo.common_name or common_name
            return replace(photo, taxon=taxon_of(names), common_name=common_name)
        self.notes.append(f"{photo.path}: {problem}; only the names of metadata.csv are used")
        return photo


def read_annotation(folder: Path) -> Annotation | None:
    """Read the annotation file in a folder, if there is one; raises as :func:`open_csv` does."""
    path = folder / _FILE
    if not path.is_file():
        return None
    annotation = Annotation()
    with open_csv(path, _COLUMNS, [(name,) for name in _COLUMNS]) as (_, rows):
        for line, cells, ragged in rows:
            if error := ragged or _add(annotation, cells):
                annotation.notes.append(f"{_FILE} line {line}: {error}")
    return annotation


def _add(annotation: Annotation, cells: Mapping[str, str]) -> str | None:
    """Take one row; return why it cannot be used, if so."""
    given = cells["file_path"]
    ids = _IDS.fullmatch(given)
    if ids is None:
        return f"filepath {given[:80]!r} has no content and page number"
    names = taxon_of(tuple(cells[rank] for rank in RANKS)), tidy(cells["common_name"])
    if annotation.names.setdefault((ids[1], ids[2]), names) != names:
        return f"repeats {ids[1]}_{ids[2]} with other names, which are not used"
    return None
