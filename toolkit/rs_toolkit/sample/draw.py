"""Drawing one organism photo: pose, colour, light, habitat, camera."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from rs_toolkit.sample import invertebrates, vertebrates
from rs_toolkit.sample.background import HABITATS, Size, background, foreground, noise
from rs_toolkit.sample.shapes import PATTERNED, Build, Floats, Part, Rng
from rs_toolkit.sample.species import Family, Look, Species

__all__ = ["ASPECTS", "WIDTHS", "camera", "draw_photo", "photo_size"]

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
) -> tuple[Floats, Floats, Floats]:
    """Rasterize parts; return colour (h, w, 3), and opacity and pattern masks (h, w) in 0..1."""
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
    painted = np.array(picture, dtype=np.float64)
    return painted[:, :, :3], painted[:, :, 3] / 255, np.asarray(pattern, dtype=np.float64) / 255


def _shade(rng: Rng, alpha: Floats, size: Size) -> Floats:
    """Return relative brightness (h, w) as if the silhouette bulged towards the viewer."""
    height = np.zeros_like(alpha)
    for share, weight in ((0.012, 0.35), (0.035, 0.65)):
        height += weight * share * size[0] * _blurred(alpha * 255, share * size[0]) / 255
    gy, gx = np.gradient(height)
    angle = rng.uniform(-2.6, -0.5)
    lit = gx * np.cos(angle) + gy * np.sin(angle)
    skin = 0.06 * noise(rng, size, 40, 2)
    return np.asarray(np.clip(1 - rng.uniform(0.8, 1.6) * lit + skin, 0.4, 1.6))


def _individual(rng: Rng, build: Build) -> Build:
    """Vary a species' proportions by a few percent."""
    values = np.array([build.length, build.girth, build.feature]) * (1 + rng.normal(0, 0.06, 3))
    return Build(*(float(v) for v in np.clip(values, 0.7, 1.6)))


def _animal(rng: Rng, family: Family, look: Look, size: Size) -> tuple[Floats, Floats]:
    """Return colour (h, w, 3) and opacity (h, w) of one animal on a canvas of ``size``."""
    parts = PLANS[family.plan](rng, _individual(rng, look.build))
    points = np.concatenate([part.points for part in parts if part.role != "bark"])
    matrix, offset = _pose(rng, family.upright, size, points)
    palette = _palette(rng, look)
    colour, alpha, patterned = _paint(parts, palette, matrix, offset, size)
    rows, columns = np.nonzero(alpha)
    inverse = np.linalg.inv(matrix)
    px, py = columns + 0.5 - offset[0], rows + 0.5 - offset[1]
    body_x = inverse[0, 0] * px + inverse[0, 1] * py
    body_y = inverse[1, 0] * px + inverse[1, 1] * py
    mix = (_pattern(rng, look.pattern, body_x, body_y) * patterned[rows, columns])[:, None]
    light = _shade(rng, alpha, size)[rows, columns, None]
    mixed = colour[rows, columns] * (1 - mix) + palette["second"] * mix
    colour[rows, columns] = mixed * light
    return colour, alpha


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
    colour, alpha = _animal(rng, family, species.look, (2 * size[0], 2 * size[1]))
    weight = alpha[:, :, None]
    cover = _shrink(weight)
    ink = _shrink(colour * weight)
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
