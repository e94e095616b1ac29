"""One table, one row per photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rs_toolkit.data.photos import Dataset, Photo
from rs_toolkit.data.readers.bioclip import ID_COLUMNS, Annotation, read_annotation
from rs_toolkit.data.readers.rows import keep_first, relative_path
from rs_toolkit.data.readers.tables import (
    DESCRIBING_COLUMNS,
    LABEL_COLUMNS,
    PATH_COLUMNS,
    Row,
    described,
    open_csv,
)
from rs_toolkit.errors import MetadataError

__all__ = ["read_csv"]


def read_csv(path: Path) -> Dataset:
    """Read a CSV file; see :func:`rs_toolkit.data.readers.read_dataset`.

    A table with the columns eol_content_id and eol_page_id, beside which lies BioCLIP's
    annotation file, gets full taxonomy from there.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    used = (*PATH_COLUMNS, *DESCRIBING_COLUMNS, *ID_COLUMNS)
    with open_csv(path, used, (PATH_COLUMNS, LABEL_COLUMNS)) as (names, rows):
        has_ids = set(names) >= set(ID_COLUMNS)
        annotation = read_annotation(path.parent) if has_ids else None
        photos = tuple(keep_first(_photos(rows, annotation)))
    if not photos:
        raise MetadataError(f"{path}: has a header and no rows; add one row per photo")
    notes = tuple(annotation.notes) if annotation else ()
    return Dataset(path.parent, photos, "csv", notes)


def _photos(rows: Iterable[Row], annotation: Annotation | None) -> Iterator[tuple[str, Photo]]:
    for line, cells, ragged in rows:
        path, error = relative_path(cells["file_path"])
        # Nothing in a ragged row can be trusted to be in its own column.
        photo = described(cells, path, ragged or error)
        if photo.error is None and annotation is not None:
            content, page = (cells[name] for name in ID_COLUMNS)
            photo = annotation.complete(photo, content, page)
        yield f"line {line}", photo
