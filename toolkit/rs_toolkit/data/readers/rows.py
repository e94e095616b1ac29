"""Read the rows of metadata files that are not trusted, check them, and make photos of them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from rs_runtime.errors import reason
from rs_toolkit.data.labels import is_organism, kind_of_labels
from rs_toolkit.data.photos import Photo, tidy_box
from rs_toolkit.data.readers.reading import reading, some
from rs_toolkit.data.taxonomy import RANKS, Taxon, printable
from rs_toolkit.errors import MetadataError

__all__ = [
    *("DESCRIBING_COLUMNS", "LABEL_COLUMNS", "MAX_METADATA_BYTES", "PATH_COLUMNS", "Row"),
    *("columns_of", "csv_rows", "described", "keep_first", "label_rank"),
    *("one_label", "read_object", "taxon_of", "tidy"),
]

MAX_METADATA_BYTES = 500_000_000
PATH_COLUMNS = ("file_path", "path", "filepath", "image")
LABEL_COLUMNS = (*RANKS, "cls", "label")
# By the name that a column is used under: its possible names.  The first one present is used.
_ALIASES = {
    "file_path": PATH_COLUMNS,
    # The BioCLIP catalogues have both: cls is the taxonomic class, class a training label.
    "class": ("cls", "class"),
    "site": ("site", "location", "location_id", "deployment"),
    "observation": ("observation", "seq_id", "sequence", "event_id"),
}
Row = tuple[str, dict[str, str], str | None]
"""A row of a table: its place (``line 4``), its cells by column, and its error or None."""

# Makes a taxon of seven names, one per rank; all photos of a species share one object.
taxon_of = lru_cache(maxsize=10_000)(Taxon)

DESCRIBING_COLUMNS = (
    *LABEL_COLUMNS,
    *("common_name", "group", "box", "split"),
    *_ALIASES["site"],
    *_ALIASES["observation"],
)

# Endings that the codes of nomenclature prescribe for names of families of animals and plants.
_FAMILY_ENDINGS = ("idae", "aceae")


def columns_of(
    path: Path, header: Sequence[str], used: Collection[str], required: Collection[Sequence[str]]
) -> list[str | None]:
    """Return the name that each column of a table is used under, None where it is not used.

    ``used`` are the names to look for, in upper or lower case.  Each sequence in ``required``
    holds alternative names, of which one must be there.

    Raises
    ------
    MetadataError
        A used column appears twice, or a required one is missing.
    """
    known = {name.lower(): name for name in used}
    names = [known.get(name.strip().lower()) for name in header]
    if twice := sorted(name for name in known.values() if names.count(name) > 1):
        raise MetadataError(f"{path}: column {twice[0]} appears twice; rename or delete one")
    for choice in required:
        if not any(name in names for name in choice):
            got = ", ".join(printable(name)[:40] for name in header[:20]) or "an empty file"
            wanted = " or ".join(filter(None, [", ".join(choice[:-1]), choice[-1]]))
            raise MetadataError(
                f"{path}: no column {wanted}; got: {got}; rename one (columns are comma-separated)"
            )
    used_as: dict[str | None, str | None] = {name: name for name in names}
    for name, choice in _ALIASES.items():
        present = [other for other in choice if other in names]
        used_as |= dict.fromkeys(present)
        if present:
            used_as[present[0]] = name
    return [used_as[name] for name in names]


class _Unpacked(gzip.GzipFile):
    """A gzip file that is not trusted: it may hold at most ``MAX_METADATA_BYTES``."""

    def read1(self, size: int = -1) -> bytes:
        data = super().read1(size)
        if self.tell() > MAX_METADATA_BYTES:
            limit = f"unpacks to more than {MAX_METADATA_BYTES} bytes"
            raise MetadataError(f"{self.name}: {limit}; split it")
        return data


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a metadata file as UTF-8; an error while it is read becomes a MetadataError.

    A file whose name ends in ``.gz`` is unpacked.
    """
    try:
        if path.stat().st_size > MAX_METADATA_BYTES:
            raise MetadataError(f"{path}: larger than {MAX_METADATA_BYTES} bytes; split it")
        raw = _Unpacked(path) if path.suffix.lower() == ".gz" else path.open("rb")
        with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            yield file
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MetadataError(f"{path}: damaged ({reason(error)}); copy it again") from None
    except UnicodeDecodeError as error:
        raise MetadataError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise MetadataError(f"{path}: cannot be read ({error.strerror}); check it") from None


