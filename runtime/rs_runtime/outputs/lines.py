"""The formats for reading while a run goes on: the table, and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from rs_runtime.console import counted, printable
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.pending import PendingText, Printed
from rs_runtime.results import Failure, Result
from rs_runtime.table import table_lines

__all__ = ["JsonLines", "Table", "TextFormat", "TextWriter"]


class TextFormat(Protocol):
    """A format of one text: its head, a piece for each result, and its tail."""

    def head(self) -> str:
        """Return what comes first."""

    def piece(self, found: Result) -> str:
        """Return what is written of one result, with its line break."""

    def tail(self) -> str:
        """Return what comes last."""


class _Lines:
    """Lines without head and tail; ``relative`` makes the path that is told."""

    def __init__(self, relative: Callable[[str | None], str | None]) -> None:
        self._relative = relative

    def head(self) -> str:
        return ""

    def tail(self) -> str:
        return ""


class Table(_Lines):
    """Lines for people.

    ``failures``: also of photos without an answer; their reasons are on standard error anyway.
    """

    def __init__(self, relative: Callable[[str | None], str | None], failures: bool) -> None:
        super().__init__(relative)
        self._failures = failures

    def piece(self, found: Result) -> str:
        """Return the lines of a photo."""
        if isinstance(found, Failure):
            told = printable(f"{self._relative(found.path)}  no answer: {found.problem}")
            return f"{told}\n" if self._failures else ""
        return table_lines(replace(found, path=self._relative(found.path))) + "\n"


class JsonLines(_Lines):
    """One JSON object a line, as ``to_dict`` of the results has it."""

    def piece(self, found: Result) -> str:
        """Return the line of a photo."""
        return json.dumps({**found.to_dict(), "path": self._relative(found.path)}) + "\n"


class TextWriter:
    """Writes a text format to a file, or prints it."""

    def __init__(self, form: TextFormat, target: PendingText | Printed, context: Context) -> None:
        self._form, self._target, self._context = form, target, context
        self._rows = 0
        self._write(form.head())

    def add(self, found: Result) -> None:
        """Write one result."""
        self._rows += 1
        self._write(self._form.piece(found))

    def close(self, complete: bool) -> None:
        """Write the tail, and put the file in its place."""
        self._write(self._form.tail())
        place = self._target.close(complete)
        if place is not None:
            self._context.tell(f"wrote {str(place)!r}: {counted(self._rows, 'photo')}")

    def discard(self) -> None:
        """Remove what was written."""
        self._target.discard()

    def _write(self, text: str) -> None:
        if text:
            self._target.write(text)
