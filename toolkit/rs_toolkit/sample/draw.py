"""Drawing one organism photo: pose, colour, light, habitat, camera."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from rs_toolkit.sample import invertebrates, vertebrates
from rs_toolkit.sample.background import HABITATS, Size, background, foreground, noise
from rs_toolkit.sample.shapes import PATTERNED, Build, Floats, Part, Rng
from rs_toolkit.sample.species import Family, Look, Species

__all__ = ["ASPECTS", "WIDTHS", "camera", "draw_photo", "photo_size"]

Levels = NDArray[np.uint8]

PLANS = vertebrates.PLANS | invertebrates.PLANS
# Widths in pixels, and heights as shares of the width.
WIDTHS = range(148, 177)
ASPECTS = (0.75, 0.8, 0.9, 1.0, 1.12)

COLOURS = {
    "orange": (216, 124, 44),
    "cream": (226, 208, 166),
    "brown": (112, 78, 48),
    "blue": (62, 100, 168),
    "white": (228, 228, 222),
    "olive": (112, 114, 58),
    "yellow": (222, 190, 62),
    "grey": (132, 134, 138),
    "rust": (156, 74, 40),
    "charcoal": (52, 50, 54),
    "green": (84, 136, 60),
    "teal": (46, 122, 118),
    "sand": (190, 158, 108),
    "red": (184, 58, 46),
    "purple": (122, 76, 140),
    "pink": (214, 130, 148),
}
# The levels of a byte.  Computing with these 256 and looking the results up, pixel by pixel, is
# faster than computing with pixels, and gives the same.
_LEVELS = np.arange(256.0)
_FIXED = {
    "eye": (18, 16, 16),
    "shine": (236, 236, 232),
    "bark": (92, 74, 56),
    "beak": (196, 148, 62),
    "accent": (170, 54, 60),
}


def photo_size(rng: Rng) -> Size:
    """Return a (width, height) of about 160 px."""
    width = int(rng.integers(WIDTHS.start, WIDTHS.stop))
    return width, round(width * float(rng.choice(ASPECTS)))


def _pose(rng: Rng, upright: bool, size: Size, points: Floats) -> tuple[Floats, Floats]:
    """Return matrix and offset of a random pose: pixels are ``body @ matrix.T + offset``."""
    turn = np.radians(rng.uniform(-16, 16) if upright else rng.uniform(-55, 55))
    c, s = np.cos(turn), np.sin(turn)
    squeeze = np.diag(rng.uniform(0.84, 1.0, 2)) + np.array([[0, rng.uniform(-0.12, 0.12)], [0, 0]])
    mirror = np.diag([rng.choice([-1.0, 1.0]), 1.0])
    shape = mirror @ np.array([[c, -s], [s, c]]) @ squeeze
    low, high = points.min(axis=0), points.max(axis=0)
    corners = np.array([(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])]) @ shape.T
    span = np.ptp(corners, axis=0)
    scale = rng.uniform(0.68, 0.98) * float(np.min(np.array(size) / span))
    room = (np.array(size) - scale * span) / 2
    drift = rng.uniform(-1, 1, 2) * (room * 0.8 + 0.02 * np.array(size))
    centre = np.array(size) / 2 + drift
    return shape * scale, centre - scale * corners.mean(axis=0)


def _palette(rng: Rng, look: Look) -> dict[str, Floats]:
    """Return an individual's colours: those of the species, varied, and shades of them."""
    cast = rng.normal(0, 6, 3)
    shift = 1 + rng.normal(0, 0.09)
    main = np.array(COLOURS[look.main]) * shift + cast + rng.normal(0, 13, 3)
    second = np.array(COLOURS[look.second]) * shift + cast + rng.normal(0, 13, 3)
    palette = {
        **_FIXED,
        **dict.fromkeys(("main", "coat"), main),
        **dict.fromkeys(("second", "flipper"), second),
        "dark": main * 0.5,
        "leg": main * 0.3 + second * 0.25,
        "pale": 0.45 * main + 0.55 * np.array([232.0, 224.0, 208.0]),
    }
    return {name: np.clip(colour, 8.0, 246.0) for name, colour in palette.items()}


