"""Body plans of birds, fish and mammals: functions (rng, build) -> parts, back to front."""

from __future__ import annotations

import numpy as np

from rs_toolkit.sample.shapes import Build, Part, disc, eye, flip_y, limb, rounded, tube

__all__ = ["PLANS"]

Rng = np.random.Generator


def _songbird(rng: Rng, b: Build) -> list[Part]:
    """A small bird from the side, perched, often on a twig."""
    lift, tail = rng.uniform(-0.12, 0.12), 0.5 * b.feature
    hx, hy, g = 0.42 * b.length, -0.48 + lift, 0.4 * b.girth
    body = [(hx + 0.1, hy - 0.05), (0.5, -0.05), (0.3, g), (-0.25, g * 0.9), (-0.6, 0.15)]
    body += [(-0.4, -0.2), (0.0, hy + 0.12)]
    parts = []
    if rng.random() < 0.6:
        parts.append(Part(tube([(-1.2, 0.8), (0, 0.66), (1.2, 0.72)], [0.07, 0.06, 0.04]), "bark"))
    for x in (-0.02, 0.14):
        parts.append(Part(limb((x, 0.25), (x - 0.06, 0.5), (x + 0.04, 0.7), 0.045), "leg"))
    parts += [
        Part(tube([(-0.4, 0.08), (-0.6 - tail, 0.22 + lift)], [0.14, 0.1]), "dark"),
        Part(rounded(body), "main", True),
        Part(disc(hx, hy, 0.27), "second"),
        Part(disc(hx + 0.06, hy + 0.09, 0.17, 0.12), "pale"),
        Part(
            rounded([(0.2, -0.1), (0.05, 0.25), (-0.5, 0.22), (-0.75, 0.12), (-0.3, -0.12)]), "dark"
        ),
        Part(
            np.array([(hx + 0.22, hy - 0.07), (hx + 0.46, hy + 0.04), (hx + 0.2, hy + 0.09)]),
            "beak",
        ),
    ]
    return parts + eye(hx + 0.09, hy - 0.06, 0.055)


def _raptor(rng: Rng, b: Build) -> list[Part]:
    """A soaring bird seen from below: two long fingered wings and a fan."""
    parts = []
    for side in (1.0, -1.0):
        sweep, span = rng.uniform(-0.25, 0.12), 1.25 * b.feature * rng.uniform(0.85, 1.0)
        fingers = []
        for k in range(5):
            tip = (0.16 + sweep - 0.15 * k, span * (1.04 - 0.06 * k))
            root = (0.1 + sweep - 0.07 * k, span * 0.6)
            fingers.append(Part(tube([root, tip], [0.06, 0.035]), "dark"))
        wing = [(0.26, 0.05), (0.3, 0.4 * span), (0.16 + sweep, 0.86 * span)]
        wing += [(-0.2 + sweep, 0.8 * span), (-0.22, 0.4 * span), (-0.2, 0.05)]
        for part in [*fingers, Part(rounded(wing, 2), "main", True)]:
            points = part.points if side > 0 else flip_y(part.points)
            parts.append(Part(points, part.role, part.patterned))
    spread = rng.uniform(0.18, 0.34)
    tail = [
        (-0.2, -0.08),
        (-0.85 * b.length, -spread),
        (-0.9 * b.length, 0),
        (-0.85 * b.length, spread),
    ]
    return [
        *parts,
        Part(np.array([*tail, (-0.2, 0.08)]), "second"),
        Part(tube([(0.5, 0), (0.2, 0), (-0.45, 0)], [0.08, 0.17 * b.girth, 0.08]), "main"),
        Part(disc(0.5, 0, 0.13, 0.11), "pale"),
        Part(np.array([(0.6, -0.05), (0.74, 0.0), (0.6, 0.05)]), "beak"),
    ]


