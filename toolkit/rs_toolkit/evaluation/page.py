"""The HTML page of a validation: tables and plots, self-contained, without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.audit.html import thumbnail
from rs_toolkit.audit.plots import bars, curve, page, table, text
from rs_toolkit.data.photos import Photo
from rs_toolkit.evaluation.scores import Judged
from rs_toolkit.evaluation.shown import HEAD, NAMED_HEAD, named_rows, rank_rows, with_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["html", "mistake_parts", "score_parts"]

_MOST = 200
_PICTURES = 24


def html(
    found: Mapping[str, Any],
    judged: Judged,
    photos: Sequence[Photo],
    seen: Sequence[str | None],
    pixels: Callable[[Photo], NDArray[np.uint8]],
) -> str:
    """Return the page of a validation; ``found`` is the content of val.json."""
    model = found["model"]
    title = f"{model['name']}, {model['variant']}"
    data = found["data"]
    parts = [
        f"<h1>{text(title)}: validation</h1>\n",
        f"<p>{text(data['path'] or data['root'])}, split {text(data['split'])}</p>\n",
        *_warning(found),
        *score_parts(found),
        *_named(found),
        *_apart(found),
        *_classes(found),
        *mistake_parts(judged, photos, seen, pixels),
    ]
    return page(f"{title}: validation", parts)


def _warning(found: Mapping[str, Any]) -> Iterator[str]:
    split = found["data"]["split"]
    if split in found["data"]["learned"] and found["data"]["learned_from_checked"]:
        yield f'<p class="alarm">The model has learned from these {split} photos.</p>\n'
    elif not found["data"]["learned_from_checked"]:
        yield (
            '<p class="alarm">It was not checked whether the model was trained on some of these '
            "photos.</p>\n"
        )


def score_parts(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield figures, the table of scores at each rank, and plots of certainty."""
    first = found["ranks"][0]
    figures = [
        ("photos of known taxa", f"{found['photos']:,}"),
        ("groups of photos", f"{found['groups']:,}"),
        *((title, with_limits(first[key])) for title, key in _TITLES),
    ]
    cards = (f'<div class="card"><b>{text(v)}</b>{text(name)}</div>\n' for name, v in figures)
    yield f'<div class="cards">{"".join(cards)}</div>\n'
    yield "<h2>Scores at each rank</h2>\n"
    yield (
        "<p>A coarser rank has the summed probabilities of its classes. In brackets: limits of "
        "the 95% interval over groups of photos. ECE: expected calibration error.</p>\n"
    )
    yield table(HEAD, rank_rows(found["ranks"]), numbers=True)
    yield '<h2>Certainty</h2>\n<div class="plots">'
    points = [(row["confidence"], row["accuracy"]) for row in found["reliability"]]
    axes = ("confidence", "right")
    yield curve("Calibration: right as often as confident?", points, axes, diagonal=True)
    points = [(row["share"], row["accuracy"]) for row in found["selective"]]
    yield curve("Only the most confident photos", points, ("share of photos", "right")) + "</div>\n"


_TITLES = (("accuracy", "accuracy"), ("top-5", "top5"), ("macro-F1", "macro_f1"))


