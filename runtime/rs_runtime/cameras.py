"""Empty frames of fixed cameras: a frame against its camera's own background of the same light.

The photos of one folder are those of one camera.  Of each photo a thumbnail is kept.  The
background is the median, pixel by pixel, of at most 31 other frames of the same light; the noise
is their spread.  What differs from the background by much more than the noise is probably an
animal, a person or a vehicle, but it may also be a spot of sun, fog or snow.  Measured in
benchmarks/cameras.py; docs/decisions/0035-empty-frames-of-cameras.md says why it is done so.
"""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.results import CameraVerdict, Failure, Prediction, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.photos.preprocess import Preprocessing

    Floats = NDArray[np.float32]

__all__ = [
    "FEWEST",
    "SIDE",
    "Background",
    "evidence",
    "judge_cameras",
    "judge_frames",
    "light_of",
    "read_thumbnail",
    "thumbnail",
    "view_of",
]

SIDE = 64
"""Width and height in pixels of the photo that thumbnails are made of."""
FEWEST = 5
"""Below this number of other frames of the same light there is no verdict."""

_BLOCK = 4
_BLOCKS = SIDE // _BLOCK
_LUMA, _CHROMA = SIDE * SIDE, _BLOCKS * _BLOCKS
_BYTES = _LUMA + 2 * _CHROMA
# Frames that make a background, and frames that are judged at a time.
_MOST, _PIECE = 31, 4096
# Grey levels: chroma below which a frame has no colour, luma below which it is dark.
_GREY, _DARK = 4, 50
# Least noise of luma and chroma: that of a still scene in JPEG.
_LEAST_LUMA, _LEAST_CHROMA = 3.0, 2.0
# A bright spot counts by its area: from here on a pixel is only different.
_HIGHEST = 6.0
# The share of blocks, 5 of 256, that an animal at some distance covers.
_PLACES = 5
_SHIFT = 2
# The threshold and the rule of decision 0035.
_EMPTY_BELOW, _SLOPE, _LIMIT = 1.2, 2.0, 0.95


def view_of(preprocessing: Preprocessing) -> Preprocessing:
    """Return what makes a thumbnail's pixels of the photo that is decoded for a model."""
    return replace(preprocessing, size=SIDE, resize="squash")


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return the thumbnail of a photo, as base64 of 4,608 bytes.

    These are luma at 64 x 64, then blue and red chroma at 16 x 16, plus 128, as in JPEG (ITU-T
    T.871).  ``pixels`` are uint8, shape (64, 64, 3), RGB, of :func:`view_of`.
    """
    red, green, blue = np.moveaxis(pixels.astype(np.float32), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = [_blocks(part) + 128 for part in ((blue - luma) * 0.564, (red - luma) * 0.713)]
    parts = np.concatenate([part.ravel() for part in (luma, *chroma)])
    return base64.b64encode(np.clip(np.rint(parts), 0, 255).astype(np.uint8).tobytes()).decode()


def read_thumbnail(text: str) -> NDArray[np.uint8]:
    """Return the values of :func:`thumbnail`, uint8 (4608,).

    Raises
    ------
    ValueError
        The text is not a thumbnail.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = b""
    if len(found) != _BYTES:
        raise ValueError(f"a thumbnail must be base64 of {_BYTES} bytes, got {text[:20]!r}…")
    return np.frombuffer(found, np.uint8)


def light_of(frame: NDArray[np.uint8]) -> str:
    """Return the light of a thumbnail's values: ``grey``, ``dark`` or ``day``.

    Infrared photos are ``grey``, and so are fog and snow without colour; others are ``dark`` if
    their mean luma is below 50.
    """
    colour = np.abs(frame[_LUMA:].astype(np.float32) - 128).reshape(2, _CHROMA).sum(axis=0)
    if np.median(colour) < _GREY:
        return "grey"
    return "dark" if frame[:_LUMA].mean() < _DARK else "day"


