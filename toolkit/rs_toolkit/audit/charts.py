"""Plots of trained models as inline SVG: epochs, intervals, classes, confusions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from rs_toolkit.audit.plots import ROW, WIDTH, plot, text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["lines", "matrix", "scatter", "whiskers"]

# Told apart also by people who confuse colours: Okabe, Ito 2008, without black and yellow.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_SIDES = (40, WIDTH - 12, 10, 210)  # left, right, top and bottom of what is drawn
_LONGEST = 16


def lines(
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    axes: tuple[str, str],
    *,
    dashed: Iterable[bool] = (False,),
) -> str:
    """Draw several named lines through points (x, y), with x from 0.  The axis of y holds 0 and 1.

    ``axes`` are the meanings of x and y; ``dashed`` tells which lines are, and is repeated.
    """
    points = [point for _, line in series for point in line]
    end = max((x for x, _ in points), default=0) or 1
    low = min(0.0, math.floor(4 * min((y for _, y in points), default=0)) / 4)
    high = max(1.0, math.ceil(4 * max((y for _, y in points), default=1)) / 4)
    step = 0.25 if high == 1 else (high - low) / 4
    left, right, top, bottom = _SIDES

    def place(x: float, y: float) -> str:
        across = left + (right - left) * x / end
        return f"{across:.1f},{bottom - (bottom - top) * (y - low) / (high - low):.1f}"

    ticks = range(1 + round((high - low) / step))
    parts = [_level(low + step * tick, place) for tick in ticks]
    parts.append(
        f'<text class="dim" x="{left}" y="{bottom + 16}">0</text><text x="{left + 30}" '
        f'y="{bottom + 16}">{text(axes[0])} →, {text(axes[1])} ↑</text>'
        f'<text class="dim" x="{right}" y="{bottom + 16}" text-anchor="end">{end:g}</text>\n'
    )
    looks = zip(series, cycle(_COLOURS), cycle(dashed), strict=False)
    for number, ((name, line), colour, dash) in enumerate(looks):
        kind, sample = ("series dashed", "╌╌") if dash else ("series", "──")
        parts.append(
            f'<polyline class="{kind}" stroke="{colour}" '
            f'points="{" ".join(place(*point) for point in line)}"/>\n'
            f'<text x="{left}" y="{bottom + 40 + ROW * number}">'
            f'<tspan style="fill: {colour}">{sample}</tspan> {text(name)}</text>\n'
        )
    return plot(title, bottom + 30 + ROW * len(series), "".join(parts))


def _level(y: float, place: Callable[[float, float], str]) -> str:
    """Draw the line of a y, and its number to the left; ``place`` gives the place of (x, y)."""
    left, height = place(0, y).split(",")
    return (
        f'<line x1="{left}" x2="{WIDTH - 12}" y1="{height}" y2="{height}"/>'
        f'<text class="dim" x="{float(left) - 6}" y="{height}" text-anchor="end">{y:.2f}</text>\n'
    )


def whiskers(title: str, rows: Sequence[tuple[str, float, float | None, float | None]]) -> str:
    """Draw estimates (name, value, lower and upper limit) below each other, on one axis."""
    left, right = 16, WIDTH - 16
    ends = [end for _, *row in rows for end in row if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)

    def place(value: float) -> str:
        return f"{left + (right - left) * (value - low) / ((high - low) or 1):.1f}"

    foot = 2 * ROW * len(rows)
    parts = []
    for tick in sorted({low, high, *([0.0] if low < 0 < high else [])}):
        x = place(tick)
        parts.append(
            f'<line x1="{x}" x2="{x}" y1="0" y2="{foot}"/><text class="dim" x="{x}" '
            f'y="{foot + 16}" text-anchor="middle">{tick:.2f}</text>\n'
        )
    for number, (name, value, *limits) in enumerate(rows):
        y = 2 * ROW * number
        start, end = (place(value if limit is None else limit) for limit in limits)
        parts.append(
            f'<text x="{left}" y="{y + 18}">{text(name)}</text>'
            f'<path class="curve" d="M{start},{y + 32} H{end}"/>'
            f'<circle class="bar" cx="{place(value)}" cy="{y + 32}" r="4"/>\n'
        )
    return plot(title, foot + 24, "".join(parts))


def scatter(title: str, points: Sequence[tuple[str, float, float]], axes: tuple[str, str]) -> str:
    """Draw named points (name, x, y), with x >= 1 on a logarithmic axis and y from 0 to 1.

    The name is shown where the mouse points; ``axes`` are the meanings of x and y.
    """
    left, right, top, bottom = _SIDES
    end = math.log(max((x for _, x, _ in points), default=1)) or 1.0

    def place(x: float, y: float) -> str:
        across = left + (right - left) * math.log(max(x, 1)) / end
        return f"{across:.1f},{bottom - (bottom - top) * y:.1f}"

    parts = [_level(tick / 4, place) for tick in range(5)]
    for power in range(1 + int(end / math.log(10))):
        tick = place(10**power, 0).partition(",")[0]
        parts.append(
            f'<text class="dim" x="{tick}" y="{bottom + 16}" text-anchor="middle">'
            f"{10**power:,}</text>\n"
        )
    for name, x, y in points:
        across, height = place(x, y).split(",")
        parts.append(
            f'<circle class="point" cx="{across}" cy="{height}" r="4">'
            f"<title>{text(name)}: {x:g}, {y:.2f}</title></circle>\n"
        )
    parts.append(f'<text x="{left}" y="{bottom + 34}">{text(axes[0])} →, {text(axes[1])} ↑</text>')
    return plot(title, bottom + 40, "".join(parts))


def matrix(title: str, names: Sequence[str], counts: NDArray[np.int64]) -> str:
    """Draw a confusion matrix, rows true and columns named, (n, n), as shares of each row.

    The count of a cell is shown where the mouse points.
    """
    left, side = 112, (WIDTH - 120) / len(names)
    size = min(11.0, side)
    parts = []
    for row, name in enumerate(names):
        middle, total = side * (row + 0.5), int(counts[row].sum())
        label = text(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…")
        style = f'style="font-size: {size:.1f}px"'
        parts.append(
            f'<text x="{left - 4}" y="{middle + size / 3:.1f}" text-anchor="end" {style}>{label}'
            f'</text><text transform="translate({left + middle + size / 3:.1f},'
            f'{side * len(names) + 4:.1f}) rotate(-90)" text-anchor="end" {style}>{label}</text>\n'
        )
        for column, count in enumerate(counts[row].tolist()):
            if count:
                parts.append(
                    f'<rect class="bar" x="{left + side * column:.1f}" y="{side * row:.1f}" '
                    f'width="{side:.1f}" height="{side:.1f}" opacity="{count / total:.2f}"><title>'
                    f"{text(name)} → {text(names[column])}: {count:,}</title></rect>\n"
                )
    return plot(title, int(side * len(names)) + 100, "".join(parts))
