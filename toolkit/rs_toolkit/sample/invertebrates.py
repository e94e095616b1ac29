"""Body plans of the invertebrate families: functions (rng, build) -> parts, back to front."""

from __future__ import annotations

import numpy as np

from rs_toolkit.sample.shapes import Build, Part, Rng, blob, disc, eyes, limb, polygon, tube

__all__ = ["PLANS"]


def _beetle(rng: Rng, b: Build) -> list[Part]:
    """A beetle from above: wing cases with a seam, six legs, two antennae."""
    w, long, jaw = 0.36 * b.girth, 0.8 * b.length, 0.2 * b.feature
    parts = []
    for side in (1.0, -1.0):
        for x, reach in ((0.35, 0.3), (0.1, -0.08), (-0.12, -0.4)):
            step = rng.uniform(-0.08, 0.08)
            knee = (x + reach * 0.6 + step, side * (w + 0.2))
            foot = (x + reach * 1.5 + step, side * (w + 0.36))
            parts.append(limb("leg", (x, side * 0.2), knee, foot, 0.05))
        tip = (1.05, side * (0.35 + rng.uniform(-0.1, 0.15)))
        feeler = [(0.72, side * 0.08), (0.88, side * 0.25), tip]
        jaws = [(0.75, side * 0.1), (0.85 + jaw * 0.5, side * 0.13), (0.8 + jaw, side * 0.02)]
        parts.append(tube("leg", feeler, [0.025, 0.02, 0.02]))
        parts.append(tube("dark", jaws, [0.04, 0.03, 0.01]))
    cases = [(0.3, 0.0), (0.28, w * 0.8), (-0.1, w * 1.1), (-long * 0.8, w * 0.7), (-long, 0.0)]
    cases += [(x, -y) for x, y in cases[-2:0:-1]]
    chest = [(0.66, 0.2), (0.3, w * 0.95), (0.25, 0), (0.3, -w * 0.95), (0.66, -0.2)]
    return [
        *parts,
        disc("dark", 0.72, 0, 0.15, 0.17),
        blob("coat", cases, 2),
        blob("second", chest, 2),
        tube("dark", [(0.28, 0), (-long * 0.93, 0)], [0.016, 0.01]),
        disc("eye", 0.76, 0.12, 0.04),
        disc("eye", 0.76, -0.12, 0.04),
    ]


def _butterfly(rng: Rng, b: Build) -> list[Part]:
    """A butterfly from above with its four wings open."""
    parts, fold = [], rng.uniform(0.7, 1.0)
    far = (-0.78 * b.feature, 0.42)
    hind = np.array([(0.05, 0.04), (-0.1, 0.5), (-0.45, 0.72 * b.girth), far, (-0.5, 0.08)])
    tip = (0.82 * b.length, 0.98)
    fore = np.array([(0.12, 0.04), (0.5, 0.5), tip, (0.4, 0.98), (0.0, 0.72), (-0.1, 0.1)])
    for side in (1.0, -1.0):
        reach = fold if side > 0 else fold * rng.uniform(0.88, 1.0)
        spots = rng.uniform(0.9, 1.1)
        wings = [
            blob("dark", hind, 2),
            blob("coat", hind * 0.82 + [-0.03, 0.03], 2),
            blob("dark", fore, 2),
            blob("coat", fore * 0.84 + [0.02, 0.05], 2),
            disc("second", 0.42, 0.66, 0.1 * spots),
            disc("second", -0.38, 0.42, 0.09 * spots),
        ]
        parts += [part.scaled_y(side * reach) for part in wings]
        feeler = [(0.3, side * 0.03), (0.6, side * 0.14), (0.78, side * 0.24)]
        parts.append(tube("dark", feeler, [0.016, 0.012, 0.022]))
    body = tube("leg", [(0.34, 0), (0.1, 0), (-0.2, 0), (-0.52, 0)], [0.05, 0.085, 0.06, 0.03])
    return [*parts, body, disc("leg", 0.34, 0, 0.07)]


def _spider(rng: Rng, b: Build) -> list[Part]:
    """A spider from above: round abdomen, eight long bent legs."""
    parts, g = [], 0.34 * b.girth
    for side in (1.0, -1.0):
        for k, angle in enumerate(np.radians([28, 62, 112, 150])):
            angle = float(angle) + rng.uniform(-0.14, 0.14)
            out = (0.92 if k in (0, 3) else 0.75) * b.feature
            knee = (0.22 + 0.5 * out * np.cos(angle), side * (0.08 + 0.62 * out * np.sin(angle)))
            tip = angle - 0.3 if k < 2 else angle + 0.3
            foot = (0.22 + 1.02 * out * np.cos(tip), side * (0.05 + 0.95 * out * np.sin(tip)))
            parts.append(limb("leg", (0.24, side * 0.05), knee, foot, 0.055))
    abdomen = [(0.12, 0.0), (0.0, g * 0.85), (-0.4, g * 1.05), (-0.85 * b.length, 0.0)]
    abdomen += [(-0.4, -g * 1.05), (0.0, -g * 0.85)]
    return [
        *parts,
        blob("coat", abdomen),
        disc("second", 0.26, 0, 0.2, 0.16),
        *eyes(0.4, 0.05, 0.03),
    ]