class Background:
    """What a camera sees without what comes and goes: the median of frames, and their noise.

    The noise is 1.4826 times the median absolute deviation, at least 3 grey levels of luma and 2
    of chroma.  ``frames`` are values of thumbnails, shape (n, 4608), n at least 1.
    """

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        values = frames.astype(np.float32)
        median = np.median(values, axis=0)
        noise = 1.4826 * np.median(np.abs(values - median), axis=0)
        self._plain = median[:_LUMA].reshape(SIDE, SIDE)
        self._luma = np.pad(self._plain, _SHIFT, mode="edge")
        # A pixel may have moved to the next one: it has to differ from these too.
        near = np.pad(self._plain, _SHIFT + 1, mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(near, (3, 3))
        self._low, self._high = windows.min(axis=(2, 3)), windows.max(axis=(2, 3))
        luma = np.maximum(noise[:_LUMA], _LEAST_LUMA).reshape(SIDE, SIDE)
        # What a camera that moved shows beside the background is not known, so it never differs.
        self._luma_noise = np.pad(luma, _SHIFT, constant_values=np.inf)
        around = ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT))
        self._chroma = np.pad(_whole(median[_LUMA:] - 128), around, mode="edge")
        self._chroma_noise = np.maximum(noise[_LUMA:], _LEAST_CHROMA).reshape(2, _BLOCKS, _BLOCKS)

    def score(self, frame: NDArray[np.uint8]) -> float:
        """Return how much a frame, uint8 (4608,), differs: 0 to 6, in units of the noise.

        Brightness, contrast and white balance are aligned first, and shifts of up to 2 pixels.
        Of the 256 blocks of a frame, it is the mean of the 5 that differ most.
        """
        values = frame.astype(np.float32)
        luma, chroma = values[:_LUMA].reshape(SIDE, SIDE), values[_LUMA:] - 128
        part = self._moved(luma, *_aligned(luma, self._plain))
        gain, offset = _aligned(luma, self._luma[part])
        blocks = np.maximum(
            self._luma_blocks(luma, part, gain, offset), self._chroma_blocks(chroma, part, gain)
        )
        return float(np.sort(blocks, axis=None)[-_PLACES:].mean())

    def _luma_blocks(
        self, luma: Floats, part: tuple[slice, slice], gain: float, offset: float
    ) -> Floats:
        over = luma - (gain * self._high[part] + offset)
        under = gain * self._low[part] + offset - luma
        differs = np.maximum(np.maximum(over, under), 0) / self._luma_noise[part]
        return _blocks(np.minimum(differs, _HIGHEST))

    def _moved(self, luma: Floats, gain: float, offset: float) -> tuple[slice, slice]:
        """Return the part of the padded background that a frame shows."""
        steps = range(2 * _SHIFT + 1)
        parts = [(slice(y, y + SIDE), slice(x, x + SIDE)) for y in steps for x in steps]
        # An animal differs everywhere; it must not decide.
        apart = [np.minimum(np.abs(luma - gain * self._luma[p] - offset), 20).mean() for p in parts]
        return parts[int(np.argmin(apart))]

    def _chroma_blocks(self, chroma: Floats, part: tuple[slice, slice], gain: float) -> Floats:
        known = np.stack([_blocks(colour[part]) for colour in self._chroma])
        apart = chroma.reshape(known.shape) - gain * known
        apart = np.abs(apart - np.median(apart, axis=(1, 2), keepdims=True)) / self._chroma_noise
        # Chroma has no neighbours to compare with: one unit of noise is forgiven instead.
        return np.asarray(np.clip(apart.max(axis=0) - 1, 0, _HIGHEST), np.float32)


def _blocks(values: Floats) -> Floats:
    found = values.reshape(_BLOCKS, _BLOCK, _BLOCKS, _BLOCK).mean(axis=(1, 3))
    return np.asarray(found, np.float32)


def _whole(blocks: Floats) -> Floats:
    """Return both planes of chroma at the size of luma."""
    planes = blocks.reshape(2, _BLOCKS, _BLOCKS)
    return np.repeat(np.repeat(planes, _BLOCK, axis=1), _BLOCK, axis=2)


def _aligned(luma: Floats, background: Floats) -> tuple[float, float]:
    """Return gain and offset that make the background like a frame, apart from what is new in it.

    Least squares on the 70 % of the pixels that fit best, four times.
    """
    seen, known = luma.ravel(), background.ravel()
    keep = np.ones(len(seen), bool)
    gain, offset = 1.0, 0.0
    for _ in range(4):
        x, y = known[keep], seen[keep]
        spread = float(x.var())
        slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread >= 1 else 1.0
        gain = min(max(slope, 0.5), 2.0)
        offset = float(y.mean()) - gain * float(x.mean())
        apart = np.abs(seen - gain * known - offset)
        keep = apart <= np.quantile(apart, 0.7)
    return gain, offset


