"""Self-contained HTML pages and their parts: escaped text, tables, and plots as inline SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence

from rs_toolkit.data.taxonomy import printable

__all__ = ["ROW", "WIDTH", "bars", "curve", "long_tail", "page", "plot", "table", "text"]

_HEAD = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2733; --dim: #5b6875; --line: #d9dfe5;
  --paper: #fff; --card: #f4f6f8; --bar: #2f74b5; --alarm: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5eaf0; --dim: #9aa7b4; --line: #36414d;
  --paper: #14191f; --card: #1e252d; --bar: #6fb0ea; --alarm: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; } p { margin: .25rem 0 .75rem; }
.dim, figcaption, th { color: var(--dim); } .alarm { color: var(--alarm); }
.cards, .plots, .photos { display: grid; gap: .75rem; }
.cards { grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
.photos { grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
.card, .plot { background: var(--card); border-radius: .5rem; padding: .75rem; margin: 0; }
.card b { display: block; font-size: 1.25rem; line-height: 1.3; }
.plot svg { width: 100%; max-width: 30rem; height: auto; }
figure { margin: 0; } figcaption { font-size: .75rem; line-height: 1.35; }
img { width: 100%; height: auto; border-radius: .25rem; display: block; background: var(--card); }
.cards, .plots, .wide { margin: .75rem 0; }
.wide { overflow-x: auto; overflow-wrap: break-word; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; border-bottom: 1px solid var(--line); }
th { font-weight: 500; } .numbers td:not(:first-child), .numbers th:not(:first-child)
  { text-align: right; white-space: nowrap; }
summary { cursor: pointer; margin: .5rem 0; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .dim { fill: var(--dim); }
svg .bar { fill: var(--bar); } svg line { stroke: var(--line); }
svg .curve { fill: none; stroke: var(--bar); stroke-width: 2; }
svg .series { fill: none; stroke-width: 2; } svg .point { fill: var(--bar); opacity: .6; }
svg .dashed { stroke-dasharray: 5 4; }
"""

WIDTH = 360
ROW = 22
_LONGEST = 200


def text(value: object) -> str:
    """Return a value as text, cut to 200 characters and escaped for HTML and its attributes."""
    shown = printable(str(value))
    return html.escape(shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…")


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page, without scripts and without anything that it would have to load."""
    head = f"{_HEAD}<title>{text(title)}</title><style>{_STYLE}</style></head><body>\n"
    return f"{head}{''.join(parts)}</body></html>\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: bool = False) -> str:
    """Return a table of escaped cells; ``numbers`` right-aligns all columns but the first."""
    titles = "".join(f"<th>{text(title)}</th>" for title in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    kind = ' class="numbers"' if numbers else ""
    return f'<div class="wide"><table{kind}><tr>{titles}</tr>\n{lines}</table></div>\n'


def bars(title: str, counts: Mapping[str, int]) -> str:
    """Draw counts as horizontal bars, the name to the left and the count to the right."""
    most = max(counts.values(), default=0) or 1
    left, right = 104, WIDTH - 62
    parts = []
    for place, (name, count) in enumerate(counts.items()):
        y = place * ROW
        width = (right - left) * count / most
        parts.append(
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{text(name)}</text>'
            f'<rect class="bar" x="{left}" y="{y + 4}" width="{width:.1f}" height="14" rx="2"/>'
            f'<text class="dim" x="{left + width + 6:.1f}" y="{y + 15}">{count:,}</text>\n'
        )
    return plot(title, len(counts) * ROW, "".join(parts))


def long_tail(title: str, sizes: Sequence[int]) -> str:
    """Draw class sizes, each 1 or more and the largest first, on a logarithmic axis."""
    left, right, top, bottom = 44, WIDTH - 8, 10, 170
    # The axis starts at half a photo, so that a class with one photo has a visible bar.
    floor, span = math.log(0.5), math.log(2 * max(sizes))

    def height(size: float) -> float:
        return bottom - (bottom - top) * (math.log(size) - floor) / span

    step = (right - left) / len(sizes)
    ticks = [10**power for power in range(8) if 10**power <= sizes[0]]
    if sizes[0] > 1.3 * ticks[-1]:
        ticks.append(sizes[0])
    parts = [
        f'<line x1="{left}" x2="{right}" y1="{height(tick):.1f}" y2="{height(tick):.1f}"/>'
        f'<text class="dim" x="{left - 6}" y="{height(tick) + 4:.1f}" text-anchor="end">'
        f"{tick:,}</text>\n"
        for tick in ticks
    ]
    edge = " ".join(
        f"L{left + step * place:.1f},{height(size):.1f} h{step:.2f}"
        for place, size in enumerate(sizes)
    )
    parts.append(f'<path class="bar" d="M{left},{bottom} {edge} L{right},{bottom} Z"/>\n')
    parts.append(f'<text class="dim" x="{left}" y="{bottom + 18}">largest class</text>')
    parts.append(
        f'<text class="dim" x="{right}" y="{bottom + 18}" text-anchor="end">'
        f"smallest of {len(sizes):,}</text>\n"
    )
    return plot(title, bottom + 24, "".join(parts))


def curve(
    title: str,
    points: Sequence[tuple[float, float]],
    axes: tuple[str, str],
    *,
    diagonal: bool = False,
) -> str:
    """Draw points (x, y), each 0 to 1, and the line through them; ``axes`` are their meanings.

    ``diagonal`` also draws the line on which x and y are equal.
    """
    left, right, top, bottom = 40, WIDTH - 12, 10, 210

    def place(x: float, y: float) -> tuple[str, str]:
        return f"{left + (right - left) * x:.1f}", f"{bottom - (bottom - top) * y:.1f}"

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = place(tick, tick)
        parts.append(
            f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
            f'<text class="dim" x="{left - 6}" y="{y}" text-anchor="end">{tick:.0%}</text>'
            f'<text class="dim" x="{x}" y="{bottom + 16}" text-anchor="middle">{tick:.0%}</text>\n'
        )
    if diagonal:
        parts.append(f'<line x1="{left}" x2="{right}" y1="{bottom}" y2="{top}"/>\n')
    places = [place(x, y) for x, y in points]
    parts.append(f'<polyline class="curve" points="{" ".join(map(",".join, places))}"/>\n')
    parts += [f'<circle class="bar" cx="{x}" cy="{y}" r="3"/>' for x, y in places]
    parts.append(
        f'<text x="{left}" y="{bottom + 34}">{text(axes[0])} →, {text(axes[1])} ↑</text>\n'
    )
    return plot(title, bottom + 40, "".join(parts))


def plot(title: str, height: int, content: str) -> str:
    """Return a figure of SVG ``content``, WIDTH wide and ``height`` high."""
    return (
        f'<figure class="plot"><h3>{text(title)}</h3>'
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text(title)}">\n'
        f"{content}</svg></figure>\n"
    )
