"""Photos that show nothing: unreadable, blank, dark or blurred, told from their pixels alone.

All three measures look at the luma (ITU-R BT.601) of the photo, squashed to 224 x 224 pixels
whatever a model will see of it, without the top and bottom twelfth, where camera traps print their
stamp.  At another size the same photo would be sharper or more blurred.

=======  ==================================================================  ==========
flag     score                                                               flagged at
=======  ==================================================================  ==========
blank    share of blocks of 14 x 14 px whose standard deviation is below 12  0.97
dark     1 - (95th percentile) / 128, at least 0                             0.5
blurred  1 - sharpness / 0.032, at least 0                                   0.5
=======  ==================================================================  ==========

Sharpness is the energy of the second derivative along x or along y, whichever is less, over the
variance within blocks, both as means of the strongest twentieth of the blocks.  So it does not
depend on contrast, nor on how much of the frame is out of focus on purpose.  The energy of the
Laplacian as a measure of focus is from Subbarao, Choi and Nikzad (1993), its variance from
Pech-Pacheco et al. (2000); its split by direction, so that the sharp edges along a motion do not
hide the smear, from Nayar and Nakagawa (1994).

None of 1,772 real bird photos reaches a threshold (highest scores 0.81, 0.29, 0.22; a test repeats
part of the measurement).  Blank finds skies and walls without an animal; dark a camera trap's night
frames, but not animals lit by infrared; blurred finds all photos smoothed with a Gaussian of 3 px
and most of those smeared over 12 px along x or y, but few of those smeared along a diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rs_runtime.errors import PhotoError
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.findings import Finding
from rs_toolkit.data.photos import Photo
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress

Values = NDArray[np.float32]

__all__ = ["PREPROCESSING", "THRESHOLDS", "measure", "quality_findings", "unreadable_findings"]

PREPROCESSING = Preprocessing(size=224, resize="squash")
"""How a photo becomes the pixels that are measured."""

THRESHOLDS = {"blank": 0.97, "dark": 0.5, "blurred": 0.5}
"""Score from which a photo is flagged."""

_DETAILS = {
    "blank": "{:.0%} of the frame shows no structure",
    "dark": "its brightest parts are {:.0%} darker than middle grey",
    "blurred": "its sharpest parts are {:.0%} less sharp than those of the softest usable photos",
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
    """Return how blank, dark and blurred a photo is, each 0 (sound) to 1 (bad).

    ``pixels`` are uint8 RGB of shape (224, 224, 3), by :data:`PREPROCESSING`.  A blank photo is not
    judged for blur: its ``blurred`` is 0.
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
    """Flag the blank, the dark and the blurred among the photos without an ``error``, in order.

    ``pixels`` gives a photo's pixels as :func:`measure` takes them; a photo that it cannot read is
    flagged as unreadable.
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
    """Return one finding for each photo that has an ``error``, which becomes its detail."""
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
    """Return the mean of the strongest twentieth."""
    count = int(values.size * _STRONGEST)
    return float(np.partition(values, values.size - count, axis=None)[-count:].mean())
