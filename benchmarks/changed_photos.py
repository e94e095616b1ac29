"""Changed copies of photos, and others that look like copies, for ``near_duplicates.py``."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.sample.faults import near_duplicate
from rs_toolkit.sample.plan import NEAR_WAYS

__all__ = ["MADE", "OTHER", "changed"]

MADE = ("mirrored", "burst_2", "burst_4")
OTHER = ("trap_16", "trap_24", "trap_40")
Pixels = NDArray[np.uint8]


def changed(
    rng: np.random.Generator, kind: str, data: bytes, photo: Pixels, other: Pixels
) -> Pixels:
    """Return a changed copy (S, S, 3) of a photo, given as the bytes of its file and as pixels.

    ``kind`` is one of NEAR_WAYS, MADE or OTHER; of the last, ``other`` is what is put into it.
    """
    if kind in NEAR_WAYS:
        return Preprocessing(size=len(photo)).load(near_duplicate(rng, data, kind))
    if kind == "mirrored":
        return camera(rng, photo[:, ::-1])
    size = float(kind.split("_")[1]) / 100
    return burst(rng, photo, size) if kind.startswith("burst") else trap(rng, photo, other, size)


def camera(rng: np.random.Generator, frame: NDArray[Any]) -> Pixels:
    """Expose a frame (S, S, 3) again, and compress it."""
    light = np.clip(frame / 255, 0, 1) ** rng.uniform(0.85, 1.18) * rng.uniform(0.9, 1.1)
    noisy = np.clip((light + rng.normal(0, 0.015, light.shape)) * 255, 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return np.asarray(Image.open(buffer))


def ellipse(side: int, x: float, y: float, width: float) -> NDArray[np.float64]:
    """Return a soft disc (side, side), 0 to 1; place and width are shares of the side."""
    at = (np.arange(side) + 0.5) / side
    distance = np.hypot(at - x, (at - y)[:, None]) / (width / 2)
    return np.asarray(np.clip((1.15 - distance) / 0.15, 0, 1))


def burst(rng: np.random.Generator, photo: Pixels, move: float) -> Pixels:
    """Move the middle of the frame by ``move`` sides, and the whole frame a little."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    side = len(photo)
    subject = gaussian_filter(ellipse(side, 0.5, 0.5, 0.64), side * 0.05) * move * side
    angle, shake = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.006 * side, 2)
    y, x = np.mgrid[:side, :side]
    at = [y + np.sin(angle) * subject + shake[0], x + np.cos(angle) * subject + shake[1]]
    planes = np.moveaxis(photo.astype(np.float64), 2, 0)
    return camera(
        rng, np.stack([map_coordinates(p, at, order=1, mode="nearest") for p in planes], 2)
    )


def trap(rng: np.random.Generator, photo: Pixels, other: Pixels, width: float) -> Pixels:
    """Put what is in the middle of another photo before this one's background."""
    mask = ellipse(len(photo), *rng.uniform(0.35, 0.65, 2), width)[:, :, None]
    return camera(rng, photo * (1 - mask) + other * mask)
