"""The options of ``rs-classify`` that say what is written, and where."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rs_runtime.console import positive
from rs_runtime.errors import OutputError

if TYPE_CHECKING:
    from datetime import timezone

__all__ = [
    "FORMATS",
    "TEXT_FORMATS",
    "add_output_options",
    "format_of",
    "offset",
    "output_defaults",
]

TEXT_FORMATS = ("table", "jsonl", "csv", "speciesnet", "megadetector")
"""Formats of one text, which can also be printed."""

FORMATS = (*TEXT_FORMATS, "parquet", "camtrap-dp", "darwin-core")

_BY_SUFFIX = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_NEED_NAME = {".json": "speciesnet or megadetector", ".zip": "darwin-core"}


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; their values are what :class:`rs_runtime.outputs.writers.Outputs` takes.

    The defaults ask for a table on standard output.
    """
    _add_format_options(parser.add_argument)
    _add_study_options(parser.add_argument)
    _add_other_options(parser.add_argument)
    # Offsets west of Greenwich are values and no options; argparse has no public setting for it.
    parser._negative_number_matcher = re.compile(r"-\.?\d[\d:.]*$")


def _add_format_options(add: Callable[..., object]) -> None:
    add(
        "--format",
        choices=FORMATS,
        help="what is written; docs/outputs.md (default: by the suffix of --output, else table)",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FILE|FOLDER",
        help="write to this file, or for camtrap-dp to this new folder, and not to standard output",
    )
    add("--json", action="store_true", help="short for --format jsonl: one JSON object per line")


def _add_study_options(add: Callable[..., object]) -> None:
    add(
        "--deployments",
        type=Path,
        metavar="FILE",
        help="deployments.csv of Camtrap DP: where and when the cameras stood, for camtrap-dp and "
        "darwin-core",
    )
    add(
        "--timezone",
        type=offset,
        metavar="OFFSET",
        help="offset from UTC of times in photos that do not say it, such as +03:00 or UTC",
    )
    add(
        "--metadata",
        type=Path,
        metavar="FILE",
        help="a datapackage.json whose project, contributors and licences camtrap-dp takes",
    )


def _add_other_options(add: Callable[..., object]) -> None:
    add(
        "--page",
        type=Path,
        metavar="FILE",
        help="also write an HTML page with thumbnails, by taxon",
    )
    add(
        "--sort-into",
        type=Path,
        metavar="FOLDER",
        help="also copy the photos into folders named after the answers; nothing is overwritten",
    )
    add("--link", action="store_true", help="with --sort-into: hard links and no copies")
    add(
        "--undo-sort",
        type=Path,
        metavar="FOLDER",
        help="remove the copies and links that --sort-into made there and that are unchanged",
    )
    add(
        "--explain",
        type=Path,
        metavar="FOLDER",
        help="also draw for each photo what mattered for its answer; slow: the model runs 50 times "
        "for each photo",
    )
    add(
        "--explain-grid",
        type=positive,
        metavar="N",
        help="N x N places are covered in turn for --explain, N x N + 1 runs for each photo "
        "(default: 7)",
    )


def output_defaults() -> dict[str, Any]:
    """Return the values of the options if none is given."""
    parser = argparse.ArgumentParser()
    add_output_options(parser)
    return vars(parser.parse_args([]))


def format_of(options: argparse.Namespace) -> str:
    """Return the format that was asked for.

    Raises
    ------
    OutputError
        Options contradict each other, or the format must be named.
    """
    if options.json:
        if options.format not in (None, "jsonl"):
            raise OutputError(f"--json is --format jsonl; leave it out for {options.format}")
        return "jsonl"
    asked: str | None = options.format
    if options.output is None:
        if asked not in (None, *TEXT_FORMATS):
            raise OutputError(f"--format {asked} needs --output: it is not printed")
        return asked or "table"
    suffix = options.output.suffix.lower()
    if asked is None and suffix in _NEED_NAME:
        formats = _NEED_NAME[suffix]
        raise OutputError(f"--output {str(options.output)!r}: add --format {formats}")
    return asked or _BY_SUFFIX.get(suffix, "table")


def offset(text: str) -> timezone:
    """Return an offset from UTC, such as +03:00 or UTC, or raise ArgumentTypeError."""
    from datetime import timedelta, timezone

    match = re.fullmatch(r"([+-])(\d\d):?(\d\d)", text)
    if text.upper() in ("UTC", "Z"):
        return timezone(timedelta(0))
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        wanted = "an offset such as +03:00, or UTC"
        raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
    size = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-size if match[1] == "-" else size)
