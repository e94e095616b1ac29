"""Progressive resizing: small photos in the first half of the epochs, one model and optimizer."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import ConfigError
from rs_toolkit.progress import Progress
from rs_train.classifier import fit_loop
from rs_train.classifier.checkpoint import Checkpoints
from rs_train.classifier.fine_tune import ClassifierCourse, Portion
from rs_train.classifier.fit_loop import Course, Judgement, fit
from rs_train.classifier.forecast import epochs_left
from rs_train.classifier.model import build_classifier, freeze_below

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def config() -> TrainConfig:
    return TrainConfig(
        backbone="tiny", weights="none", imgsz=64, first_size=32, epochs=3, batch_size=6,
        fine_tune_from="block1", balance=0.0, patience=0,
    )  # fmt: skip


def test_the_first_half_of_the_epochs_sees_small_photos(config, tmp_path) -> None:
    model = build_classifier("tiny", 64, 2)
    freeze_below(model, "tiny", "block1")
    source = PixelSource(lambda rows: PIXELS[rows])
    portion = Portion(source, np.arange(6) % 2, Shares(np.arange(6), np.ones(6)))
    sides: list[int] = []

    class Watched(ClassifierCourse):
        def batches(self, epoch: int) -> Any:
            found = super().batches(epoch)
            sides.append(found.element_spec[0].shape[1])
            assert self.learner.input_shape[1] == sides[-1]
            return found

        def judge(self) -> Judgement:
            kernels.append(model.get_layer("block1_conv1").get_weights()[0])
            return Judgement({}, (len(kernels),), "the last is the best")

    kernels: list[np.ndarray] = []
    course = Watched(model, portion, portion, Preprocessing(size=64), config)
    fit(course, config, Checkpoints(tmp_path / "checkpoints", "mark"), Progress(), time.time())
    assert sides == [32, 64, 64]
    assert int(model.optimizer.iterations) == 3
    # Before the first epoch, and after each, of small photos too.
    assert len({kernel.tobytes() for kernel in kernels}) == 4


class Kept:
    """Checkpoints that keep nothing."""

    def load(self) -> None:
        return None

    def save(self, *given: Any) -> None:
        pass

    save_state = restore = save


class Falling(Course):
    """A course whose score falls with every epoch; the first three have small photos."""

    model = learner = SimpleNamespace(optimizer=SimpleNamespace(built=True))
    small_epochs = 3
    score = 9.0

    def batches(self, epoch: int) -> Any:
        raise NotImplementedError

    def judge(self) -> Judgement:
        self.score -= 1
        return Judgement({}, (self.score,), "worse")


def test_patience_begins_with_the_first_large_epoch(config, monkeypatch) -> None:
    """Photos of the wrong size may lower the score at first; all before would be for nothing."""
    learned: list[int] = []

    def learn(course: Any, seed: int, epoch: int, *_: Any) -> tuple[float, float]:
        learned.append(epoch)
        return 1.0, 0.0

    monkeypatch.setattr(fit_loop, "_one_epoch", learn)
    config = replace(config, epochs=6, patience=2)
    assert fit(Falling(), config, Kept(), Progress(), time.time()).best_epoch == 0
    assert learned == [0, 1, 2, 3, 4]


def test_the_time_left_counts_larger_photos_as_longer(config) -> None:
    # Of 6 epochs, 3 are small; 64 pixels have four times the area of 32.
    left = [epochs_left(config, 3, 6, done) for done in range(7)]
    assert left == [3 + 3 * 4, 2 + 3 * 4, 1 + 3 * 4, 3 * 4, 2, 1, 0]
    # A refit may end before the photos become large.
    assert epochs_left(config, 3, 2, 1) == 1
    assert epochs_left(config, 0, 6, 2) == 4


def test_the_first_size_is_smaller_and_has_no_time_budget() -> None:
    with pytest.raises(ConfigError, match="first_size: got 224, wanted less than imgsz"):
        TrainConfig(first_size=224)
    with pytest.raises(ConfigError, match="first_size: got 160 with a time budget"):
        TrainConfig(first_size=160, time="30m")