def csv_rows(
    path: Path, used: Collection[str], required: Collection[Sequence[str]]
) -> Iterator[Row]:
    """Yield the rows of a UTF-8 CSV file; :func:`columns_of` names the cells.

    Spreadsheets leave out blank last cells, add some, and write rows that hold nothing but commas:
    missing cells are blank, blank ones beyond the header are ignored, as are blank rows.  Words
    that mean an empty cell are left out, see :meth:`Reading.cell`.

    Raises
    ------
    MetadataError
        The file is too large, not UTF-8, not CSV, not readable, or lacks a column.
    """
    with _opened(path) as file:
        table = csv.reader(file, strict=True)
        try:
            names = columns_of(path, next(table, []), used, required)
            # The line on which the next row begins: a quoted cell may hold line breaks.
            line = table.line_num + 1
            for row in table:
                error = None
                if len(row) > len(names) and any(map(str.strip, row[len(names) :])):
                    got = f"has {len(row)} cells, the header {len(names)}"
                    error = f"{got}; quote cells that hold commas"
                if any(map(str.strip, row)):
                    row += [""] * (len(names) - len(row))
                    named = zip(names, row, strict=False)
                    cells = {name: cell.strip() for name, cell in named if name}
                    yield f"line {line}", reading().cells(cells), error
                line = table.line_num + 1
        except csv.Error as error:
            raise MetadataError(f"{path}: not a CSV file: line {table.line_num}: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; raises as :func:`csv_rows` does."""
    with _opened(path) as file:
        text = file.read()
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{path}: not a JSON file: {reason(error)}; save it as JSON") from None
    if not isinstance(content, dict):
        raise MetadataError(f"{path}: holds a {type(content).__name__}, wanted a JSON object")
    return content


def described(cells: Mapping[str, Any], path: str, error: str | None) -> Photo:
    """Return the photo at ``path`` with the labels, groups, box and split of its row.

    ``error`` is what is already known to be wrong with the row, if anything.
    """
    cells = reading().cells(dict(cells))
    names = {rank: cells.get(rank) for rank in RANKS}
    names["species"] = names["species"] or cells.get("label")
    box = cells.get("box") or None
    try:
        box = tidy_box(box) if box else None
    except ValueError as problem:
        box, error = None, error or str(problem)
    return Photo(
        path=path,
        taxon=taxon_of(*names.values()),
        common_name=tidy(cells.get("common_name"), "common_name"),
        group=cells.get("group") or None,
        site=tidy(cells.get("site")),
        observation=tidy(cells.get("observation")),
        box=box,
        error=error,
        split=reading().side(split) if (split := cells.get("split")) else None,
    )


def one_label(names: Collection[str]) -> str | None:
    """Return the organism among the different labels of a photo; None where there are no labels.

    Where none is an organism, this is the kind of label: ``blank``, ``human`` …

    Words that mean an empty cell are no labels.

    Raises
    ------
    ValueError
        There is an organism and another label, so that the photo's label is ambiguous.
    """
    names = [name for name in names if reading().cell(name, "label")]
    organisms = sorted(filter(is_organism, names))
    if organisms and len(names) > 1:
        labels = ", ".join(sorted(repr(name[:80]) for name in names))
        raise ValueError(f"has several labels ({labels}); leave one")
    return organisms[0] if organisms else kind_of_labels(names)


def label_rank(names: Iterable[str]) -> str:
    """Return ``family`` if all names of organisms end as families' names do, else ``species``."""
    organisms = [name.strip().lower() for name in names if is_organism(name)]
    families = all(name.endswith(_FAMILY_ENDINGS) for name in organisms)
    return "family" if families else "species"


def tidy(value: object, column: str = "") -> str | None:
    """Return a text or a whole number as one printable line; None for anything else or empty."""
    if type(value) not in (str, int):
        return None
    return printable(str(reading().cell(value, column))) or None


def keep_first(rows: Iterable[tuple[str, Photo]], what: str = "path") -> Iterator[Photo]:
    """Yield the photos of rows; of the rows with the same path, at most one is without an error.

    If they agree on the label, that is the first of those with the most names.  Otherwise it is
    none, because the photo's label is ambiguous, as in :func:`one_label`.

    ``rows`` holds the place (``line 4``) and the photo of each row; errors begin with the place.
    ``what`` says in the error what the later row repeats.
    """
    listed = list(rows)
    of_path: dict[str, list[int]] = {}
    for number, (_, photo) in enumerate(listed):
        if photo.error is None:
            of_path.setdefault(photo.path, []).append(number)
    errors: dict[int, str] = {}
    for numbers in of_path.values():
        if len(numbers) > 1:
            errors |= _repeated([listed[number] for number in numbers], numbers, what)
    for number, (place, photo) in enumerate(listed):
        error = photo.error or errors.get(number)
        yield photo if error is None else replace(photo, error=f"{place}: {error}")


def _repeated(
    rows: Sequence[tuple[str, Photo]], numbers: Sequence[int], what: str
) -> dict[int, str]:
    """Return the errors of rows that have the same path, by their numbers."""
    places = [place for place, _ in rows]
    for rank in (*reversed(RANKS), "common_name"):
        labels = sorted({name for _, photo in rows if (name := photo.label(rank)) is not None})
        # The common names of one organism may differ.
        named = rank == "common_name" and any(photo.taxon != Taxon() for _, photo in rows)
        if len(labels) > 1 and not named:
            shown = ", ".join(repr(name[:80]) for name in labels[:5])
            error = f"has several labels ({shown}) in {some(places)}; leave one"
            return dict.fromkeys(numbers, error)
    used = max(range(len(rows)), key=lambda n: (len(rows[n][1].taxon.to_dict()), -n))
    error = f"repeats the {what} of {places[used]} with the same label; delete one"
    return {number: error for n, number in enumerate(numbers) if n != used}
