"""The report of a benchmark: medians and ratios, tables, and a Pareto picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rs_export.tables import cell, markdown_table
from rs_runtime.probe import MEASURES
from rs_toolkit.files import atomic_write, write_json
from rs_toolkit.pictures import draw_picture, short

__all__ = ["pareto_front", "summarize", "tables", "write_benchmark"]

Table = tuple[list[str], list[list[str]]]

_COSTS = (
    ("start s", "cold_start_s"),
    ("RAM MB", "model_mb"),
    ("peak MB", "peak_mb"),
    ("model ms p50", "model_p50_ms"),
    ("p95", "model_p95_ms"),
    ("photo ms p50", "photo_p50_ms"),
    ("p95", "photo_p95_ms"),
    ("photos/s", "photos_per_s"),
    ("CPU s", "cpu_s_per_photo"),
)
_LATENCY = "model_p50_ms"
_FLOAT = ("tflite_fp32", "onnx_fp32")
_NOTES = (
    "MB: 10^6 bytes; xz MB: the model file compressed with xz. start: from start of the process to "
    "first answer, files in the page cache; RAM: memory that loading engine and model took; peak: "
    "most memory of the process. model: from pixels to probabilities; photo: from file to answer; "
    "CPU s: CPU time of all threads per photo, a proxy for energy."
)


def summarize(rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> Sequence[dict[str, Any]]:
    """Add to each row the medians of its probes and their ratios to a base; return the rows.

    Keys added: ``threads`` (for each thread count as text, the median of each measure; empty where
    the variant failed), ``base`` (name of a row), and, structured like ``threads``, ``ratios`` and
    ``spreads``: (highest - lowest probe) / median.
    """
    for row in rows:
        row["threads"], row["spreads"] = {}, {}
        for count in counts:
            probes = [] if row["error"] else [p for p in row["probes"] if p["threads"] == count]
            medians, spreads = dict[str, float | None](), dict[str, float]()
            for key in MEASURES if probes else ():
                values = [probe[key] for probe in probes if probe[key] is not None]
                middle = medians[key] = float(np.median(values)) if values else None
                if middle:
                    spreads[key] = float(np.ptp(values)) / middle
            row["threads"][str(count)], row["spreads"][str(count)] = medians, spreads
    for row in rows:
        base = _base(row, rows)
        row["base"] = base["name"]
        row["ratios"] = {
            count: {
                key: value / below
                for key, value in medians.items()
                if value and (below := base["threads"][count].get(key))
            }
            for count, medians in row["threads"].items()
        }
    return rows


def tables(result: Mapping[str, Any]) -> str:
    """Return a benchmark's tables as aligned plain text, followed by notes and failures."""
    parts = [_aligned(*_worth(result)), _aligned(*_costs(result)), *_remarks(result)]
    return "\n\n".join(parts)


def write_benchmark(
    result: Mapping[str, Any], folder: Path, note: Callable[[str], None]
) -> tuple[Path, Path, Path]:
    """Write benchmark.json, benchmark.md and pareto.png into ``folder``; return their paths.

    ``note`` is called with the reason where the picture cannot be drawn.
    """
    names = ("benchmark.json", "benchmark.md", "pareto.png")
    data, text, picture = (folder / name for name in names)
    write_json(data, result)
    draw_picture(picture, lambda: _pareto(result), note)
    with atomic_write(text) as temporary:
        temporary.write_text(_markdown(result, picture.name), "utf-8")
    return data, text, picture


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the Pareto-optimal points (cost, score), sorted by cost.

    No other point has a lower cost and no lower score, or a higher score and no higher cost.
    """
    front: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or score > front[-1][1]:
            front.append((cost, score))
    return front


def _base(row: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the row's base; :func:`rs_export.measure.benchmark.benchmark` says which it is."""
    others = [item for item in rows if item["against"]]
    same = [item for item in others if item["variant"] == row["variant"]]
    pool = others or list(rows)
    floats = [item for item in pool if item["variant"] in _FLOAT]
    return (same or floats or pool)[0]


