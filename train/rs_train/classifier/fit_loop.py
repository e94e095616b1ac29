"""The training loop that classifiers and filters share: an epoch, validation, a checkpoint.

A :class:`Course` says what a model is trained on and how it is validated: a classifier's
(:mod:`rs_train.classifier.fine_tune`) or a filter's student's (:mod:`rs_train.student.fit`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.errors import RunError
from rs_toolkit.progress import Progress, duration
from rs_train.classifier.checkpoint import Checkpoints, FitState
from rs_train.classifier.forecast import (
    TIMED,
    Forecast,
    averages,
    epochs_left,
    seconds_a_step,
    seconds_an_epoch,
)
from rs_train.classifier.optimizer import averaged, take_averages

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from rs_toolkit.batches.pipeline import PixelSource
    from rs_toolkit.config.distillation import DistillConfig

__all__ = ["Course", "Judgement", "Watch", "fit", "make_deterministic"]

Watch = Callable[[FitState], None]

_MUCH_WAIT = 0.05  # share of the steps' time that is worth a word
_SHARE = 0.95  # of a time budget, for the training; the rest is for the final measurement


@dataclass(frozen=True)
class Judgement:
    """A model's results on validation photos: columns of the history, and a text for people.

    The larger ``score`` is better: its first numbers are compared, then the second, and so on.  An
    empty one, where nothing is validated, makes each epoch the best so far.
    """

    figures: dict[str, float]
    score: tuple[float, ...]
    text: str


class Course(ABC):
    """What a model is trained on, and how it is validated.

    ``model`` is compiled; checkpoints hold its weights and its optimizer.  ``learner`` is what is
    fitted: the model itself, or a compiled part of it with the same layers and optimizer.
    ``pixels`` loads the training photos.  The first ``small_epochs`` show smaller photos; until the
    first epoch after them, nothing ends the training early.  ``repeats``: see :class:`Forecast`.
    """

    small_epochs = 0
    repeats = False
    model: keras.Model
    learner: keras.Model
    pixels: PixelSource

    def begin(self) -> None:  # noqa: B027
        """Change the weights for the first epoch, in a way that depends on nothing random.

        Epoch 0, which is measured and kept, has the weights as they were before.
        """

    def plan(self, epochs: int) -> None:
        """Compile anew for a training of so many epochs, where the settings leave them open."""
        raise NotImplementedError

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


def fit(
    course: Course,
    config: TrainConfig | DistillConfig,
    checkpoints: Checkpoints,
    progress: Progress,
    started: float,
    stage_1: dict[str, float] | None = None,
    watch: Watch | None = None,
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
    watch
        Called with the state before the first epoch and whenever one is saved; what it raises ends
        the training, which can be continued.

    Raises
    ------
    RunError
        The loss is no longer finite, or a checkpoint is damaged.
    """
    model = course.model
    state = checkpoints.load()
    earlier = state.seconds if state else 0.0
    forecast = None
    _build(model)
    if state is None:
        begun = time.perf_counter()
        state = FitState(stage_1=stage_1)
        nothing = {"loss": None, "seconds": 0.0, "input_wait": None}
        _record(state, {"last": course.judge()}, nothing)
        if not getattr(config, "time", ""):
            judged = time.perf_counter() - begun
            forecast = Forecast(config, judged, progress, course.small_epochs, course.repeats)
        checkpoints.save(state, model)
    if state.epochs is None:
        state.epochs = _epochs(course, config, progress, started - earlier)
        checkpoints.save_state(state)
    if isinstance(config, TrainConfig) and config.time:
        course.plan(state.epochs)
        _build(model)
    checkpoints.restore(model, state.epoch)
    if watch:
        watch(state)
    if state.epoch == 0:
        course.begin()
    while not state.finished:
        late = state.epoch - max(state.best_epoch, course.small_epochs)
        if state.epoch >= state.epochs or 0 < config.patience <= late:
            state.finished = True
            checkpoints.save_state(state)
            break
        said = _advance(course, config, state, progress, forecast)
        forecast = None
        state.seconds = round(earlier + time.perf_counter() - started, 2)
        checkpoints.save(state, model)
        progress.note(said)
        if watch:
            watch(state)
    checkpoints.restore(model, state.best_epoch)
    if state.best_weights == "average":
        take_averages(model)
    return state


