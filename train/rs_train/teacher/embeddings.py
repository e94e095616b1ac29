"""Photos to the teacher's embeddings, computed once for each photo, teacher and view.

A student learns more from several views of a photo than from one; here they are fixed, so that
each is embedded once (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and
consistent": teacher and student must see the same crop).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rs_toolkit.data.remembered import remembered_arrays
from rs_toolkit.progress import Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo
    from rs_train.teacher.teacher import Teacher

__all__ = ["VIEWS_VERSION", "photo_view", "teacher_embeddings"]

VIEWS_VERSION = 1
"""Raised whenever :func:`photo_view` gives other pixels than before."""

_BATCH = 32
_LEAST_AREA = 0.4  # of the photo that a view shows


def teacher_embeddings(
    teacher: Teacher,
    photos: list[Photo],
    pixels: Callable[[Photo], NDArray[np.uint8]],
    cache_dir: Path,
    progress: Progress,
    views: int = 1,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Return the teacher's embeddings of photos.

    Kept below ``cache_dir/embeddings``, one small file a photo: an interrupted pass goes on where
    it stopped, a second one embeds nothing, and prompts do not count.  View 0 lies apart from the
    others, so that scoring and distillation share it.

    Parameters
    ----------
    teacher
        The model.
    photos
        Indexed, readable ones.
    pixels
        From a photo to its pixels by ``teacher.preprocessing``: uint8, (size, size, 3).
    cache_dir
        Folder of the cache.
    progress
        Told of each batch.
    views
        1: the photo as it is; above: that, and ``views - 1`` random ones of :func:`photo_view`.
    seed
        Of the random views.

    Returns
    -------
    float32, shape (n, views, dim), rows of length 1.

    Raises
    ------
    ValueError
        ``views`` is less than 1.
    WeightsError
        The teacher is broken.
    """
    if views < 1:
        raise ValueError(f"views must be 1 or more, got {views}")

    def embedded(numbers: range) -> Callable[[list[Photo]], NDArray[np.float32]]:
        def compute(batch: list[Photo]) -> NDArray[np.float32]:
            # All batches have one shape, lest an embedding depend on what else is missing.
            shown = np.zeros((len(numbers), _BATCH, teacher.size, teacher.size, 3), np.uint8)
            for place, photo in enumerate(batch):
                whole = pixels(photo)
                for row, number in enumerate(numbers):
                    shown[row, place] = photo_view(whole, photo.content, number, seed)
            found = [teacher.embed_images(view)[: len(batch)] for view in shown]
            return np.stack(found, axis=1)

        return compute

    parts = []
    stem = f"{teacher.fingerprint}-{teacher.preprocessing.fingerprint()}"
    random = f"{VIEWS_VERSION}.{seed}.{views - 1}"
    for version, numbers in (("0", range(1)), (random, range(1, views))):
        if numbers:
            folder = cache_dir / "embeddings" / f"{stem}-{version}"
            shape = (len(numbers), teacher.dim)
            title = "teacher embeddings" if version == "0" else "teacher embeddings, views"
            parts.append(
                remembered_arrays(photos, folder, shape, embedded(numbers), progress, title, _BATCH)
            )
    return np.concatenate(parts, axis=1)


def photo_view(
    pixels: NDArray[np.uint8], content: str, number: int, seed: int = 0
) -> NDArray[np.uint8]:
    """Return a view of a photo: the same part, mirrored alike, whatever the size of the pixels.

    View 0 is the photo.  Others show a square part of 40 to 100 % of its area, half of them
    mirrored.

    Parameters
    ----------
    pixels
        uint8, shape (side, side, 3).
    content
        ``Photo.content``.
    number
        0 or more.
    seed
        Of the random views.

    Returns
    -------
    uint8, of the shape of ``pixels``.
    """
    if number == 0:
        return pixels
    digest = hashlib.sha256(f"{VIEWS_VERSION} {seed} {number} {content}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    side = pixels.shape[0]
    share = float(np.sqrt(rng.uniform(_LEAST_AREA, 1)))
    left, top = rng.uniform(0, 1 - share, 2)
    # Rounding must not push an edge outside.
    edges = (min(1.0, edge) * side for edge in (left, top, left + share, top + share))
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR, tuple(edges))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)
