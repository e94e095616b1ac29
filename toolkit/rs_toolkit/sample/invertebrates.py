"""Body plans of the invertebrate families: functions (rng, build) -> parts, back to front."""

from __future__ import annotations

import numpy as np

from rs_toolkit.sample.shapes import Build, Part, disc, eye, flip_y, limb, rounded, tube

__all__ = ["PLANS"]

Rng = np.random.Generator


def _beetle(rng: Rng, b: Build) -> list[Part]:
    """A beetle from above: wing cases with a seam, six legs, two antennae."""
    w, long = 0.36 * b.girth, 0.8 * b.length
    parts = []
    for side in (1.0, -1.0):
        for x, reach in ((0.35, 0.3), (0.1, -0.08), (-0.12, -0.4)):
            step = rng.uniform(-0.08, 0.08)
            knee = (x + reach * 0.6 + step, side * (w + 0.2))
            foot = (x + reach * 1.5 + step, side * (w + 0.36))
            parts.append(Part(limb((x, side * 0.2), knee, foot, 0.05), "leg"))
        tip = (1.05, side * (0.35 + rng.uniform(-0.1, 0.15)))
        parts.append(
            Part(tube([(0.72, side * 0.08), (0.88, side * 0.25), tip], [0.025, 0.02, 0.02]), "leg")
        )
        jaw = 0.2 * b.feature
        parts.append(
            Part(
                tube(
                    [(0.75, side * 0.1), (0.85 + jaw * 0.5, side * 0.13), (0.8 + jaw, side * 0.02)],
                    [0.04, 0.03, 0.01],
                ),
                "dark",
            )
        )
    cases = [(0.3, 0.0), (0.28, w * 0.8), (-0.1, w * 1.1), (-long * 0.8, w * 0.7), (-long, 0.0)]
    cases += [(x, -y) for x, y in cases[-2:0:-1]]
    return [
        *parts,
        Part(disc(0.72, 0, 0.15, 0.17), "dark"),
        Part(rounded(cases, 2), "main", True),
        Part(
            rounded([(0.66, 0.2), (0.3, w * 0.95), (0.25, 0), (0.3, -w * 0.95), (0.66, -0.2)], 2),
            "second",
        ),
        Part(tube([(0.28, 0), (-long * 0.93, 0)], [0.016, 0.01]), "dark"),
        Part(disc(0.76, 0.12, 0.04), "eye"),
        Part(disc(0.76, -0.12, 0.04), "eye"),
    ]


def _butterfly(rng: Rng, b: Build) -> list[Part]:
    """A butterfly from above with its four wings open."""
    parts, fold = [], rng.uniform(0.7, 1.0)
    for side in (1.0, -1.0):
        reach = fold if side > 0 else fold * rng.uniform(0.88, 1.0)
        hind = [
            (0.05, 0.04),
            (-0.1, 0.5),
            (-0.45, 0.72 * b.girth),
            (-0.78 * b.feature, 0.42),
            (-0.5, 0.08),
        ]
        fore = [
            (0.12, 0.04),
            (0.5, 0.5),
            (0.82 * b.length, 0.98),
            (0.4, 0.98),
            (0.0, 0.72),
            (-0.1, 0.1),
        ]
        spots = rng.uniform(0.9, 1.1)
        shapes = [
            Part(rounded(hind, 2), "dark"),
            Part(rounded(np.array(hind) * 0.82 + [-0.03, 0.03], 2), "main", True),
            Part(rounded(fore, 2), "dark"),
            Part(rounded(np.array(fore) * 0.84 + [0.02, 0.05], 2), "main", True),
            Part(disc(0.42, 0.66, 0.1 * spots), "second"),
            Part(disc(-0.38, 0.42, 0.09 * spots), "second"),
        ]
        turn = np.array([1.0, side * reach])
        parts += [Part(p.points * turn, p.role, p.patterned) for p in shapes]
        feeler = [(0.3, side * 0.03), (0.6, side * 0.14), (0.78, side * 0.24)]
        parts.append(Part(tube(feeler, [0.016, 0.012, 0.022]), "dark"))
    body = tube([(0.34, 0), (0.1, 0), (-0.2, 0), (-0.52, 0)], [0.05, 0.085, 0.06, 0.03])
    return [*parts, Part(body, "leg"), Part(disc(0.34, 0, 0.07), "leg")]


def _spider(rng: Rng, b: Build) -> list[Part]:
    """A spider from above: round abdomen, eight long bent legs."""
    parts = []
    for side in (1.0, -1.0):
        for k, angle in enumerate(np.radians([28, 62, 112, 150])):
            angle = float(angle) + rng.uniform(-0.14, 0.14)
            out = (0.92 if k in (0, 3) else 0.75) * b.feature
            knee = (0.22 + 0.5 * out * np.cos(angle), side * (0.08 + 0.62 * out * np.sin(angle)))
            tip = angle - 0.3 if k < 2 else angle + 0.3
            foot = (0.22 + 1.02 * out * np.cos(tip), side * (0.05 + 0.95 * out * np.sin(tip)))
            outline = limb((0.24, side * 0.05), knee, foot, 0.055)
            parts.append(Part(outline, "leg"))
    g = 0.34 * b.girth
    abdomen = [(0.12, 0.0), (0.0, g * 0.85), (-0.4, g * 1.05), (-0.85 * b.length, 0.0)]
    abdomen += [(-0.4, -g * 1.05), (0.0, -g * 0.85)]
    return [
        *parts,
        Part(rounded(abdomen), "main", True),
        Part(disc(0.26, 0, 0.2, 0.16), "second"),
        *eye(0.4, 0.05, 0.03),
        *eye(0.4, -0.05, 0.03),
    ]


