"""Backgrounds: noise in several octaves, coloured as habitats, and plants in the foreground."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from rs_toolkit.sample.shapes import Floats, Rng, tube

__all__ = ["HABITATS", "background", "foreground", "noise"]

Size = tuple[int, int]

# Colour ramps from dark to light, two variants each, so that colour alone says little.
_RAMPS: dict[str, tuple[tuple[tuple[int, int, int], ...], ...]] = {
    "forest": (
        ((22, 32, 18), (52, 70, 34), (96, 112, 58), (168, 172, 112)),
        ((34, 26, 18), (78, 60, 38), (120, 96, 62), (176, 156, 116)),
    ),
    "grass": (
        ((36, 62, 22), (78, 112, 38), (128, 156, 62), (190, 198, 110)),
        ((84, 76, 36), (140, 124, 60), (184, 166, 92), (218, 204, 144)),
    ),
    "sand": (
        ((150, 124, 88), (188, 160, 118), (212, 188, 146), (234, 216, 180)),
        ((122, 96, 78), (160, 130, 106), (190, 162, 136), (214, 194, 170)),
    ),
    "water": (
        ((10, 44, 70), (24, 84, 116), (58, 128, 156), (136, 188, 204)),
        ((18, 56, 52), (44, 96, 86), (92, 140, 124), (168, 200, 184)),
    ),
    "reef": (
        ((20, 40, 72), (72, 68, 92), (136, 102, 98), (196, 156, 128)),
        ((18, 62, 74), (56, 104, 100), (122, 132, 100), (200, 180, 130)),
    ),
    "rock": (
        ((54, 54, 56), (96, 94, 92), (134, 130, 126), (180, 176, 170)),
        ((66, 54, 46), (108, 92, 80), (148, 130, 114), (188, 172, 154)),
    ),
    "snow": (
        ((148, 162, 184), (190, 202, 218), (222, 228, 236), (246, 248, 250)),
        ((132, 136, 146), (176, 178, 184), (212, 210, 210), (240, 238, 234)),
    ),
    "sky": (
        ((70, 116, 176), (112, 154, 204), (166, 194, 224), (232, 238, 244)),
        ((118, 124, 136), (154, 158, 166), (190, 192, 196), (226, 226, 226)),
    ),
}
HABITATS = tuple(_RAMPS)


def noise(
    rng: Rng, size: Size, cells: float, octaves: int = 4, stretch: tuple[float, float] = (1, 1)
) -> Floats:
    """Return value noise (h, w) with mean 0 and a standard deviation of about 1.

    ``cells`` is the number of cells of the coarsest octave across the width; each further octave
    has twice the cells and 0.6 times the amplitude.  ``stretch`` (x, y) lengthens the cells.
    """
    width, height = size
    total = np.zeros((height, width))
    for octave in range(octaves):
        n = cells * 2**octave
        grid_w = min(width, max(2, round(n / stretch[0])))
        grid_h = min(height, max(2, round(n * height / width / stretch[1])))
        grid = rng.standard_normal((grid_h, grid_w)).astype(np.float32)
        layer = Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)
        total += 0.6**octave * np.asarray(layer, dtype=np.float64)
    centred = total - total.mean()
    return np.asarray(centred / (np.sqrt((centred * centred).mean()) + 1e-6))


def _texture(rng: Rng, habitat: str, size: Size) -> Floats:
    """Return a lightness map (h, w), about -2..2, that is typical of a habitat."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    if habitat == "forest":
        trunks = noise(rng, size, 5, 3, (1, 8)) * np.clip(1.5 - 1.6 * y, 0.1, 1)
        return 0.75 * noise(rng, size, 5) + 0.7 * trunks
    if habitat == "grass":
        return 0.4 * noise(rng, size, 3) + 0.8 * noise(rng, size, 24, 3, (1, 7)) + 0.8 * (y - 0.5)
    if habitat == "sand":
        warp = noise(rng, size, 2, 2)
        angle = rng.uniform(0, np.pi)
        along = x * np.cos(angle) + y * np.sin(angle)
        ripples = np.sin(2 * np.pi * rng.uniform(4, 10) * along + 1.3 * warp)
        ripples *= 0.5 * rng.uniform(0.2, 1)
        return np.asarray(ripples + 0.5 * noise(rng, size, 3) + 0.35 * _grain(rng, size))
    if habitat == "water":
        ripples = noise(rng, size, 6, 4, (4, 1))
        return 0.7 * ripples + rng.uniform(-1.2, 1.2) * (y - 0.5) + 0.3 * noise(rng, size, 2, 2)
    if habitat == "reef":
        return np.asarray(0.9 * noise(rng, size, 5, 5) + 1.2 * (y - 0.5))
    if habitat == "rock":
        ridges = 0.8 - np.abs(noise(rng, size, 4, 4)) * 1.4
        return 0.55 * ridges + 0.6 * noise(rng, size, 4, 5) + 0.2 * _grain(rng, size)
    if habitat == "snow":
        return 0.7 * noise(rng, size, 2, 3, (2, 1)) + 0.2 * _grain(rng, size) + 0.5
    clouds = np.clip(noise(rng, size, 3, 4, (2, 1)) - rng.uniform(-0.5, 1), 0, 3)
    return np.asarray(clouds + 1.4 * (y - 0.6))


