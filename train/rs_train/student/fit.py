"""Training of a student on photos, or of its head alone on features of the frozen backbone."""

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
from rs_train.classifier.fit_loop import Course, Judgement
from rs_train.classifier.model import feature_extractor
from rs_train.classifier.optimizer import adamw
from rs_train.student.lesson import Lesson
from rs_train.student.portion import StudentPhotos, balanced_order, student_features
from rs_train.student.student import freeze, losses, outputs_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

__all__ = ["StudentCourse"]

_MOST_VIEWS = 2**31  # practically a new view in each epoch


class StudentCourse(Course):
    """Training of a student from :func:`rs_train.student.student.build_student`.

    The best epoch is chosen on ``val``; ``progress`` shows the computation of frozen features.
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
        # Features of the frozen backbone, computed once; used only if just the head is trained.
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
        """Return a random view of each photo with changed colours, or a view's frozen features."""
        import tensorflow as tf

        config, train = self.config, self.train
        rows = balanced_order(train, config, epoch)
        # Teacher embeddings and frozen features exist for a fixed number of views only.
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
        """Return loss and AUROC on unaugmented validation photos; the AUROC is compared first."""
        found, rows = self.ask(self.val), np.arange(len(self.val.rows))
        wanted = self._targets(self.val, rows, np.zeros_like(rows))
        terms = [float(term(wanted[name], found[name])) for name, term in self._losses.items()]
        loss = float(sum(terms))
        # Rounded: where the AUROC differs by less than 0.0001, the loss decides.  Logits that are
        # not finite have no AUROC.
        sound = np.isfinite(loss)
        area = round(auroc(self.odds(found), self.val.truth), 4) if sound else float("nan")
        figures = {"val_loss": loss, "val_auroc": area}
        return Judgement(figures, (area, -loss), f"loss {loss:.4f}  AUROC {area:.4f}")

    def ask(self, photos: StudentPhotos) -> dict[str, NDArray[np.float32]]:
        """Return the student's outputs for unaugmented photos, float32.

        These are the logits ``verdict`` (n, K) and, with a teacher, ``embedding`` (n, dim).
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
        """Return the log odds of an organism, (n,), from what :meth:`ask` returned."""
        return organism_log_odds(found["verdict"], self.lesson.organism)

    def _targets(
        self, photos: StudentPhotos, rows: NDArray[np.int64], views: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the target of each output, one row per photo."""
        wanted = {"verdict": photos.target[rows].astype(np.float32)}
        if photos.taught is not None:
            wanted["embedding"] = photos.taught[rows, views]
        return wanted
