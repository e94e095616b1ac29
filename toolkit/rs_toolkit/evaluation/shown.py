"""Scores as the cells of tables, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "HEAD",
    "NAMED_HEAD",
    "SHORT_HEAD",
    "named_rows",
    "rank_rows",
    "short_rows",
    "with_limits",
]

HEAD = ("rank", "photos", "taxa", "accuracy", "top-5", "macro-F1", "ECE")
SHORT_HEAD = ("rank", "photos", "accuracy", "top-5", "macro-F1", "ECE")
NAMED_HEAD = ("named at", "photos", "share", "right")


def with_limits(found: Mapping[str, Any] | None) -> str:
    """Return an estimate with the limits of its interval, as text."""
    if found is None:
        return "–"
    if found["low"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f}–{found['high']:.3f})"


def rank_rows(ranks: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows of the table :data:`HEAD`."""
    return [
        (
            row["rank"].replace("_", " "),
            f"{row['photos']:,}",
            f"{row['taxa']:,}",
            *(with_limits(row[name]) for name in ("accuracy", "top5", "macro_f1")),
            "–" if row["ece"] is None else f"{row['ece']:.3f}",
        )
        for row in ranks
    ]


def short_rows(ranks: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the rows of the table SHORT_HEAD, which fits on a terminal of 80 columns."""
    rows: list[tuple[str, ...]] = []
    for row, (rank, photos, _, *_, ece) in zip(ranks, rank_rows(ranks), strict=True):
        top5 = "–" if row["top5"] is None else f"{row['top5']['value']:.3f}"
        rows.append((rank, photos, _short(row["accuracy"]), top5, _short(row["macro_f1"]), ece))
    return rows


def _short(found: Mapping[str, Any] | None) -> str:
    if found is None or found["low"] is None:
        return with_limits(found)
    low, high = (f"{found[name]:.2f}" for name in ("low", "high"))
    return f"{found['value']:.3f} ({low}–{high})"


def named_rows(named: Mapping[str, Any] | None) -> list[tuple[str, ...]]:
    """Return the rows of the table :data:`NAMED_HEAD`; none without thresholds."""
    if named is None:
        return []
    rows = [
        (
            row["rank"].replace("_", " "),
            f"{row['named']:,}",
            f"{row['share']:.1%}",
            with_limits(row["right"]),
        )
        for row in named["ranks"]
    ]
    total = sum(row["named"] for row in named["ranks"]) + named["uncertain"]
    share = named["uncertain"] / max(1, total)
    return [*rows, ("uncertain", f"{named['uncertain']:,}", f"{share:.1%}", "")]
