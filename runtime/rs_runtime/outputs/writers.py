"""Opens what the options ask for, and hands each result to all of it."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rs_runtime.errors import OutputError
from rs_runtime.outputs.context import Context, Writer
from rs_runtime.outputs.lines import JsonLines, Table, TextFormat, TextWriter
from rs_runtime.outputs.options import TEXT_FORMATS, format_of
from rs_runtime.outputs.pending import PendingFile, PendingFolder, PendingText, Printed
from rs_runtime.results import Result

if TYPE_CHECKING:
    from rs_runtime.classify import Classifier

__all__ = ["Outputs"]

# What is read, or is a file of its own, and what is written.
_READ = ("kit", "public_key", "boxes", "species", "sequences", "deployments", "metadata", "journal")
_GRID = 7
_WRITTEN = ("output", "csv", "page", "sort_into", "explain")


class Outputs:
    """Everything that a run writes; a context manager that discards what was not closed.

    It is opened before the first photo, so that what cannot be written is found then.

    Parameters
    ----------
    options
        As for :class:`rs_runtime.outputs.context.Context`; ``csv``, if there, is a file to which a
        CSV table is written too.
    tell
        Called with one line for the user.

    Raises
    ------
    OutputError
        Options contradict each other, or an output cannot be made there.
    OSError
        A file or folder cannot be written.
    """

    def __init__(
        self,
        classifier: Classifier,
        options: argparse.Namespace,
        tell: Callable[[str], object],
    ) -> None:
        self._writers: list[Writer] = []
        self._output = options.output or "output"
        context = Context(classifier, options, tell)
        try:
            for writer in _opened(context):
                self._writers.append(writer)
        except BaseException:
            self.__exit__()
            raise

    def add(self, found: Result) -> None:
        """Write one result everywhere."""
        with self._named():
            for writer in self._writers:
                writer.add(found)

    def close(self, complete: bool) -> None:
        """Put every output in its place; the first error is raised after the last of them."""
        problem: Exception | None = None
        while self._writers:
            writer = self._writers[0]
            try:
                with self._named():
                    writer.close(complete)
            except (OSError, OutputError) as error:
                writer.discard()
                problem = problem or error
            self._writers.pop(0)
        if problem is not None:
            raise problem

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the output in errors: unlike those of opening, those of writing do not say where."""
        try:
            yield
        except OSError as error:
            error.filename = error.filename or str(self._output)
            raise

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.discard()


def _opened(context: Context) -> Iterator[Writer]:
    options = context.options
    name = format_of(options)
    _check(name, options)
    yield _answers(name, context)
    if getattr(options, "csv", None) is not None:
        yield TextWriter(_text_format("csv", context), PendingText(options.csv), context)
    if options.page is not None:
        from rs_runtime.outputs.page import Page

        yield Page(context, PendingText(options.page))
    if options.sort_into is not None:
        from rs_runtime.outputs.sort import Sort

        yield Sort(context, options.sort_into, options.link)
    if options.explain is not None:
        from rs_runtime.outputs.explain import Explain

        yield Explain(context, options.explain, options.explain_grid or _GRID)


def _check(name: str, options: argparse.Namespace) -> None:
    """Refuse options that would do nothing."""
    if options.link and options.sort_into is None:
        raise OutputError("--link is for --sort-into; give a folder to sort into")
    if options.explain_grid is not None and options.explain is None:
        raise OutputError("--explain-grid is for --explain; give a folder to draw into")
    studies = ("camtrap-dp", "darwin-core")
    needed = {"deployments": studies, "timezone": studies, "metadata": studies[:1]}
    for option, formats in needed.items():
        if getattr(options, option) is not None and name not in formats:
            raise OutputError(f"--{option} is for --format {' or '.join(formats)}, not for {name}")
    _check_places(options)


def _check_places(options: argparse.Namespace) -> None:
    """Refuse to write over what is read, and over what is written too."""
    read = [*options.photos, *(getattr(options, option, None) for option in _READ)]
    taken = {os.path.realpath(path) for path in read if path is not None}
    for path in filter(None, (getattr(options, option, None) for option in _WRITTEN)):
        if (place := os.path.realpath(path)) in taken:
            raise OutputError(f"{str(path)!r} is named twice in this command; give another name")
        taken.add(place)


def _answers(name: str, context: Context) -> Writer:
    """Return the writer of the answers themselves."""
    output = context.options.output
    if name in TEXT_FORMATS:
        target = Printed() if output is None else PendingText(output)
        return TextWriter(_text_format(name, context), target, context)
    if name == "parquet":
        from rs_runtime.outputs.parquet import Parquet

        return Parquet(context, PendingFile(output))
    if name == "darwin-core":
        from rs_runtime.outputs.darwin_core import DarwinCore

        return DarwinCore(context, PendingFile(output))
    from rs_runtime.outputs.camtrap import CamtrapDP

    return CamtrapDP(context, PendingFolder(output))


def _text_format(name: str, context: Context) -> TextFormat:
    # What is printed keeps the paths as they were given.
    printed = context.options.output is None
    if name == "table":
        return Table(str if printed else context.relative, failures=not printed)
    if name == "jsonl":
        return JsonLines((lambda path: path) if printed else context.relative)
    if name == "csv":
        from rs_runtime.outputs.tables import Csv

        return Csv(context)
    from rs_runtime.outputs.detections import MegaDetector, SpeciesNet

    return SpeciesNet(context) if name == "speciesnet" else MegaDetector(context)
