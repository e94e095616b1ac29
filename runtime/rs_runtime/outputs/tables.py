"""CSV text: safe for spreadsheets, or as a standard wants it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from urllib.parse import quote

from rs_runtime.outputs.context import Context
from rs_runtime.outputs.rows import Cell, columns, row
from rs_runtime.results import Result

__all__ = ["Csv", "csv_line", "guarded", "url_path"]

# What Camtrap DP wants of a path, and no line breaks or bytes that are no text.
_PATH = re.compile(r"(?![./~])(?!.*\.\.)[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*")
# What spreadsheets take for the start of a formula (OWASP, "CSV Injection"), and the guard itself,
# so that a program gets every text back by removing one apostrophe.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def guarded(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_line(cells: Iterable[Cell], end: str = "\r\n") -> str:
    """Return a line of CSV (RFC 4180); None is an empty cell, numbers have up to 7 decimals."""
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerow(_plain(cell) for cell in cells)
    return text.getvalue()


def _plain(cell: Cell) -> Cell:
    return f"{cell:.7f}".rstrip("0").rstrip(".") if isinstance(cell, float) else cell


def url_path(path: str) -> str:
    """Return a path as the standards take it: percent-encoded (RFC 3986) where it has to be."""
    if _PATH.fullmatch(path):
        return path
    quoted = quote(path.encode("utf-8", "surrogateescape")).replace("..", "%2E%2E")
    return f"%{ord(quoted[0]):02X}{quoted[1:]}" if quoted[0] in "./~" else quoted


class Csv:
    """One row for each photo, for spreadsheets and statistics."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._columns = columns(context)

    def head(self) -> str:
        """Return the names of the columns."""
        return csv_line(self._columns)

    def piece(self, found: Result) -> str:
        """Return the row of a photo."""
        cells = row(found, self._context)
        values = (cells.get(name) for name in self._columns)
        return csv_line(guarded(cell) if isinstance(cell, str) else cell for cell in values)

    def tail(self) -> str:
        """Return nothing."""
        return ""