def _build(model: keras.Model) -> None:
    """Make the optimizer's variables, which checkpoints hold."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _epochs(
    course: Course, config: TrainConfig | DistillConfig, progress: Progress, started: float
) -> int:
    """Return the number of epochs; a time budget sets it by steps that are taken to be timed.

    These steps change the weights.  ``started`` is when the work on the run began, as
    ``time.perf_counter()``.
    """
    import keras

    if not isinstance(config, TrainConfig) or config.seconds is None:
        return config.epochs
    batches, ends = course.batches(0), []
    timer = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )
    with course.pixels.unburied():
        steps = batches.repeat().take(TIMED)
        course.learner.fit(steps, epochs=1, shuffle=False, verbose=0, callbacks=[timer])
    step = seconds_a_step(ends)
    begun = time.perf_counter()
    course.judge()
    judged = time.perf_counter() - begun
    left = config.seconds * _SHARE - (time.perf_counter() - started)
    one = seconds_an_epoch(config, int(batches.cardinality()), step, judged)
    epochs = max(1, int(left / one))
    progress.note(f"time: {step:.2f} s a step, so {epochs} epochs within {config.time}")
    return epochs


def _advance(
    course: Course,
    config: TrainConfig | DistillConfig,
    state: FitState,
    progress: Progress,
    forecast: Forecast | None,
) -> str:
    """Train one epoch, validate the last weights and their averages, if any; return a line of it.

    The line is for people, who may take it for the word that the epoch is saved.
    """
    begun = time.perf_counter()
    loss, wait = _one_epoch(course, config.seed, state.epoch, progress, forecast)
    found = {"last": course.judge()}
    if averages(config):
        with averaged(course.model):
            found["average"] = course.judge()
    _require_finite(state.epoch + 1, loss, found["last"], config)
    state.epoch += 1
    seconds = round(time.perf_counter() - begun, 2)
    _record(state, found, {"loss": loss, "seconds": seconds, "input_wait": round(wait, 4)})
    names = {"last": "validation"}
    said = "".join(
        f"  {names.get(name, name)} {item.text}" for name, item in found.items() if item.text
    )
    planned = config.epochs if state.epochs is None else state.epochs
    left = duration(seconds * epochs_left(config, course.small_epochs, planned, state.epoch))
    before = ", before the refit" if getattr(config, "refit", "none") != "none" else ""
    waited = f", {wait:.0%} of its steps' time waiting for photos" if wait > _MUCH_WAIT else ""
    return (
        f"epoch {state.epoch}/{planned}  loss {loss:.3f}{said}  "
        f"{duration(seconds)}{waited}, at most {left} left{before}"
    )


def _one_epoch(
    course: Course, seed: int, epoch: int, progress: Progress, forecast: Forecast | None
) -> tuple[float, float]:
    """Return the loss, and the share of the time, 0 to 1, in which steps waited for batches."""
    import keras

    batches = course.batches(epoch)
    total = int(batches.cardinality())

    def report(batch: int, logs: dict[str, float]) -> None:
        progress.update(f"epoch {epoch + 1}", batch + 1, total, f"loss {logs['loss']:.3f}")
        if forecast:
            forecast.step(total)

    # Dropout's random generators count their calls, and weights files do not hold the counts.  So
    # each epoch seeds them again, and a resumed epoch draws the same numbers.
    for number, layer in enumerate(course.model.layers):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([seed + number, epoch], "uint32"))
    waited, begun = course.pixels.waited, time.perf_counter()
    with course.pixels.unburied():
        shown = [keras.callbacks.LambdaCallback(on_train_batch_end=report)]
        history = course.learner.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=shown)
    wait = (course.pixels.waited - waited) / (time.perf_counter() - begun)
    return float(history.history["loss"][0]), wait


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


def _record(state: FitState, found: dict[str, Judgement], row: dict[str, Any]) -> None:
    """Append a row to the history, with the figures of the better weights, and update the best.

    ``found`` is by name: last, average.
    """
    # Of equal ones, the first.
    name, better = max(found.items(), key=lambda item: item[1].score)
    row = {"epoch": state.epoch, **row, **better.figures}
    if len(found) > 1:
        row["weights"] = name
        for kind, item in found.items():
            row |= {f"{kind}_{key}": value for key, value in item.figures.items()}
    state.history.append(row)
    score = list(better.score)
    if not state.best_score or score > state.best_score:
        state.best_epoch, state.best_score, state.best_weights = state.epoch, score, name