def _snail(rng: Rng, b: Build) -> list[Part]:
    """A snail from the side: coiled shell on a flat foot, two tentacles."""
    lift, r = rng.uniform(-0.12, 0.1), 0.52 * b.girth
    foot = [(-1.0 * b.length, 0.62), (-0.3, 0.52), (0.4, 0.5)]
    foot += [(0.75, 0.25 + lift), (0.85, 0.08 + lift)]
    cx, cy = -0.12, 0.02
    t = np.linspace(0, 5.2 * np.pi, 90)
    radius = r * 0.96 * (1 - t / t[-1]) ** 0.9
    x, y = cx + radius * np.cos(t + 0.6), cy + radius * np.sin(t + 0.6) * b.feature
    parts = [tube("second", foot, [0.03, 0.14, 0.17, 0.13, 0.1])]
    for dx in (0.02, 0.16):
        tip = (0.88 + dx, -0.3 + lift + rng.uniform(-0.05, 0.05))
        parts.append(tube("second", [(0.82, 0.05 + lift), tip], [0.035, 0.025]))
        parts.append(disc("eye", *tip, 0.04))
    return [
        *parts,
        blob("pale", [(0.1, 0.5), (0.46, 0.42), (0.4, -0.1), (0.0, 0.1)], 2),
        disc("coat", cx, cy, r, r * b.feature),
        tube("dark", np.stack([x, y], axis=1), [0.03, 0.022, 0.016], rounds=0),
    ]


def _jellyfish(rng: Rng, b: Build) -> list[Part]:
    """A jellyfish from the side, translucent: a bell, frilled arms and thin tentacles."""
    parts, w, drift = [], 0.62 * b.girth, rng.uniform(-0.25, 0.25)
    for at in np.linspace(-0.85, 0.85, 9):
        phase, sway = rng.uniform(0, 6.28), rng.uniform(0.03, 0.08)
        y = np.linspace(-0.15, rng.uniform(0.75, 1.1) * b.length, 12)
        x = w * at * (1 - 0.25 * y) + drift * y + sway * np.sin(5 * y + phase)
        line = np.stack([x, y], axis=1)
        parts.append(tube("second", line, [0.03, 0.022, 0.01], alpha=205))
    for at in (-0.2, 0.0, 0.2):
        y = np.linspace(-0.2, 0.6 * b.feature, 10)
        x = at + drift * y + 0.05 * np.sin(9 * y + rng.uniform(0, 6.28))
        parts.append(tube("pale", np.stack([x, y], axis=1), [0.1, 0.09, 0.03], alpha=200))
    angle = np.linspace(np.pi, 2 * np.pi, 26)
    dome = np.stack([w * np.cos(angle), -0.18 + 0.72 * np.sin(angle)], axis=1)
    frill = -0.16 + 0.05 * np.abs(np.sin(np.linspace(0, 8 * np.pi, 33)))
    rim = np.stack([np.linspace(w, -w, 33), frill], axis=1)
    return [
        *parts,
        polygon("coat", np.concatenate([dome, rim]), alpha=225),
        disc("pale", 0.0, -0.38, w * 0.5, 0.2, alpha=215),
    ]


def _starfish(rng: Rng, b: Build) -> list[Part]:
    """A starfish from above: five (rarely six) arms with a pale ridge and bumps."""
    count, narrow = 6 if rng.random() < 0.12 else 5, 0.2 * b.girth
    arms, ridges, bumps = [], [], []
    dot = disc("pale", 0, 0, 0.03 * b.feature).points
    for k in range(count):
        angle = 2 * np.pi * k / count + rng.uniform(-0.1, 0.1)
        reach, curl = 0.98 * b.length * rng.uniform(0.88, 1.05), rng.uniform(-0.22, 0.22)
        mid = 0.5 * reach * np.array([np.cos(angle), np.sin(angle)])
        end = reach * np.array([np.cos(angle + curl), np.sin(angle + curl)])
        line = np.array([(0, 0), mid, end])
        arms.append(tube("coat", line, [narrow * 1.5, narrow, 0.05]))
        ridges.append(tube("second", line * 0.85, [0.03, 0.02]))
        across = np.array([-mid[1], mid[0]]) * 2 * narrow * 0.55
        for t in (0.7, 1.15):
            bumps.append(polygon("pale", dot + mid * t + across))
            bumps.append(polygon("pale", dot + mid * t - across))
    middle = disc("coat", 0, 0, narrow * 1.45)
    return [*arms, middle, *ridges, *bumps, disc("second", 0, 0, 0.07)]


PLANS = {
    "beetle": _beetle,
    "butterfly": _butterfly,
    "spider": _spider,
    "snail": _snail,
    "jellyfish": _jellyfish,
    "starfish": _starfish,
}