def _named(found: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>What is named</h2>\n"
    if found["named"] is None:
        yield "<p>The model has no thresholds.</p>\n"
        return
    yield "<p>Each photo is named at the finest rank that reaches its threshold.</p>\n"
    yield table(NAMED_HEAD, named_rows(found["named"]), numbers=True)

    if found["sets"]:
        yield "<h2>Sets of classes</h2>\n"
        yield "<p>How often the true class is in the set, for the coverage that is asked.</p>\n"
        rows = [
            (f"{row['coverage']:.0%}", with_limits(row["reached"]), f"{row['mean_size']:.1f}")
            for row in found["sets"]
        ]
        yield table(("coverage", "reached", "classes in a set"), rows, numbers=True)


def _strange(found: Mapping[str, Any]) -> Iterator[str]:
    strange = found["strangeness"]
    if strange is not None and strange["auroc"] is not None:
        known, unknown = (strange["strange"][name] for name in ("known", "unknown"))
        yield (
            f"<p>By their strangeness, photos of unknown taxa are told from the others with an "
            f"AUROC of {strange['auroc']:.3f}; called strange: {unknown:.1%} of them, and "
            f"{known:.1%} of the others.</p>\n"
        )


def _apart(found: Mapping[str, Any]) -> Iterator[str]:
    unknown = found["unknown"]
    if unknown["photos"]:
        yield f"<h2>Taxa that the model does not know: {unknown['photos']:,} photos</h2>\n"
        yield "<p>They are in no score above. At a coarser rank the model may know them.</p>\n"
        rows = [
            (row["rank"], row["unknown"], row["known"], with_limits(row["accuracy"]))
            for row in unknown["ranks"]
        ]
        head = ("rank", "unknown", "known", "accuracy on the known")
        yield table(head, rows, numbers=True)
        yield table(NAMED_HEAD, named_rows(unknown["named"]), numbers=True)
        yield from _strange(found)
    for side, scores in found["seen"].items():
        yield f"<h2>The model has learned from: {scores['photos']:,} {side} photos</h2>\n"
        yield "<p>They are in no score above.</p>\n"
        yield table(HEAD, rank_rows(scores["ranks"]), numbers=True)
    if found["filter"] is not None:
        yield "<h2>The filter</h2>\n"
        counts = {name.replace("_", " "): count for name, count in found["filter"].items()}
        yield bars("Photos by the filter's verdict", counts)


def _classes(found: Mapping[str, Any]) -> Iterator[str]:
    tested = [row for row in found["per_class"] if row["support"]]
    if not tested:
        return
    yield "<h2>Classes</h2>\n"
    ordered = sorted(tested, key=lambda row: (row["f1"], row["name"]))
    last = max(1, len(ordered) - 1)
    points = [(place / last, row["f1"]) for place, row in enumerate(ordered)]
    plot = curve("F1 by class", points, ("worst to best class", "F1"))
    yield f'<div class="plots">{plot}</div>\n'
    untested = len(found["per_class"]) - len(tested)
    yield f"<p>{untested:,} classes have no photo here.</p>\n" if untested else ""
    yield f"<details><summary>All {len(tested):,} classes, worst first</summary>\n"
    rows = [
        (row["name"], row["support"], *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")))
        for row in ordered
    ]
    yield table(("class", "photos", "precision", "recall", "F1"), rows, numbers=True)
    yield "</details>\n"
    if pairs := found["confusions"]:
        yield "<h2>Most frequent mistakes</h2>\n"
        shown = [(row["true"], row["named"], row["photos"]) for row in pairs[:_MOST]]
        yield table(("true", "named", "photos"), shown)


def mistake_parts(
    judged: Judged,
    photos: Sequence[Photo],
    seen: Sequence[str | None],
    pixels: Callable[[Photo], NDArray[np.uint8]],
) -> Iterator[str]:
    """Yield the photos that were named wrongly with the highest probabilities."""
    true, given = judged.truth[:, 0], judged.probabilities.argmax(axis=1)
    sure = judged.probabilities.max(axis=1)
    wrong = (true >= 0) & (true != given) & np.array([side is None for side in seen])
    worst = [row for row in np.argsort(-sure, kind="stable") if wrong[row]][:_PICTURES]
    if not worst:
        return
    names = judged.levels[0].names
    yield '<h2>Wrong, and most certain of it</h2>\n<div class="photos">'
    for row in worst:
        lines = (
            photos[row].path,
            f"is {names[true[row]]}",
            f"named {names[given[row]]} ({sure[row]:.0%})",
        )
        caption = "<br>".join(text(line) for line in lines)
        picture = thumbnail(photos[row], pixels)
        yield f"<figure>{picture}<figcaption>{caption}</figcaption></figure>\n"
    yield "</div>\n"
