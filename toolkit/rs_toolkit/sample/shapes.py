"""Filled outlines that body plans are made of.

Coordinates: x towards the head, y down, the animal within about [-1, 1] on both axes.  ``role`` is
the name of a part's colour in the palette.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    *("PATTERNED", "Build", "Floats", "Part", "Rng"),
    *("blob", "disc", "eye", "eyes", "limb", "polygon", "tube"),
]

Floats = NDArray[np.float64]
Rng = np.random.Generator

# The roles that the species' pattern is painted over; other parts have one colour.
PATTERNED = ("coat", "flipper")


@dataclass(frozen=True)
class Build:
    """Proportions of one animal, each about 1: body length, girth, and the plan's own feature."""

    length: float = 1.0
    girth: float = 1.0
    feature: float = 1.0


@dataclass(frozen=True)
class Part:
    """One filled outline (n, 2), painted over the parts before it.

    ``alpha`` (0..255) is below 255 for translucent tissue.
    """

    role: str
    points: Floats
    alpha: int = 255

    def scaled_y(self, factor: float) -> Part:
        """Return the part with its y multiplied; -1 mirrors it at the body's long axis."""
        return replace(self, points=self.points * np.array([1.0, factor]))


def polygon(role: str, points: ArrayLike, alpha: int = 255) -> Part:
    """Return a polygon with sharp corners."""
    return Part(role, np.asarray(points, dtype=np.float64), alpha)


def blob(role: str, points: ArrayLike, rounds: int = 3) -> Part:
    """Return a polygon with rounded corners."""
    return Part(role, _rounded(points, rounds))


def disc(
    role: str,
    x: float,
    y: float,
    rx: float,
    ry: float | None = None,
    turn: float = 0.0,
    alpha: int = 255,
) -> Part:
    """Return an ellipse of 36 points; ``turn`` in radians."""
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    px, py = rx * np.cos(angle), (rx if ry is None else ry) * np.sin(angle)
    c, s = np.cos(turn), np.sin(turn)
    return Part(role, np.stack([x + c * px - s * py, y + s * px + c * py], axis=1), alpha)


def tube(role: str, spine: ArrayLike, widths: ArrayLike, rounds: int = 2, alpha: int = 255) -> Part:
    """Return a tube along the curve ``spine`` (k, 2); ``widths`` are its radii from end to end."""
    line = _rounded(spine, rounds, closed=False)
    stops = np.asarray(widths, dtype=np.float64)
    along = np.linspace(0, 1, len(line))
    half = np.interp(along, np.linspace(0, 1, len(stops)), stops)[:, None]
    step = np.gradient(line, axis=0)
    step /= np.maximum(np.hypot(step[:, :1], step[:, 1:]), 1e-9)
    side = np.stack([-step[:, 1], step[:, 0]], axis=1) * half
    return Part(role, np.concatenate([line + side, (line - side)[::-1]]), alpha)


def limb(role: str, hip: ArrayLike, knee: ArrayLike, foot: ArrayLike, width: float) -> Part:
    """Return a jointed limb that narrows from the radius ``width`` at the hip to the foot."""
    joints = np.array([hip, knee, foot])
    return tube(role, joints, [width, width * 0.7, width * 0.45], rounds=1)


def eye(x: float, y: float, r: float) -> list[Part]:
    """Return an eye with a highlight."""
    return [disc("eye", x, y, r), disc("shine", x + r * 0.3, y - r * 0.35, r * 0.3)]


def eyes(x: float, y: float, r: float) -> list[Part]:
    """Return two eyes, one on each side of the head."""
    return eye(x, y, r) + eye(x, -y, r)


def _rounded(points: ArrayLike, rounds: int, closed: bool = True) -> Floats:
    """Cut the corners of a polygon or, if not ``closed``, of a polyline (Chaikin 1974)."""
    p = np.asarray(points, dtype=np.float64)
    for _ in range(rounds):
        a, b = (p, np.roll(p, -1, axis=0)) if closed else (p[:-1], p[1:])
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        p = cut if closed else np.concatenate([p[:1], cut, p[-1:]])
    return p
