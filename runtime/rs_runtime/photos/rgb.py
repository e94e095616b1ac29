"""Colour modes of all kinds to 8-bit RGB."""

from __future__ import annotations

from PIL import Image

__all__ = ["to_rgb"]


def to_rgb(image: Image.Image, version: int) -> Image.Image:
    """Return an image as RGB; ``version`` is :attr:`Preprocessing.pixels_version`."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        # Most photos do without NumPy here, and are decoded while it is imported.
        from rs_runtime.photos.levels import grey

        return grey(image, version).convert("RGB")
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = Image.new("RGBA", layers.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")