def _pattern(rng: Rng, kind: str, x: Floats, y: Floats) -> Floats:
    """Return how much of the second colour shows (0..1) at body coordinates ``x``, ``y``."""
    a, b, c = rng.uniform(0, 2 * np.pi, 3)
    warp = 0.5 * np.sin(4.1 * x + a) + 0.5 * np.sin(5.3 * y + b) + 0.3 * np.sin(9 * (x + y) + c)
    rate = rng.uniform(0.85, 1.15)
    if kind == "bands":
        value = np.sin(15 * rate * x + 0.9 * warp) - 0.1
    elif kind == "veins":
        value = np.sin(17 * rate * y + 0.6 * warp) - 0.2
    elif kind == "rings":
        value = np.sin(17 * rate * np.hypot(x, y) + 0.7 * warp)
    elif kind == "spots":
        value = 4 * np.sin(14 * rate * x + warp + a) * np.sin(14 * rate * y + warp + b) - 1.5
    elif kind == "mottle":
        value = 1.4 * (warp + 0.6 * np.sin(13 * x - 8 * y + a) * np.sin(9 * x + 12 * y + b))
    elif kind == "counter":
        value = 4 * (y - 0.08) + 0.5 * warp
    else:
        return np.asarray(0.12 * np.clip(warp, 0, 1))
    return np.asarray(np.clip(0.5 + 2.5 * value, 0, 1) * 0.88)


def _paint(
    parts: list[Part], palette: dict[str, Floats], matrix: Floats, offset: Floats, size: Size
) -> tuple[Levels, Levels]:
    """Rasterize parts; return colour and opacity (h, w, 4), and the pattern's mask (h, w)."""
    picture, pattern = Image.new("RGBA", size), Image.new("L", size)
    pictures, patterns = ImageDraw.Draw(picture), ImageDraw.Draw(pattern)
    line = max(1, round(size[0] / 190))
    for part in parts:
        outline = [tuple(p) for p in (part.points @ matrix.T + offset).tolist()]
        fill = palette[part.role]
        inner, edge = ((*map(int, colour), part.alpha) for colour in (fill, fill * 0.72))
        pictures.polygon(outline, fill=inner, outline=edge, width=line)
        shown = 255 if part.role in PATTERNED else 0
        patterns.polygon(outline, fill=shown, outline=shown, width=line)
    return np.asarray(picture), np.asarray(pattern)


def _shade(rng: Rng, alpha: Levels, size: Size, shown: NDArray[np.int64]) -> Floats:
    """Return relative brightness (n,) as if the silhouette bulged towards the viewer.

    ``alpha`` is the opacity (h, w); ``shown`` are the n flat positions that are wanted.
    """
    small, large = 0.012, 0.035
    rows, columns = np.divmod(shown, size[0])
    # Beyond this edge, none of the three box means that make Pillow's blur sees the animal.
    edge = 3 * math.ceil(large * size[0]) + 3
    top, left = (max(0, int(places.min()) - edge) for places in (rows, columns))
    part = np.s_[top : int(rows.max()) + edge + 1, left : int(columns.max()) + edge + 1]
    # The opacity as it is after its way through 0..1, which lowers some levels by one.
    mask = Image.fromarray((_LEVELS / 255 * 255).astype(np.uint8)[alpha[part]])
    height = np.zeros((mask.height, mask.width))
    for share, weight in ((small, 0.35), (large, 0.65)):
        blurred = mask.filter(ImageFilter.GaussianBlur(share * size[0]))
        height += (weight * share * size[0] * _LEVELS / 255)[np.asarray(blurred)]
    gy, gx = (slope[rows - top, columns - left] for slope in np.gradient(height))
    angle = rng.uniform(-2.6, -0.5)
    lit = gx * np.cos(angle) + gy * np.sin(angle)
    skin = 0.06 * noise(rng, size, 40, 2).ravel()[shown]
    return np.asarray(np.clip(1 - rng.uniform(0.8, 1.6) * lit + skin, 0.4, 1.6))


def _individual(rng: Rng, build: Build) -> Build:
    """Vary a species' proportions by a few percent."""
    values = np.array([build.length, build.girth, build.feature]) * (1 + rng.normal(0, 0.06, 3))
    return Build(*(float(v) for v in np.clip(values, 0.7, 1.6)))


