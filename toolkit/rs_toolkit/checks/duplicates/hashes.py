"""Perceptual hashes of 64 bits: those of photos that look alike differ in few bits.

The hash is pHash (Zauner 2010, "Implementation and benchmarking of perceptual image hash
functions"): the photo is reduced to 32 x 32 grey pixels, and each bit says whether one of the 8 x 8
lowest frequencies of its discrete cosine transform is above their median.  Size, compression and
brightness hardly change it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["greys", "perceptual_hashes"]

_SIDE, _LOW = 32, 8
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
# A frame with a lower standard deviation, in grey levels, would only have its noise hashed.
_STRUCTURE = 2.0


def greys(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """Return photos in grey, resized by area means: float32 of shape (n, side, side), 0 to 255.

    ``pixels`` are uint8 of shape (n, height, width, 3), RGB, or (n, height, width), grey.
    """
    grey = pixels @ _LUMA if pixels.ndim == 4 else pixels.astype(np.float32)
    # Each pass reduces the last axis by one large matrix product, and swaps the two axes.
    for length in grey.shape[:0:-1]:
        grey = (grey.reshape(-1, length) @ _area_means(length, side)).reshape(*grey.shape[:2], side)
        grey = np.ascontiguousarray(grey.swapaxes(1, 2))
    return np.asarray(grey, np.float32)


@lru_cache(8)
def _area_means(source: int, target: int) -> NDArray[np.float32]:
    """Return the matrix (source, target) that averages source pixels over each target pixel."""
    edges = np.arange(target + 1) * (source / target)
    cells = np.arange(source)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    return np.asarray(np.maximum(overlap, 0).T * (target / source), np.float32)


def perceptual_hashes(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the 64-bit pHash of each photo, uint8 of shape (n, 8).

    Pixels are as :func:`greys` takes them.  Only a frame without structure (such as a black one)
    has the hash 0, which :func:`rs_toolkit.checks.duplicates.neighbours.near_hashes` passes over.
    """
    from scipy.fft import dctn

    small = greys(pixels, _SIDE)
    waves = dctn(small, axes=(1, 2), norm="ortho")[:, :_LOW, :_LOW].reshape(-1, _LOW * _LOW)
    bits = waves > np.median(waves[:, 1:], axis=1, keepdims=True)
    # The first frequency is the mean brightness.
    bits[:, 0] = False
    bits[small.std(axis=(1, 2)) < _STRUCTURE] = False
    return np.packbits(bits, axis=1)