def _grain(rng: Rng, size: Size) -> Floats:
    return rng.standard_normal((size[1], size[0]))


def _ramp(rng: Rng, habitat: str, texture: Floats) -> Floats:
    """Colour a texture (h, w) by a random mix of a habitat's two ramps, slightly tinted."""
    first, second = (np.array(ramp, dtype=np.float64) for ramp in _RAMPS[habitat])
    stops = first + rng.uniform(0, 1) * (second - first) + rng.normal(0, 7, 3)
    at = np.clip(0.5 + texture * 0.2, 0, 1)
    knots = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(at, knots, stops[:, k]) for k in range(3)], axis=2)


def background(rng: Rng, habitat: str, size: Size) -> Floats:
    """Return an RGB picture (h, w, 3) of a habitat, 0..255; ``size`` is (width, height)."""
    picture = _ramp(rng, habitat, _texture(rng, habitat, size))
    if habitat not in ("sky", "sand") and rng.random() < 0.25:
        picture = _with_horizon(rng, picture, size)
    width, height = size
    slope = rng.normal(0, 0.14, 2)
    across, down = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    light = 1 + slope[0] * across + slope[1] * down
    return np.asarray(np.clip(picture * light[:, :, None], 0, 255))


def _with_horizon(rng: Rng, picture: Floats, size: Size) -> Floats:
    """Replace what is above an uneven horizon by a distant, hazy habitat."""
    height = size[1]
    far = ("sky", "forest", "snow", "water")[int(rng.integers(4))]
    beyond = 0.75 * _ramp(rng, far, 0.7 * _texture(rng, far, size)) + 0.25 * 205
    line = rng.uniform(0.15, 0.5) + 0.04 * noise(rng, size, 3, 3)[0]
    below = np.linspace(0, 1, height)[:, None] - line[None, :]
    mix = np.clip(below * height / 3 + 0.5, 0, 1)[:, :, None]
    return np.asarray(mix * picture + (1 - mix) * beyond)


def foreground(rng: Rng, picture: Floats, size: Size) -> tuple[Floats, Floats]:
    """Return blades or leaves (h, w, 3) in the picture's own colours, and their mask (h, w)."""
    width, height = size
    layer = Image.new("RGBA", size)
    draw = ImageDraw.Draw(layer)
    count = int(rng.integers(2, 7))
    centre = rng.uniform(0.1, 0.9) * width
    for _ in range(count):
        root = centre + rng.normal(0, 0.2) * width
        top = height * rng.uniform(0.25, 0.8)
        lean = rng.normal(0, 0.15) * width
        half = rng.uniform(0.008, 0.03) * width
        spine = [(root, height + 4), (root + lean * 0.3, (height + top) / 2), (root + lean, top)]
        outline = [tuple(p) for p in tube("", spine, [half, half * 1.2, 0.5]).points.tolist()]
        sample = picture[int(rng.integers(height)), int(rng.integers(width))]
        colour = np.clip(sample * rng.uniform(0.6, 1.15), 0, 255).astype(int)
        draw.polygon(outline, fill=(*colour.tolist(), 255))
    drawn = np.asarray(layer, dtype=np.float64)
    return drawn[:, :, :3], drawn[:, :, 3] / 255
