"""Write and read Parquet tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from rs_runtime.errors import reason
from rs_toolkit.errors import DataError
from rs_toolkit.files import atomic_write

__all__ = ["read_table", "write_columns", "write_table"]

Row = TypeVar("Row")


def write_table(path: Path, rows: Iterable[dict[str, Any]], schema: Any) -> None:
    """Write rows, each a dict of values by column, as a Parquet file, atomically."""
    rows = list(rows)
    write_columns(path, {name: [row.get(name) for row in rows] for name in schema.names}, schema)


def write_columns(path: Path, columns: dict[str, list[Any]], schema: Any) -> None:
    """Write the values of all rows by column as a Parquet file, atomically."""
    import pyarrow.parquet

    table = pyarrow.table(columns, schema=schema)
    with atomic_write(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def read_table(
    path: Path,
    build: Callable[[dict[str, Any]], Row],
    schemas: Iterable[Any],
    kind: str,
    advice: str,
) -> tuple[Row, ...]:
    """Read a table that has one of the ``schemas``, and return ``build(row)`` for each row.

    The metadata of the schemas must match too.  ``build`` raises ValueError or TypeError to refuse
    a row.  Errors say what the file should be (``kind``: ``an index``) and the fix (``advice``).

    Raises
    ------
    DataError
        The file is missing or damaged, has another schema, or ``build`` refused a row.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        if not any(table.schema.equals(schema, check_metadata=True) for schema in schemas):
            raise ValueError(f"not {kind} of this version")
        return tuple(build(row) for row in table.to_pylist())
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as {kind} ({reason(error)}); {advice}") from None
