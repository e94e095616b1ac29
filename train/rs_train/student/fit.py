"""A student's training: on photos, or on what its frozen backbone makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from rs_runtime.filter import organism_log_odds
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.pipeline import changed_batches, evaluation_batches, recolour
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.metrics.binary import auroc
from rs_toolkit.progress import Progress
from rs_train.classifier.fit_loop import Course, Judgement, adamw
from rs_train.classifier.model import feature_extractor
from rs_train.student.lesson import Lesson
from rs_train.student.portion import StudentPhotos, balanced_order, student_features
from rs_train.student.student import freeze, losses, outputs_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

__all__ = ["StudentCourse"]

_MOST_VIEWS = 2**31


class StudentCourse(Course):
    """The training of what :func:`rs_train.student.student.build_student` made.

    ``val`` chooses the best epoch; ``progress`` is told of features as they are computed.
    """

    def __init__(
        self,
        student: keras.Model,
        train: StudentPhotos,
        val: StudentPhotos,
        lesson: Lesson,
        preprocessing: Preprocessing,
        config: DistillConfig,
        progress: Progress,
    ) -> None:
        import keras

        self.student, self.lesson = student, lesson
        self.train, self.val, self.pixels = train, val, train.views
        self.preprocessing, self.config = preprocessing, config
        self._losses = losses(lesson, config)
        self._head_only = config.train_from == "head"
        extractor = feature_extractor(student)
        # Used where the backbone stays as it is: computed once.
        self._features = cache(partial(student_features, extractor, preprocessing, progress))
        freeze(student, body=self._head_only, batch_norm=config.frozen_batch_norm)
        outputs = outputs_of(student)
        self.model = self.learner = keras.Model(student.input, outputs)
        if self._head_only:
            self.learner = keras.Model(extractor.output, outputs)
        optimizer = adamw(config, len(balanced_order(train, config, 0)))
        for model in (self.model, self.learner):
            model.compile(optimizer, self._losses)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Return a random view of each photo, in changed colours; or the features of one."""
        import tensorflow as tf

        config, train = self.config, self.train
        rows = balanced_order(train, config, epoch)
        # A teacher's views are fixed, and so are those of frozen features.
        fixed = self._head_only or train.taught is not None
        generator = np.random.default_rng((config.seed, epoch))
        views = generator.integers(0, config.views if fixed else _MOST_VIEWS, len(rows))
        targets = self._targets(train, rows, views)
        if self._head_only:
            shown = self._features(train, config.views)[rows, views]
            return tf.data.Dataset.from_tensor_slices((shown, targets)).batch(config.batch_size)
        return changed_batches(
            train.views,
            (rows, views),
            targets,
            self.preprocessing,
            lambda images, seed: recolour(images, config.augment, seed),
            batch_size=config.batch_size,
            seed=(config.seed, epoch),
        )

    def judge(self) -> Judgement:
        """Return loss and AUROC of the validation photos as they are; the AUROC goes first."""
        found, rows = self.ask(self.val), np.arange(len(self.val.rows))
        wanted = self._targets(self.val, rows, np.zeros_like(rows))
        terms = [float(term(wanted[name], found[name])) for name, term in self._losses.items()]
        loss = float(sum(terms))
        # Rounded, so that a meaningless difference does not outweigh the loss.  Numbers that are
        # not finite have no AUROC.
        sound = np.isfinite(loss)
        area = round(auroc(self.odds(found), self.val.truth), 4) if sound else float("nan")
        figures = {"val_loss": loss, "val_auroc": area}
        return Judgement(figures, (area, -loss), f"loss {loss:.4f}  AUROC {area:.4f}")

    def ask(self, photos: StudentPhotos) -> dict[str, NDArray[np.float32]]:
        """Return what the student makes of photos as they are.

        ``verdict`` are logits (n, K); a student that has a teacher gives ``embedding`` (n, dim).
        """
        if self._head_only:
            found = self.learner.predict(self._features(photos, 1)[:, 0], verbose=0)
        else:
            source, size = photos.view(0), self.config.batch_size
            shown = evaluation_batches(source, len(photos.rows), self.preprocessing, size)
            with source.unburied():
                found = self.model.predict(shown, verbose=0)
        return {name: np.asarray(part, np.float32) for name, part in found.items()}

    def odds(self, found: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return the log odds of an organism, (n,), of what :meth:`ask` returned."""
        return organism_log_odds(found["verdict"], self.lesson.organism)

    def _targets(
        self, photos: StudentPhotos, rows: NDArray[np.int64], views: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Return what is wanted of each output, n rows each."""
        wanted = {"verdict": photos.target[rows].astype(np.float32)}
        if photos.taught is not None:
            wanted["embedding"] = photos.taught[rows, views]
        return wanted
