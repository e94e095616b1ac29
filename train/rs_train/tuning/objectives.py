"""What the settings of a trial are worth, on photos that are not the test's."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rs_toolkit.batches.oversampling import Shares, photo_weights
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.groups import group_photos
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.errors import ConfigError, DataError, RunError
from rs_toolkit.folders.claim import claimed
from rs_toolkit.folders.run import read_history
from rs_toolkit.metrics.classification import macro_f1
from rs_toolkit.progress import Progress
from rs_train.classifier.checkpoint import FitState
from rs_train.classifier.embed import embed_views
from rs_train.classifier.linear_probe import fit_head, rows_of_views
from rs_train.classifier.prepare import RunData
from rs_train.run_folder import write_begun

__all__ = ["Objective", "Report", "Trainings", "cross_validation"]

Report = Callable[[int, int, float], None]
Numbers = NDArray[np.int64]


class Objective(Protocol):
    """Scores settings.  ``name`` is the trial's own, and the same after it was put back.

    ``report`` is called with the number of a step, from 1, how many there are, and the score so
    far; what it raises ends the trial.
    """

    def __call__(self, config: TrainConfig, name: str, report: Report) -> float:
        """Return macro-F1, 0 to 1."""


def cross_validation(
    config: TrainConfig, folds: int, data: RunData, cache: PhotoCache, progress: Progress
) -> Objective:
    """Return the objective of stage 1: the linear layer, judged on folds of photos.

    The training and validation photos are divided into folds in whole groups, as ``--group-by``
    makes them.  Each fold's photos are named by a linear layer that learned from the other folds,
    and the score is macro-F1 of all of them together (Forman, Scholz 2010, "Apples-to-apples in
    cross-validation studies": the mean of the folds' F1 is biased where classes are rare).  Photos
    to which cleaning gave the weight 0 do not count.  Features are computed once.

    Raises
    ------
    ConfigError
        The backbone has random weights, whose features say nothing.
    DataError
        No class has as many groups as there are folds.
    WeightsError
        The weights are missing, damaged, or of another backbone.
    """
    if config.weights == "none":
        raise ConfigError(
            "weights: got none, wanted pretrained ones, whose features stage 1 learns from; give "
            "--weights, or tune --stage 2"
        )
    photos = data.side("train", "val")
    number = {str(item["name"]): int(item["id"]) for item in data.classes}
    labels = np.array([number[str(photo.label(config.rank))] for photo in photos], np.int64)
    parts = list(_folds(labels, photos, config, folds))
    features = embed_views(
        photos, data.root, cache, backbone=config.backbone, weights=config.weights,
        progress=progress,
    )  # fmt: skip
    shares = Shares.of(photos)

    def score(config: TrainConfig, name: str, report: Report) -> float:
        found = 0.0
        predicted = np.full(len(labels), -1)
        for step, (learned, held) in enumerate(parts, 1):
            part = Shares(shares.groups[learned], shares.weights[learned])
            weights = photo_weights(labels[learned], config.balance, part)
            head = fit_head(
                *rows_of_views(features[learned], labels[learned], weights),
                features[held, 0],
                labels[held],
                len(data.classes),
                (config.head_strength,),
                features.shape[1],
            )
            predicted[held] = head.logits(features[held, 0]).argmax(1)
            counted = (predicted >= 0) & (shares.weights > 0)
            found = macro_f1(labels[counted], predicted[counted], len(data.classes))
            report(step, folds, found)
        return found

    return score


def _folds(
    labels: Numbers, photos: list[Photo], config: TrainConfig, folds: int
) -> Iterator[tuple[Numbers, Numbers]]:
    """Yield the numbers of the photos to learn from and to judge on, of each fold."""
    from sklearn.model_selection import StratifiedGroupKFold

    groups = group_photos(photos, config.group_by).numbers
    most = max(len(np.unique(groups[labels == label])) for label in np.unique(labels))
    if most < folds:
        raise DataError(
            f"{len(photos)} photos for training and validation: got at most {most} groups by "
            f"{config.group_by} in a class, wanted {folds} or more; lower --folds"
        )
    kfold = StratifiedGroupKFold(folds, shuffle=True, random_state=config.seed)
    with warnings.catch_warnings(action="ignore"):
        # It warns of classes with fewer photos than folds, which wildlife data always have.
        yield from kfold.split(np.zeros(len(labels)), labels, groups)


class Trainings:
    """The objective of stage 2: the best validation macro-F1 of a whole training.

    Each trial is an unfinished run folder in ``trials/`` of the study, on the photos and splits of
    the study.  Nothing is measured on test photos; ``rs-toolkit train --resume`` does that.

    Parameters
    ----------
    begun
        Folder in which :func:`rs_train.classifier.prepare.prepare` wrote what every trial begins
        with, and the values of its ``config.json`` but the settings.
    """

    def __init__(
        self, folder: Path, begun: Path, sources: dict[str, Any], data: RunData, progress: Progress
    ) -> None:
        self._folder, self._begun, self._sources = folder / "trials", begun, sources
        self._data, self._progress = data, progress

    def __call__(self, config: TrainConfig, name: str, report: Report) -> float:
        quiet_tensorflow()
        import keras

        from rs_train.classifier.train import train

        run = self._folder / name
        if (run / "metrics.json").exists():
            # It was put back, and a person has finished it.
            return float(read_history(run).best["val_macro_f1"] or 0)
        best = 0.0

        def watch(state: FitState) -> None:
            nonlocal best
            best = state.best_score[0]
            for row in state.history[1:]:
                report(int(row["epoch"]), state.epochs or 0, float(row["val_macro_f1"]))

        with claimed(run):
            if not (run / "config.json").exists():
                for file in ("classes.json", "splits.json"):
                    shutil.copyfile(self._begun / file, run / file)
                write_begun(run, config, self._data.photos, self._sources)
            # Otherwise each trial's model stays in memory.
            keras.utils.clear_session()
            train(Path(self._sources["data"]), config, run, resume=True, watch=watch,
                  progress=self._progress)  # fmt: skip
        return best

    def keep_only(self, names: set[str]) -> None:
        """Delete the checkpoints of other trials, which are large; a resumed one begins again.

        Those of a trial that a person is finishing just now stay.
        """
        for run in self._folder.glob("*"):
            if run.name not in names and (run / "checkpoints").is_dir():
                with suppress(RunError), claimed(run):
                    shutil.rmtree(run / "checkpoints")
