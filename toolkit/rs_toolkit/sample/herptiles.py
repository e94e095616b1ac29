"""Body plans of reptiles and amphibians: functions (rng, build) -> parts, back to front."""

from __future__ import annotations

import numpy as np

from rs_toolkit.sample.shapes import Build, Part, Rng, blob, disc, eye, eyes, limb, polygon, tube

__all__ = ["PLANS"]


def _snake(rng: Rng, b: Build) -> list[Part]:
    """A snake from above in two to three bends, which grow from the head."""
    turns, phase = rng.uniform(1.3, 2.1), rng.uniform(0, 6.28)
    t = np.linspace(0, 1, 32)
    y = 0.5 * b.feature * (0.35 + 0.65 * t) * np.sin(2 * np.pi * turns * t + phase)
    spine = np.stack([0.85 + (-1.0 - 0.85) * t, y - y.mean()], axis=1)
    w = 0.095 * b.girth
    hx, hy = spine[0]
    ahead = spine[0] - spine[1]
    turn = float(np.arctan2(ahead[1], ahead[0]))
    nose = spine[0] + ahead / np.hypot(*ahead) * 0.17
    side = np.array([-np.sin(turn), np.cos(turn)]) * 0.07
    return [
        tube("accent", [spine[0], nose, nose + (nose - spine[0]) * 0.8], [0.02, 0.02, 0.01]),
        tube("coat", spine, [w * 0.6, w, w, w * 1.05, w * 0.8, w * 0.45, 0.015]),
        disc("main", hx, hy, 0.17, 0.115, turn),
        *eye(hx + side[0], hy + side[1], 0.03),
        *eye(hx - side[0], hy - side[1], 0.03),
    ]


def _lizard(rng: Rng, b: Build) -> list[Part]:
    """A lizard from above: four splayed legs and a long tapering tail."""
    bend, g = rng.uniform(-0.35, 0.35), 0.17 * b.girth
    tail = [(-0.2, 0), (-0.55, bend * 0.4), (-0.85, -bend * 0.4), (-1.15 * b.length, -bend * 1.3)]
    parts = [tube("coat", tail, [g * 0.7, g * 0.5, g * 0.28, 0.012])]
    for x, reach in ((0.4, 0.24), (-0.18, -0.2)):
        for side in (1.0, -1.0):
            step = rng.uniform(-0.1, 0.1)
            knee = (x + reach * 0.3 + step, 0.34 * side)
            foot = (x + reach * 1.2 + step, 0.48 * side)
            parts.append(limb("main", (x, 0.1 * side), knee, foot, 0.075 * b.feature))
            for toe in (-0.09, 0.0, 0.09):
                tip = (foot[0] + 0.1 * np.sign(reach), foot[1] + toe)
                parts.append(tube("leg", [foot, tip], [0.022, 0.01]))
    torso = [(0.62, 0.0), (0.45, 0.0), (0.1, bend * 0.1), (-0.28, 0.0)]
    head = [(0.55, -0.15), (0.78, -0.13), (0.97, 0.0), (0.78, 0.13), (0.55, 0.15)]
    return [
        *parts,
        tube("coat", torso, [g * 0.7, g * 0.95, g * 1.15, g * 0.7]),
        blob("second", head, 2),
        *eyes(0.75, 0.1, 0.035),
    ]


def _sea_turtle(rng: Rng, b: Build) -> list[Part]:
    """A sea turtle from above: scuted shell and four flippers, the front pair long."""
    w, parts = 0.46 * b.girth, []
    for side in (1.0, -1.0):
        front = [(0.42, 0.2), (0.5, 0.6), (0.2 + rng.uniform(-0.2, 0.25), 0.98 * b.feature)]
        back = [(-0.4, 0.2), (-0.62, 0.42), (-0.85, 0.5)]
        parts.append(tube("flipper", front, [0.13, 0.15, 0.03]).scaled_y(side))
        parts.append(tube("flipper", back, [0.09, 0.11, 0.03]).scaled_y(side))
    edge = [(0.6, -0.12), (0.35, -w), (-0.35, -w * 0.85), (-0.72 * b.length, 0)]
    parts += [
        polygon("second", [(-0.55, -0.06), (-0.82, 0.0), (-0.55, 0.06)]),
        tube("flipper", [(0.45, 0), (0.75, 0), (0.95, 0)], [0.11, 0.14, 0.07]),
        blob("dark", [*edge, *((x, -y) for x, y in edge[-2::-1])]),
    ]
    for x in (0.36, 0.1, -0.16, -0.4):
        parts.append(disc("coat", x, 0, 0.11, 0.12))
        if x > -0.3:
            for side in (1.0, -1.0):
                parts.append(disc("coat", x - 0.06, side * w * 0.55, 0.12, w * 0.22))
    return parts + eyes(0.84, 0.09, 0.03)


def _frog(rng: Rng, b: Build) -> list[Part]:
    """A squatting frog from above: folded hind legs and bulging eyes."""
    parts, w = [], 0.38 * b.girth
    for side in (1.0, -1.0):
        spread = rng.uniform(0.9, 1.1) * b.feature
        knee = (0.02, 0.68 * spread)
        legs = [
            tube("coat", [knee, (-0.5, 0.72 * spread), (-0.66, 0.6)], [0.09, 0.1, 0.05]),
            tube("coat", [(-0.45, 0.15), (-0.2, 0.62 * spread), knee], [0.16, 0.15, 0.08]),
            limb("main", (0.3, 0.25), (0.32, 0.58), (0.58, 0.66), 0.1),
        ]
        for ankle, length in (((-0.66, 0.6), -0.24), ((0.58, 0.66), 0.2)):
            for toe in (-0.13, 0.0, 0.13):
                tip = (ankle[0] + length, ankle[1] + toe)
                legs.append(tube("leg", [ankle, tip], [0.03, 0.035]))
        parts += [part.scaled_y(side) for part in legs]
    body = [(0.78 * b.length, 0.0), (0.62, 0.26), (0.25, w), (-0.3, w * 0.85), (-0.72, 0.1)]
    body += [(-0.72, -0.1), (-0.3, -w * 0.85), (0.25, -w), (0.62, -0.26)]
    parts.append(blob("coat", body))
    for side in (1.0, -1.0):
        parts.append(disc("second", 0.47, 0.23 * side, 0.115))
        parts += eye(0.49, 0.24 * side, 0.07)
    return parts


PLANS = {"snake": _snake, "lizard": _lizard, "sea_turtle": _sea_turtle, "frog": _frog}
