"""Body plans of the vertebrate families: functions (rng, build) -> parts, back to front."""

from __future__ import annotations

import numpy as np

from rs_toolkit.sample.shapes import Build, Part, Rng, blob, disc, eye, eyes, limb, polygon, tube

__all__ = ["PLANS"]


def _songbird(rng: Rng, b: Build) -> list[Part]:
    """A small bird from the side, perched, often on a twig."""
    lift, tail = rng.uniform(-0.12, 0.12), 0.5 * b.feature
    hx, hy, g = 0.42 * b.length, -0.48 + lift, 0.4 * b.girth
    body = [(hx + 0.1, hy - 0.05), (0.5, -0.05), (0.3, g), (-0.25, g * 0.9), (-0.6, 0.15)]
    body += [(-0.4, -0.2), (0.0, hy + 0.12)]
    wing = [(0.2, -0.1), (0.05, 0.25), (-0.5, 0.22), (-0.75, 0.12), (-0.3, -0.12)]
    beak = [(hx + 0.22, hy - 0.07), (hx + 0.46, hy + 0.04), (hx + 0.2, hy + 0.09)]
    twig = tube("bark", [(-1.2, 0.8), (0, 0.66), (1.2, 0.72)], [0.07, 0.06, 0.04])
    return [
        *([twig] if rng.random() < 0.6 else []),
        *(limb("leg", (x, 0.25), (x - 0.06, 0.5), (x + 0.04, 0.7), 0.045) for x in (-0.02, 0.14)),
        tube("dark", [(-0.4, 0.08), (-0.6 - tail, 0.22 + lift)], [0.14, 0.1]),
        blob("coat", body),
        disc("second", hx, hy, 0.27),
        disc("pale", hx + 0.06, hy + 0.09, 0.17, 0.12),
        blob("dark", wing),
        polygon("beak", beak),
        *eye(hx + 0.09, hy - 0.06, 0.055),
    ]


def _raptor(rng: Rng, b: Build) -> list[Part]:
    """A soaring bird seen from below: two long fingered wings and a fan."""
    parts = []
    for side in (1.0, -1.0):
        sweep, span = rng.uniform(-0.25, 0.12), 1.25 * b.feature * rng.uniform(0.85, 1.0)
        for k in range(5):
            tip = (0.16 + sweep - 0.15 * k, span * (1.04 - 0.06 * k))
            root = (0.1 + sweep - 0.07 * k, span * 0.6)
            parts.append(tube("dark", [root, tip], [0.06, 0.035]).scaled_y(side))
        wing = [(0.26, 0.05), (0.3, 0.4 * span), (0.16 + sweep, 0.86 * span)]
        wing += [(-0.2 + sweep, 0.8 * span), (-0.22, 0.4 * span), (-0.2, 0.05)]
        parts.append(blob("coat", wing, 2).scaled_y(side))
    spread, end = rng.uniform(0.18, 0.34), -0.85 * b.length
    fan = [(-0.2, -0.08), (end, -spread), (-0.9 * b.length, 0), (end, spread), (-0.2, 0.08)]
    return [
        *parts,
        polygon("second", fan),
        tube("main", [(0.5, 0), (0.2, 0), (-0.45, 0)], [0.08, 0.17 * b.girth, 0.08]),
        disc("pale", 0.5, 0, 0.13, 0.11),
        polygon("beak", [(0.6, -0.05), (0.74, 0.0), (0.6, 0.05)]),
    ]


def _duck(rng: Rng, b: Build) -> list[Part]:
    """A swimming water bird from the side: boat-shaped body, curved neck, flat bill."""
    reach, up = 0.55 + rng.uniform(-0.1, 0.15), -0.62 * b.feature + rng.uniform(-0.08, 0.12)
    g = 0.34 * b.girth
    hull = [(0.55, 0.02), (0.5, 0.3), (0.1, 0.3 + g * 0.4), (-0.6, 0.32), (-0.98 * b.length, -0.12)]
    hull += [(-0.55, -0.06), (-0.1, 0.08 - g), (0.3, -0.1)]
    wing = [(0.25, -0.02), (0.1, 0.28), (-0.6, 0.2), (-0.85, -0.02), (-0.2, -0.1)]
    neck = [(0.35, 0.12), (0.62, -0.1), (reach - 0.12, up * 0.6), (reach, up)]
    bill = [(reach + 0.12, up - 0.07), (reach + 0.45, up + 0.05), (reach + 0.42, up + 0.13)]
    return [
        tube("second", neck, [0.22, 0.13, 0.1, 0.12]),
        blob("coat", hull),
        blob("dark", wing),
        blob("beak", [*bill, (reach + 0.1, up + 0.1)], 1),
        disc("second", reach, up, 0.2, 0.16),
        *eye(reach + 0.06, up - 0.04, 0.045),
    ]


