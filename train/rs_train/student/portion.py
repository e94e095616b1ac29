"""The photos of one split, in the form in which a student is trained and measured on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.oversampling import Shares, epoch_order
from rs_toolkit.batches.pipeline import PixelSource, evaluation_batches
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.folders.filter import Verdicts
from rs_toolkit.progress import Progress
from rs_train.student.data import DistillData, class_of
from rs_train.student.lesson import Lesson
from rs_train.teacher.embeddings import photo_view

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["StudentPhotos", "balanced_order", "student_features", "student_photos"]

_BATCH = 32


@dataclass(frozen=True, eq=False)
class StudentPhotos:
    """The n photos of one split.

    Attributes
    ----------
    rows
        Their row numbers among all photos, int64 (n,).
    views
        Loads views of photos.  Takes photo numbers from 0 to n - 1 and as many view numbers; see
        :func:`rs_train.teacher.embeddings.photo_view`.
    truth, target
        bool and float64 (n,); see :class:`rs_toolkit.folders.filter.Verdicts`.
    labels
        Numbers from 0 of the classes of :func:`rs_train.student.data.class_of`, int64 (n,).
    taught
        The teacher's embeddings, float32 (n, views, dim); None without a teacher.
    """

    rows: NDArray[np.int64]
    views: PixelSource
    truth: NDArray[np.bool_]
    target: NDArray[np.float64]
    labels: NDArray[np.int64]
    shares: Shares
    taught: NDArray[np.float32] | None

    def view(self, number: int) -> PixelSource:
        """Return a source of one view, by its number, of each photo."""
        return PixelSource(lambda rows: self.views(rows, np.full(len(rows), number)))


def student_photos(
    side: str, data: DistillData, verdicts: Verdicts, lesson: Lesson, cache: PhotoCache, seed: int
) -> StudentPhotos:
    """Return the photos of ``train``, ``val`` or ``test``; ``seed`` draws their views."""
    rows, pixels = data.rows(side), data.pixels(cache)
    photos = [data.photos[row] for row in rows]
    names = list(map(class_of, photos, data.organism[rows]))
    taught = lesson.embeddings

    def views(numbers: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.uint8]:
        shown = [
            photo_view(pixels(int(rows[number])), photos[number].content, int(view), seed)
            for number, view in zip(numbers, views, strict=True)
        ]
        return np.stack(shown)

    return StudentPhotos(
        rows,
        PixelSource(views),
        verdicts.truth[rows],
        verdicts.target[rows],
        np.unique(names, return_inverse=True)[1].astype(np.int64),
        Shares.of(photos),
        None if taught is None else taught[np.searchsorted(data.rows(), rows)],
    )


def balanced_order(train: StudentPhotos, config: DistillConfig, epoch: int) -> NDArray[np.int64]:
    """Return the photos of an epoch: numbers from 0 to n - 1 in random order, some repeated.

    Photos with and without organisms are oversampled separately, by
    :func:`rs_toolkit.batches.oversampling.epoch_order`.  Then both are repeated or cut to half of
    their total number.  The result depends on the seed and the epoch alone.
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
    extractor: keras.Model,
    preprocessing: Preprocessing,
    progress: Progress,
    photos: StudentPhotos,
    views: int,
) -> NDArray[np.float32]:
    """Return the features of views 0 to ``views - 1`` of each photo, float32 (n, views, width)."""
    found, count = [], len(photos.rows)
    for view in range(views):
        source, parts = photos.view(view), []
        with source.unburied():
            for batch in evaluation_batches(source, count, preprocessing, _BATCH):
                parts.append(np.asarray(extractor.predict_on_batch(batch), np.float32))
                done = view * count + min(count, len(parts) * _BATCH)
                progress.update("student features", done, views * count)
        found.append(np.concatenate(parts))
    return np.stack(found, axis=1)
