"""Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["by_name", "cell", "markdown_table"]


def cell(text: str) -> str:
    """Return text on one line with ``|`` escaped, which cannot break a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, all columns but the first right-aligned."""
    marks = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))


def by_name(rows: Mapping[str, Mapping[str, Any]], columns: Mapping[str, tuple[str, str]]) -> str:
    """Return a table of variants; ``columns`` maps a row's keys to headings and number formats."""
    head = ["variant", *(heading for heading, _ in columns.values())]
    cells = [
        [name, *(f"{row[key]:{form}}" if key in row else "" for key, (_, form) in columns.items())]
        for name, row in rows.items()
    ]
    return markdown_table(head, cells)