def _reef_fish(rng: Rng, b: Build) -> list[Part]:
    """A deep-bodied fish from the side with tall fins and a short snout."""
    h, bend, f = 0.56 * b.girth, rng.uniform(-0.15, 0.15), 0.3 * b.feature
    body = [(0.85, 0.06), (0.55, -h * 0.6), (0.1, -h), (-0.4, -h * 0.65)]
    body += [(-0.62, bend * 0.5 - 0.08), (-0.62, bend * 0.5 + 0.1)]
    body += [(-0.4, h * 0.65), (0.1, h), (0.55, h * 0.65)]
    dorsal = [(0.35, -h * 0.7), (0.0, -h - f), (-0.55, -h * 0.6 - f), (-0.58, -0.1)]
    anal = [(0.05, h * 0.8), (-0.3, h + f * 0.9), (-0.58, h * 0.5 + f * 0.4), (-0.58, 0.1)]
    fork = rng.uniform(0.0, 0.12)
    tail = [(-0.5, bend * 0.5 - 0.09), (-0.98 * b.length, bend - 0.36), (-0.84 + fork, bend)]
    tail += [(-0.98 * b.length, bend + 0.36), (-0.5, bend * 0.5 + 0.1)]
    return [
        polygon("second", tail),
        blob("second", dorsal, 2),
        blob("second", anal, 2),
        blob("coat", body),
        blob("second", [(0.2, 0.06), (-0.12, -0.08), (-0.16, 0.2), (0.14, 0.2)], 2),
        *eye(0.52, -0.1, 0.075),
    ]


def _legs(rng: Rng, xs: tuple[float, float], top: float, foot: float, w: float) -> list[Part]:
    """Return the far pair (dark) and the near pair of legs in some phase of a step."""
    far: list[Part] = []
    near: list[Part] = []
    for x in xs:
        for pair, role in ((far, "dark"), (near, "coat")):
            step = rng.uniform(-0.2, 0.2)
            knee = (x + step * 0.7 + 0.03, (top + foot) / 2)
            pair.append(limb(role, (x, top), knee, (x + step, foot), w))
    return far + near


def _cat(rng: Rng, b: Build) -> list[Part]:
    """A cat from the side: long low body, round head with ears, long curved tail."""
    up, g, hx = rng.uniform(-0.5, 0.3), 0.22 * b.girth, 0.66 * b.length
    hy = -0.26 + rng.uniform(-0.12, 0.12)
    tail = [(-0.55, -0.1), (-0.85, 0.05), (-1.0, up * 0.5), (-0.85 - 0.25 * b.feature, up - 0.1)]
    back = [(-0.62, -0.02), (-0.3, -0.08), (0.1, 0.0), (0.55, -0.1)]
    ears = (hx - 0.1, hx + 0.1)
    return [
        tube("coat", tail, [0.08, 0.07, 0.06, 0.05]),
        *_legs(rng, (-0.45, 0.38), 0.08, 0.72, 0.1),
        tube("coat", back, [g * 0.8, g, g, g * 0.9]),
        disc("coat", -0.5, -0.03, g * 1.05),
        disc("coat", 0.42, -0.05, g * 1.05),
        *(
            polygon("second", [(x - 0.1, hy - 0.14), (x, hy - 0.36), (x + 0.1, hy - 0.12)])
            for x in ears
        ),
        disc("coat", hx, hy, 0.24, 0.22),
        disc("pale", hx + 0.12, hy + 0.08, 0.12, 0.09),
        disc("eye", hx + 0.21, hy + 0.05, 0.035),
        *eye(hx + 0.06, hy - 0.05, 0.045),
    ]


def _antlers(hx: float, hy: float, size: float) -> list[Part]:
    """Return a pair of antlers, two tines each, on a head at ``hx``, ``hy``."""
    parts = []
    for lean in (-0.28, -0.05):
        beam = [(hx - 0.05, hy - 0.05), (hx + lean - 0.06, hy - 0.2), (hx + lean, hy - 0.45 * size)]
        parts.append(tube("bark", beam, [0.032, 0.028, 0.014]))
        for t in (0.45, 0.75):
            x, y = hx + lean * t - 0.04, hy - 0.42 * size * t
            parts.append(tube("bark", [(x, y), (x + 0.16, y - 0.12)], [0.024, 0.01]))
    return parts


def _deer(rng: Rng, b: Build) -> list[Part]:
    """A deer from the side: long legs, raised neck, narrow head, antlers on most."""
    hx, hy, g = 0.72 * b.length, -0.58 + rng.uniform(-0.1, 0.22), 0.2 * b.girth
    head = [(hx - 0.08, hy - 0.02), (hx + 0.1, hy + 0.06), (hx + 0.28, hy + 0.14)]
    return [
        *_legs(rng, (-0.48, 0.28), 0.1, 0.98, 0.075),
        tube("main", [(0.25, -0.02), (0.45, -0.25), (hx - 0.05, hy)], [g * 0.9, 0.12, 0.09]),
        tube("coat", [(-0.62, -0.05), (-0.2, -0.02), (0.38, -0.05)], [g, g * 0.95, g]),
        disc("coat", -0.52, -0.03, g * 1.1),
        disc("coat", 0.34, -0.05, g * 1.1),
        disc("pale", -0.72, -0.08, 0.08, 0.12),
        *(_antlers(hx, hy, b.feature) if rng.random() < 0.75 else []),
        disc("second", hx - 0.17, hy - 0.05, 0.12, 0.05, 0.5),
        tube("main", head, [0.1, 0.095, 0.06]),
        disc("eye", hx + 0.28, hy + 0.14, 0.04),
        *eye(hx + 0.02, hy - 0.01, 0.035),
    ]


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


PLANS = {
    "songbird": _songbird,
    "raptor": _raptor,
    "duck": _duck,
    "reef_fish": _reef_fish,
    "cat": _cat,
    "deer": _deer,
    "snake": _snake,
    "lizard": _lizard,
    "sea_turtle": _sea_turtle,
    "frog": _frog,
}
