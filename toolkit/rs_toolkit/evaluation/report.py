"""The results of a validation as files, and as a short table on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rs_runtime.filter import FilterVerdict
from rs_toolkit.audit.html import print_table
from rs_toolkit.data.photos import Photo
from rs_toolkit.evaluation.page import html
from rs_toolkit.evaluation.scores import Judged
from rs_toolkit.evaluation.shown import NAMED_HEAD, SHORT_HEAD, named_rows, short_rows
from rs_toolkit.evaluation.truth import UNLABELLED
from rs_toolkit.files import atomic_write, write_csv, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Row", "print_scores", "write_report"]


class Row(NamedTuple):
    """A photo, the side on which the model has learned from it, and the filter's verdict."""

    photo: Photo
    seen: str | None
    filter: FilterVerdict | None


def write_report(
    found: Mapping[str, Any],
    judged: Judged,
    rows: Sequence[Row],
    folder: Path,
    pixels: Callable[[Photo], NDArray[np.uint8]],
) -> Path:
    """Write ``val.json``, ``predictions.csv`` and ``val.html``; return the path of the page.

    ``rows`` are the photos of ``judged``, and ``pixels`` returns a photo as uint8 RGB (S, S, 3).
    """
    write_csv(folder / "predictions.csv", _columns(judged), _predictions(judged, rows))
    write_json(folder / "val.json", found)
    page = folder / "val.html"
    with atomic_write(page) as temporary:
        text = html(found, judged, [row.photo for row in rows], [row.seen for row in rows], pixels)
        temporary.write_text(text, "utf-8", newline="\n")
    return page


def print_scores(found: Mapping[str, Any]) -> None:
    """Print the scores at each rank, and what is named by the thresholds."""
    print_table(SHORT_HEAD, short_rows(found["ranks"]))
    print_table(NAMED_HEAD, named_rows(found["named"]))
    if unknown := found["unknown"]["photos"]:
        print(f"counted apart: {unknown} photos of taxa that the model does not know")
    for side, seen in found["seen"].items():
        print(f"counted apart: {seen['photos']} photos that the model has learned from ({side})")


def _columns(judged: Judged) -> list[str]:
    ranks = [level.rank for level in judged.levels]
    columns = [f"{part}_{rank}" for rank in ranks for part in ("label", "predicted", "probability")]
    answer = ("answer_rank", "answer", "answer_probability", "answer_right")
    return ["path", "counted", "right", *answer, *columns, "filter", "filter_probability"]


def _predictions(judged: Judged, rows: Sequence[Row]) -> Iterator[Sequence[object]]:
    """Yield a line for each photo; empty cells are unknown."""
    taxa = [level.probabilities(judged.probabilities) for level in judged.levels]
    unknown = judged.unknown
    for number, row in enumerate(rows):
        cells: list[object] = []
        for place, level in enumerate(judged.levels):
            best = int(taxa[place][number].argmax())
            label = row.photo.label(level.rank)
            true = int(judged.truth[number, place])
            shown = level.names[true] if true >= 0 else label
            cells += [shown, level.names[best], f"{taxa[place][number, best]:.6f}"]
        counted = row.seen or ("unknown" if unknown[number] else "yes")
        true, given = judged.truth[number, 0], judged.probabilities[number].argmax()
        right = "" if true == UNLABELLED else _word(bool(true == given))
        verdict = row.filter and (row.filter.verdict, f"{row.filter.probability:.6f}")
        yield [
            *(row.photo.path, counted, right),
            *_answer(judged, number),
            *cells,
            *(verdict or ("", "")),
        ]


def _answer(judged: Judged, number: int) -> tuple[object, ...]:
    if not judged.answers:
        return ("", "", "", "")
    found = judged.answers[number]
    if found is None:
        return ("", "uncertain", "", "")
    right = judged.right(found, number)
    name = found.level.names[found.place]
    said = "" if right is None else _word(right)
    return found.level.rank, name, f"{found.probability:.6f}", said


def _word(holds: bool) -> str:
    return "yes" if holds else "no"
