"""Stage 2, fine-tuning of a classifier: its training batches, and its validation by macro-F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.batches.oversampling import Shares, class_sizes, class_targets, epoch_order
from rs_toolkit.batches.pipeline import (
    PixelSource,
    changed_batches,
    evaluation_batches,
    recolour,
    training_epoch,
)
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.metrics.classification import macro_f1
from rs_train.classifier.fit_loop import Course, Judgement
from rs_train.classifier.gap import comparable_rows
from rs_train.classifier.loss import class_loss, taught_loss
from rs_train.classifier.optimizer import adamw, rate_factors
from rs_train.classifier.resized import resized, smaller
from rs_train.classifier.teaching import Lesson

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from rs_runtime.photos.preprocess import Preprocessing

__all__ = ["ClassifierCourse", "Portion", "predict_logits"]


@dataclass(frozen=True)
class Portion:
    """The n photos of one split: how to load their pixels, and their shares in oversampling.

    ``labels`` are their class numbers, shape (n,); ``lesson`` is what a teacher says of them.
    """

    pixels: PixelSource
    labels: NDArray[np.int64]
    shares: Shares
    lesson: Lesson | None = None

    def only(self, rows: NDArray[np.int64]) -> Portion:
        """Return some of the photos, without repetition, by their numbers (m,)."""
        pixels = PixelSource(lambda numbers: self.pixels.load(rows[numbers]))
        shares = Shares(self.shares.groups[rows], self.shares.weights[rows])
        return Portion(pixels, self.labels[rows], shares)


class ClassifierCourse(Course):
    """Fine-tuning of the trainable layers of ``model``; the best epoch is chosen on ``val``."""

    def __init__(
        self,
        model: keras.Model,
        train: Portion,
        val: Portion,
        preprocessing: Preprocessing,
        config: TrainConfig,
    ) -> None:
        self.model = self.learner = model
        self.pixels = train.lesson.views if train.lesson else train.pixels
        self._train, self._val = train, val
        rows = comparable_rows(train.labels, train.shares, val.labels, config.seed)
        self._seen = train.only(rows)
        self._preprocessing, self._config = preprocessing, config
        sizes = np.zeros(int(model.output_shape[-1]))
        counted = class_sizes(train.labels, train.shares)
        sizes[: len(counted)] = counted
        self._shown = int(class_targets(sizes, config.balance).sum())
        self._loss = class_loss(config, sizes)
        if train.lesson:
            self._loss = taught_loss(self._loss, config)
        self._small = smaller(model, config.first_size) if config.first_size else None
        self.plan(config.epochs)

    def plan(self, epochs: int) -> None:
        """Compile the model with a learning rate that decays over so many epochs."""
        factors = rate_factors(self.model, self._config)
        optimizer = adamw(self._config, self._shown, epochs=epochs, factors=factors)
        self.model.compile(optimizer, self._loss.function)
        if self._small is not None:
            # It has the model's optimizer, which scales the loss already where that is needed.
            self._small.compile(self.model.optimizer, self._loss.function, auto_scale_loss=False)
            self.small_epochs = epochs // 2

    def begin(self) -> None:
        """Move the bias that stage 1 fitted to where the loss leads."""
        if self._config.weights != "none":
            self.model.get_layer("predictions").bias.assign_add(self._loss.start)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Return an epoch of training photos, oversampled and augmented, for the learner of now."""
        lesson = self._train.lesson
        found = self._taught_batches(lesson, epoch) if lesson else self._own_batches(epoch)
        small = self._small if epoch < self.small_epochs else None
        self.learner = self.model if small is None else small
        return found if small is None else resized(found, self._config.first_size)

    def _own_batches(self, epoch: int) -> tf.data.Dataset:
        config = self._config
        return training_epoch(
            self.pixels,
            self._train.labels,
            self._preprocessing,
            balance=config.balance,
            strength=config.augment,
            batch_size=config.batch_size,
            seed=config.seed,
            epoch=epoch,
            shares=self._train.shares,
            crop_scale=config.crop_scale,
            operations=(config.randaugment, config.randaugment_magnitude),
            mixing=(config.mixup, config.cutmix),
        )

    def _taught_batches(self, lesson: Lesson, epoch: int) -> tf.data.Dataset:
        """Return an epoch of views that the teacher has answered, with changed colours."""
        config, labels = self._config, self._train.labels
        order = epoch_order(labels, config.balance, config.seed, epoch, self._train.shares)
        generator = np.random.default_rng((config.seed, epoch))
        views = generator.integers(0, lesson.logits.shape[1], len(order))
        targets = np.column_stack([labels[order], lesson.logits[order, views]])
        return changed_batches(
            lesson.views,
            (order, views),
            targets.astype(np.float32),
            self._preprocessing,
            lambda images, draw: recolour(images, config.augment, draw),
            batch_size=config.batch_size,
            seed=(config.seed, epoch),
        )

    def judge(self) -> Judgement:
        """Return macro-F1 and accuracy on validation photos; macro-F1 is the score.

        The figures hold both also for as many training photos, without augmentation.
        """
        figures: dict[str, float] = {}
        texts = []
        for side, portion in (("val", self._val), ("train", self._seen)):
            if len(portion.labels):
                score, accuracy = self._scores(portion)
                figures |= {f"{side}_macro_f1": score, f"{side}_accuracy": accuracy}
                texts.append(f"macro-F1 {score:.3f}  accuracy {accuracy:.3f}")
        return Judgement(figures, (figures["val_macro_f1"],), "  training ".join(texts))

    def _scores(self, portion: Portion) -> tuple[float, float]:
        size = self._config.batch_size
        logits = predict_logits(self.model, portion, self._preprocessing, size)
        predicted = logits.argmax(1)
        score = macro_f1(portion.labels, predicted, logits.shape[1])
        return float(score), float((predicted == portion.labels).mean())


def predict_logits(
    model: keras.Model, portion: Portion, preprocessing: Preprocessing, batch_size: int
) -> NDArray[np.float32]:
    """Return float32 logits (n, classes) of the unaugmented photos of one split."""
    batches = evaluation_batches(portion.pixels, len(portion.labels), preprocessing, batch_size)
    with portion.pixels.unburied():
        return np.asarray(model.predict(batches, verbose=0), np.float32)
