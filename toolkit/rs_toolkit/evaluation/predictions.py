"""Predictions of ``rs-toolkit predict`` as rows of a CSV file."""

from __future__ import annotations

from pathlib import Path

from rs_runtime.classify import Prediction

__all__ = ["csv_rows", "header"]


def header(top: int) -> list[str]:
    """Return the column names; ``top`` classes are listed."""
    numbered = [
        f"{name}_{place}" for place in range(1, top + 1) for name in ("class", "probability")
    ]
    return ["path", "rank", "name", "probability", *numbered, "error"]


def csv_rows(rows: list[list[object]], top: int, path: Path, found: Prediction | str) -> None:
    """Append a photo's row: its answer and classes, or what is wrong with it."""
    if isinstance(found, str):
        rows.append([str(path), *[""] * (3 + 2 * top), found])
        return
    answer = found.answer
    said = ["", "", ""]
    if answer is not None:
        said = [answer.rank or "", answer.name or "uncertain", f"{answer.probability:.6f}"]
    cells: list[object] = []
    for score in found.top:
        cells += [score.name, f"{score.probability:.6f}"]
    rows.append([str(path), *said, *cells, *[""] * (2 * top - len(cells)), ""])
