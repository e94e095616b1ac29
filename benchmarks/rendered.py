"""Pictures that show no organism, drawn at random: documents, charts, maps, textures and more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from rs_toolkit.sample.faults import non_organism

__all__ = ["KINDS", "draw", "render"]

Rng = np.random.Generator
_WORDS = (
    *("survey", "transect", "camera", "site", "date", "observer", "river", "north", "total"),
    *("count", "sample", "station", "hours", "wind", "rain", "left", "right", "table", "figure"),
    *("method", "results", "data", "error", "file", "edit", "view", "save", "open", "close"),
)


def _colour(rng: Rng, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(low, high, 3))
    return red, green, blue


def _size(rng: Rng) -> tuple[int, int]:
    width = int(rng.integers(240, 640))
    return width, round(width * float(rng.choice([0.67, 0.75, 1.0, 1.33, 1.5])))


def _lines(rng: Rng, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    """Set words in a real font."""
    left, top, right, bottom = box
    points, ink = int(rng.integers(8, 22)), _colour(rng, 0, 110)
    font = ImageFont.load_default(points)
    for y in range(top, max(top + 1, bottom - points), round(points * rng.uniform(1.2, 1.8))):
        x, end = left, right - int(rng.integers(0, max(2, (right - left) // 2)))
        while x < end:
            word = str(rng.choice(_WORDS)) if rng.random() < 0.8 else str(rng.integers(10**4))
            draw.text((x, y), word, fill=ink, font=font)
            x += round(font.getlength(word + " "))


def document(rng: Rng) -> Image.Image:
    """A page or a label: words on paper, perhaps askew and shaded as if it was photographed."""
    width, height = _size(rng)
    image = Image.new("RGB", (width, height), _colour(rng, 200))
    _lines(rng, ImageDraw.Draw(image), (width // 12, height // 12, width * 11 // 12, height))
    if rng.random() < 0.5:
        image = image.rotate(float(rng.uniform(-15, 15)), fillcolor=_colour(rng, 0, 160))
    shade = np.linspace(*rng.uniform(0.5, 1, 2), width)[None, :, None]
    return Image.fromarray((np.asarray(image) * shade).astype(np.uint8))


def chart(rng: Rng) -> Image.Image:
    """Bars, points or lines between axes."""
    width, height = _size(rng)
    image = Image.new("RGB", (width, height), _colour(rng, 225))
    draw, count = ImageDraw.Draw(image), int(rng.integers(4, 30))
    x = np.linspace(0.12 * width, 0.92 * width, count)
    y = height * (0.88 - 0.75 * np.abs(np.cumsum(rng.standard_normal(count)) / 8) % 0.75)
    ink = _colour(rng, 0, 200)
    match rng.choice(["bars", "points", "line"]):
        case "bars":
            for left, top in zip(x, y, strict=True):
                draw.rectangle((left, top, left + 0.6 * width / count, 0.88 * height), fill=ink)
        case "points":
            for left, top in zip(x, y, strict=True):
                draw.ellipse((left - 3, top - 3, left + 3, top + 3), fill=ink)
        case _:
            draw.line(list(zip(x, y, strict=True)), fill=ink, width=int(rng.integers(1, 5)))
    draw.line([(0.1 * width, 0.05 * height), (0.1 * width, 0.88 * height)], fill=(40, 40, 40))
    draw.line([(0.1 * width, 0.88 * height), (0.95 * width, 0.88 * height)], fill=(40, 40, 40))
    _lines(rng, draw, (width // 3, 4, width, height // 16))
    return image


def screenshot(rng: Rng) -> Image.Image:
    """Windows with bars, buttons and words."""
    width, height = _size(rng)
    image = Image.new("RGB", (width, height), _colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 5))):
        left, top = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        right = left + int(rng.integers(width // 4, width))
        bottom = top + int(rng.integers(height // 4, height))
        draw.rectangle((left, top, right, bottom), fill=_colour(rng, 190), outline=_colour(rng))
        draw.rectangle((left, top, right, top + 16), fill=_colour(rng))
        for button in range(int(rng.integers(1, 6))):
            at = left + 8 + 60 * button
            draw.rounded_rectangle((at, top + 22, at + 50, top + 38), 5, fill=_colour(rng))
        _lines(rng, draw, (left + 6, top + 44, right, bottom))
    return image


def map_(rng: Rng) -> Image.Image:
    """Areas, roads and names."""
    width, height = _size(rng)
    image = Image.new("RGB", (width, height), _colour(rng, 200))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(4, 14))):
        corners = rng.uniform((0, 0), (width, height)) + rng.normal(0, width / 6, (7, 2))
        draw.polygon([(float(x), float(y)) for x, y in corners], fill=_colour(rng, 150))
    for _ in range(int(rng.integers(5, 20))):
        points = np.cumsum(rng.normal(0, width / 9, (9, 2)), axis=0) + rng.uniform(0, width, 2)
        road = [(float(x), float(y)) for x, y in points]
        draw.line(road, fill=_colour(rng), width=int(rng.integers(1, 5)))
    for _ in range(int(rng.integers(2, 9))):
        place = (int(rng.integers(width)), int(rng.integers(height)))
        draw.text(place, str(rng.choice(_WORDS)), fill=(20, 20, 20))
    return image


def texture(rng: Rng) -> Image.Image:
    """Noise of several scales, stripes or checks in two colours."""
    width, height = _size(rng)
    one, other = (np.array(_colour(rng), float) for _ in range(2))
    y, x = np.mgrid[:height, :width] / width
    match rng.choice(["noise", "stripes", "checks"]):
        case "noise":
            mix = np.zeros((height, width))
            for scale in (4, 16, 64):
                small = Image.fromarray(rng.integers(0, 256, (scale, scale), dtype=np.uint8))
                layer = small.resize((width, height), Image.Resampling.BICUBIC)
                mix += rng.uniform() * np.asarray(layer) / 255
            mix /= mix.max()
        case "stripes":
            turn = rng.uniform(0, np.pi)
            mix = 0.5 + 0.5 * np.sin(rng.uniform(10, 150) * (x * np.cos(turn) + y * np.sin(turn)))
        case _:
            cells = rng.uniform(4, 40)
            mix = (np.floor(cells * x) + np.floor(cells * y)) % 2
    pixels = (
        one + (other - one) * mix[:, :, None] + rng.normal(0, rng.uniform(0, 15), (height, 1, 1))
    )
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 2))))


def drawn(rng: Rng) -> Image.Image:
    """One of the sample's own pictures of no organism, an empty landscape among them."""
    return non_organism(rng, str(rng.choice(["landscape", "document", "chart", "screenshot"])))


KINDS = {
    "document": document,
    "chart": chart,
    "screenshot": screenshot,
    "map": map_,
    "texture": texture,
    "drawn": drawn,
}


def draw(kind: str, seed: int) -> Image.Image:
    """Return a picture of one of KINDS; equal seeds give equal pictures."""
    return KINDS[kind](np.random.default_rng((sorted(KINDS).index(kind), seed)))


def render(folder: Path, count: int, first: int = 0) -> None:
    """Write ``count`` JPEGs of each kind as ``<kind>/<number>.jpg``."""
    for kind in KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            draw(kind, number).save(folder / kind / f"{number}.jpg", quality=88)
