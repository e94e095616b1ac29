"""Stage 2: fine-tune by gradient descent, keep the best validation macro-F1, resume exactly."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.batches.oversampling import Shares, class_sizes, class_targets
from rs_toolkit.batches.pipeline import PixelSource, evaluation_batches, training_epoch
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import RunError
from rs_toolkit.metrics.classification import macro_f1
from rs_toolkit.progress import Progress
from rs_train.classifier.checkpoint import Checkpoints, FitState

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_runtime.photos.preprocess import Preprocessing

__all__ = ["Portion", "compile_model", "fit", "predict_logits"]


@dataclass(frozen=True)
class Portion:
    """The photos of one split as arrays: where their pixels come from, and what they count for.

    ``labels`` are their class numbers, shape (n,).
    """

    pixels: PixelSource
    labels: NDArray[np.int64]
    shares: Shares


def compile_model(model: keras.Model, config: TrainConfig, train: Portion) -> None:
    """Give a model its optimizer (AdamW, warm-up, cosine decay) and smoothed cross-entropy."""
    import keras

    sizes = class_sizes(train.labels, train.shares)
    shown = int(class_targets(sizes, config.balance).sum())
    steps = -(-shown // config.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=config.learning_rate / 20,
        warmup_target=config.learning_rate,
        warmup_steps=steps,
        decay_steps=max(1, steps * max(1, config.epochs - 1)),
        alpha=0.01,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    classes = int(model.output_shape[-1])
    model.compile(optimizer, _smoothed_cross_entropy(classes, config.label_smoothing))


def _smoothed_cross_entropy(classes: int, smoothing: float) -> Any:
    """Cross-entropy with label smoothing (Szegedy et al. 2016), from class numbers and logits."""
    import keras

    def loss(labels: Any, logits: Any) -> Any:
        targets = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), classes)
        targets = targets * (1 - smoothing) + smoothing / classes
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True)

    return loss


def predict_logits(
    model: keras.Model, portion: Portion, preprocessing: Preprocessing, batch_size: int
) -> NDArray[np.float32]:
    """Return float32 logits (n, classes) of the photos of a portion, unaugmented."""
    batches = evaluation_batches(portion.pixels, len(portion.labels), preprocessing, batch_size)
    with portion.pixels.unburied():
        return np.asarray(model.predict(batches, verbose=0), np.float32)


def fit(
    model: keras.Model,
    train: Portion,
    val: Portion,
    preprocessing: Preprocessing,
    config: TrainConfig,
    checkpoints: Checkpoints,
    progress: Progress,
    stage_1: dict[str, float] | None = None,
    started: float | None = None,
) -> FitState:
    """Fine-tune a compiled model until it stops improving, and leave it at its best epoch.

    Continues from ``checkpoints`` where a state exists.  Every epoch is a function of the saved
    state, the seed and the epoch number, so a run that was killed and resumed takes the same
    steps as one that was not.  ``started`` is the ``time.perf_counter()`` at which this session
    of the run began; default now.
    """
    model.optimizer.build(model.trainable_variables)
    session = time.perf_counter() if started is None else started
    state = checkpoints.load()
    earlier = state.seconds if state else 0.0
    if state is None:
        state = FitState(stage_1=stage_1)
        _record(state, model, val, preprocessing, config, {"loss": None, "seconds": 0.0})
        checkpoints.save(state, model)
    else:
        checkpoints.restore(model, state.epoch)
    while not state.finished:
        if state.epoch >= config.epochs or state.epoch - state.best_epoch >= config.patience:
            state.finished = True
            checkpoints.save_state(state)
            break
        started = time.perf_counter()
        loss = _one_epoch(model, train, preprocessing, config, state.epoch, progress)
        if not np.isfinite(loss):
            raise RunError(
                f"epoch {state.epoch + 1}: the loss became {loss}; lower --learning-rate "
                f"(got {config.learning_rate}) or use --precision float32"
            )
        state.epoch += 1
        seconds = round(time.perf_counter() - started, 2)
        _record(state, model, val, preprocessing, config, {"loss": loss, "seconds": seconds})
        state.seconds = round(earlier + time.perf_counter() - session, 2)
        checkpoints.save(state, model)
        row = state.history[-1]
        progress.note(
            f"epoch {state.epoch}/{config.epochs}  loss {loss:.3f}  validation macro-F1 "
            f"{row['val_macro_f1']:.3f}  accuracy {row['val_accuracy']:.3f}  {seconds:.0f} s"
        )
    checkpoints.restore(model, state.best_epoch)
    return state


def _one_epoch(
    model: keras.Model,
    train: Portion,
    preprocessing: Preprocessing,
    config: TrainConfig,
    epoch: int,
    progress: Progress,
) -> float:
    import keras

    batches = training_epoch(
        train.pixels,
        train.labels,
        preprocessing,
        balance=config.balance,
        strength=config.augment,
        batch_size=config.batch_size,
        seed=config.seed,
        epoch=epoch,
        shares=train.shares,
    )
    total = int(batches.cardinality())

    class Report(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            loss = (logs or {}).get("loss", float("nan"))
            progress.update(f"epoch {epoch + 1}", batch + 1, total, f"loss {loss:.3f}")

    # Dropout draws from generators that count their calls; weights files do not hold them, so
    # each epoch starts them anew and a resumed epoch draws the same.
    for number, layer in enumerate(model.layers):
        generator = getattr(layer, "seed_generator", None)
        if generator is not None:
            generator.state.assign(np.array([config.seed + number, epoch], "uint32"))
    with train.pixels.unburied():
        history = model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[Report()])
    return float(history.history["loss"][0])


def _record(
    state: FitState,
    model: keras.Model,
    val: Portion,
    preprocessing: Preprocessing,
    config: TrainConfig,
    row: dict[str, Any],
) -> None:
    """Append a history row with the validation figures, and note a new best."""
    logits = predict_logits(model, val, preprocessing, config.batch_size)
    predicted = logits.argmax(1)
    score = float(macro_f1(val.labels, predicted, logits.shape[1]))
    accuracy = float((predicted == val.labels).mean())
    state.history.append(
        {"epoch": state.epoch, **row, "val_macro_f1": score, "val_accuracy": accuracy}
    )
    if score > state.best_macro_f1:
        state.best_epoch, state.best_macro_f1 = state.epoch, score
