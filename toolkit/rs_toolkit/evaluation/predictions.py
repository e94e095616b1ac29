"""Predictions of ``rs-toolkit predict`` as rows of a CSV file."""

from __future__ import annotations

from rs_runtime.results import Failure, Result

__all__ = ["csv_rows", "header"]


def header(top: int) -> list[str]:
    """Return the column names; ``top`` classes are listed."""
    numbered = [
        f"{name}_{place}" for place in range(1, top + 1) for name in ("class", "probability")
    ]
    return ["path", "rank", "name", "probability", *numbered, "error"]


def csv_rows(rows: list[list[object]], top: int, found: Result) -> None:
    """Append a photo's row: its answer and classes, or what is wrong with it."""
    if isinstance(found, Failure):
        rows.append([found.path, *[""] * (3 + 2 * top), found.problem])
        return
    answer = found.answer
    said = ["", "", ""]
    if answer is not None:
        said = [answer.rank or "", answer.name or "uncertain", f"{answer.probability:.6f}"]
    cells: list[object] = []
    for score in found.top:
        cells += [score.name, f"{score.probability:.6f}"]
    rows.append([found.path, *said, *cells, *[""] * (2 * top - len(cells)), ""])
