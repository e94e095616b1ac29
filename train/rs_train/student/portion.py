"""The photos of one side as a student is shown them, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.oversampling import Shares, epoch_order
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.folders.filter import Verdicts
from rs_toolkit.progress import Progress
from rs_train.student.data import DistillData, class_of
from rs_train.student.lesson import Lesson
from rs_train.teacher.embeddings import photo_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Portion", "balanced_order", "portion", "recoloured", "student_features"]

_BATCH = 32


@dataclass(frozen=True)
class Portion:
    """Photos of one side.

    Attributes
    ----------
    rows
        Their numbers among all photos, int64 (n,).
    contents
        n times ``Photo.content``.
    pixels
        From 0 to n - 1 to uint8 pixels (S, S, 3).
    truth, target
        bool and float64 (n,); see :class:`rs_toolkit.folders.filter.Verdicts`.
    labels
        Families and the like, as class numbers from 0, int64 (n,).
    shares
        Duplicate groups and weights.
    taught
        The teacher's embeddings, float32 (n, views, dim); None without one.
    """

    rows: NDArray[np.int64]
    contents: list[str]
    pixels: Callable[[int], NDArray[np.uint8]]
    truth: NDArray[np.bool_]
    target: NDArray[np.float64]
    labels: NDArray[np.int64]
    shares: Shares
    taught: NDArray[np.float32] | None

    def images(
        self, rows: NDArray[np.int64], views: NDArray[np.int64], seed: int
    ) -> NDArray[np.float32]:
        """Return views of photos, 0 to 255, float32 (len(rows), S, S, 3)."""
        found = [
            photo_view(self.pixels(int(row)), self.contents[row], int(view), seed)
            for row, view in zip(rows, views, strict=True)
        ]
        return np.stack(found).astype(np.float32)


def portion(
    side: str, data: DistillData, verdicts: Verdicts, lesson: Lesson, cache: PhotoCache
) -> Portion:
    """Return the photos of ``train``, ``val`` or ``test``."""
    rows, pixels = data.rows(side), data.pixels(cache)
    photos = [data.photos[row] for row in rows]
    names = [
        class_of(photo, row < data.data_photos) for photo, row in zip(photos, rows, strict=True)
    ]
    taught = lesson.embeddings
    return Portion(
        rows,
        [photo.content for photo in photos],
        lambda number: pixels(int(rows[number])),
        verdicts.truth[rows],
        verdicts.target[rows],
        np.unique(names, return_inverse=True)[1].astype(np.int64),
        Shares.of(photos),
        None if taught is None else taught[np.searchsorted(data.rows(), rows)],
    )


def balanced_order(train: Portion, config: DistillConfig, epoch: int) -> NDArray[np.int64]:
    """Return the photos of an epoch, numbers from 0 to n - 1 in random order.

    Half show organisms and half do not, each half oversampled as
    :func:`rs_toolkit.batches.oversampling.epoch_order` does; both together are as many as that
    shows.  A function of (seed, epoch).
    """
    orders = []
    for kind in (True, False):
        rows = np.flatnonzero(train.truth == kind)
        labels = np.unique(train.labels[rows], return_inverse=True)[1]
        shares = Shares(train.shares.groups[rows], train.shares.weights[rows])
        orders.append(rows[epoch_order(labels, config.balance, config.seed, epoch, shares)])
    half = -(-sum(map(len, orders)) // 2)
    both = np.concatenate([np.resize(order, half) for order in orders])
    return np.random.default_rng((config.seed, epoch)).permutation(both)


def student_features(
    student: Any,
    photos: Portion,
    views: int,
    preprocessing: Preprocessing,
    seed: int,
    progress: Progress,
) -> NDArray[np.float32]:
    """Return the features of views 0 to ``views - 1``, float32 (n, views, width).

    View 0 is the photo as it is; the student is left in evaluation mode.
    """
    import torch

    student.eval()
    found = []
    pairs = [(row, view) for row in range(len(photos.rows)) for view in range(views)]
    for start in range(0, len(pairs), _BATCH):
        rows, numbers = np.array(pairs[start : start + _BATCH]).T
        images = preprocessing.model_input(photos.images(rows, numbers, seed))
        with torch.no_grad():
            found.append(student.features(torch.from_numpy(images)).numpy())
        progress.update("student features", start + len(rows), len(pairs))
    return np.concatenate(found).reshape(len(photos.rows), views, -1)


def recoloured(
    images: NDArray[np.float32], strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return photos of changed colour, float32 (n, S, S, 3), 0 to 255.

    At strength 1, by up to 20 % in brightness and 30 % in contrast and saturation.
    """
    light, contrast, colour = (
        rng.uniform(1 - reach * strength, 1 + reach * strength, (len(images), 1, 1, 1)).astype(
            np.float32
        )
        for reach in (0.2, 0.3, 0.3)
    )
    mean = images.mean((1, 2, 3), keepdims=True)
    images = (images - mean) * contrast + mean * light
    grey = images.mean(3, keepdims=True)
    return np.asarray(np.clip((images - grey) * colour + grey, 0, 255), np.float32)
