"""The teacher's embeddings of photos and prompts, each computed once and kept on disk.

A student learns more from several views of a photo than from one.  Teacher and student must see the
same view (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and consistent").
So a photo has a fixed set of views, each of which the teacher embeds once.
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
"""Increased whenever a change of :func:`photo_view` changes its pixels."""

_BATCH = 32
_LEAST_AREA = 0.4  # smallest share of the photo's area that a view shows


def teacher_embeddings(
    teacher: Teacher,
    photos: list[Photo],
    pixels: Callable[[Photo], NDArray[np.uint8]],
    cache_dir: Path,
    progress: Progress,
    views: int = 1,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Return the teacher's embeddings of photos, float32 (n, views, dim), rows of length 1.

    They are kept below ``cache_dir/embeddings``, one small file per photo: an interrupted
    computation continues where it stopped, a second one computes nothing, and other prompts need
    no new embeddings.  View 0 has files of its own, which every number of views shares.

    Parameters
    ----------
    pixels
        Takes a photo; returns its pixels by ``teacher.preprocessing``, uint8 (size, size, 3).
    views, seed
        Number of views, at least 1: the photo itself and ``views - 1`` random ones that ``seed``
        draws; see :func:`photo_view`.

    Raises
    ------
    ValueError
        ``views`` is less than 1.
    WeightsError
        The teacher's embeddings are not finite.
    """
    if views < 1:
        raise ValueError(f"views must be 1 or more, got {views}")

    def embedded(numbers: range, batch: list[Photo]) -> NDArray[np.float32]:
        # Always a full batch: rounding errors can depend on the batch size.
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
    """Return a view of a photo, uint8 (side, side, 3) like ``pixels``.

    View 0 is the photo itself.  Other views show a random square of 40 to 100 % of its area, and
    half of them are mirrored.  The square and the mirroring depend only on the view's ``number``,
    ``seed`` and ``content`` (``Photo.content``), so that teacher and student see the same part of a
    photo at different resolutions.
    """
    if number == 0:
        return pixels
    digest = hashlib.sha256(f"{VIEWS_VERSION} {seed} {number} {content}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:16], "big"))
    side = pixels.shape[0]
    share = float(np.sqrt(rng.uniform(_LEAST_AREA, 1)))
    left, top = rng.uniform(0, 1 - share, 2)
    # Rounding errors must not move an edge outside the photo.
    edges = (min(1.0, edge) * side for edge in (left, top, left + share, top + share))
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR, tuple(edges))
    if rng.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image)


def text_weights(teacher: Teacher, prompts: Prompts, cache_dir: Path) -> NDArray[np.float32]:
    """Return the normalized mean embedding of each prompt class, (K, dim), rows of length 1.

    Prompt ensembling in the embedding space is from Radford et al. 2021, "Learning Transferable
    Visual Models From Natural Language Supervision", section 3.1.4.  Each class is cached, so that
    after a change only the changed classes are embedded.  WeightsError: the teacher's embeddings
    are not finite.
    """

    def direction(texts: tuple[str, ...]) -> NDArray[np.float32]:
        mean = teacher.embed_texts(list(texts)).mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    rows = []
    for item in prompts.classes:
        inputs = [teacher.fingerprint, *item.prompts]
        rows.append(remembered(cache_dir, "prompts-1", inputs, partial(direction, item.prompts)))
    return np.stack(rows)