def _animal(rng: Rng, family: Family, look: Look, size: Size) -> tuple[Floats, Floats]:
    """Return one animal on a canvas of ``size``: opacity (h, w), and colour times it (h, w, 3)."""
    parts = PLANS[family.plan](rng, _individual(rng, look.build))
    points = np.concatenate([part.points for part in parts if part.role != "bark"])
    matrix, offset = _pose(rng, family.upright, size, points)
    palette = _palette(rng, look)
    painted, patterned = _paint(parts, palette, matrix, offset, size)
    # What follows is computed where the animal is, about a third of the canvas.
    shown = np.flatnonzero(painted[:, :, 3])
    rows, columns = np.divmod(shown, size[0])
    inverse = np.linalg.inv(matrix)
    px, py = columns + 0.5 - offset[0], rows + 0.5 - offset[1]
    body_x = inverse[0, 0] * px + inverse[0, 1] * py
    body_y = inverse[1, 0] * px + inverse[1, 1] * py
    share = (_LEVELS / 255)[patterned.ravel()[shown]]
    mix = (_pattern(rng, look.pattern, body_x, body_y) * share)[:, None]
    light = _shade(rng, painted[:, :, 3], size, shown)[:, None]
    colour = painted.reshape(-1, 4)[shown]
    mixed = colour[:, :3] * (1 - mix) + palette["second"] * mix
    ink = np.zeros((size[1] * size[0], 3))
    ink[shown] = mixed * light * (_LEVELS / 255)[colour[:, 3:]]
    return (_LEVELS / 255)[painted[:, :, 3]], ink.reshape(size[1], size[0], 3)


def _shrink(values: Floats) -> Floats:
    """Average blocks of 2 x 2 pixels."""
    pairs = values[:, ::2] + values[:, 1::2]
    return (pairs[::2] + pairs[1::2]) / 4


def _blurred(values: Floats, radius: float) -> Floats:
    """Blur a mask (h, w) or picture (h, w, 3) in 0..255; the result has whole numbers."""
    image = Image.fromarray(values.astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float64)


def draw_photo(rng: Rng, family: Family, species: Species) -> Image.Image:
    """Draw one photo of a species as a camera would have taken it.

    Returns an RGB picture of about 160 px.  In 30 % of the photos the habitat is one of the
    family's own, otherwise any habitat, so that the background says little about the family.
    """
    size = photo_size(rng)
    choices = family.habitats if rng.random() < 0.3 else HABITATS
    scene = background(rng, choices[int(rng.integers(len(choices)))], size)
    scene = _blurred(scene, rng.uniform(0, 1.8))
    # Drawn twice as large, and shrunk afterwards, for smooth edges.
    alpha, ink = _animal(rng, family, species.look, (2 * size[0], 2 * size[1]))
    cover, ink = _shrink(alpha[:, :, None]), _shrink(ink)
    drop = (int(rng.integers(-4, 5)), int(rng.integers(2, 6)))
    shade = _blurred(cover[:, :, 0] * 255, 4) / 255
    shadow = np.roll(shade, drop, axis=(1, 0)) * rng.uniform(0.05, 0.5)
    picture = scene * (1 - shadow[:, :, None]) * (1 - cover) + ink
    if rng.random() < 0.35:
        blades, mask = foreground(rng, scene, size)
        picture = picture * (1 - mask[:, :, None]) + blades * mask[:, :, None]
    return camera(rng, picture)


def camera(rng: Rng, picture: Floats) -> Image.Image:
    """Expose, tint, blur and add sensor noise to a picture (h, w, 3) in 0..255."""
    height, width = picture.shape[:2]
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    vignette = 1 - rng.uniform(0, 0.22) * (x**2 + y**2)
    exposed = np.clip(picture / 255 * vignette[:, :, None], 0, 1) ** rng.uniform(0.75, 1.3)
    tinted = exposed * (1 + rng.normal(0, 0.045, 3)) * rng.uniform(0.85, 1.12)
    blur = rng.uniform(0, 0.5) if rng.random() < 0.8 else rng.uniform(0.5, 1.3)
    soft = _blurred(np.clip(tinted, 0, 1) * 255, blur)
    grain = rng.standard_normal(soft.shape) * rng.uniform(0.8, 5)
    return Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8))