def _duck(rng: Rng, b: Build) -> list[Part]:
    """A swimming water bird from the side: boat-shaped body, curved neck, flat bill."""
    reach, up = 0.55 + rng.uniform(-0.1, 0.15), -0.62 * b.feature + rng.uniform(-0.08, 0.12)
    g = 0.34 * b.girth
    hull = [(0.55, 0.02), (0.5, 0.3), (0.1, 0.3 + g * 0.4), (-0.6, 0.32), (-0.98 * b.length, -0.12)]
    hull += [(-0.55, -0.06), (-0.1, 0.08 - g), (0.3, -0.1)]
    neck = [(0.35, 0.12), (0.62, -0.1), (reach - 0.12, up * 0.6), (reach, up)]
    bill = [(reach + 0.12, up - 0.07), (reach + 0.45, up + 0.05), (reach + 0.42, up + 0.13)]
    return [
        Part(tube(neck, [0.22, 0.13, 0.1, 0.12]), "second"),
        Part(rounded(hull), "main", True),
        Part(
            rounded([(0.25, -0.02), (0.1, 0.28), (-0.6, 0.2), (-0.85, -0.02), (-0.2, -0.1)]), "dark"
        ),
        Part(rounded([*bill, (reach + 0.1, up + 0.1)], 1), "beak"),
        Part(disc(reach, up, 0.2, 0.16), "second"),
        *eye(reach + 0.06, up - 0.04, 0.045),
    ]


def _reef_fish(rng: Rng, b: Build) -> list[Part]:
    """A deep-bodied fish from the side with tall fins and a short snout."""
    h, bend = 0.56 * b.girth, rng.uniform(-0.15, 0.15)
    f = 0.3 * b.feature
    body = [
        (0.85, 0.06),
        (0.55, -h * 0.6),
        (0.1, -h),
        (-0.4, -h * 0.65),
        (-0.62, bend * 0.5 - 0.08),
    ]
    body += [(-0.62, bend * 0.5 + 0.1), (-0.4, h * 0.65), (0.1, h), (0.55, h * 0.65)]
    dorsal = [(0.35, -h * 0.7), (0.0, -h - f), (-0.55, -h * 0.6 - f), (-0.58, -0.1)]
    anal = [(0.05, h * 0.8), (-0.3, h + f * 0.9), (-0.58, h * 0.5 + f * 0.4), (-0.58, 0.1)]
    fork = rng.uniform(0.0, 0.12)
    tail = [(-0.5, bend * 0.5 - 0.09), (-0.98 * b.length, bend - 0.36), (-0.84 + fork, bend)]
    tail += [(-0.98 * b.length, bend + 0.36), (-0.5, bend * 0.5 + 0.1)]
    return [
        Part(np.array(tail), "second"),
        Part(rounded(dorsal, 2), "second"),
        Part(rounded(anal, 2), "second"),
        Part(rounded(body), "main", True),
        Part(rounded([(0.2, 0.06), (-0.12, -0.08), (-0.16, 0.2), (0.14, 0.2)], 2), "second"),
        *eye(0.52, -0.1, 0.075),
    ]


def _quadruped_legs(
    rng: Rng, xs: tuple[float, ...], top: float, foot: float, w: float
) -> list[Part]:
    """Return the far pair (dark) and the near pair of legs in some phase of a step."""
    near: list[Part] = []
    far: list[Part] = []
    for x in xs:
        for pair, role in ((far, "dark"), (near, "main")):
            step = rng.uniform(-0.2, 0.2)
            knee = (x + step * 0.7 + 0.03, (top + foot) / 2)
            pair.append(Part(limb((x, top), knee, (x + step, foot), w), role, role == "main"))
    return far + near


