"""The training loop that classifiers and filters share: an epoch, validation, a checkpoint.

A :class:`Course` says what a model is trained on and how it is validated: a classifier's
(:mod:`rs_train.classifier.fine_tune`) or a filter's student's (:mod:`rs_train.student.fit`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.errors import RunError
from rs_toolkit.progress import Progress, duration
from rs_train.classifier.checkpoint import Checkpoints, FitState

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from rs_toolkit.batches.pipeline import PixelSource
    from rs_toolkit.config.distillation import DistillConfig
    from rs_toolkit.config.training import TrainConfig

__all__ = ["Course", "Judgement", "adamw", "fit", "make_deterministic"]


@dataclass(frozen=True)
class Judgement:
    """A model's results on validation photos: columns of the history, and a text for people.

    The larger ``score`` is better: its first numbers are compared, then the second, and so on.
    """

    figures: dict[str, float]
    score: tuple[float, ...]
    text: str


class Course(ABC):
    """What a model is trained on, and how it is validated.

    ``model`` is compiled; checkpoints hold its weights and its optimizer.  ``learner`` is what is
    fitted: the model itself, or a compiled part of it with the same layers and optimizer.
    ``pixels`` loads the training photos.
    """

    model: keras.Model
    learner: keras.Model
    pixels: PixelSource

    @abstractmethod
    def batches(self, epoch: int) -> tf.data.Dataset:
        """Return batches of (inputs, targets), which depend on the seed and the epoch alone."""

    @abstractmethod
    def judge(self) -> Judgement:
        """Return the results of the current model on the validation photos."""


def make_deterministic(seed: int) -> None:
    """Seed Keras, NumPy and Python, and make TensorFlow's operations deterministic."""
    quiet_tensorflow()
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def adamw(config: TrainConfig | DistillConfig, photos: int) -> keras.optimizers.AdamW:
    """Return AdamW whose learning rate rises during one epoch, then decays to a hundredth.

    The decay is a cosine, and an epoch shows ``photos`` photos.
    """
    import keras

    steps = -(-photos // config.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 20,
        warmup_target=config.learning_rate,
        warmup_steps=steps,
        decay_steps=max(1, steps * max(1, config.epochs - 1)),
        alpha=0.01,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def fit(
    course: Course,
    config: TrainConfig | DistillConfig,
    checkpoints: Checkpoints,
    progress: Progress,
    started: float,
    stage_1: dict[str, float] | None = None,
) -> FitState:
    """Train a course's model until it stops improving, and restore its best epoch.

    Training continues from ``checkpoints`` where they hold a state.  Every epoch depends only on
    the saved state, the seed and the epoch number, so a run that was killed and resumed takes the
    same steps as one that was not.

    Parameters
    ----------
    started
        The ``time.perf_counter()`` at which this process began to work on the run.
    stage_1
        Results of a classifier's stage 1, to be kept in the state.

    Raises
    ------
    RunError
        The loss is no longer finite, or a checkpoint is damaged.
    """
    model = course.model
    model.optimizer.build(model.trainable_variables)
    state = checkpoints.load()
    earlier = state.seconds if state else 0.0
    if state is None:
        state = FitState(stage_1=stage_1)
        _record(state, course.judge(), {"loss": None, "seconds": 0.0})
        checkpoints.save(state, model)
    else:
        checkpoints.restore(model, state.epoch)
    while not state.finished:
        if state.epoch >= config.epochs or state.epoch - state.best_epoch >= config.patience:
            state.finished = True
            checkpoints.save_state(state)
            break
        begun = time.perf_counter()
        loss = _one_epoch(course, config.seed, state.epoch, progress)
        found = course.judge()
        _require_finite(state.epoch + 1, loss, found, config)
        state.epoch += 1
        seconds = round(time.perf_counter() - begun, 2)
        _record(state, found, {"loss": loss, "seconds": seconds})
        state.seconds = round(earlier + time.perf_counter() - started, 2)
        checkpoints.save(state, model)
        left = duration(seconds * (config.epochs - state.epoch))
        progress.note(
            f"epoch {state.epoch}/{config.epochs}  loss {loss:.3f}  validation {found.text}  "
            f"{duration(seconds)}, at most {left} left"
        )
    checkpoints.restore(model, state.best_epoch)
    return state


def _one_epoch(course: Course, seed: int, epoch: int, progress: Progress) -> float:
    import keras

    batches = course.batches(epoch)
    total = int(batches.cardinality())

    def report(batch: int, logs: dict[str, float]) -> None:
        progress.update(f"epoch {epoch + 1}", batch + 1, total, f"loss {logs['loss']:.3f}")

    # Dropout's random generators count their calls, and weights files do not hold the counts.  So
    # each epoch seeds them again, and a resumed epoch draws the same numbers.
    for number, layer in enumerate(course.model.layers):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([seed + number, epoch], "uint32"))
    with course.pixels.unburied():
        shown = [keras.callbacks.LambdaCallback(on_train_batch_end=report)]
        history = course.learner.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=shown)
    return float(history.history["loss"][0])


def _require_finite(
    epoch: int, loss: float, found: Judgement, config: TrainConfig | DistillConfig
) -> None:
    if np.isfinite([loss, *found.score]).all():
        return
    precision = getattr(config, "precision", "float32")
    advice = "" if precision == "float32" else " or use --precision float32"
    raise RunError(
        f"epoch {epoch}: got loss {loss} (validation {found.text}), wanted finite numbers; lower "
        f"--learning-rate (now {config.learning_rate}){advice}"
    )


def _record(state: FitState, found: Judgement, row: dict[str, Any]) -> None:
    """Append a row to the history, and update the best epoch."""
    state.history.append({"epoch": state.epoch, **row, **found.figures})
    score = list(found.score)
    if not state.best_score or score > state.best_score:
        state.best_epoch, state.best_score = state.epoch, score
