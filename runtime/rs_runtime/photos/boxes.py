"""Boxes of a detector, such as MegaDetector, around what a photo shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rs_runtime.photos.preprocess import Box
from rs_runtime.photos.stored import StoredPhoto, photo_path

__all__ = ["ANIMAL", "BoxedPhoto", "DetectedBox", "box_text", "fitted_box", "tidy_box"]

ANIMAL = "animal"
"""What detectors call the boxes that are classified."""

# Detectors, and the rounding of pixels, put edges of boxes a little outside the photo.
_OVERSHOOT = 0.01


@dataclass(frozen=True)
class DetectedBox:
    """One box: its place in the upright photo, and what the detector says of it.

    Attributes
    ----------
    box
        Left, top, width, height, fractions of the photo's sides, 0 to 1.
    confidence
        The detector's, 0 to 1.
    category
        Its name, such as ``animal``, ``person`` or ``vehicle``; only animals are classified.

    Raises
    ------
    ValueError
        The box reaches out of the photo or has no area.
    """

    box: Box
    confidence: float = 1.0
    category: str = ANIMAL

    def __post_init__(self) -> None:
        # Frozen, so that it can be a key.
        object.__setattr__(self, "box", tidy_box(self.box))


@dataclass(frozen=True)
class BoxedPhoto:
    """A photo (a path, a file's bytes or a StoredPhoto) and the boxes that a detector found in it.

    It gets one answer for each box of an animal, and one that sums them up.  Without such a box
    it is not classified.
    """

    photo: str | Path | bytes | StoredPhoto
    boxes: tuple[DetectedBox, ...]

    @property
    def path(self) -> str | None:
        """What results call the photo."""
        return photo_path(self.photo)


def fitted_box(left: float, top: float, width: float, height: float) -> Box:
    """Return a box with its edges within the photo; they may be up to 0.01 outside of it.

    Raises
    ------
    ValueError
        The box reaches further out of the photo, or has no area.
    """
    edges = (left, top, left + width, top + height)
    # NaN compares false.
    if not all(-_OVERSHOOT <= edge <= 1 + _OVERSHOOT for edge in edges):
        raise ValueError("leaves the photo; wanted fractions from 0 to 1")
    left, top, right, bottom = (min(1.0, max(0.0, edge)) for edge in edges)
    if not (left < right and top < bottom):
        raise ValueError("has no area; wanted width and height above 0")
    return left, top, right - left, bottom - top


def box_text(box: Box) -> str:
    """Return the text of a box in its standard form: at most 6 decimals, and no blanks."""
    return ",".join(f"{round(number, 6):g}" for number in box)


def tidy_box(box: Box) -> Box:
    """Return the box of :func:`box_text`, which training crops to; raises as fitted_box does."""
    rounded = map(float, box_text(fitted_box(*box)).split(","))
    return fitted_box(*rounded)
