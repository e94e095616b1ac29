"""A student's training: on photos, or on what its frozen backbone makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

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
from rs_train.student.loss import losses
from rs_train.student.portion import StudentPhotos, balanced_order, student_features
from rs_train.student.student import freeze, outputs_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

__all__ = ["StudentCourse"]

_MOST_VIEWS = 2**31


class StudentCourse(Course):
    """The training of a student.

    Parameters
    ----------
    student
        As :func:`rs_train.student.student.build_student` makes it.
    train, val
        Photos to learn from, and to choose the best epoch by.
    lesson
        What is taught.
    preprocessing
        What makes a photo the student's input.
    config
        Settings.
    progress
        Told of features as they are computed.
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
        self.train, self.val = train, val
        self.preprocessing, self.config, self._progress = preprocessing, config, progress
        self._features: dict[int, NDArray[np.float32]] = {}
        self._losses = losses(lesson, config)
        self._extractor = feature_extractor(student)
        freeze(student, body=self._head_only, batch_norm=config.frozen_batch_norm)
        outputs = _alone_or_all(outputs_of(student))
        self.model = self.learner = keras.Model(student.input, outputs)
        if self._head_only:
            self.learner = keras.Model(self._extractor.output, outputs)
        optimizer = adamw(config, len(balanced_order(train, config, 0)))
        for model in {id(part): part for part in (self.model, self.learner)}.values():
            model.compile(optimizer, _alone_or_all(self._losses))

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Return a random view of each photo, in changed colours; or the features of one."""
        import tensorflow as tf

        config, train = self.config, self.train
        rows = balanced_order(train, config, epoch)
        # A teacher's views are fixed, and so are those of frozen features.
        fixed = self._head_only or train.taught is not None
        generator = np.random.default_rng((config.seed, epoch))
        views = generator.integers(0, config.views if fixed else _MOST_VIEWS, len(rows))
        targets = _alone_or_all(self._targets(train, rows, views))
        if self._head_only:
            shown = self._frozen(train, config.views)[rows, views]
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
        pairs = zip(self._losses, wanted, found, strict=True)
        loss = float(sum(float(term(*pair)) for term, *pair in pairs))
        # Rounded, so that a difference that says nothing does not outweigh the loss.  Of numbers
        # that are not finite there is none.
        sound = np.isfinite(loss)
        area = round(auroc(self.odds(found), self.val.truth), 4) if sound else float("nan")
        figures = {"val_loss": loss, "val_auroc": area}
        return Judgement(figures, (area, -loss), f"loss {loss:.4f}  AUROC {area:.4f}")

    def unburied(self) -> AbstractContextManager[None]:
        """Return that of the training photos."""
        return self.train.views.unburied()

    def ask(self, photos: StudentPhotos) -> list[NDArray[np.float32]]:
        """Return what the student makes of photos as they are.

        Returns
        -------
        list
            Embeddings (n, dim), of a student that has a teacher, and logits (n, K).
        """
        if self._head_only:
            found = self.learner.predict(self._frozen(photos, 1)[:, 0], verbose=0)
        else:
            source, size = photos.view(0), self.config.batch_size
            shown = evaluation_batches(source, len(photos.rows), self.preprocessing, size)
            with source.unburied():
                found = self.model.predict(shown, verbose=0)
        parts = found if isinstance(found, list | tuple) else [found]
        return [np.asarray(part, np.float32) for part in parts]

    def odds(self, found: list[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return the log odds of an organism, (n,), of what :meth:`ask` returned."""
        return organism_log_odds(found[-1], self.lesson.organism)

    @property
    def _head_only(self) -> bool:
        return self.config.train_from == "head"

    def _targets(
        self, photos: StudentPhotos, rows: NDArray[np.int64], views: NDArray[np.int64]
    ) -> tuple[Any, ...]:
        """Return what is wanted of each output, n rows each."""
        target = photos.target[rows].astype(np.float32)
        return (target,) if photos.taught is None else (photos.taught[rows, views], target)

    def _frozen(self, photos: StudentPhotos, views: int) -> NDArray[np.float32]:
        """Return the features of a backbone that stays as it is, computed once."""
        if id(photos) not in self._features:
            self._features[id(photos)] = student_features(
                self._extractor, photos, views, self.preprocessing, self._progress
            )
        return self._features[id(photos)]


def _alone_or_all(parts: Sequence[Any]) -> Any:
    """Return what Keras takes for as many outputs: one thing, or a tuple of them."""
    return parts[0] if len(parts) == 1 else tuple(parts)