def _snail(rng: Rng, b: Build) -> list[Part]:
    """A snail from the side: coiled shell on a flat foot, two tentacles."""
    lift, r = rng.uniform(-0.12, 0.1), 0.52 * b.girth
    foot = [
        (-1.0 * b.length, 0.62),
        (-0.3, 0.52),
        (0.4, 0.5),
        (0.75, 0.25 + lift),
        (0.85, 0.08 + lift),
    ]
    cx, cy = -0.12, 0.02
    t = np.linspace(0, 5.2 * np.pi, 90)
    radius = r * 0.96 * (1 - t / t[-1]) ** 0.9
    coil = np.stack(
        [cx + radius * np.cos(t + 0.6), cy + radius * np.sin(t + 0.6) * b.feature], axis=1
    )
    parts = [Part(tube(foot, [0.03, 0.14, 0.17, 0.13, 0.1]), "second")]
    for dx in (0.02, 0.16):
        root, tip = (0.82, 0.05 + lift), (0.88 + dx, -0.3 + lift + rng.uniform(-0.05, 0.05))
        parts.append(Part(tube([root, tip], [0.035, 0.025]), "second"))
        parts.append(Part(disc(*tip, 0.04), "eye"))
    return [
        *parts,
        Part(rounded([(0.1, 0.5), (0.46, 0.42), (0.4, -0.1), (0.0, 0.1)], 2), "pale"),
        Part(disc(cx, cy, r, r * b.feature), "main", True),
        Part(tube(coil, [0.03, 0.022, 0.016], rounds=0), "dark"),
    ]


def _jellyfish(rng: Rng, b: Build) -> list[Part]:
    """A jellyfish from the side, translucent: a bell, frilled arms and thin tentacles."""
    parts, w = [], 0.62 * b.girth
    drift = rng.uniform(-0.25, 0.25)
    for x in np.linspace(-0.85, 0.85, 9):
        phase, sway, end = (
            rng.uniform(0, 6.28),
            rng.uniform(0.03, 0.08),
            rng.uniform(0.75, 1.1) * b.length,
        )
        y = np.linspace(-0.15, end, 12)
        line = np.stack(
            [w * x * (1 - 0.25 * y) + drift * y + sway * np.sin(5 * y + phase), y], axis=1
        )
        parts.append(Part(tube(line, [0.03, 0.022, 0.01]), "second", alpha=205))
    for x in (-0.2, 0.0, 0.2):
        y = np.linspace(-0.2, 0.6 * b.feature, 10)
        line = np.stack([x + drift * y + 0.05 * np.sin(9 * y + rng.uniform(0, 6.28)), y], axis=1)
        parts.append(Part(tube(line, [0.1, 0.09, 0.03]), "pale", alpha=200))
    angle = np.linspace(np.pi, 2 * np.pi, 26)
    dome = np.stack([w * np.cos(angle), -0.18 + 0.72 * np.sin(angle)], axis=1)
    x = np.linspace(w, -w, 33)
    rim = np.stack([x, -0.16 + 0.05 * np.abs(np.sin(np.linspace(0, 8 * np.pi, 33)))], axis=1)
    bell = np.concatenate([dome, rim])
    inner = disc(0.0, -0.38, w * 0.5, 0.2)
    return [*parts, Part(bell, "main", True, 225), Part(inner, "pale", alpha=215)]


def _starfish(rng: Rng, b: Build) -> list[Part]:
    """A starfish from above: five (rarely six) arms with a pale ridge and bumps."""
    arms = 6 if rng.random() < 0.12 else 5
    narrow = 0.2 * b.girth
    parts = []
    for k in range(arms):
        angle = 2 * np.pi * k / arms + rng.uniform(-0.1, 0.1)
        reach, curl = 0.98 * b.length * rng.uniform(0.88, 1.05), rng.uniform(-0.22, 0.22)
        mid = 0.5 * reach * np.array([np.cos(angle), np.sin(angle)])
        end = reach * np.array([np.cos(angle + curl), np.sin(angle + curl)])
        line = np.array([(0, 0), mid, end])
        parts.append((Part(tube(line, [narrow * 1.5, narrow, 0.05]), "main", True), line))
    ridges = [Part(tube(line * 0.85, [0.03, 0.02]), "second") for _, line in parts]
    bumps = [
        Part(disc(0, 0, 0.03 * b.feature) + line[1] * t + side * narrow * 0.55, "pale")
        for _, line in parts
        for t in (0.7, 1.15)
        for side in (
            np.array([-line[1][1], line[1][0]]) * 2,
            np.array([line[1][1], -line[1][0]]) * 2,
        )
    ]
    centre = Part(disc(0, 0, narrow * 1.45), "main", True)
    return [
        *(p for p, _ in parts),
        centre,
        *ridges,
        *bumps,
        Part(flip_y(disc(0, 0, 0.07)), "second"),
    ]


PLANS = {
    "beetle": _beetle,
    "butterfly": _butterfly,
    "spider": _spider,
    "snail": _snail,
    "jellyfish": _jellyfish,
    "starfish": _starfish,
}
