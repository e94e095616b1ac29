"""Photos and prompts to the teacher's embeddings, each computed once.

A student learns more from several views of a photo than from one; here they are fixed, so that
each is embedded once (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and
consistent": teacher and student must see the same crop).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rs_toolkit.data.remembered import remembered, remembered_arrays
from rs_toolkit.progress import Progress
from rs_train.teacher.prompts import Prompts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo
    from rs_train.teacher.teacher import Teacher

__all__ = ["VIEWS_VERSION", "photo_view", "teacher_embeddings", "text_weights"]

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
    pixels
        From a photo to its pixels by ``teacher.preprocessing``: uint8, (size, size, 3).
    views, seed
        1: the photo as it is; above: that, and ``views - 1`` random ones of :func:`photo_view`.

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

    def embedded(numbers: range, batch: list[Photo]) -> NDArray[np.float32]:
        # Always a full batch: a smaller one may be rounded differently.
        shown = np.zeros((len(numbers), _BATCH, teacher.size, teacher.size, 3), np.uint8)
        for place, photo in enumerate(batch):
            whole = pixels(photo)
            for row, number in enumerate(numbers):
                shown[row, place] = photo_view(whole, photo.content, number, seed)
        return np.stack([teacher.embed_images(view)[: len(batch)] for view in shown], axis=1)

    def part(version: str, numbers: range, title: str) -> NDArray[np.float32]:
        name = f"{teacher.fingerprint}-{teacher.preprocessing.fingerprint()}-{version}"
        folder, shape = cache_dir / "embeddings" / name, (len(numbers), teacher.dim)
        compute = partial(embedded, numbers)
        return remembered_arrays(photos, folder, shape, compute, progress, title, _BATCH)

    first = part("0", range(1), "teacher embeddings")
    if views == 1:
        return first
    random = f"{VIEWS_VERSION}.{seed}.{views - 1}"
    others = part(random, range(1, views), "teacher embeddings, views")
    return np.concatenate([first, others], axis=1)


def photo_view(
    pixels: NDArray[np.uint8], content: str, number: int, seed: int = 0
) -> NDArray[np.uint8]:
    """Return a view of a photo: the same part, mirrored alike, whatever the size of the pixels.

    View 0 is the photo.  Others show a square part of 40 to 100 % of its area, half of them
    mirrored: a function of ``number``, ``seed`` and ``content``, which is ``Photo.content``.
    ``pixels`` and result are uint8, (side, side, 3).
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


def text_weights(teacher: Teacher, prompts: Prompts, cache_dir: Path) -> NDArray[np.float32]:
    """Return one direction a prompt class, the mean of its prompts: (K, dim), rows of length 1.

    Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
    section 3.1.4: the ensemble is built in the embedding space and costs no more than one prompt.
    Each class is kept in the cache, so that a changed one is embedded alone.  WeightsError: the
    teacher is broken.
    """

    def direction(texts: tuple[str, ...]) -> NDArray[np.float32]:
        mean = teacher.embed_texts(list(texts)).mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    rows = []
    for item in prompts.classes:
        inputs = [teacher.fingerprint, *item.prompts]
        rows.append(remembered(cache_dir, "prompts-1", inputs, partial(direction, item.prompts)))
    return np.stack(rows)
