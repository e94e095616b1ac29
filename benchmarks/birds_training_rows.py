"""Rows of ``birds_training.py``: scores of a run, results of several sessions, gains, the table."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from common import grid
from numpy.typing import NDArray

from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.classification import accuracy, macro_f1, per_class

Row = dict[str, Any]
Sets = dict[str, dict[str, Any]]
SCORES = ("accuracy", "macro_f1", "rare_macro_f1")


def mark(value: Any) -> str:
    """Return eight digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def thirds(f1: NDArray[Any], support: NDArray[Any], sizes: NDArray[Any]) -> tuple[float, float]:
    """Return the mean F1 of the rarest and of the commonest third of the tested classes.

    All arguments are (classes,): F1, number of test photos, number of training photos.  Classes
    with equally many training photos are taken in the order of their numbers.
    """
    tested = np.flatnonzero(support)
    order = tested[np.argsort(sizes[tested], kind="stable")]
    third = max(1, len(order) // 3)
    return float(f1[order[:third]].mean()), float(f1[order[-third:]].mean())


def scores(run: Run) -> Row:
    """Return the scores of a finished run on its test photos, and what these are."""
    photos, labels = run.split("test")
    logits = run.test_logits()
    if logits is None:
        raise RuntimeError(f"{run.path}: no logits of the test photos")
    predicted, classes = logits.argmax(1), len(run.classes)
    each = per_class(labels, predicted, classes)
    _, learned = run.split("train")
    sizes = np.bincount(learned, minlength=classes)
    rare, common = thirds(each["f1"], each["support"], sizes)
    found = {
        "accuracy": accuracy(labels, predicted), "macro_f1": macro_f1(labels, predicted, classes),
        "rare_macro_f1": rare, "common_macro_f1": common,
    }  # fmt: skip
    counts = {side: len(run.split(side)[0]) for side in ("train", "val", "test")}
    same = mark(sorted(photo.path for photo in photos))
    return {**{k: round(v, 4) for k, v in found.items()}, **counts, "test_photos": same}


def merged(sets: Sets, name: str, part: str, row: Row) -> Sets:
    """Return the results with a row, which replaces one of the same seed, size and epochs.

    Raises
    ------
    RuntimeError
        Another row of this set and seed was measured on other test photos.
    """
    found = dict(sets.get(name, {}))
    without = dict(found.get("without", {}))
    main = part in ("probe", "stage_1", "best")
    rows = [old for old in (found if main else without).get(part, []) if key(old) != key(row)]
    for old in all_rows(found):
        if old["seed"] == row["seed"] and old["test_photos"] != row["test_photos"]:
            raise RuntimeError(
                f"{name}, seed {row['seed']}: {part} was measured on other test photos than the "
                "results hold; delete its work folder, or those results"
            )
    (found if main else without)[part] = sorted([*rows, row], key=key)
    return {**sets, name: {**found, "without": without}}


def key(row: Row) -> tuple[int, int, int]:
    """Return what tells the rows of a part from each other: size, epochs, seed."""
    return row["imgsz"], row["epochs"], row["seed"]


def all_rows(found: Mapping[str, Any]) -> Iterable[Row]:
    """Return all rows of a set."""
    main = [found.get(part, []) for part in ("probe", "stage_1", "best")]
    return [row for rows in (*main, *found.get("without", {}).values()) for row in rows]


def is_current(sets: Sets, main: Sequence[str], now: Callable[[str, str, Row], bool]) -> Sets:
    """Return the rows for which ``now`` is true, given set, part and row."""

    def kept(name: str, parts: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
        found = {part: [r for r in rows if now(name, part, r)] for part, rows in parts.items()}
        return {part: rows for part, rows in found.items() if rows}

    return {
        name: {
            **kept(name, {part: found.get(part, []) for part in main}),
            "without": kept(name, found.get("without", {})),
        }
        for name, found in sets.items()
    }


def paired(found: Mapping[str, Any], part: str, score: str = "macro_f1") -> list[float]:
    """Return what ``best`` has more than the recipe without a part, for each seed and size."""
    best = {key(row): row[score] for row in found.get("best", [])}
    rows = found.get("without", {}).get(part, [])
    return [round(best[key(row)] - row[score], 4) for row in rows if key(row) in best]


def gains(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the mean gain of macro-F1 by each part, and by a larger size, where measured."""
    pairs = {part: paired(found, part) for part in found.get("without", {})}
    best = {key(row): row["macro_f1"] for row in found.get("best", [])}
    sizes = sorted({imgsz for imgsz, *_ in best})
    for small, large in itertools.pairwise(sizes):
        pairs[f"{large} px instead of {small}"] = [
            value - best[small, *rest]
            for (imgsz, *rest), value in best.items()
            if imgsz == large and (small, *rest) in best
        ]
    return {part: round(float(np.mean(each)), 4) for part, each in pairs.items() if each}


def left_out(sets: Sets, wanted: Mapping[str, Sequence[str]], seeds: Sequence[int]) -> list[str]:
    """Return what was not measured at any size: set, part and seeds."""
    texts = []
    for name, parts in wanted.items():
        found = sets.get(name, {})
        for part in parts:
            rows = [*found.get(part, []), *found.get("without", {}).get(part, [])]
            missing = [seed for seed in seeds if seed not in {row["seed"] for row in rows}]
            if missing:
                texts.append(f"{name}, {part}: seed {', '.join(map(str, missing))}")
    return texts


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    mean = f"{float(np.mean(values)):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def _main_rows(sets: Sets) -> list[list[Any]]:
    rows = []
    for name, found in sets.items():
        for part in ("probe", "stage_1", "best"):
            of_part = found.get(part, [])
            for size in sorted({key(row)[:2] for row in of_part}):
                same = [row for row in of_part if key(row)[:2] == size]
                columns = [_spread([row[k] for row in same]) for k in (*SCORES, "common_macro_f1")]
                rows.append([name, part, *size, len(same), *columns])
    return rows


def _against_probe(sets: Sets) -> list[list[Any]]:
    """Rows of ``best`` less the probe; of probes at several sizes the better one of a seed."""
    rows = []
    for name, found in sets.items():
        probes: dict[int, Row] = {}
        for row in sorted(found.get("probe", []), key=lambda row: row["macro_f1"]):
            probes[row["seed"]] = row
        best = [row for row in found.get("best", []) if row["seed"] in probes]
        for size in sorted({key(row)[:2] for row in best}):
            same = [row for row in best if key(row)[:2] == size]
            more = [[row[k] - probes[row["seed"]][k] for row in same] for k in SCORES]
            gap = [row["common_macro_f1"] - row["rare_macro_f1"] for row in same]
            rows.append([name, *size, len(same), *map(_spread, (*more, gap))])
    return rows


def _parts(sets: Sets) -> list[list[Any]]:
    return [
        [name, part, len(pairs), *(_spread(paired(found, part, score)) for score in SCORES)]
        for name, found in sets.items()
        for part in found.get("without", {})
        if (pairs := paired(found, part))
    ]


def _machines(sets: Sets) -> str:
    rows = [row for found in sets.values() for row in all_rows(found)]
    found = sorted({(row["machine"], row["device"], row["tensorflow"]) for row in rows})
    lines = [f"- {cpu}; device {device}; TensorFlow {tf}" for cpu, device, tf in found]
    return "\n".join(lines) or "Nothing was measured yet."


def table(result: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    sets = result["sets"]
    f1 = ("accuracy", "macro-F1", "rarest third")
    head = ["set", "part", "px", "epochs", "seeds", *f1, "commonest third"]
    more = ["set", "px", "epochs", "seeds", *f1, "commonest less rarest third"]
    parts = ["set", "part", "pairs", *f1]
    missing = "\n".join(f"- {text}" for text in result["left_out"]) or "Nothing."
    return f"""# Training on real photos: the recipe, its parts, and the probe

Means over seeds, in brackets the lowest and the highest. A seed decides the split and the \
training. Thirds: of the tested classes by their number of training photos, mean F1. `probe` and \
`best` have learned from the same photos, those of validation too.

{grid(head, _main_rows(sets))}

## The recipe less the probe

Of probes at several sizes, the better one of each seed. The last column is of the recipe alone.

{grid(more, _against_probe(sets))}

## What each part of the recipe gains

The recipe less the recipe without the part, in pairs of the same seed, size and epochs.

{grid(parts, _parts(sets))}

## Measured on

{_machines(sets)}

## Not measured

{missing}
"""
