"""Tables and JSON files that are not trusted, and the columns that describe a photo."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from rs_toolkit.data.photos import Photo, tidy_box
from rs_toolkit.data.readers.rows import tidy
from rs_toolkit.data.taxonomy import RANKS, Taxon, printable
from rs_toolkit.errors import MetadataError, reason

__all__ = [
    "DESCRIBING_COLUMNS",
    "LABEL_COLUMNS",
    "MAX_METADATA_BYTES",
    "PATH_COLUMNS",
    "Columns",
    "described",
    "open_csv",
    "read_object",
    "taxon_of",
]

MAX_METADATA_BYTES = 500_000_000
PATH_COLUMNS = ("file_path", "path", "filepath", "image")
LABEL_COLUMNS = (*RANKS, "cls", "label")
# Each name stands for the first of these that is there.
_ALIASES = {
    "file_path": PATH_COLUMNS,
    # The BioCLIP catalogues have both: cls is the taxonomic class, class a training label.
    "class": ("cls", "class"),
    "site": ("site", "location", "location_id", "deployment"),
    "observation": ("observation", "seq_id", "sequence", "event_id"),
}
DESCRIBING_COLUMNS = (
    *LABEL_COLUMNS,
    *("common_name", "group", "box"),
    *_ALIASES["site"],
    *_ALIASES["observation"],
)


class Columns(dict[str, int]):
    """Positions of the columns that are used, by name; upper and lower case do not matter.

    Parameters
    ----------
    path, header
        A file, for messages, and the names of its columns.
    used
        Names to look for; other columns are ignored.
    required
        Of each of these sequences of names, one must be there.

    Raises
    ------
    MetadataError
        A used column appears twice, or a required one not at all.
    """

    def __init__(
        self,
        path: Path,
        header: Sequence[str],
        used: Collection[str],
        required: Collection[Sequence[str]],
    ) -> None:
        known = {name.lower(): name for name in used}
        names = [known.get(name.strip().lower()) for name in header]
        if twice := sorted(name for name in known.values() if names.count(name) > 1):
            raise MetadataError(f"{path}: column {twice[0]} appears twice; rename or delete one")
        super().__init__({name: place for place, name in enumerate(names) if name})
        self.width = len(names)
        for choice in required:
            if not any(name in self for name in choice):
                got = ", ".join(printable(name)[:40] for name in header[:20]) or "an empty file"
                wanted = " or ".join(filter(None, [", ".join(choice[:-1]), choice[-1]]))
                raise MetadataError(
                    f"{path}: no column {wanted}; got: {got}; name one so (comma-separated)"
                )
        for name, choice in _ALIASES.items():
            if present := [other for other in choice if other in self]:
                self[name] = self[present[0]]

    def cell(self, row: Sequence[str], name: str) -> str:
        """Return a cell's text without blanks around it; empty where there is no such column."""
        place = self.get(name)
        return row[place].strip() if place is not None and place < len(row) else ""

    def ragged(self, row: Sequence[str]) -> str | None:
        """Return why a row has more or fewer cells than the header, if so."""
        if len(row) == self.width:
            return None
        return f"has {len(row)} cells, the header {self.width}; quote cells that hold commas"


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 file of metadata; what goes wrong becomes a MetadataError."""
    try:
        if path.stat().st_size > MAX_METADATA_BYTES:
            raise MetadataError(f"{path}: larger than {MAX_METADATA_BYTES} bytes; split it")
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise MetadataError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise MetadataError(f"{path}: cannot be read ({error.strerror}); check it") from None


@contextmanager
def open_csv(
    path: Path, used: Collection[str], required: Collection[Sequence[str]]
) -> Iterator[tuple[Columns, Iterator[tuple[int, list[str]]]]]:
    """Open a UTF-8 CSV file and yield its columns, and its rows with their lines, from 1.

    ``used`` and ``required`` are those of :class:`Columns`; blank rows are left out.

    Raises
    ------
    MetadataError
        The file is too large, not UTF-8, not CSV, not readable, or lacks a column.
    """
    with _opened(path) as file:
        rows = csv.reader(file, strict=True)
        try:
            yield Columns(path, next(rows, []), used, required), _numbered(rows)
        except csv.Error as error:
            raise MetadataError(f"{path}: not a CSV file: line {rows.line_num}: {error}") from None


def _numbered(rows: Any) -> Iterator[tuple[int, list[str]]]:
    # A row begins on the line after the last line of the row before it.
    line = rows.line_num + 1
    for row in rows:
        if row:
            yield line, row
        line = rows.line_num + 1


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; raises as :func:`open_csv` does."""
    with _opened(path) as file:
        text = file.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{path}: not a JSON file: {reason(error)}; write it anew") from None
    if not isinstance(content, dict):
        raise MetadataError(f"{path}: holds a {type(content).__name__}, wanted a JSON object")
    return content


@lru_cache(maxsize=10_000)
def taxon_of(names: tuple[str | None, ...]) -> Taxon:
    """Return the taxon of seven names by rank; photos are many, species few."""
    return Taxon.from_dict(dict(zip(RANKS, names, strict=True)))


def described(row: Sequence[str], columns: Columns, path: str, error: str | None) -> Photo:
    """Return the photo at ``path`` with what the describing columns of its row say.

    ``error`` is what is already known to be wrong with the row.
    """
    names = {rank: columns.cell(row, rank) for rank in RANKS}
    names["species"] = names["species"] or columns.cell(row, "label")
    box: str | None = columns.cell(row, "box")
    try:
        box = tidy_box(box) if box else None
    except ValueError as problem:
        box, error = None, error or str(problem)
    return Photo(
        path=path,
        taxon=taxon_of(tuple(names.values())),
        common_name=tidy(columns.cell(row, "common_name")),
        group=columns.cell(row, "group") or None,
        site=tidy(columns.cell(row, "site")),
        observation=tidy(columns.cell(row, "observation")),
        box=box,
        error=error,
    )
