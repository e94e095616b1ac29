"""Pictures of what mattered for an answer, by covering one place after the other.

The engines give no gradients, so this is occlusion sensitivity (Zeiler and Fergus 2014,
"Visualizing and Understanding Convolutional Networks", section 4.2): where the answer's probability
falls when a place is covered, that place mattered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.console import counted
from rs_runtime.errors import PhotoError
from rs_runtime.files import atomic_write
from rs_runtime.interrupts import interrupted
from rs_runtime.outputs.context import Context
from rs_runtime.outputs.labels import TAXON
from rs_runtime.outputs.places import flat_name, open_folder
from rs_runtime.photos.folder import MARK
from rs_runtime.results import Prediction, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from rs_runtime.photos.preprocess import Box

__all__ = ["Explain", "occlusion"]

_SIDE, _BATCH = 448, 8
_STRONGEST = 0.65


class Explain:
    """Draws each photo, as the model sees it, with the heat map of its answer.

    Of a photo with boxes, each box that has an answer is drawn.

    Raises
    ------
    OutputError
        The folder holds something else.
    OSError
        It cannot be written.
    """

    def __init__(self, context: Context, folder: Path, grid: int) -> None:
        open_folder(folder, MARK)
        self._context, self._folder = context, folder
        self._grid = min(grid, context.classifier.preprocessing.size)
        runs = self._grid**2 + 1
        context.tell(f"--explain: the model runs {runs:,} times more for each picture")
        self._count = self._absent = 0

    def add(self, found: Result) -> None:
        """Draw one photo, unless its picture is there."""
        # After Ctrl-C, what is not drawn is drawn when the same command goes on.
        if not isinstance(found, Prediction) or not found.top or interrupted():
            return
        source = None if found.frames else self._context.photo(found.path)
        if source is None:
            self._absent += 1
            return
        for suffix, box, part in _parts(found):
            place = self._folder / flat_name(self._context.relative(found.path), suffix)
            if not place.exists():
                self._draw(source, box, part, place)

    def _draw(self, source: Path | bytes, box: Box | None, found: Prediction, place: Path) -> None:
        try:
            pixels = self._context.classifier.preprocessing.load(source, box)
        except PhotoError:
            self._absent += 1
            return
        members, title = self._target(found)
        before, falls = occlusion(self._probability(members), pixels, self._grid)
        text = f"{title}: {before:.1%}, falls by up to {max(0.0, float(falls.max())):.1%}"
        with atomic_write(place) as temporary:
            _drawn(pixels, falls, text).save(temporary, "JPEG", quality=85)
        self._count += 1

    def _target(self, found: Prediction) -> tuple[list[int], str]:
        """Return the classes whose probability is explained, and what they are called."""
        label = self._context.labels.of(found)
        best = found.top[0]
        if label.kind == TAXON and label.rank and label.name:
            members = self._context.labels.members(label.rank, label.name)
            return sorted(members), f"{label.rank} {label.name}"
        return [best.class_id], best.name

    def _probability(self, members: list[int]) -> Any:
        classifier = self._context.classifier

        def run(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
            # Models of one photo at a time take no more.
            rows = [classifier.probabilities(each[None])[0] for each in pixels]
            return np.array(rows, np.float64)[:, members].sum(axis=1)

        return run

    def close(self, complete: bool) -> None:
        """Say how many pictures there are."""
        self._context.tell(
            f"drew {counted(self._count, 'picture')} in {str(self._folder)!r}{self._not()}"
        )

    def _not(self) -> str:
        if not self._absent:
            return ""
        return f"; not {self._absent:,}, which are videos, or cannot be read again"

    def discard(self) -> None:
        """Keep the pictures: each is complete."""


def _parts(found: Prediction) -> Iterator[tuple[str, Box | None, Prediction]]:
    """Yield the end of each picture's name, its place in the photo, and its answer."""
    if found.boxes is None:
        yield ".explained.jpg", None, found
    for number, box in enumerate(found.boxes or (), 1):
        if box.top:
            shown = replace(found, boxes=None, answer=box.answer, top=box.top, filter=box.filter)
            yield f".box-{number}.explained.jpg", box.box, shown


def occlusion(
    probability: Any, pixels: NDArray[np.uint8], grid: int
) -> tuple[float, NDArray[np.float64]]:
    """Return a photo's probability, 0 to 1, and by how much it falls where the photo is covered.

    Parameters
    ----------
    probability
        Takes pixels, uint8 (n, side, side, 3); returns probabilities, (n,).
    pixels
        uint8, (side, side, 3).
    grid
        Places in a row and in a column, 1 to side.  Around each, a square of twice the distance of
        two places gets the photo's mean colour.

    Returns
    -------
    float, falls
        ``falls`` has shape (grid, grid), -1 to 1; negative where covering makes more certain.
    """
    side = len(pixels)
    colour = pixels.reshape(-1, 3).mean(axis=0).astype(np.uint8)
    before = float(probability(pixels[None])[0])
    step = side / grid
    falls = np.empty(grid * grid)
    for start in range(0, grid * grid, _BATCH):
        places = range(start, min(start + _BATCH, grid * grid))
        covered = np.repeat(pixels[None], len(places), axis=0)
        for row, place in enumerate(places):
            y, x = (number + 0.5 for number in divmod(place, grid))
            top, left = (max(0, round((number - 1) * step)) for number in (y, x))
            bottom, right = (round((number + 1) * step) for number in (y, x))
            covered[row, top:bottom, left:right] = colour
        falls[list(places)] = before - probability(covered)
    return before, falls.reshape(grid, grid)


def _drawn(pixels: NDArray[np.uint8], falls: NDArray[np.float64], text: str) -> Image.Image:
    """Return the photo in grey with red where the probability falls, and a line of text below.

    Red is strongest where it falls most; the text says by how much.
    """
    from PIL import Image, ImageDraw

    size = (_SIDE, _SIDE)
    photo = Image.fromarray(pixels).resize(size).convert("L").convert("RGB")
    heat = np.clip(falls / max(float(falls.max()), 1e-9), 0, 1) * 255 * _STRONGEST
    mask = Image.fromarray(heat.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    photo.paste(Image.new("RGB", size, (230, 30, 20)), mask=mask)
    picture = Image.new("RGB", (_SIDE, _SIDE + 18), "white")
    picture.paste(photo)
    plain = text.encode("ascii", "replace").decode()
    ImageDraw.Draw(picture).text((4, _SIDE + 3), plain, fill="black")
    return picture