def _cat(rng: Rng, b: Build) -> list[Part]:
    """A cat from the side: long low body, round head with ears, long curved tail."""
    up, g, hx = rng.uniform(-0.5, 0.3), 0.22 * b.girth, 0.66 * b.length
    hy = -0.26 + rng.uniform(-0.12, 0.12)
    tail = [(-0.55, -0.1), (-0.85, 0.05), (-1.0, up * 0.5), (-0.85 - 0.25 * b.feature, up - 0.1)]
    ears = [
        Part(
            np.array([(hx + d - 0.1, hy - 0.14), (hx + d, hy - 0.36), (hx + d + 0.1, hy - 0.12)]),
            "second",
        )
        for d in (-0.1, 0.1)
    ]
    return [
        Part(tube(tail, [0.08, 0.07, 0.06, 0.05]), "main", True),
        *_quadruped_legs(rng, (-0.45, 0.38), 0.08, 0.72, 0.1),
        Part(
            tube(
                [(-0.62, -0.02), (-0.3, -0.08), (0.1, 0.0), (0.55, -0.1)], [g * 0.8, g, g, g * 0.9]
            ),
            "main",
            True,
        ),
        Part(disc(-0.5, -0.03, g * 1.05), "main", True),
        Part(disc(0.42, -0.05, g * 1.05), "main", True),
        *ears,
        Part(disc(hx, hy, 0.24, 0.22), "main", True),
        Part(disc(hx + 0.12, hy + 0.08, 0.12, 0.09), "pale"),
        Part(disc(hx + 0.21, hy + 0.05, 0.035), "eye"),
        *eye(hx + 0.06, hy - 0.05, 0.045),
    ]


def _antlers(hx: float, hy: float, size: float) -> list[Part]:
    """Return a pair of antlers, two tines each, on a head at ``hx``, ``hy``."""
    parts = []
    for lean in (-0.28, -0.05):
        beam = [(hx - 0.05, hy - 0.05), (hx + lean - 0.06, hy - 0.2), (hx + lean, hy - 0.45 * size)]
        parts.append(Part(tube(beam, [0.032, 0.028, 0.014]), "bark"))
        for t in (0.45, 0.75):
            at = (hx + lean * t - 0.04, hy - 0.42 * size * t)
            parts.append(Part(tube([at, (at[0] + 0.16, at[1] - 0.12)], [0.024, 0.01]), "bark"))
    return parts


def _deer(rng: Rng, b: Build) -> list[Part]:
    """A deer from the side: long legs, raised neck, narrow head, antlers on most."""
    hx, hy = 0.72 * b.length, -0.58 + rng.uniform(-0.1, 0.22)
    g = 0.2 * b.girth
    parts = _quadruped_legs(rng, (-0.48, 0.28), 0.1, 0.98, 0.075)
    parts.append(
        Part(tube([(0.25, -0.02), (0.45, -0.25), (hx - 0.05, hy)], [g * 0.9, 0.12, 0.09]), "main")
    )
    parts.append(
        Part(tube([(-0.62, -0.05), (-0.2, -0.02), (0.38, -0.05)], [g, g * 0.95, g]), "main", True)
    )
    parts.append(Part(disc(-0.52, -0.03, g * 1.1), "main", True))
    parts.append(Part(disc(0.34, -0.05, g * 1.1), "main", True))
    parts.append(Part(disc(-0.72, -0.08, 0.08, 0.12), "pale"))
    if rng.random() < 0.75:
        parts += _antlers(hx, hy, b.feature)
    parts += [
        Part(disc(hx - 0.17, hy - 0.05, 0.12, 0.05, 0.5), "second"),
        Part(
            tube(
                [(hx - 0.08, hy - 0.02), (hx + 0.1, hy + 0.06), (hx + 0.28, hy + 0.14)],
                [0.1, 0.095, 0.06],
            ),
            "main",
        ),
        Part(disc(hx + 0.28, hy + 0.14, 0.04), "eye"),
    ]
    return parts + eye(hx + 0.02, hy - 0.01, 0.035)


PLANS = {
    "songbird": _songbird,
    "raptor": _raptor,
    "duck": _duck,
    "reef_fish": _reef_fish,
    "cat": _cat,
    "deer": _deer,
}
