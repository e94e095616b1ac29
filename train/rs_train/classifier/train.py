"""Training of a classifier by hybrid transfer learning (after Ferreira et al. 2018).

Stage 1 fits a new linear layer on the frozen backbone.  Stage 2 fine-tunes the last blocks with
batch normalization frozen.  A backbone with random weights has nothing to transfer: then stage 1 is
skipped, and stage 2 trains every layer unless the settings name a block.  A refit repeats both
stages with the validation photos too (:mod:`rs_train.classifier.refit`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rs_toolkit.batches.oversampling import Shares, photo_weights
from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import require_data
from rs_toolkit.files import write_json
from rs_toolkit.folders.run import write_logits
from rs_toolkit.metrics.calibration import fit_temperature
from rs_toolkit.metrics.classification import evaluate
from rs_toolkit.pictures import draw_picture, short
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES
from rs_toolkit.splits.places import places_of_test
from rs_train.classifier.backbones import load_backbone_weights
from rs_train.classifier.checkpoint import Checkpoints, FitState, weights_to_load
from rs_train.classifier.embed import frozen_features
from rs_train.classifier.fine_tune import ClassifierCourse, Portion, predict_logits
from rs_train.classifier.fit_loop import Watch, fit, make_deterministic
from rs_train.classifier.linear_probe import STRENGTHS, fit_head
from rs_train.classifier.model import (
    build_classifier,
    copy_weights,
    feature_extractor,
    freeze_below,
    save_model,
)
from rs_train.classifier.optimizer import check_average, take_averages
from rs_train.classifier.prepare import RunData, prepare
from rs_train.classifier.refit import RefitCourse
from rs_train.classifier.teaching import Teacher, meet_teacher
from rs_train.run_folder import is_finished, write_environment

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["train"]

_MOST_NAMES = 60
_REFIT = Path("refit", "checkpoints")


def train(
    data: Path,
    config: TrainConfig,
    run: Path,
    *,
    resume: bool = False,
    tensorboard: bool = False,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Path:
    """Train a classifier, write its run folder and return ``run``.

    Parameters
    ----------
    data
        Folder or CSV file that :func:`rs_toolkit.data.readers.read_dataset` reads.
    run
        Folder to write; without ``resume`` it must not hold a run.
    resume
        Continue an interrupted run; a finished one is left as it is.
    tensorboard
        Also write the epochs as events into ``run/tensorboard``.
    watch
        As :func:`rs_train.classifier.fit_loop.fit` takes it.  A training that is watched ends with
        its last epoch: it has neither refit nor results on test photos until it is resumed.

    Raises
    ------
    ToolkitError
        The data, the weights or the settings cannot be used; see each subclass.
    """
    progress = progress or Progress()
    if is_finished(run, "metrics.json", "run", resume, progress):
        return run
    if not (run / "config.json").exists():
        require_data(data)
    started = time.perf_counter()
    make_deterministic(config.seed)
    weights = weights_to_load(run, config.weights)
    teacher = meet_teacher(config, run)
    refitting = config.refit != "none"
    left = refitting and not Checkpoints.begun(run / _REFIT)
    # Fail on a wrong backbone, block or weights file now, before the long work.
    first = config.weights if left else weights
    trial = _pretrained(config, first, 2, progress)
    freeze_below(trial, config.backbone, config.first_block)
    check_average(trial, config.average)
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    found = prepare(data, config, run, cache, progress, teacher)
    config = found.config
    mark = f"{config.fingerprint()}-{found.mark[:16]}"
    checkpoints = Checkpoints(run / "checkpoints", mark, tensorboard)
    training = _Training(config, found, cache, progress, teacher)
    model = _pretrained(config, weights, len(found.classes), progress)
    stage_1 = None if weights == "none" else training.fit_top(model)
    state = training.fine_tune(model, checkpoints, stage_1, started, watch=watch)
    if watch:
        return run
    again = None
    if refitting:
        second = Checkpoints(run / _REFIT, mark, tensorboard)
        again = training.refit(second, state, started)
    training.finish(run, model, state, again)
    progress.note(f"run written to {run}")
    return run


def _pretrained(config: TrainConfig, weights: str, classes: int, progress: Progress) -> keras.Model:
    """Build the float32 classifier with pretrained ``weights`` in its backbone."""
    import keras

    keras.utils.set_random_seed(config.seed)
    model = build_classifier(config.backbone, config.imgsz, classes, config.dropout)
    backbone = keras.Model(model.input, model.get_layer("avg_pool").input)
    load_backbone_weights(backbone, config.backbone, weights, progress=progress)
    return model


class _Training:
    """The steps of a training, and the values that they share."""

    def __init__(
        self,
        config: TrainConfig,
        data: RunData,
        cache: PhotoCache,
        progress: Progress,
        teacher: Teacher | None,
    ) -> None:
        self.teacher = teacher
        self.config, self.data, self.cache, self.progress = config, data, cache, progress
        self.portions = {side: self._portion(side) for side in SIDES}

    def _portion(self, *sides: str) -> Portion:
        members = self.data.side(*sides)
        number = {item["name"]: item["id"] for item in self.data.classes}
        labels = [number[str(photo.label(self.config.rank))] for photo in members]

        def pixels(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
            return self.cache.stacked([members[row] for row in rows], lambda _: self.data.root)

        return Portion(PixelSource(pixels), np.asarray(labels, np.int64), Shares.of(members))

    def _taught(self, *sides: str) -> Portion:
        """Return the photos of one side or more with what the teacher says of them, if any."""
        portion, data = self._portion(*sides), self.data
        if self.teacher is None:
            return portion
        lesson = self.teacher.lesson(
            data.side(*sides), data.root, data.classes, self.cache, self.config, self.progress
        )
        return replace(portion, lesson=lesson)

    def fit_top(self, model: keras.Model, first: FitState | None = None) -> dict[str, float]:
        """Run stage 1: fit the linear layer of ``model``, and return its results.

        A refit, after the training ``first``, has its strength, and the validation photos too.
        """
        sides = ("train", "val") if first else ("train",)
        found = first.stage_1["strength"] if first and first.stage_1 else self.config.head_strength
        strengths = (found,) if found else STRENGTHS
        extractor, portion, data = feature_extractor(model), self._portion(*sides), self.data
        train, val = (
            frozen_features(extractor, data.side(*part), data.root, self.cache, self.progress)
            for part in (sides, ("val",))
        )
        weights = photo_weights(portion.labels, self.config.balance, portion.shares)
        used, views = weights > 0, train.shape[1]
        head = fit_head(
            train[used].reshape(-1, train.shape[-1]),
            np.repeat(portion.labels[used], views),
            np.repeat(weights[used], views),
            val[:, 0],
            self.portions["val"].labels,
            len(self.data.classes),
            strengths,
            views,
        )
        model.get_layer("predictions").set_weights([head.kernel, head.bias])
        if first:
            self.progress.note(f"refit: stage 1 on {len(portion.labels)} photos")
            return {"strength": head.strength}
        score = head.val_macro_f1
        edge = ", at the edge of those tried: the best may lie beyond" if head.at_edge else ""
        self.progress.note(
            f"stage 1: validation macro-F1 {score:.3f} (C = {head.strength:g}{edge})"
        )
        return {"strength": head.strength, "val_macro_f1": score}

    def fine_tune(
        self,
        model: keras.Model,
        checkpoints: Checkpoints,
        stage_1: dict[str, float] | None,
        started: float,
        first: FitState | None = None,
        watch: Watch | None = None,
    ) -> FitState:
        """Run stage 2 in ``config.precision``; the float32 ``model`` gets the best weights.

        ``first`` is the training that a refit repeats.
        """
        import keras

        config, portions = self.config, self.portions
        before = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy(config.precision)
        try:
            classes = len(self.data.classes)
            units = config.bottleneck if config.bottleneck < classes else 0
            tuned = build_classifier(config.backbone, config.imgsz, classes, config.dropout, units)
        finally:
            keras.mixed_precision.set_global_policy(before)
        copy_weights(model, tuned)
        freeze_below(tuned, config.backbone, config.first_block)
        preprocessing = self.cache.preprocessing
        if first:
            photos = self._taught("train", "val")
            again = RefitCourse(tuned, photos, preprocessing, config, first)
            state = fit(again, again.length, checkpoints, self.progress, started, stage_1)
            if first.best_weights == "average":
                take_averages(tuned)
        else:
            train, val = self._taught("train"), portions["val"]
            course = ClassifierCourse(tuned, train, val, preprocessing, config)
            state = fit(course, config, checkpoints, self.progress, started, stage_1, watch)
        copy_weights(tuned, model)
        return state

    def refit(self, checkpoints: Checkpoints, first: FitState, started: float) -> _Again:
        """Repeat the training ``first`` with the validation photos too."""
        begun, weights = Checkpoints.begun(checkpoints.folder), self.config.weights
        start = "none" if begun else weights
        model = _pretrained(self.config, start, len(self.data.classes), self.progress)
        stage_1 = None if begun or weights == "none" else self.fit_top(model, first)
        return _Again(model, self.fine_tune(model, checkpoints, stage_1, started, first))

    def _logits(self, model: keras.Model, side: str) -> NDArray[np.float32]:
        size = self.config.batch_size
        return predict_logits(model, self.portions[side], self.cache.preprocessing, size)

    def finish(
        self, run: Path, model: keras.Model, state: FitState, again: _Again | None = None
    ) -> None:
        """Measure the float32 model on validation and test, and write the run's results.

        After a refit, ``again``, ``model`` is the first model: it alone is measured on validation
        photos, and the calibration is its own.
        """
        names = [str(item["name"]) for item in self.data.classes]
        labels = {side: self.portions[side].labels for side in ("val", "test")}
        logits = {side: self._logits(model, side) for side in labels}
        groups = self.portions["val"].shares.groups
        temperature = fit_temperature(logits["val"], labels["val"], groups)
        metrics: dict[str, Any] = {
            side: evaluate(logits[side], labels[side], names, temperature) for side in labels
        }
        fitted_on, seconds = "val", state.seconds
        if again:
            metrics["first_model"] = {"test": metrics["test"]}
            logits["test"] = self._logits(again.model, "test")
            metrics["test"] = evaluate(logits["test"], labels["test"], names, temperature)
            write_logits(run, "val", logits["val"])
            fitted_on, seconds = "val, by the model before the refit", again.state.seconds
        write_logits(run, "test", logits["test"])
        save_model(again.model if again else model, run / "model.keras")
        write_json(run / "calibration.json", {"temperature": temperature, "fitted_on": fitted_on})
        write_json(run / "history.json", _history(state, again))
        self._draw(run, logits["test"].argmax(1), names)
        write_environment(run, self.config.seed, max(seconds, state.seconds))
        question = places_of_test(self.data.photos).to_dict()
        # Written last: this file marks the run as finished.
        write_json(run / "metrics.json", {**metrics, "question": question})

    def _draw(self, run: Path, predicted: NDArray[np.int64], names: list[str]) -> None:
        """Draw the confusion matrix of the test photos."""
        from sklearn.metrics import confusion_matrix

        numbers = np.arange(len(names))
        table = confusion_matrix(self.portions["test"].labels, predicted, labels=numbers)
        draw_picture(run / "confusion.png", lambda: _confusion(table, names), self.progress.note)


class _Again(NamedTuple):
    """The second model of a refit, and its training."""

    model: keras.Model
    state: FitState


def _history(state: FitState, again: _Again | None) -> dict[str, Any]:
    """Return the content of history.json."""
    return {
        "stage_1": state.stage_1,
        "best_epoch": state.best_epoch,
        "best_weights": state.best_weights,
        "planned_epochs": state.epochs,
        "epochs": state.history,
        "refit": again and again.state.history,
    }


def _confusion(table: NDArray[np.int64], names: list[str]) -> Any:
    """Return the figure of a confusion matrix, each row divided by its number of photos."""
    from matplotlib.figure import Figure

    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = float(np.clip(0.25 * len(names), 5, 16))
    figure = Figure((side + 1, side), dpi=100, layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axes, label="share of the true class's test photos")
    axes.set(xlabel="predicted", ylabel="true")
    # More names could not be read.
    if len(names) <= _MOST_NAMES:
        shown = [short(name) for name in names]
        axes.set_xticks(range(len(names)), shown, rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), shown, fontsize=7)
    return figure
