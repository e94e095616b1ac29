"""Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["cell", "markdown_table"]


def cell(text: str) -> str:
    """Return text that cannot break a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    marks = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, marks, *rows))
