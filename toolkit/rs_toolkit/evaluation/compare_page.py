"""A comparison of runs for people: tables on the terminal, and one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rs_runtime.console import printable
from rs_toolkit.audit.charts import lines, whiskers
from rs_toolkit.audit.html import print_table
from rs_toolkit.audit.plots import page, table, text
from rs_toolkit.evaluation.shown import with_limits
from rs_toolkit.files import atomic_write, write_json

__all__ = ["print_comparison", "write_comparison"]

_SCORES = ("run", "photos", "accuracy", "macro-F1")
_GAPS = ("run", "best epoch", "training", "validation", "gap")
_GAINS = ("points gained", "photos", "accuracy", "macro-F1")
_GAP_TEXT = (
    "Macro-F1 at the best epoch, on validation photos and on training photos without augmentation, "
    "as many of each class. The larger the gap, the more the model has learned by heart."
)
_SCORE_TEXT = (
    "In brackets: limits of the 95% interval over groups of photos. Runs that are measured on the "
    "same photos are told apart by the gains below, not by these intervals."
)
_GAIN_TEXT = (
    "Points (of 100) that a run gains over the first one on the test photos that both have, with "
    "the limits of the 95% interval. Where 0 is inside, these photos cannot tell which is better."
)
_CHOICE_TEXT = (
    "Choose by validation: of several runs, the one with the best score on the test photos looks "
    "better than it is."
)


def write_comparison(found: Mapping[str, Any], folder: Path) -> Path:
    """Write ``compare.json`` and ``compare.html``; return the path of the page."""
    write_json(folder / "compare.json", found)
    path = folder / "compare.html"
    with atomic_write(path) as temporary:
        temporary.write_text(_html(found), "utf-8", newline="\n")
    return path


def print_comparison(found: Mapping[str, Any]) -> None:
    """Print scores, gaps, gains and notes."""
    runs = found["runs"]
    print_table(_SCORES, _scores(runs))
    print_table(_GAPS, _gaps(runs))
    print_table(_GAINS, _gains(runs))
    print_table(("run", "settings other than the first's"), _changes(found))
    for note in found["notes"]:
        print(printable(note))


def _scores(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            run["name"],
            f"{run['photos']:,}",
            with_limits(run["accuracy"]),
            with_limits(run["macro_f1"]),
        )
        for run in runs
    ]


def _gaps(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows = []
    for run in runs:
        best = run["best"]
        epoch = "–" if best["epoch"] is None else f"{best['epoch']:.0f}"
        figures = (best["train_macro_f1"], best["val_macro_f1"], run["gap"])
        rows.append((run["name"], epoch, *map(_number, figures)))
    return rows


def _gains(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    rows = []
    for run in runs:
        if (gain := run["against_first"]) is not None:
            figures = (_signed(gain[name]) for name in ("accuracy", "macro_f1"))
            rows.append((run["name"], f"{gain['photos']:,}", *figures))
    return rows


def _changes(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return for each run but the first the settings that it has changed."""
    rows: list[tuple[str, ...]] = []
    for place, run in enumerate(found["runs"][1:], 1):
        columns = found["settings"].items()
        changed = [f"{key} {col[place]}" for key, col in columns if col[place] != col[0]]
        rows.append((run["name"], ", ".join(changed)))
    return rows


def _settings(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, *("–" if value is None else str(value) for value in column))
        for name, column in found["settings"].items()
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(gain: Mapping[str, Any]) -> str:
    value, *limits = (gain[name] and 100 * gain[name] for name in ("value", "low", "high"))
    if None in limits:
        return f"{value:+.1f}"
    return f"{value:+.1f} ({limits[0]:+.1f} to {limits[1]:+.1f})"


def _html(found: Mapping[str, Any]) -> str:
    runs = found["runs"]
    title = f"{len(runs)} runs compared"
    parts = [
        f"<h1>{text(title)}</h1>\n",
        *(f'<p class="alarm">{text(note)}</p>\n' for note in found["notes"]),
        *_overfitting(runs),
        "<h2>Scores on the test photos</h2>\n",
        f"<p>{_SCORE_TEXT}</p>\n",
        table(_SCORES, _scores(runs), numbers=True),
        f'<div class="plots">{_plots(runs, ("accuracy", "macro_f1"))}</div>\n',
        *_differences(runs),
        "<h2>Settings that differ</h2>\n",
        table(("setting", *(run["name"] for run in runs)), _settings(found)),
    ]
    return page(title, parts)


def _overfitting(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"<h2>Gap between training and validation</h2>\n<p>{_GAP_TEXT}</p>\n"
    yield table(_GAPS, _gaps(runs), numbers=True)
    gaps = [(run["name"], _points(run, "train_macro_f1", "val_macro_f1")) for run in runs]
    axes = ("epoch", "macro-F1")
    yield '<div class="plots">'
    shown = [gap for gap in gaps if gap[1]]
    # There are six colours.
    yield lines("Training less validation", shown, axes, dashed=6 * [False] + 6 * [True])
    for run in runs:
        sides = [
            (name, _points(run, key))
            for name, key in (("training", "train_macro_f1"), ("validation", "val_macro_f1"))
        ]
        shown = [(name, points) for name, points in sides if points]
        yield lines(run["name"], shown, axes, dashed=(len(shown) > 1, False))
    yield "</div>\n"


def _points(run: Mapping[str, Any], key: str, less: str = "") -> list[tuple[float, float]]:
    """Return a figure of each epoch that has it, or the difference of two."""
    points = []
    for row in run["epochs"]:
        needed = [row["epoch"], row[key], row[less] if less else 0.0]
        if None not in needed:
            points.append((needed[0], needed[1] - needed[2]))
    return points


def _differences(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    paired = [{**run["against_first"], "name": run["name"]} for run in runs if run["against_first"]]
    if not paired:
        return
    yield f"<h2>Gains over {text(runs[0]['name'])}</h2>\n<p>{_GAIN_TEXT}</p>\n"
    yield f"<p>{_CHOICE_TEXT}</p>\n"
    yield table(_GAINS, _gains(runs), numbers=True)
    yield f'<div class="plots">{_plots(paired, ("accuracy", "macro_f1"))}</div>\n'


def _plots(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    titles = {"accuracy": "Accuracy", "macro_f1": "Macro-F1"}
    return "".join(
        whiskers(
            titles[key],
            [(row["name"], *(row[key][part] for part in ("value", "low", "high"))) for row in rows],
        )
        for key in keys
    )