def evidence(score: float, probability: float | None) -> float:
    """Return the evidence of something in a frame; below 0 it is taken for empty.

    It is 2 ln(score / 1.2), plus the log odds of the filter's probability of an organism, which
    is limited to 0.05 to 0.95 so that none of the two decides alone.  Without a filter that is 0.
    """
    found = _SLOPE * math.log(max(score, 1e-3) / _EMPTY_BELOW)
    if probability is not None:
        limited = min(max(probability, 1 - _LIMIT), _LIMIT)
        found += math.log(limited / (1 - limited))
    return found


def judge_frames(
    frames: Sequence[NDArray[np.uint8]], before: Sequence[NDArray[np.uint8]] = ()
) -> Iterator[tuple[str, float | None, int]]:
    """Yield light, score and number of frames it was compared with, for each frame of a camera.

    A score is None if there are fewer than 5 other frames of its light.

    Parameters
    ----------
    frames
        Values of thumbnails, in the order of the camera.
    before
        Earlier frames of this camera, which are part of the background and not judged.
    """
    every = [*before, *frames]
    lights = [light_of(frame) for frame in every]
    of_light = {light: [i for i, own in enumerate(lights) if own == light] for light in set(lights)}
    chosen = {light: _spread_out(places) for light, places in of_light.items()}
    shared: dict[str, Background] = {}
    for place in range(len(before), len(every)):
        light = lights[place]
        # A frame is no part of its own background.
        others = [other for other in chosen[light] if other != place]
        if len(others) < FEWEST:
            yield light, None, len(others)
            continue
        own = len(others) < len(chosen[light])
        background = None if own else shared.get(light)
        if background is None:
            background = Background(np.stack([every[other] for other in others]))
            if not own:
                shared[light] = background
        yield light, background.score(every[place]), len(others)


def _spread_out(places: list[int]) -> list[int]:
    """Return at most 31 of these, evenly spread."""
    count = min(len(places), _MOST)
    return [places[i] for i in np.linspace(0, len(places) - 1, count).round().astype(int)]


def judge_cameras(results: Generator[Result, None, None]) -> Generator[Result, None, None]:
    """Yield the same results, in their order, those of photos with their camera's verdict.

    ``results`` are those of :meth:`rs_runtime.classify.Classifier.classify_many` of a classifier
    with ``keep_thumbnails``.  They come folder by folder: those of a folder wait until it is done,
    or 4,096 of them are there; further ones of the folder are compared with these too.  What has
    no thumbnail passes as it is.  If something ends the run, those that wait are judged first.
    """
    waiting: list[Result] = []
    before: list[NDArray[np.uint8]] = []
    camera: str | None = None
    with closing(results):
        try:
            for found in results:
                folder = camera if found.path is None else os.path.dirname(found.path)
                if folder != camera or len(waiting) >= _PIECE:
                    now = _frames(waiting)
                    yield from _judged(waiting, now, before)
                    before, waiting = (now if folder == camera else []), []
                camera = folder
                waiting.append(found)
        except (KeyboardInterrupt, Exception):
            yield from _judged(waiting, _frames(waiting), before)
            raise
        yield from _judged(waiting, _frames(waiting), before)


def _frames(results: list[Result]) -> list[NDArray[np.uint8]]:
    predictions = [found for found in results if isinstance(found, Prediction)]
    return [read_thumbnail(found.thumbnail) for found in predictions if found.thumbnail is not None]


def _judged(
    results: list[Result], frames: list[NDArray[np.uint8]], before: list[NDArray[np.uint8]]
) -> Iterator[Result]:
    scores = judge_frames(frames, before)
    for found in results:
        if isinstance(found, Failure) or found.thumbnail is None:
            yield found
            continue
        light, score, others = next(scores)
        said = "unknown"
        if score is not None:
            probability = found.filter.probability if found.filter else None
            said = "empty" if evidence(score, probability) < 0 else "something"
        verdict = CameraVerdict(said, score, others, light)
        yield replace(found, camera=verdict, thumbnail=None)