def _worth(result: Mapping[str, Any]) -> Table:
    head = ["variant", "MB", "xz MB", "accuracy", "macro-F1", "scores"]
    rows = []
    for row in result["rows"]:
        photos = row["test_photos"]
        source = f"measured, n = {photos}" if photos else row["scores"] or "unknown"
        sizes = [_short(row[key]) for key in ("mb", "xz_mb")]
        scores = ["" if row[key] is None else f"{row[key]:.3f}" for key in ("accuracy", "macro_f1")]
        rows.append([row["name"], *sizes, *scores, source])
    return head, rows


def _costs(result: Mapping[str, Any]) -> Table:
    head = ["variant", "threads", *(title for title, _ in _COSTS), "ratio", "spread"]
    rows = [
        [
            row["name"],
            count,
            *(_short(medians[key]) for _, key in _COSTS),
            _short(row["ratios"][count].get(_LATENCY)),
            f"{row['spreads'][count][_LATENCY]:.0%}",
        ]
        for row in result["rows"]
        for count, medians in row["threads"].items()
        if medians
    ]
    return head, rows


def _remarks(result: Mapping[str, Any]) -> Iterator[str]:
    settings, hardware = result["settings"], result["machine"]
    yield (
        f"{hardware['cpu']}, {hardware['cores']} cores, {hardware['memory_gib']} GiB, "
        f"{hardware['system']}. Medians; rounds: {settings['rounds']}, each a fresh "
        f"process with {settings['repeat']} timed answers."
    )
    named: dict[str, list[str]] = {}
    for row in result["rows"]:
        named.setdefault(row["base"], []).append(row["name"])
    bases = [f"{base} (for {', '.join(names)})" for base, names in named.items()]
    yield (
        f"ratio: model p50 / model p50 of {'; '.join(bases if len(bases) > 1 else named)}. "
        "spread: (highest - lowest model p50 of the rounds) / median."
    )
    for row in result["rows"]:
        if row["error"]:
            yield f"{row['name']} failed: {row['error']}"


def _markdown(result: Mapping[str, Any], picture: str) -> str:
    made = (
        markdown_table(head, [[cell(text) for text in row] for row in rows])
        for head, rows in (_worth(result), _costs(result))
    )
    software = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    parts = [
        f"# Benchmark of {cell(result['kit'])}",
        *made,
        *map(cell, _remarks(result)),
        _NOTES,
        f"Python {result['machine']['python']}, {software}.",
        f"![macro-F1 against latency]({picture})",
    ]
    return "\n\n".join(parts) + "\n"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal: the first column left-aligned, the others right-aligned."""
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _short(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _pareto(result: Mapping[str, Any]) -> Any:
    """Return the figure of accuracy against latency, a panel for each number of threads."""
    from matplotlib.figure import Figure

    counts = result["settings"]["threads"]
    figure = Figure(figsize=(4 * len(counts) + 2, 4.2), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, count in zip(panels, counts, strict=True):
        marks = _draw_panel(axes, result["rows"], str(count))
    panels[0].set_ylabel("macro-F1 (hollow: as recorded at export)")
    # Names are set afterwards: a leading "_" would hide the entry.
    legend = figure.legend(marks.values(), [""] * len(marks), loc="outside right upper", fontsize=8)
    for text, name in zip(legend.get_texts(), marks, strict=True):
        text.set_text(short(name))
    return figure


def _draw_panel(axes: Any, rows: Sequence[Mapping[str, Any]], count: str) -> dict[str, Any]:
    """Draw the variants whose macro-F1 is known, and their Pareto front; return marks by name."""
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    points, marks = [], {}
    for row in rows:
        if row["macro_f1"] is None or not row["threads"][count]:
            continue
        points.append((row["threads"][count][_LATENCY], row["macro_f1"]))
        colour = f"C{variants.index(row['variant']) % 10}"
        fill = colour if row["scores"] == "measured" else "none"
        style = {"marker": "s" if row["against"] else "o", "linestyle": "none"}
        marks[row["name"]], *_ = axes.plot(*points[-1], color=colour, markerfacecolor=fill, **style)
    if front := pareto_front(points):
        # The line goes on to the slowest variant: none beyond the front has a higher score.
        front.append((max(cost for cost, _ in points), front[-1][1]))
        axes.step(*zip(*front, strict=True), where="post", color="0.7", zorder=0)
    axes.set(xlabel="p50 latency of the model (ms)", title=f"threads: {count}; line: Pareto front")
    axes.margins(x=0.1, y=0.1)
    axes.grid(alpha=0.3)
    return marks
