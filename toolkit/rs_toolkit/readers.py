"""From a folder tree or a CSV file to a list of labelled photos, none of them opened yet."""

from __future__ import annotations

import csv
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Any

from rs_runtime.photo import PHOTO_SUFFIXES
from rs_toolkit.errors import ConfigError, DataError, MetadataError
from rs_toolkit.photos import Dataset, Photo
from rs_toolkit.taxonomy import RANKS, Taxon, printable

__all__ = ["MAX_METADATA_BYTES", "read_dataset", "require_data"]

MAX_METADATA_BYTES = 500_000_000

_PATH_COLUMNS = ("file_path", "path", "filepath", "image")
_LABEL_COLUMNS = (*RANKS, "cls", "label")
_COLUMNS = (*_PATH_COLUMNS, *_LABEL_COLUMNS, "common_name", "group")

# Photos that cameras write and Pillow cannot decode, or decodes to their thumbnails.
_FOREIGN = frozenset(
    {".arw", ".avif", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".nef", ".orf", ".raf", ".rw2"}
)
_SPLIT_FOLDERS = frozenset({"train", "val", "valid", "validation", "test"})
# Endings that the codes of nomenclature prescribe for families of animals and of plants.
_FAMILY_ENDINGS = ("idae", "aceae")


def read_dataset(path: Path, tree_rank: str = "species") -> Dataset:
    """Read the photos of a data set and their labels.

    - A ``.csv`` file, or a folder holding ``metadata.csv``: UTF-8, comma-separated, one photo a
      row.  One of the columns file_path, path, filepath, image (relative to the file's folder)
      and one of kingdom … species (``cls`` is taken for class) or ``label`` are required;
      common_name and group are used, others ignored.
    - Any other folder: one folder per class, photos at any depth below it.

    Rows that cannot be used (ragged, no path, a path out of the folder, a path given before),
    photos in a format that is not supported, and files without a class folder are kept: with
    their ``error``, or without a label.

    Parameters
    ----------
    path
        Folder or CSV file.
    tree_rank
        Rank of class folders' names and of the ``label`` column.  Where all class folders end
        in ``idae`` or ``aceae``, ``species`` gives way to ``family``.

    Raises
    ------
    DataError
        The folder is missing, or holds no photo.
    MetadataError
        The CSV file is too large, not UTF-8, not CSV, empty, or lacks a required column.
    ConfigError
        ``tree_rank`` is no rank.
    """
    if tree_rank not in RANKS:
        raise ConfigError(f"tree_rank: got {tree_rank!r}, wanted one of: {', '.join(RANKS)}")
    if path.is_dir():
        metadata = path / "metadata.csv"
        return _read_csv(metadata, tree_rank) if metadata.is_file() else _read_tree(path, tree_rank)
    require_data(path)
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path}: got a {path.suffix or 'plain'} file, wanted a folder or a .csv")
    return _read_csv(path, tree_rank)


def require_data(path: Path) -> None:
    """Fail at once where there is no data set, before anything slow is begun.

    Raises
    ------
    DataError
        Nothing is at ``path``.
    """
    if not path.exists():
        raise DataError(f"{path}: no such folder or CSV file; check the path")


def _read_csv(path: Path, tree_rank: str) -> Dataset:
    try:
        if path.stat().st_size > MAX_METADATA_BYTES:
            raise MetadataError(f"{path}: larger than {MAX_METADATA_BYTES} bytes; split it")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            columns = _columns(path, next(rows, []))
            photos = tuple(_photos(rows, columns, tree_rank))
    except UnicodeDecodeError as error:
        raise MetadataError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8 CSV") from None
    except csv.Error as error:
        raise MetadataError(f"{path}: not a CSV file: line {rows.line_num}: {error}") from None
    except OSError as error:
        raise MetadataError(f"{path}: cannot be read ({error.strerror}); check it") from None
    if not photos:
        raise MetadataError(f"{path}: has a header and no rows; add one row per photo")
    return Dataset(path.parent, photos, "csv")


class _Columns(dict[str, int]):
    """Positions of the columns that are used, and how many columns there are."""

    width: int

    def cell(self, row: Sequence[str], name: str) -> str:
        place = self.get(name)
        return row[place].strip() if place is not None and place < len(row) else ""


