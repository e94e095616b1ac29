"""Empty frames of fixed cameras: a frame against its camera's own background of the same light.

The photos of one folder are those of one camera.  Of each photo a thumbnail is kept.  The
background is the median, pixel by pixel, of at most 31 other frames of the same light; the noise
is their spread (:mod:`rs_runtime.background`).  What differs from the background by much more than
the noise is probably an animal, a person or a vehicle, but it may also be a spot of sun, fog or
snow.  Measured in benchmarks/cameras.py.
"""

from __future__ import annotations

import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.background import Background, light_of, read_thumbnail
from rs_runtime.results import CameraVerdict, Failure, Prediction, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEWEST", "evidence", "judge_cameras", "judge_frames"]

FEWEST = 5
"""Below this number of other frames of the same light there is no verdict."""

# Frames that make a background, and frames that are judged at a time.
_MOST, _PIECE = 31, 2048
# The threshold and the rule of decision 0035.
_EMPTY_BELOW, _SLOPE, _MOST_CERTAIN = 1.2, 2.0, 0.95


def evidence(score: float, probability: float | None) -> float:
    """Return the evidence of something in a frame; below 0 it is taken for empty.

    It is 2 ln(score / 1.2), plus the log odds of the filter's probability of an organism if that
    is above 0.5, but not those of more than 0.95.  So a filter that sees an organism asks for a
    lower score.  One that sees none changes nothing: it may be wrong about a whole camera.
    """
    found = _SLOPE * math.log(max(score, 1e-3) / _EMPTY_BELOW)
    if probability is not None and probability > 0.5:
        limited = min(probability, _MOST_CERTAIN)
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
    or 2,048 of them are there; further ones of the folder are compared with these too.  What has
    no thumbnail passes as it is.  If something ends ``results``, those that wait are judged first.
    """
    waiting: list[Result] = []
    before: list[NDArray[np.uint8]] = []
    camera: str | None = None
    ended: BaseException | None = None
    with closing(results):
        while True:
            found = None
            # Not around the verdicts: an interrupt there must not give rows a second time.
            try:
                found = next(results, None)
            except (KeyboardInterrupt, Exception) as error:
                ended = error
            path = None if found is None else found.path
            folder = camera if path is None else os.path.dirname(path)
            if found is None or folder != camera or len(waiting) >= _PIECE:
                now = _frames(waiting)
                yield from _judged(waiting, now, before)
                before, waiting = (now if folder == camera else []), []
            if found is None:
                break
            camera = folder
            waiting.append(found)
    if ended is not None:
        raise ended


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
