"""Refit: the training that validation chose once more, on training and validation photos.

No photo is left to validate the second model.  So it has the first one's length, learning rates,
kind of weights (last or averaged) and strength of stage 1, and the calibration of the first model:
an approximation, which only the test photos check.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rs_train.classifier.checkpoint import FitState
from rs_train.classifier.fine_tune import ClassifierCourse, Portion
from rs_train.classifier.fit_loop import Judgement

if TYPE_CHECKING:
    import keras

    from rs_runtime.photos.preprocess import Preprocessing
    from rs_toolkit.config.training import TrainConfig

__all__ = ["RefitCourse"]


class RefitCourse(ClassifierCourse):
    """Fine-tuning as that which ended in ``first``, on the photos of ``train``, not validated.

    ``length`` are the settings with which :func:`rs_train.classifier.fit_loop.fit` ends at the best
    epoch of ``first``, whose learning rates it has until then.
    """

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
        self.length = replace(config, epochs=first.best_epoch, time="", patience=0, refit="none")

    def judge(self) -> Judgement:
        """Return nothing: there is no photo that the model does not learn from."""
        return Judgement({}, (), "")
