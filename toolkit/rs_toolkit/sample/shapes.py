"""Outlines that body plans are made of.

Body frame: x towards the head, y down, the animal within about [-1, 1] on both axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Build", "Floats", "Part", "disc", "eye", "flip_y", "limb", "rounded", "tube", "wave"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Build:
    """Proportions of one animal, each about 1: body length, girth, and the plan's own feature."""

    length: float = 1.0
    girth: float = 1.0
    feature: float = 1.0


@dataclass(frozen=True)
class Part:
    """One filled outline, painted over the parts before it.

    ``role`` names a palette entry, ``patterned`` lets the species' pattern show, and ``alpha``
    (0..255) is below 255 for translucent tissue.
    """

    points: Floats
    role: str = "main"
    patterned: bool = False
    alpha: int = 255


def disc(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> Floats:
    """Return the outline (36, 2) of an ellipse; ``turn`` in radians."""
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    px, py = rx * np.cos(angle), (rx if ry is None else ry) * np.sin(angle)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([x + c * px - s * py, y + s * px + c * py], axis=1)


def rounded(points: ArrayLike, rounds: int = 3, closed: bool = True) -> Floats:
    """Cut the corners of a polygon or, if not ``closed``, of a polyline (Chaikin 1974)."""
    p = np.asarray(points, dtype=np.float64)
    for _ in range(rounds):
        a, b = (p, np.roll(p, -1, axis=0)) if closed else (p[:-1], p[1:])
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        p = cut if closed else np.concatenate([p[:1], cut, p[-1:]])
    return p


def tube(spine: ArrayLike, widths: ArrayLike, rounds: int = 2) -> Floats:
    """Outline a curved tube: ``spine`` (k, 2), half ``widths`` spread evenly along it."""
    line = rounded(spine, rounds, closed=False)
    stops = np.asarray(widths, dtype=np.float64)
    along = np.linspace(0, 1, len(line))
    half = np.interp(along, np.linspace(0, 1, len(stops)), stops)[:, None]
    step = np.gradient(line, axis=0)
    step /= np.maximum(np.hypot(step[:, :1], step[:, 1:]), 1e-9)
    side = np.stack([-step[:, 1], step[:, 0]], axis=1) * half
    return np.concatenate([line + side, (line - side)[::-1]])


def limb(hip: ArrayLike, knee: ArrayLike, foot: ArrayLike, width: float) -> Floats:
    """Outline a jointed limb that narrows from ``width`` (half) at the hip to the foot."""
    return tube(np.array([hip, knee, foot]), [width, width * 0.7, width * 0.45], rounds=1)


def eye(x: float, y: float, r: float) -> list[Part]:
    """Return an eye with a highlight."""
    return [
        Part(disc(x, y, r), "eye"),
        Part(disc(x + r * 0.3, y - r * 0.35, r * 0.3), "shine"),
    ]


def flip_y(points: Floats) -> Floats:
    """Mirror an outline at the body's long axis."""
    return np.stack([points[:, 0], -points[:, 1]], axis=1)


def wave(x0: float, x1: float, height: float, turns: float, phase: float, n: int = 24) -> Floats:
    """Return a sinusoidal spine (n, 2) along x with an amplitude that grows from the head."""
    t = np.linspace(0, 1, n)
    y = height * (0.35 + 0.65 * t) * np.sin(2 * np.pi * turns * t + phase)
    return np.stack([x0 + (x1 - x0) * t, y], axis=1)
