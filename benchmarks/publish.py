"""What every benchmark ends with: its result as JSON and as a table, in ``results/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rs_toolkit.files import atomic_write, write_json

RESULTS = Path(__file__).resolve().parent / "results"


def publish(name: str, result: dict[str, Any], table: str) -> None:
    """Write ``results/NAME.json`` and ``results/NAME.md``, and print the table."""
    write_json(RESULTS / f"{name}.json", result)
    with atomic_write(RESULTS / f"{name}.md") as temporary:
        temporary.write_text(table, "utf-8")
    print(table)
