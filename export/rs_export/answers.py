"""How far a classifier's answers and sets can be trusted, as report and model card tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rs_export.result import Measured
from rs_export.tables import markdown_table

__all__ = ["answers_section"]

# Fewer names say too little about the share that is right.
_ENOUGH = 30


def answers_section(models: Sequence[Measured], photos: int, precision: float) -> str:
    """Return which ranks models named the test photos at, whether that holds, and their sets.

    ``photos`` is the number of test photos, and ``precision`` the share of the names that are to
    be right, 0 to 1, for which the thresholds were fitted.
    """
    parts = [_answers(models, photos, precision), *_sets(models)]
    return "\n\n".join(parts)


def _answers(models: Sequence[Measured], photos: int, precision: float) -> str:
    ranks = list(dict.fromkeys(rank for item in models for rank in item.test.answered))
    if not ranks:
        return (
            "No photo is named: too few validation photos, or at no probability enough of the "
            "names are right. Every answer is `uncertain`."
        )
    rows = []
    for item in models:
        found, thresholds = item.test.answered, item.calibration.thresholds
        total = sum(row["named"] for row in found.values())
        cells = [
            f"{found[r]['named'] / photos:.1%}, {_right(found[r])} ({thresholds[r]:.2f})"
            if r in found
            else "never"
            for r in ranks
        ]
        rows.append([item.name, *cells, f"{1 - total / photos:.1%}"])
    head = ["named, right (threshold)", *ranks, "uncertain"]
    short = [text for item in models for text in _short(item, precision)]
    held = "; ".join(short) or "no rank of a model with names for 30 test photos or more"
    note = (
        f"Thresholds are fitted on validation photos, so that {precision:.0%} of the names at each "
        f"rank are right with a confidence of 90%. Below {precision:.0%} on the test photos: "
        f"{held}."
    )
    return f"{markdown_table(head, rows)}\n\n{note}"


def _right(counts: Mapping[str, Any]) -> str:
    return f"{counts['right'] / counts['named']:.1%}" if counts["named"] else "none"


def _short(item: Measured, precision: float) -> Iterator[str]:
    """Yield each rank at which fewer of the names were right than asked for."""
    for rank, row in item.test.answered.items():
        if row["named"] >= _ENOUGH and row["right"] < precision * row["named"]:
            yield (
                f"{item.name} at {rank}, {row['right']} of {row['named']} "
                f"(95% interval {row['low']:.1%} to {row['high']:.1%})"
            )


def _sets(models: Sequence[Measured]) -> list[str]:
    """Return a table of the sets' coverage on the test photos, if there are sets."""
    asked = list(dict.fromkeys(coverage for item in models for coverage in item.test.sets))
    if not asked:
        return []
    rows = []
    for item in models:
        found = (item.test.sets[coverage] for coverage in asked)
        cells = [
            f"{row['reached']:.1%}, {row['by_class']:.1%} ({row['size']:.1f})" for row in found
        ]
        rows.append([item.name, *cells])
    head = ["sets: held, by class (classes)", *(f"of {float(coverage):.0%}" for coverage in asked)]
    note = (
        "`rs-classify --coverage` gives sets of classes. Held: share of the test photos whose set "
        "holds the true class; by class: its mean over the classes; in brackets: the mean number "
        "of classes in a set."
    )
    return [markdown_table(head, rows), note]
