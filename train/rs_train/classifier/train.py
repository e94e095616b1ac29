"""Training of a classifier by hybrid transfer learning (after Ferreira et al. 2018).

Stage 1 fits a new linear layer on the frozen backbone.  Stage 2 fine-tunes the last blocks with
batch normalization frozen.  A backbone with random weights has nothing to transfer: then stage 1 is
skipped, and stage 2 trains every layer unless the settings name a block.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_toolkit.batches.oversampling import Shares, photo_weights
from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import require_data
from rs_toolkit.files import write_json
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
from rs_train.classifier.fit_loop import fit, make_deterministic
from rs_train.classifier.linear_probe import fit_head
from rs_train.classifier.model import build_classifier, feature_extractor, freeze_below, save_model
from rs_train.classifier.prepare import RunData, prepare
from rs_train.run_folder import is_finished, write_environment

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["train"]

_MOST_NAMES = 60


def train(
    data: Path,
    config: TrainConfig,
    run: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
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
    # Fail on a wrong backbone, block or weights file now, before the long work.
    freeze_below(_pretrained(config, weights, 2), config.backbone, config.first_block)
    cache = PhotoCache.default(config.imgsz, config.resize, config.strict_photos)
    found = prepare(data, config, run, cache, progress)
    checkpoints = Checkpoints(run / "checkpoints", f"{config.fingerprint()}-{found.mark[:16]}")
    training = _Training(config, found, cache, progress)
    model = _pretrained(config, weights, len(found.classes))
    stage_1 = None if weights == "none" else training.fit_top(model)
    state = training.fine_tune(model, checkpoints, stage_1, started)
    training.finish(run, model, state)
    progress.note(f"run written to {run}")
    return run


def _pretrained(config: TrainConfig, weights: str, classes: int) -> keras.Model:
    """Build the float32 classifier with pretrained ``weights`` in its backbone."""
    import keras

    keras.utils.set_random_seed(config.seed)
    model = build_classifier(config.backbone, config.imgsz, classes, config.dropout)
    backbone = keras.Model(model.input, model.get_layer("avg_pool").input)
    load_backbone_weights(backbone, config.backbone, weights)
    return model


class _Training:
    """The steps of a training, and the values that they share."""

    def __init__(
        self, config: TrainConfig, data: RunData, cache: PhotoCache, progress: Progress
    ) -> None:
        self.config, self.data, self.cache, self.progress = config, data, cache, progress
        self.portions = {side: self._portion(side) for side in SIDES}

    def _portion(self, side: str) -> Portion:
        members = self.data.side(side)
        number = {item["name"]: item["id"] for item in self.data.classes}
        labels = [number[str(photo.label(self.config.rank))] for photo in members]

        def pixels(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
            return self.cache.stacked([members[row] for row in rows], lambda _: self.data.root)

        return Portion(PixelSource(pixels), np.asarray(labels, np.int64), Shares.of(members))

    def fit_top(self, model: keras.Model) -> dict[str, float]:
        """Run stage 1: fit the linear layer of ``model``, and return its results."""
        extractor, portion, data = feature_extractor(model), self.portions["train"], self.data
        train, val = (
            frozen_features(extractor, data.side(side), data.root, self.cache, self.progress)
            for side in ("train", "val")
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
        )
        model.get_layer("predictions").set_weights([head.kernel, head.bias])
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
    ) -> FitState:
        """Run stage 2 in ``config.precision``; the float32 ``model`` gets the best weights."""
        import keras

        config, portions = self.config, self.portions
        before = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy(config.precision)
        try:
            classes = len(self.data.classes)
            tuned = build_classifier(config.backbone, config.imgsz, classes, config.dropout)
        finally:
            keras.mixed_precision.set_global_policy(before)
        tuned.set_weights(model.get_weights())
        freeze_below(tuned, config.backbone, config.first_block)
        preprocessing = self.cache.preprocessing
        course = ClassifierCourse(tuned, portions["train"], portions["val"], preprocessing, config)
        state = fit(course, config, checkpoints, self.progress, started, stage_1)
        # Layer by layer: the order of a model's weights depends on which layers are frozen.
        for source, target in zip(tuned.layers, model.layers, strict=True):
            target.set_weights(source.get_weights())
        return state

    def finish(self, run: Path, model: keras.Model, state: FitState) -> None:
        """Measure the float32 model on validation and test, and write the run's results."""
        from sklearn.metrics import confusion_matrix

        names = [str(item["name"]) for item in self.data.classes]
        labels = {side: self.portions[side].labels for side in ("val", "test")}
        size = self.config.batch_size
        logits = {
            side: predict_logits(model, self.portions[side], self.cache.preprocessing, size)
            for side in labels
        }
        groups = self.portions["val"].shares.groups
        temperature = fit_temperature(logits["val"], labels["val"], groups)
        metrics = {
            side: evaluate(logits[side], labels[side], names, temperature) for side in labels
        }
        save_model(model, run / "model.keras")
        write_json(run / "calibration.json", {"temperature": temperature, "fitted_on": "val"})
        found = {"stage_1": state.stage_1, "best_epoch": state.best_epoch, "epochs": state.history}
        write_json(run / "history.json", found)
        predicted, numbers = logits["test"].argmax(1), np.arange(len(names))
        table = confusion_matrix(labels["test"], predicted, labels=numbers)
        draw_picture(run / "confusion.png", lambda: _confusion(table, names), self.progress.note)
        write_environment(run, self.config.seed, state.seconds)
        question = places_of_test(self.data.photos).to_dict()
        # Written last: this file marks the run as finished.
        write_json(run / "metrics.json", {**metrics, "question": question})


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
