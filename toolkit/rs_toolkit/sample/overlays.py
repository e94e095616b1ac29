"""What is laid over a picture after it was taken: watermarks, captions and cameras' info bars."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from rs_toolkit.sample.shapes import Rng

__all__ = ["OVERLAYS", "overlaid"]

OVERLAYS = ("watermark", "caption", "info_bar")

_WHITE, _BLACK, _YELLOW = (255, 255, 255), (0, 0, 0), (255, 226, 64)
_OWNERS = ("stock picture", "SAMPLE", "nature photos", "(c) 2019 M. Ficta", "PREVIEW ONLY")
_TITLES = ("Fig. 3", "Plate 12", "adult, in its habitat", "M. Ficta, 2016", "Photo by A. Ficta")

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def overlaid(rng: Rng, image: Image.Image, kind: str) -> Image.Image:
    """Lay one of :data:`OVERLAYS` over an RGB picture; an info bar may make it taller."""
    draw = {"watermark": _watermark, "caption": _caption, "info_bar": _info_bar}[kind]
    return draw(rng, image)


def _blended(image: Image.Image, mask: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """Paint ``colour`` where the mask, 0 to 255, is not 0; lower values let the picture through."""
    changed = image.copy()
    changed.paste(colour, (0, 0), mask)
    return changed


def _fitted(text: str, width: float, height: float) -> Font:
    """Return the largest font in which the text fits into a box."""
    known = ImageFont.load_default(100).getbbox(text)
    return ImageFont.load_default(max(5, 100 * min(width / known[2], height / known[3])))


def _watermark(rng: Rng, image: Image.Image) -> Image.Image:
    """Write faint words once across the middle, or many times all over, level or slanted."""
    width, height = image.size
    text = str(rng.choice(_OWNERS))
    strength = int(255 * rng.uniform(0.3, 0.6))
    colour = _WHITE if rng.random() < 0.8 else _BLACK
    angle = float(rng.choice([0, rng.uniform(20, 40)]))
    # Drawn on a larger sheet, so that turning it leaves no corner empty.
    sheet = Image.new("L", (2 * width, 2 * height))
    draw = ImageDraw.Draw(sheet)
    if rng.random() < 0.5:
        font = _fitted(text, width * rng.uniform(0.6, 0.9), height * 0.25)
        draw.text((width, height), text, fill=strength, font=font, anchor="mm")
    else:
        font = _fitted(text, width * rng.uniform(0.25, 0.4), height * 0.1)
        across, down = font.getbbox(text)[2] * 1.4, font.getbbox(text)[3] * rng.uniform(2.5, 4)
        for row in range(int(2 * height / down) + 1):
            for column in range(-1, int(2 * width / across) + 1):
                at = ((column + row % 2 / 2) * across, row * down)
                draw.text(at, text, fill=strength, font=font)
    turned = sheet.rotate(angle, Image.Resampling.BICUBIC)
    left, top = width // 2, height // 2
    return _blended(image, turned.crop((left, top, left + width, top + height)), colour)


def _caption(rng: Rng, image: Image.Image) -> Image.Image:
    """Write a line near the lower or upper edge, at times on a darkened strip."""
    width, height = image.size
    text = str(rng.choice(_TITLES))
    font = _fitted(text, width * rng.uniform(0.35, 0.8), height * 0.09)
    _, _, across, down = font.getbbox(text)
    x = rng.uniform(0.03, max(0.04, 0.97 - across / width)) * width
    y = float(rng.choice([0.02 * height, height * 0.97 - down]))
    colour = (_WHITE, _YELLOW, _BLACK)[int(rng.integers(3))]
    if colour != _BLACK and rng.random() < 0.5:
        strip = Image.new("L", image.size)
        edges = (0, y - 0.02 * height, width, y + down + 0.02 * height)
        ImageDraw.Draw(strip).rectangle(edges, fill=int(255 * rng.uniform(0.4, 0.8)))
        image = _blended(image, strip, _BLACK)
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).text((x, y), text, fill=255, font=font)
    return _blended(image, mask, colour)


def _info_bar(rng: Rng, image: Image.Image) -> Image.Image:
    """Put a bar with date, time and temperature over an edge of the picture, or beyond it."""
    width, height = image.size
    bar = round(height * rng.uniform(0.06, 0.11))
    day, hour, minute = (int(rng.integers(low, high)) for low, high in ((1, 29), (0, 24), (0, 60)))
    text = f"CAM{day:02d}  {rng.integers(-9, 35)}C  2021-06-{day:02d}  {hour:02d}:{minute:02d}"
    ground, ink = (_BLACK, _WHITE) if rng.random() < 0.7 else (_WHITE, _BLACK)
    at_top, beyond = rng.random(2) < (0.3, 0.3)
    taller = Image.new("RGB", (width, height + bar * int(beyond)), ground)
    taller.paste(image, (0, bar if at_top and beyond else 0))
    top = 0 if at_top else taller.height - bar
    draw = ImageDraw.Draw(taller)
    draw.rectangle((0, top, width, top + bar - 1), fill=ground)
    font = _fitted(text, width * 0.9, bar * 0.8)
    draw.text((width * 0.04, top + bar / 2), text, fill=ink, font=font, anchor="lm")
    return taller
