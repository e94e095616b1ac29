"""Parquet tables with one row per photo, which stages leave on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from rs_runtime.errors import reason
from rs_toolkit.errors import DataError
from rs_toolkit.files import atomic_write

__all__ = ["read_table", "write_table"]

Row = TypeVar("Row")


def write_table(path: Path, rows: Iterable[dict[str, Any]], schema: Any) -> None:
    """Write rows, each of them values by column, atomically."""
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(list(rows), schema=schema)
    with atomic_write(path) as temporary:
        pyarrow.parquet.write_table(table, temporary, compression="zstd")


def read_table(
    path: Path,
    build: Callable[[dict[str, Any]], Row],
    schemas: Iterable[Any],
    kind: str,
    advice: str,
) -> tuple[Row, ...]:
    """Return what ``build`` makes of each row of a table, which has one of the ``schemas``.

    Metadata of the schema count.  ``build`` may raise ValueError or TypeError.  ``kind`` is what
    the file should be (``an index``), ``advice`` what to do if it is not.

    Raises
    ------
    DataError
        The file is missing, damaged or of another schema, or ``build`` refused a row.
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
