"""Photos of bad quality: unreadable, blank, dark or blurred, told from their pixels alone.

Scores come from the luma (ITU-R BT.601) of the photo squashed to 224 x 224 pixels, whatever the
model's input size, because a photo's sharpness depends on its size.  The top and bottom twelfth
are left out: there camera traps print date and time.

=======  ==================================================================  ==========
flag     score                                                               flagged at
=======  ==================================================================  ==========
blank    share of blocks of 14 x 14 px whose standard deviation is below 12  0.97
dark     1 - (95th percentile) / 128, at least 0                             0.5
blurred  1 - sharpness / 0.032, at least 0                                   0.5
=======  ==================================================================  ==========

Sharpness is the mean square of the second derivative (along x or along y, whichever is less)
divided by the variance within blocks; of both, the mean over the highest twentieth of the blocks is
taken.  So it depends neither on contrast nor on how much of the frame is out of focus on purpose.
The energy of the Laplacian as a measure of focus is from Subbarao, Choi and Nikzad (1993), its
variance from Pech-Pacheco et al. (2000); one measure for each direction, so that sharp edges along
a motion do not hide the motion blur, from Nayar and Nakagawa (1994).

None of 1,772 real bird photos reaches a threshold (highest scores 0.81, 0.29, 0.22; a test repeats
part of the measurement).  Blank finds skies and walls without an animal.  Dark finds night frames
of camera traps, but not animals lit by infrared.  Blurred finds all photos smoothed by a Gaussian
of 3 px and most with a motion blur of 12 px along x or y, but few with one along a diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rs_runtime.errors import PhotoError
from rs_toolkit.checks.findings import Finding
from rs_toolkit.data.photos import Photo
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress

Values = NDArray[np.float32]

__all__ = ["THRESHOLDS", "measure", "quality_findings", "unreadable_findings"]

THRESHOLDS = {"blank": 0.97, "dark": 0.5, "blurred": 0.5}
"""Score from which a photo is flagged."""

_DETAILS = {
    "blank": "{:.0%} of the frame shows no structure",
    "dark": "its brightest parts are {:.0%} darker than middle grey",
    "blurred": "its sharpest parts are {:.0%} less sharp than in a soft but usable photo",
}
# A dark or blurred photo with a right label still teaches something; a blank one does not.
_WEIGHTS = {"blank": 0.0, "dark": 0.5, "blurred": 0.5}

_STAMP = 1 / 12
_BLOCK = 14
_STRUCTURE = 12.0
_BRIGHT = 0.95
_MIDDLE_GREY = 128
_SHARP = 0.032
_STRONGEST = 1 / 20


def measure(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Return a photo's scores ``blank``, ``dark`` and ``blurred``, each 0 (sound) to 1 (bad).

    ``pixels`` are uint8 RGB of shape (224, 224, 3), made by
    :data:`rs_toolkit.data.photos.FIXED_PIXELS`.  Blur is not measured in a blank photo: its
    ``blurred`` is 0.
    """
    luma = np.asarray(Image.fromarray(pixels).convert("L"))
    stamp = round(len(luma) * _STAMP)
    luma = luma[stamp : len(luma) - stamp]
    levels = np.bincount(luma.ravel(), minlength=256)
    bright = int(np.searchsorted(np.cumsum(levels), _BRIGHT * luma.size))
    scene = luma.astype(np.float32)
    middle = scene[1:-1, 1:-1]
    variance = _mean_square(middle) - _blocks(middle).mean(axis=(1, 3)) ** 2
    blank = float(np.mean(variance < _STRUCTURE**2))
    blurred = 0.0
    if blank < THRESHOLDS["blank"]:
        along_x = 2 * middle - scene[1:-1, :-2] - scene[1:-1, 2:]
        along_y = 2 * middle - scene[:-2, 1:-1] - scene[2:, 1:-1]
        energy = min(_strongest(_mean_square(along_x)), _strongest(_mean_square(along_y)))
        blurred = max(0.0, 1 - energy / (_SHARP * _strongest(variance)))
    return {"blank": blank, "dark": max(0.0, 1 - bright / _MIDDLE_GREY), "blurred": blurred}


def quality_findings(
    photos: Sequence[Photo],
    pixels: Callable[[Photo], NDArray[np.uint8]],
    progress: Progress | None = None,
) -> list[Finding]:
    """Return findings about blank, dark and blurred photos, in the order of the photos.

    ``pixels`` returns a photo's pixels as :func:`measure` takes them; a photo that it cannot read
    is flagged as unreadable.  Photos with an ``error`` are passed over.
    """
    progress = progress or Progress()
    usable = [photo for photo in photos if photo.error is None]
    findings: list[Finding] = []
    for done, photo in enumerate(usable, 1):
        try:
            scores = measure(pixels(photo))
        except (PhotoError, DataError, OSError) as error:
            findings.append(_unreadable(photo, str(error)))
            scores = {}
        findings += [
            Finding(photo.path, flag, score, None, _WEIGHTS[flag], _DETAILS[flag].format(score))
            for flag, score in scores.items()
            if score >= THRESHOLDS[flag]
        ]
        progress.update("quality", done, len(usable))
    return findings


def unreadable_findings(photos: Iterable[Photo]) -> list[Finding]:
    """Return a finding for each photo that has an ``error``; the error is its ``detail``."""
    return [_unreadable(photo, photo.error) for photo in photos if photo.error is not None]


def _unreadable(photo: Photo, reason: str) -> Finding:
    return Finding(photo.path, "unreadable", 1.0, suggested_weight=0.0, detail=reason)


def _blocks(values: Values) -> Values:
    """Cut (height, width) into (rows, block, columns, block); remainders are dropped."""
    rows, columns = (side // _BLOCK for side in values.shape)
    whole = values[: rows * _BLOCK, : columns * _BLOCK]
    return whole.reshape(rows, _BLOCK, columns, _BLOCK)


def _mean_square(values: Values) -> Values:
    """Return the mean square of each block, of shape (rows, columns)."""
    blocks = _blocks(values)
    sums = np.einsum("ibjc,ibjc->ij", blocks, blocks)
    return np.asarray(sums / np.float32(_BLOCK**2))


def _strongest(values: Values) -> float:
    """Return the mean of the highest twentieth of the values."""
    count = int(values.size * _STRONGEST)
    return float(np.partition(values, values.size - count, axis=None)[-count:].mean())
