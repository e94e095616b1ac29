"""Training of a classifier by hybrid transfer learning (after Ferreira et al. 2018).

Stage 1 fits a new linear layer on the frozen backbone.  Stage 2 fine-tunes the last blocks with
batch normalization frozen.  A backbone with random weights has nothing to transfer: then stage 1 is
skipped, and stage 2 trains every layer unless the settings name a block.  A refit repeats both
stages with more photos (:mod:`rs_train.classifier.refit`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import require_data
from rs_toolkit.files import write_json
from rs_toolkit.progress import Progress
from rs_toolkit.splits.assign import SIDES
from rs_toolkit.splits.places import places_of_test
from rs_train.classifier.backbones import load_backbone_weights
from rs_train.classifier.checkpoint import Checkpoints, FitState, weights_to_load
from rs_train.classifier.embed import frozen_features
from rs_train.classifier.fine_tune import ClassifierCourse, Portion, predict_logits
from rs_train.classifier.fit_loop import Watch, fit, make_deterministic
from rs_train.classifier.folds import Judged, fold_logits, make_folds
from rs_train.classifier.linear_probe import STRENGTHS
from rs_train.classifier.model import (
    build_classifier,
    copy_weights,
    feature_extractor,
    freeze_below,
    save_model,
)
from rs_train.classifier.optimizer import check_average, take_averages
from rs_train.classifier.prepare import RunData, prepare
from rs_train.classifier.probe import BALANCED, FrozenFeatures, probe_is_better
from rs_train.classifier.refit import RefitCourse, Repeat
from rs_train.classifier.results import Again, Results, history
from rs_train.classifier.tau import choose_tau, normalized
from rs_train.classifier.teaching import Teacher, meet_teacher
from rs_train.run_folder import is_finished, write_environment

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray

    from rs_toolkit.data.photos import Photo
    from rs_train.classifier.clip_teacher import ClipTeacher

__all__ = ["train"]

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
    training = _Training(config, found, cache, teacher, tensorboard, progress)
    model = _pretrained(config, weights, len(found.classes), progress)
    stage_1 = None if weights == "none" else training.fit_top(model)
    state = training.fine_tune(model, run / "checkpoints", stage_1, started, watch=watch)
    if watch:
        return run
    state.probe_kept = probe_is_better(state, progress.note)
    if state.probe_kept:
        model = training.probe(state, found.side("train"))
    elif config.tau_head:
        state.tau = training.normalize(model)
    again = training.refit(run, state, started) if refitting else None
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
        teacher: Teacher | ClipTeacher | None,
        tensorboard: bool,
        progress: Progress,
    ) -> None:
        self.teacher = teacher
        self.config, self.data, self.cache, self.progress = config, data, cache, progress
        self.tensorboard = tensorboard
        self.portions = {side: self._portion(data.side(side)) for side in SIDES}

    def _portion(self, members: list[Photo]) -> Portion:
        number = {item["name"]: item["id"] for item in self.data.classes}
        labels = [number[str(photo.label(self.config.rank))] for photo in members]

        def pixels(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
            return self.cache.stacked([members[row] for row in rows], lambda _: self.data.root)

        return Portion(PixelSource(pixels), np.asarray(labels, np.int64), Shares.of(members))

    def _taught(self, members: list[Photo]) -> Portion:
        """Return photos to learn from, with what the teacher says of them, if there is one."""
        portion, data = self._portion(members), self.data
        if self.teacher is None:
            return portion
        lesson = self.teacher.lesson(
            members, data.root, data.classes, self.cache, self.config, self.progress
        )
        return replace(portion, lesson=lesson)

    def fit_top(self, model: keras.Model, again: Repeat | None = None) -> dict[str, float]:
        """Run stage 1: fit the linear layer of ``model``, and return its results.

        A training that is done ``again`` has the strength of the first.
        """
        first = again and again.first.stage_1
        frozen = self._frozen(model, again.members if again else self.data.side("train"))
        if again and first:
            kind, balance = "", self.config.balance
            if again.first.probe_kept:
                kind, balance = "probe_", BALANCED
            head = frozen.head(balance, (first[f"{kind}strength"],))
        else:
            found = self.config.head_strength
            head = frozen.head(self.config.balance, (found,) if found else STRENGTHS)
        model.get_layer("predictions").set_weights([head.kernel, head.bias])
        if again:
            self.progress.note(f"refit: stage 1 on {len(frozen.labels)} photos")
            return {"strength": head.strength}
        score = head.val_macro_f1
        edge = ", at the edge of those tried: the best may lie beyond" if head.at_edge else ""
        self.progress.note(
            f"stage 1: validation macro-F1 {score:.3f} (C = {head.strength:g}{edge})"
        )
        probe = head if self.config.balance == BALANCED else frozen.head(BALANCED)
        return {
            "strength": head.strength,
            "val_macro_f1": score,
            "probe_strength": probe.strength,
            "probe_macro_f1": probe.val_macro_f1,
        }

    def _frozen(self, model: keras.Model, members: list[Photo]) -> FrozenFeatures:
        extractor, portion = feature_extractor(model), self._portion(members)
        train, val = (
            frozen_features(extractor, photos, self.data.root, self.cache, self.progress)
            for photos in (members, self.data.side("val"))
        )
        labels, classes = self.portions["val"].labels, len(self.data.classes)
        return FrozenFeatures(train, portion.labels, portion.shares, val, labels, classes)

    def probe(self, first: FitState, members: list[Photo]) -> keras.Model:
        """Return the probe: its strength is that which was best in the training ``first``."""
        model = _pretrained(self.config, self.config.weights, len(self.data.classes), self.progress)
        self.fit_top(model, Repeat(first, members))
        return model

    def fine_tune(
        self,
        model: keras.Model,
        folder: Path,
        stage_1: dict[str, float] | None,
        started: float,
        again: Repeat | None = None,
        watch: Watch | None = None,
    ) -> FitState:
        """Run stage 2 in ``config.precision``; the float32 ``model`` gets the best weights.

        ``folder`` is that of the checkpoints, and ``again`` what a refit repeats.
        """
        import keras

        config = self.config
        mark = f"{config.fingerprint()}-{self.data.mark[:16]}"
        checkpoints = Checkpoints(folder, mark, self.tensorboard)
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
        members = again.members if again else self.data.side("train")
        taught = self._taught(members)
        if again:
            course = RefitCourse(tuned, taught, preprocessing, config, again.first)
            state = fit(course, course.length, checkpoints, self.progress, started, stage_1)
            if again.first.best_weights == "average":
                take_averages(tuned)
        else:
            once = ClassifierCourse(tuned, taught, self.portions["val"], preprocessing, config)
            state = fit(once, config, checkpoints, self.progress, started, stage_1, watch)
        copy_weights(tuned, model)
        return state

    def normalize(self, model: keras.Model, again: Repeat | None = None) -> float:
        """Normalize the head of a trained model by the best tau; return it.

        A training that is done ``again`` has the tau of the first, and no photo of a fold that is
        to judge it takes part.
        """
        head, val = model.get_layer("predictions"), self.portions["val"]
        if again:
            members = again.members
            val = self._portion([photo for photo in members if photo.split == "val"] or members)
        (kernel, bias), features = head.get_weights(), self._logits(feature_extractor(model), val)
        if again:
            tau = again.first.tau
        else:
            tau = choose_tau(kernel, bias, features, val.labels)
            self.progress.note(f"tau of the normalized head: {tau:g}")
        head.set_weights(normalized(kernel, bias, features.mean(0), tau))
        return tau

    def refit(self, run: Path, first: FitState, started: float) -> Again:
        """Repeat the training ``first`` with the validation photos too, or with every photo.

        With every photo, each fold of them is judged by a model that was trained without it.
        """
        judged = None
        members = self.data.side("train", "val")
        if self.config.refit == "all":
            members = self.data.side(*SIDES)
            labels = self._portion(members).labels
            folds = make_folds(members, labels, self.config, run)
            logits = fold_logits(
                run,
                members,
                folds,
                lambda folder, others: self._repeat(folder, Repeat(first, others), started)[0],
                lambda model, held: self._logits(model, self._portion(held)),
                self.progress,
            )
            judged = Judged.of(members, labels, logits, folds)
            self.progress.note(f"refit: on all {len(members)} photos")
        return Again(*self._repeat(run / _REFIT, Repeat(first, members), started), judged)

    def _repeat(self, folder: Path, again: Repeat, started: float) -> tuple[keras.Model, FitState]:
        """Return a new model, trained from stage 1 on, and the state of its training."""
        if again.first.probe_kept:
            return self.probe(again.first, again.members), again.first
        begun, weights = Checkpoints.begun(folder), self.config.weights
        start = "none" if begun else weights
        model = _pretrained(self.config, start, len(self.data.classes), self.progress)
        stage_1 = None if begun or weights == "none" else self.fit_top(model, again)
        state = self.fine_tune(model, folder, stage_1, started, again)
        if self.config.tau_head:
            self.normalize(model, again)
        return model, state

    def _logits(self, model: keras.Model, portion: Portion) -> NDArray[np.float32]:
        size = self.config.batch_size
        return predict_logits(model, portion, self.cache.preprocessing, size)

    def finish(
        self, run: Path, model: keras.Model, state: FitState, again: Again | None = None
    ) -> None:
        """Measure the float32 ``model``, the first, and that of a refit; write the run's results.

        The first model alone is measured on validation photos.
        """
        names = [str(item["name"]) for item in self.data.classes]
        logits = {side: self._logits(model, self.portions[side]) for side in ("val", "test")}
        results = Results.of(names, logits, self.portions, places_of_test(self.data.photos))
        seconds = state.seconds
        if again:
            seconds = max(seconds, again.state.seconds)
            if again.judged:
                results = results.by_folds(again.judged)
            else:
                second = self._logits(again.model, self.portions["test"])
                results = results.refitted(logits["val"], second)
        results.write(run, self.progress.note)
        save_model(again.model if again else model, run / "model.keras")
        write_json(run / "history.json", history(state, again))
        write_environment(run, self.config.seed, seconds)
        # Written last: this file marks the run as finished.
        results.write_metrics(run)
