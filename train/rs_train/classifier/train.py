"""Hybrid transfer learning from a data set to a finished run folder.

Stage 1 fits the linear top on the frozen backbone; stage 2 fine-tunes the upper blocks at a
lower rate with batch normalization frozen (after Ferreira et al. 2018).  With random weights
there is nothing to transfer: stage 1 is skipped and stage 2 trains every layer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.oversampling import Shares, photo_weights
from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo, PhotoCache, default_cache_dir
from rs_toolkit.data.readers import require_data
from rs_toolkit.environment import machine, versions
from rs_toolkit.files import atomic_write, require_space, write_json
from rs_toolkit.metrics.classification import confusion_matrix, evaluate
from rs_toolkit.metrics.temperature import fit_temperature
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES
from rs_train.classifier.backbones import load_backbone_weights
from rs_train.classifier.checkpoint import Checkpoints, FitState
from rs_train.classifier.fine_tune import Portion, compile_model, fit, predict_logits
from rs_train.classifier.linear_probe import fit_head, frozen_features
from rs_train.classifier.model import build_classifier, feature_extractor, freeze_below, set_head
from rs_train.classifier.plots import plot_confusion
from rs_train.classifier.prepare import prepare, require_same_weights
from rs_train.run_folder import is_finished

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

__all__ = ["train"]


def train(
    data: Path,
    config: TrainConfig,
    run: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a classifier and write its run folder.

    Parameters
    ----------
    data
        A folder or CSV file that :func:`rs_toolkit.data.readers.read_dataset` reads.
    config
        Settings.
    run
        The folder to write; it must not hold a run already unless ``resume``.
    resume
        Continue an interrupted run; a finished one is left alone.
    progress
        Where to show progress; silent by default.

    Returns
    -------
    Path
        ``run``.

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
    _make_deterministic(config)
    preprocessing = Preprocessing(size=config.imgsz, resize=config.resize)
    cache = PhotoCache(default_cache_dir(), preprocessing)
    require_same_weights(run, config)
    # A checkpoint replaces all pretrained weights; their file may be gone by now.
    weights = "none" if Checkpoints.begun(run / "checkpoints") else config.weights
    # Before any long work: a wrong backbone, block or weights file should fail in seconds.
    model = _pretrained(config, weights, 2)
    freeze_below(model, config.backbone, config.first_block)
    photos, classes, root, mark = prepare(data, config, run, cache, progress)
    portions = {side: _portion(photos, side, classes, config, cache, root) for side in SIDES}
    model = _pretrained(config, weights, len(classes))
    checkpoints = Checkpoints(run / "checkpoints", f"{config.fingerprint()}-{mark[:16]}")
    stage_1 = None
    if weights != "none":
        stage_1 = _fit_top(model, photos, portions, config, cache, root, progress)
    state = _fine_tune(
        model, portions, config, preprocessing, checkpoints, progress, stage_1, started
    )
    _finish(run, model, portions, classes, config, preprocessing, state)
    progress.note(f"run written to {run}")
    return run


def _make_deterministic(config: TrainConfig) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()


def _pretrained(config: TrainConfig, weights: str, classes: int) -> keras.Model:
    """Build the float32 classifier with these weights in its backbone."""
    import keras

    keras.utils.set_random_seed(config.seed)
    model = build_classifier(config.backbone, config.imgsz, classes, config.dropout)
    backbone = keras.Model(model.input, model.get_layer("avg_pool").input)
    load_backbone_weights(backbone, config.backbone, weights)
    return model


def _portion(
    photos: tuple[Photo, ...],
    side: str,
    classes: list[dict[str, Any]],
    config: TrainConfig,
    cache: PhotoCache,
    root: Path,
) -> Portion:
    members = [photo for photo in photos if photo.split == side]
    number = {item["name"]: item["id"] for item in classes}
    labels = np.asarray([number[str(photo.label(config.rank))] for photo in members], np.int64)

    def pixels(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([cache.pixels(members[row], root) for row in rows])

    return Portion(PixelSource(pixels), labels, Shares.of(members))


def _fit_top(
    model: keras.Model,
    photos: tuple[Photo, ...],
    portions: dict[str, Portion],
    config: TrainConfig,
    cache: PhotoCache,
    root: Path,
    progress: Progress,
) -> dict[str, float]:
    """Stage 1."""
    extractor = feature_extractor(model)

    def features(side: str) -> NDArray[np.float32]:
        members = [photo for photo in photos if photo.split == side]
        return frozen_features(
            extractor,
            members,
            lambda photo: cache.pixels(photo, root),
            cache.preprocessing,
            default_cache_dir(),
            progress,
        )

    train_features, portion = features("train"), portions["train"]
    weights = photo_weights(portion.labels, config.balance, portion.shares)
    used, views = weights > 0, train_features.shape[1]
    head = fit_head(
        train_features[used].reshape(-1, train_features.shape[-1]),
        np.repeat(portion.labels[used], views),
        np.repeat(weights[used], views),
        features("val")[:, 0],
        portions["val"].labels,
        int(model.output_shape[-1]),
    )
    set_head(model, head.kernel, head.bias)
    progress.note(f"stage 1: validation macro-F1 {head.val_macro_f1:.3f} (C = {head.strength})")
    return {"strength": head.strength, "val_macro_f1": head.val_macro_f1}


def _fine_tune(
    model: keras.Model,
    portions: dict[str, Portion],
    config: TrainConfig,
    preprocessing: Preprocessing,
    checkpoints: Checkpoints,
    progress: Progress,
    stage_1: dict[str, float] | None,
    started: float,
) -> FitState:
    """Stage 2 in the asked precision; the best weights end up in the float32 ``model``."""
    import keras

    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(config.precision)
    try:
        classes = int(model.output_shape[-1])
        tuned = build_classifier(config.backbone, config.imgsz, classes, config.dropout)
    finally:
        keras.mixed_precision.set_global_policy(before)
    tuned.set_weights(model.get_weights())
    freeze_below(tuned, config.backbone, config.first_block)
    compile_model(tuned, config, portions["train"])
    train, val = portions["train"], portions["val"]
    state = fit(tuned, train, val, preprocessing, config, checkpoints, progress, stage_1, started)
    _copy_weights(tuned, model)
    return state


def _copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy layer by layer: frozen and trainable weights are ordered differently in a model."""
    for one, other in zip(source.layers, target.layers, strict=True):
        other.set_weights(one.get_weights())


