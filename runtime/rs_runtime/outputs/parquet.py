"""Parquet: the columns of CSV with their types, for pandas, R, DuckDB."""

from __future__ import annotations

import contextlib
from typing import Any

from rs_runtime.console import counted
from rs_runtime.errors import OutputError
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.pending import PendingFile
from rs_runtime.outputs.rows import Cell, columns, row
from rs_runtime.results import Result

__all__ = ["Parquet"]

_ROWS = 4_000


class Parquet:
    """Writes groups of rows, so that memory does not grow with the number of photos.

    Raises
    ------
    OutputError
        pyarrow is not installed.
    """

    def __init__(self, context: Context, file: PendingFile) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            file.discard()
            raise OutputError(
                "--format parquet needs pyarrow: pip install 'rs-toolkit[parquet]'"
            ) from error
        kinds = {str: pyarrow.string(), float: pyarrow.float64(), int: pyarrow.int32()}
        self._context, self._file = context, file
        fields = [(name, kinds[kind]) for name, kind in columns(context).items()]
        self._schema = pyarrow.schema(fields)
        self._make = pyarrow.Table.from_pylist
        self._writer: Any = parquet.ParquetWriter(file.temporary, self._schema)
        self._rows: list[dict[str, Cell]] = []
        self._count = 0

    def add(self, found: Result) -> None:
        """Take one result."""
        cells = row(found, self._context)
        self._rows.append({name: _text(cell) for name, cell in cells.items()})
        self._count += 1
        if len(self._rows) >= _ROWS:
            self._flush()

    def close(self, complete: bool) -> None:
        """Write the rest, and put the file in its place."""
        self._flush()
        self._writer.close()
        place = self._file.close(complete)
        self._context.tell(f"wrote {str(place)!r}: {counted(self._count, 'photo')}")

    def discard(self) -> None:
        """Remove what was written."""
        # What cannot be written is not wanted any more.
        with contextlib.suppress(OSError):
            self._writer.close()
        self._file.discard()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._make(self._rows, schema=self._schema))
            self._rows = []


def _text(cell: Cell) -> Cell:
    """Return a cell whose text is UTF-8, as Parquet wants it."""
    return cell.encode("utf-8", "backslashreplace").decode() if isinstance(cell, str) else cell
