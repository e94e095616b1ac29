"""Parquet tables that hold the photos' bytes: the layout of Hugging Face's image data sets."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.errors import reason
from rs_runtime.photos.formats import photo_suffix
from rs_runtime.photos.photo import MAX_PHOTO_BYTES
from rs_toolkit.data.photos import SIDE_NAMES, Dataset, Photo
from rs_toolkit.data.readers import rows
from rs_toolkit.data.readers.unpack import MAX_UNPACKED_BYTES, unpack_once
from rs_toolkit.errors import DataError, MetadataError
from rs_toolkit.files import read_json, require_space, sha256_bytes, sha256_file, write_json

if TYPE_CHECKING:
    import pyarrow.parquet

__all__ = ["find_parquet", "read_parquet"]

_IMAGE = "image"
# Holds the file that each row was unpacked to, or the error, so that the bytes are read once.
_ROWS = "rows.json"
# Photos have up to 200 MB, and Arrow puts at most 2 GB into one array.
_PHOTOS_AT_ONCE = 8
# A row group may be one page, which Arrow reads and decompresses as a whole.
_MAX_ROW_GROUP_BYTES = 1_000_000_000
_LABELS_AT_ONCE = 10_000


def find_parquet(root: Path) -> list[Path]:
    """Return the Parquet files of a folder that have a column ``image``, by name.

    Files that cannot be read are among them, so that they are reported.
    """
    import pyarrow.parquet

    def may_hold_photos(path: Path) -> bool:
        try:
            return _IMAGE in pyarrow.parquet.read_schema(path).names
        except (pyarrow.ArrowException, OSError, ValueError):
            return True

    # The companions that macOS writes (._train.parquet) are no tables.
    files = [path for path in sorted(root.glob("[!.]*.parquet")) if path.is_file()]
    return [path for path in files if may_hold_photos(path)]


def read_parquet(files: Sequence[Path]) -> Dataset:
    """Read Parquet tables whose column ``image`` is ``struct<bytes: binary, path: string>``.

    The bytes are unpacked into the cache once, as ``<sha256>.<suffix>``; the data set's root is
    that folder.  Other columns are named as in a CSV file.  Whole numbers in a column that is a
    ``ClassLabel`` (key ``huggingface`` of the schema's metadata) stand for its names, -1 for
    none.  Where the table has no split, a file's name may give it, as Hugging Face writes them:
    ``train-00000-of-00002.parquet``.  A row is an error if it has no bytes, too many, an unknown
    format, or the same bytes as an earlier row.  Reading takes twice the memory of the largest row
    group, which may have 1 GB.

    Raises as :func:`rs_toolkit.data.readers.read_dataset` does.
    """
    tables = [_open(file) for file in files]
    digests = "".join(sha256_file(file) for file in files)
    key = hashlib.sha256(digests.encode()).hexdigest()
    root = unpack_once(key, lambda folder: _unpack(files, folder))
    try:
        saved = read_json(root / _ROWS)
        names, errors = list(saved["names"]), dict(saved["errors"])
        if len(names) != sum(table.rows for table in tables):
            raise ValueError(f"has {len(names)} rows")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{root / _ROWS}: damaged ({error}); delete its folder") from None
    photos = tuple(rows.keep_first(_photos(tables, names, errors), what="photo"))
    if not photos:
        raise MetadataError(f"{files[0]}: has no rows; add one per photo")
    return Dataset(root, photos, "parquet")


@dataclass(frozen=True)
class _Table:
    """One file.

    ``used`` maps the names of the columns that are read to the names that they are used under.
    ``classes`` has, by column, the names that whole numbers stand for; the last is for -1.
    """

    path: Path
    used: dict[str, str]
    classes: dict[str, list[str]]
    rows: int


@contextmanager
def _reading(path: Path) -> Iterator[pyarrow.parquet.ParquetFile]:
    """Open a file; an error while it is read becomes a DataError."""
    import pyarrow.parquet

    try:
        # Arrow's default is to read a row group before it is asked for.
        with pyarrow.parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            yield file
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        problem = f"cannot be read as Parquet ({reason(error)}); copy it again"
        raise DataError(f"{path}: {problem}") from None


def _open(path: Path) -> _Table:
    import pyarrow

    with _reading(path) as file:
        schema, about = file.schema_arrow, file.metadata
        groups = [about.row_group(n).total_byte_size for n in range(about.num_row_groups)]
    if max(groups, default=0) > _MAX_ROW_GROUP_BYTES:
        raise DataError(
            f"{path}: a row group has {max(groups)} bytes, wanted at most {_MAX_ROW_GROUP_BYTES}; "
            "write it with row_group_size=100"
        )
    names = rows.columns_of(path, schema.names, rows.DESCRIBING_COLUMNS, [rows.LABEL_COLUMNS])
    used = {given: name for given, name in zip(schema.names, names, strict=True) if name}
    place = schema.get_field_index(_IMAGE)
    kind = schema.field(place).type if place >= 0 else None
    if kind is None or not (
        pyarrow.types.is_struct(kind)
        and (part := kind.get_field_index("bytes")) >= 0
        and str(kind.field(part).type) in ("binary", "large_binary")
    ):
        raise MetadataError(
            f"{path}: column image is {kind and str(kind)[:80]}, wanted struct<bytes: binary, "
            "path: string>; write it with the datasets library, feature Image()"
        )
    return _Table(path, used, _classes(schema.metadata or {}), about.num_rows)


def _classes(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return the names of each column that Hugging Face's datasets library calls ClassLabel."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {
            column: [*map(str, feature["names"]), ""]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _rows(path: Path, columns: list[str], at_once: int) -> Iterator[dict[str, Any]]:
    """Yield a file's rows, of which at most ``at_once`` are in memory."""
    with _reading(path) as file:
        for batch in file.iter_batches(at_once, columns=columns):
            yield from batch.to_pylist()


def _unpack(files: Sequence[Path], folder: Path) -> None:
    require_space(folder, sum(file.stat().st_size for file in files))
    names: list[str] = []
    errors: dict[str, str] = {}
    total = 0
    for file in files:
        for row in _rows(file, [_IMAGE], _PHOTOS_AT_ONCE):
            data = (row[_IMAGE] or {}).get("bytes") or b""
            try:
                name = _store(data, folder)
            except ValueError as problem:
                name, errors[str(len(names))] = "", str(problem)
            names.append(name)
            total += len(data)
            if total > MAX_UNPACKED_BYTES:
                limit = f"more than {MAX_UNPACKED_BYTES} bytes"
                raise DataError(f"{file}: photos have {limit}; split it")
    write_json(folder / _ROWS, {"names": names, "errors": errors})


def _store(data: bytes, folder: Path) -> str:
    """Write a photo under the name that its bytes give it, and return that name."""
    if not data:
        raise ValueError("has no bytes; write the table with embedded photos")
    if len(data) > MAX_PHOTO_BYTES:
        raise ValueError(f"is larger than {MAX_PHOTO_BYTES} bytes; shrink it")
    if (suffix := photo_suffix(data)) is None:
        raise ValueError("is no JPEG, PNG, TIFF, BMP, WebP or GIF image; convert it")
    name = sha256_bytes(data) + suffix
    (folder / name).write_bytes(data)
    return name


def _photos(
    tables: Sequence[_Table], names: list[str], errors: dict[str, str]
) -> Iterator[tuple[str, Photo]]:
    numbers = count()
    for table in tables:
        side = SIDE_NAMES.get(re.split("[-._]", table.path.name.lower())[0])
        for line, row in enumerate(_rows(table.path, list(table.used), _LABELS_AT_ONCE), 1):
            number = next(numbers)
            error = errors.get(str(number))
            try:
                used = table.used.items()
                cells = {name: _cell(row[given], given, table.classes) for given, name in used}
            except ValueError as problem:
                error, cells = error or str(problem), {}
            photo = rows.described(cells, names[number], error)
            yield f"{table.path.name} row {line}", replace(photo, split=photo.split or side)


def _cell(value: Any, column: str, classes: Mapping[str, list[str]]) -> str:
    """Return a value as the text that a CSV file would hold."""
    if value is None:
        return ""
    if type(value) is int and column in classes:
        names = classes[column]
        if not -1 <= value < len(names) - 1:
            raise ValueError(f"{column} is {value}, wanted -1 to {len(names) - 2}; correct it")
        return names[value].strip()
    if type(value) not in (str, int, float):
        raise ValueError(f"{column} holds a {type(value).__name__}, wanted text; convert it")
    return str(value).strip()
