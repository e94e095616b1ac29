"""Stage 2, fine-tuning of a classifier: its training batches, and its validation by macro-F1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.batches.oversampling import Shares, class_sizes, class_targets
from rs_toolkit.batches.pipeline import PixelSource, evaluation_batches, training_epoch
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.metrics.classification import macro_f1
from rs_train.classifier.fit_loop import Course, Judgement, adamw
from rs_train.classifier.gap import comparable_rows

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from numpy.typing import NDArray

    from rs_runtime.photos.preprocess import Preprocessing

__all__ = ["ClassifierCourse", "Portion", "predict_logits"]


@dataclass(frozen=True)
class Portion:
    """The n photos of one split: how to load their pixels, and their shares in oversampling.

    ``labels`` are their class numbers, shape (n,).
    """

    pixels: PixelSource
    labels: NDArray[np.int64]
    shares: Shares

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
        self.pixels = train.pixels
        self._train, self._val = train, val
        rows = comparable_rows(train.labels, train.shares, val.labels, config.seed)
        self._seen = train.only(rows)
        self._preprocessing, self._config = preprocessing, config
        sizes = class_sizes(train.labels, train.shares)
        shown = int(class_targets(sizes, config.balance).sum())
        classes = int(model.output_shape[-1])
        loss = _smoothed_cross_entropy(classes, config.label_smoothing)
        model.compile(adamw(config, shown), loss)

    def batches(self, epoch: int) -> tf.data.Dataset:
        """Return an epoch of training photos, oversampled and augmented."""
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


def _smoothed_cross_entropy(classes: int, smoothing: float) -> Any:
    """Return label-smoothed cross-entropy (Szegedy et al. 2016) of class numbers and logits."""
    import keras

    def loss(labels: Any, logits: Any) -> Any:
        targets = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), classes)
        targets = targets * (1 - smoothing) + smoothing / classes
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True)

    return loss


def predict_logits(
    model: keras.Model, portion: Portion, preprocessing: Preprocessing, batch_size: int
) -> NDArray[np.float32]:
    """Return float32 logits (n, classes) of the unaugmented photos of one split."""
    batches = evaluation_batches(portion.pixels, len(portion.labels), preprocessing, batch_size)
    with portion.pixels.unburied():
        return np.asarray(model.predict(batches, verbose=0), np.float32)
