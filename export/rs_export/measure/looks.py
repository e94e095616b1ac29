"""More looks at the test photos: where a few hundred photos cannot tell two models apart.

A look changes nothing that a class depends on, so that a model's answers to it count like those to
the photo; but the numbers in the network are others, and so is their rounding error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LOOKS", "look"]

LOOKS = 6
"""Number of looks, with the photo as it is; docs/decisions/0016 says why so many."""

# Mirrored or not, and where the photo is moved to: right and down, in steps of a sixteenth.
_CHANGES = (
    (False, 0, 0),
    (True, 0, 0),
    (False, 1, 1),
    (True, -1, -1),
    (False, -1, 1),
    (True, 1, -1),
)
_STEP = 16


def look(pixels: NDArray[Any], number: int) -> NDArray[Any]:
    """Return a look at n photos (n, S, S, channels), in the same shape.

    Look 0 is the photo itself.  The others are mirrored, or moved by a sixteenth of their side in
    both directions, or both; where nothing is left to show, the last row or column is repeated.
    """
    mirrored, right, down = _CHANGES[number]
    if mirrored:
        pixels = pixels[:, :, ::-1]
    side = pixels.shape[1]
    step = max(1, side // _STEP)
    # Where each row and column of the look comes from.
    rows, columns = (np.clip(np.arange(side) - step * by, 0, side - 1) for by in (down, right))
    return pixels[:, rows[:, None], columns]