def _columns(path: Path, header: list[str]) -> _Columns:
    names = [name.strip().lower() for name in header]
    twice = sorted({name for name in names if name in _COLUMNS and names.count(name) > 1})
    if twice:
        raise MetadataError(f"{path}: column {twice[0]} appears twice; rename or delete one")
    found = _Columns({name: place for place, name in enumerate(names) if name in _COLUMNS})
    found.width = len(names)
    for required in (_PATH_COLUMNS, _LABEL_COLUMNS):
        if not any(name in found for name in required):
            got = ", ".join(name[:40] for name in names[:20]) or "an empty file"
            raise MetadataError(
                f"{path}: no column {', '.join(required[:-1])} or {required[-1]}; got: {got}; "
                "name one so (comma-separated)"
            )
    given = next(name for name in _PATH_COLUMNS if name in found)
    found["file_path"] = found[given]
    # The BioCLIP catalogues have both: cls is the taxonomic class, class a training label.
    found["class"] = found.get("cls", found.get("class", found.width))
    return found


def _photos(rows: Any, columns: _Columns, tree_rank: str) -> Iterator[Photo]:
    first: dict[str, tuple[int, Taxon]] = {}
    # An editor's line of a row is the one after the last line of the row before.
    line = rows.line_num + 1
    for row in rows:
        if row:
            photo = _photo(row, columns, tree_rank, line)
            if photo.error is None and photo.path in first:
                earlier, taxon = first[photo.path]
                label = "the same label" if photo.taxon == taxon else "another label, not used"
                note = f"line {line}: repeats the path of line {earlier} with {label}; delete one"
                photo = replace(photo, error=note)
            elif photo.error is None:
                first[photo.path] = line, photo.taxon
            yield photo
        line = rows.line_num + 1


def _photo(row: list[str], columns: _Columns, tree_rank: str, line: int) -> Photo:
    names = {rank: columns.cell(row, rank) for rank in RANKS}
    names[tree_rank] = names[tree_rank] or columns.cell(row, "label")
    given = columns.cell(row, "file_path")
    path, error = _relative(given)
    if len(row) != columns.width:
        # Nothing in a ragged row can be trusted to be in its own column.
        error = f"has {len(row)} cells, the header {columns.width}; quote cells that hold commas"
    return Photo(
        path=path or given,
        taxon=Taxon.from_dict(names),
        common_name=printable(columns.cell(row, "common_name")) or None,
        group=columns.cell(row, "group") or None,
        error=error and f"line {line}: {error}",
    )


def _relative(given: str) -> tuple[str, str | None]:
    """Return a path below the root in POSIX form, and why it cannot be used, if so."""
    if not given:
        return "", "no path; fill it in"
    if "\0" in given:
        return "", "a NUL character in the path; write the file anew"
    windows = PureWindowsPath(given)
    path = posixpath.normpath(given.replace("\\", "/"))
    if windows.root or windows.drive:
        return "", "absolute path; give it relative to the CSV file"
    if path == "." or path.split("/")[0] == "..":
        return "", "path leads out of the folder of the CSV file; move the photo below it"
    return path, None


def _read_tree(root: Path, tree_rank: str) -> Dataset:
    paths = sorted(_files(root))
    if not paths:
        raise DataError(
            f"{root}: no photos below it (JPEG, PNG, TIFF, BMP, WebP, GIF) and no metadata.csv; "
            "check the path"
        )
    folders = {path.split("/")[0].strip().lower() for path in paths if "/" in path}
    if folders and folders <= _SPLIT_FOLDERS:
        raise DataError(
            f"{root}: holds {', '.join(sorted(folders))}, which are splits and no classes; give "
            "one of them, or merge them (rs-toolkit makes its own splits)"
        )
    if tree_rank == "species" and all(name.endswith(_FAMILY_ENDINGS) for name in folders):
        tree_rank = "family"
    return Dataset(root, tuple(_tree_photo(path, tree_rank) for path in paths), "tree")


def _tree_photo(path: str, tree_rank: str) -> Photo:
    folder, slash, _ = path.partition("/")
    suffix = posixpath.splitext(path)[1].lower()
    error = f"{suffix} is not supported; convert it to JPEG" if suffix in _FOREIGN else None
    printable = path.encode("utf-8", "backslashreplace").decode()
    if printable != path:
        error = "the name of the file or folder is not UTF-8; rename it"
    return Photo(
        path=printable,
        taxon=Taxon.from_dict({tree_rank: folder} if slash and error is None else {}),
        error=error,
    )


def _files(root: Path) -> Iterator[str]:
    """Yield photos below ``root``; linked folders are followed, each real folder once."""
    seen = {os.path.realpath(root)}

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}); check its rights")

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
