"""Refit: the training that validation chose once more, with the photos that were kept from it.

No photo is left to validate the second model.  So it has the first one's length, learning rates,
kind of weights (last or averaged) and strength of stage 1.  Its calibration is an approximation:
that of the first model or, where it learns from every photo, of the models of
:mod:`rs_train.classifier.folds`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rs_train.classifier.checkpoint import FitState
from rs_train.classifier.fine_tune import ClassifierCourse, Portion
from rs_train.classifier.fit_loop import Judgement

if TYPE_CHECKING:
    import keras

    from rs_runtime.photos.preprocess import Preprocessing
    from rs_toolkit.config.training import TrainConfig
    from rs_toolkit.data.photos import Photo

__all__ = ["RefitCourse", "Repeat"]


class Repeat(NamedTuple):
    """What to repeat: the training ``first``, on the photos ``members``."""

    first: FitState
    members: list[Photo]


class RefitCourse(ClassifierCourse):
    """Fine-tuning as that which ended in ``first``, on the photos of ``train``, not validated.

    ``length`` are the settings with which :func:`rs_train.classifier.fit_loop.fit` ends at the best
    epoch of ``first``, whose learning rates it has until then.
    """

    repeats = True

    def __init__(
        self,
        model: keras.Model,
        train: Portion,
        preprocessing: Preprocessing,
        config: TrainConfig,
        first: FitState,
    ) -> None:
        super().__init__(model, train, train, preprocessing, config)
        self.plan(config.epochs if first.epochs is None else first.epochs)
        self.length = replace(config.unrepeated(), epochs=first.best_epoch, time="", patience=0)

    def judge(self) -> Judgement:
        """Return nothing: there is no photo that the model does not learn from."""
        return Judgement({}, (), "")
