"""Classify what has several views: photos with boxes of a detector, and videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.errors import UnreadablePhotoError
from rs_runtime.kit.manifest import NOT_ORGANISM
from rs_runtime.photos.boxes import ANIMAL, BoxedPhoto, DetectedBox
from rs_runtime.photos.exif import Exif
from rs_runtime.photos.stored import StoredPhoto, photo_name, photo_path
from rs_runtime.photos.views import box_views, frame_views
from rs_runtime.results import BoxAnswer, PhotoFacts, Prediction
from rs_runtime.summed import of_boxes, of_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_runtime.classify import Classifier
    from rs_runtime.engines.pool import EnginePool
    from rs_runtime.filter import Filter, FilterVerdict

__all__ = ["classify_several", "opened"]


def opened(photo: object) -> Path | bytes | BoxedPhoto:
    """Return a photo that is neither an image nor an array, read from where it is stored.

    Raises TypeError if it is no photo, and errors as :meth:`StoredPhoto.read`.
    """
    if isinstance(photo, StoredPhoto):
        return photo.read()
    if isinstance(photo, Path | bytes | BoxedPhoto):
        return photo
    kinds = "a path, bytes, a Pillow image, an array, a ZipPhoto or a BoxedPhoto"
    raise TypeError(f"photo must be {kinds}, got {type(photo).__name__}")


def classify_several(
    classifier: Classifier,
    photo: Path | bytes | BoxedPhoto,
    top: int,
    engine: EnginePool | None,
    judge: Filter | None,
) -> Prediction:
    """Return the answer to a video or a BoxedPhoto; parameters and errors as for a photo's.

    The filter judges each view; its verdict on the whole is that on the view which most probably
    shows an organism.  Views that are not classified because of it do not count in the answer.
    """
    models = [classifier.preprocessing, *([judge.preprocessing] if judge else [])]
    if isinstance(photo, BoxedPhoto):
        views, info = box_views(photo, _source(photo.photo), models)
    else:
        views, info = frame_views(photo, models, classifier.frames)
    if info.note and classifier.strict_photos:
        raise UnreadablePhotoError(f"{photo_name(photo)} {info.note}; copy it again")
    shows = [judge.verdicts(others[0][None])[0] if judge else None for _, *others in views]
    logits = [
        None if _left_out(classifier, shown) else classifier.logits(pixels[None], engine)
        for (pixels, *_), shown in zip(views, shows, strict=True)
    ]
    boxes, frames, summed = None, None, None
    kept = [item for item in logits if item is not None]
    if isinstance(photo, BoxedPhoto):
        animals = [box for box in photo.boxes if box.category == ANIMAL]
        boxes = _box_answers(classifier, photo.boxes, logits, shows, top)
        weights = [b.confidence for b, x in zip(animals, logits, strict=True) if x is not None]
        if kept:
            summed = of_boxes(np.concatenate(kept), weights, classifier.variant.temperature)
    else:
        frames = len(views)
        if kept:
            summed = of_frames(np.concatenate(kept))
    best = max((item for item in shows if item), key=lambda item: item.probability, default=None)
    answer, scores, sets, unknown = (
        (None, (), None, None) if summed is None else classifier.interpret(summed, top)
    )
    beside = {} if summed is None else classifier.beside(summed, top)
    return Prediction(
        *(photo_path(photo), classifier.variant.name, answer, scores, best, info.note),
        *(classifier.variant.verdict, sets, unknown),
        photo=PhotoFacts(info.width, info.height, info.exif or Exif()),
        boxes=boxes,
        frames=frames,
        **beside,
    )


def _source(photo: object) -> Path | bytes:
    """Return the file of a photo with boxes, or its bytes."""
    source = opened(Path(photo) if isinstance(photo, str) else photo)
    if isinstance(source, BoxedPhoto):
        raise TypeError("photo of a BoxedPhoto must be a path, bytes or a ZipPhoto")
    return source


def _left_out(classifier: Classifier, shown: FilterVerdict | None) -> bool:
    return classifier.only_organisms and shown is not None and shown.verdict == NOT_ORGANISM


def _box_answers(
    classifier: Classifier,
    boxes: Sequence[DetectedBox],
    logits: Sequence[NDArray[np.float32] | None],
    shows: Sequence[FilterVerdict | None],
    top: int,
) -> tuple[BoxAnswer, ...]:
    """Return what is known of each box; ``logits`` and ``shows`` are those of the animals."""
    found = iter(zip(logits, shows, strict=True))
    answers = []
    for box in boxes:
        x, y, width, height = (round(side, 6) for side in box.box)
        given = ((x, y, width, height), box.category, box.confidence)
        own, shown = next(found) if box.category == ANIMAL else (None, None)
        if own is None:
            answers.append(BoxAnswer(*given, filter=shown))
            continue
        answer, scores, sets, unknown = classifier.interpret(own, top)
        original = classifier.beside(own, top).get("original")
        answers.append(BoxAnswer(*given, answer, scores, shown, sets, unknown, original))
    return tuple(answers)
