"""Shared by the benchmarks: folders, options, tables, and writing of the results."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rs_export.tables import markdown_table
from rs_toolkit.environment import machine, versions
from rs_toolkit.files import atomic_write, write_json

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHARED = ROOT.parent / "shared"
# The run of ``birds_family.py``, which other benchmarks use too.
BIRDS_RUN = ROOT / "benchmarks" / "work" / "birds-family"
SIDES = ("train", "val", "test")


def options(text: str | None, *names: str, work: str = "") -> argparse.ArgumentParser:
    """Return a parser with those of the shared options ``data`` and ``weights`` that are named.

    ``work`` adds ``--work``; its default is the folder of this name in ``benchmarks/work/``.
    """
    parser = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    weights = SHARED / "weights" / "xception_imagenet_notop.weights.h5"
    defaults = {"data": SHARED / "data" / "birds", "weights": weights}
    for name in names:
        parser.add_argument(f"--{name}", type=Path, default=defaults[name])
    if work:
        parser.add_argument("--work", type=Path, default=BIRDS_RUN.with_name(work))
    return parser


def grid(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; floats get three decimals, and None an empty cell."""
    return markdown_table(head, [[_cell(value) for value in row] for row in rows])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def on(found: dict[str, str | int]) -> str:
    """Return a machine's processor and number of cores in words."""
    return f"{found['cpu']}, {found['cores']} cores"


def publish(
    name: str,
    result: dict[str, Any],
    table: Callable[[dict[str, Any]], str] | None = None,
    part: str = "",
) -> None:
    """Write ``results/NAME.json``, with machine and versions, and ``table`` to ``NAMEPART.md``."""
    result = {**result, "machine": machine(), "versions": versions()}
    write_json(RESULTS / f"{name}.json", result)
    if table is None:
        print(json.dumps(result, indent=2))
        return
    text = table(result)
    with atomic_write(RESULTS / f"{name}{part}.md") as temporary:
        temporary.write_text(text, "utf-8")
    print(text)
