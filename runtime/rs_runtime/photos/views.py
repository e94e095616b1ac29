"""The pixels of a photo's boxes, or of a video's frames: several views that share one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rs_runtime.errors import PhotoTooLargeError, UnreadablePhotoError
from rs_runtime.photos.boxes import ANIMAL, BoxedPhoto
from rs_runtime.photos.folder import shows_video
from rs_runtime.photos.photo import PhotoInfo, inspect
from rs_runtime.photos.preprocess import Preprocessing, load_each, load_parts
from rs_runtime.photos.room import enough_memory, shared_room
from rs_runtime.photos.stored import photo_name
from rs_runtime.photos.video import sample_video

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    View = list[NDArray[np.uint8]]

__all__ = ["box_views", "frame_views"]

# The pixels of all boxes are in memory at a time.  MegaDetector keeps at most 300 boxes of a photo:
# max_det of nms in megadetector/detection/pytorch_detector.py (agentmorris/MegaDetector), and of
# non_max_suppression in utils/general.py (ultralytics/yolov5).  Its run_tiled_inference.py joins
# the boxes of several tiles without a limit.
_MOST_BOXES = 300


def box_views(
    photo: BoxedPhoto, source: Path | bytes, preprocessings: Sequence[Preprocessing]
) -> tuple[list[View], PhotoInfo]:
    """Return the pixels inside each box of an animal, for each preprocessing, as training crops.

    ``source`` is the photo that the boxes are of.  Without such a box nothing is decoded.  Errors
    are those of :meth:`Preprocessing.load_with_info`; also UnreadablePhotoError for a video, and
    PhotoTooLargeError for more than 300 boxes.
    """
    if shows_video(source):
        problem = "is a video, whose boxes are not used; leave it out, or give no boxes"
        raise UnreadablePhotoError(f"{photo_name(source)} {problem}")
    if len(photo.boxes) > _MOST_BOXES:
        problem = f"has {len(photo.boxes):,} boxes, more than {_MOST_BOXES}"
        raise PhotoTooLargeError(
            f"{photo_name(source)} {problem}; give a higher threshold of boxes"
        )
    boxes = [found.box for found in photo.boxes if found.category == ANIMAL]
    if not boxes:
        return [], inspect(source)
    with enough_memory(photo_name(source)), shared_room():
        return load_parts(source, preprocessings, boxes)


def frame_views(
    source: Path | bytes, preprocessings: Sequence[Preprocessing], count: int
) -> tuple[list[View], PhotoInfo]:
    """Return the pixels of up to ``count`` frames of a video, for each preprocessing.

    Errors are those of :func:`rs_runtime.photos.video.sample_video`.
    """
    with enough_memory(photo_name(source)):
        found, note = sample_video(source, count, lambda frame: load_each(frame, preprocessings))
    return [view for view, _ in found], replace(found[0][1], note=note, exif=None)