def _finish(
    run: Path,
    model: keras.Model,
    portions: dict[str, Portion],
    classes: list[dict[str, Any]],
    config: TrainConfig,
    preprocessing: Preprocessing,
    state: FitState,
) -> None:
    """Measure the float32 model on validation and test, and write the run's results."""
    logits = {
        side: predict_logits(model, portions[side], preprocessing, config.batch_size)
        for side in ("val", "test")
    }
    temperature = fit_temperature(logits["val"], portions["val"].labels)
    names = [str(item["name"]) for item in classes]
    metrics = {
        side: evaluate(values, portions[side].labels, names, temperature)
        for side, values in logits.items()
    }
    require_space(run, 2 * 4 * model.count_params() + 2**20)
    with atomic_write(run / "model.keras") as temporary:
        model.save(temporary)
    write_json(run / "calibration.json", {"temperature": temperature, "fitted_on": "val"})
    write_json(
        run / "history.json",
        {"stage_1": state.stage_1, "best_epoch": state.best_epoch, "epochs": state.history},
    )
    table = confusion_matrix(portions["test"].labels, logits["test"].argmax(1), len(names))
    plot_confusion(run / "confusion.png", table, names)
    environment = {"machine": machine(), "versions": versions(), "seed": config.seed}
    write_json(run / "environment.json", {**environment, "seconds": round(state.seconds, 1)})
    # Last: its presence says that the run is finished.
    write_json(run / "metrics.json", metrics)
