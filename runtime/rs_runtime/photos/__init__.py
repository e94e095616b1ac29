"""Decoding and preprocessing of photos, for training too: no other code does it.

Takes a file or its bytes.  Gives an array of pixels, or a PhotoError.
"""

from __future__ import annotations

__all__ = ["PIXELS_VERSION"]

PIXELS_VERSION = 3
"""To be raised with every change after which a photo that could be read gives other pixels.

1: 16-bit integers are divided by 256; a float image has the range 0 to 1 if no value exceeds 1,
else 0 to 255.  2: both are scaled by the range of their values.  3: TIFFs of more than 20
megapixels are averaged over blocks of pixels first.
"""
