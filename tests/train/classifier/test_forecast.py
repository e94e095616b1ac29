"""What is said of a training's length, from a few timed steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.progress import Progress
from rs_train.classifier import forecast as module
from rs_train.classifier.checkpoint import Checkpoints
from rs_train.classifier.fit_loop import Course, Judgement, fit
from rs_train.classifier.forecast import TIMED, Forecast, epochs_left, seconds_an_epoch


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def said(monkeypatch, config: Any, steps: int, each: float, judged: float, *more: Any) -> str:
    """Return what is said after an epoch of steps that take ``each`` seconds; the first two 99."""
    notes, clock = Notes(), [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    forecast = Forecast(config, judged, notes, *more)
    for number in range(steps):
        clock[0] += 99.0 if number < 2 else each
        forecast.step(steps)
    assert len(notes.texts) <= 1
    return " ".join(notes.texts)


def test_it_is_said_once_and_advice_is_given_where_it_is_long(monkeypatch, one_line) -> None:
    config = TrainConfig(epochs=20)
    long = said(monkeypatch, config, 60, 9.5, 120.0)
    # 20 * (60 * 9.5 + 120) s.
    for part in ("20 epochs of 60 steps", "3 h 50 min", "9.5 s a step", "--time 1h"):
        assert part in one_line(long)
    short = said(monkeypatch, config, 60, 0.5, 1.0)
    assert "11 min" not in long and "10 min" in short and "--time" not in short
    assert said(monkeypatch, config, TIMED, 9.5, 120.0) == ""
    # Whose first training had a time budget has no use for the advice in its refit.
    assert said(monkeypatch, config, 60, 9.5, 120.0, 0, True) == long.partition(". Too long?")[0]
    # 10 small epochs, and 10 of four times the area.
    resized = replace(config, first_size=112)
    assert "50 min" in said(monkeypatch, resized, 60, 1.0, 0.0, 10)
    assert "--time" not in said(monkeypatch, DistillConfig(epochs=20), 60, 9.5, 120.0)


def test_later_epochs_of_larger_photos_take_longer(monkeypatch) -> None:
    config = TrainConfig(epochs=21, imgsz=224, first_size=112)
    long = said(monkeypatch, config, 60, 5.0, 120.0)
    assert epochs_left(config, small=10, planned=21, done=0) == 10 + 11 * 4
    assert epochs_left(config, small=10, planned=21, done=12) == 9
    # --time cannot be had with a first size.
    assert "--time" not in long and "--epochs" in long


def test_averages_and_a_refit_take_their_time() -> None:
    config = TrainConfig(val=0.2, test=0.2)
    assert seconds_an_epoch(config, 10, 2.0, 5.0) == 25
    assert seconds_an_epoch(replace(config, average="ema"), 10, 2.0, 5.0) == 30
    # Four fifths of the photos instead of three.
    refit = replace(config, refit="val")
    assert seconds_an_epoch(refit, 10, 2.0, 5.0) == pytest.approx(20 + 20 * 4 / 3 + 5)


class Steps(Course):
    """A course whose epochs have ten steps."""

    def __init__(self) -> None:
        import keras

        self.model = self.learner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        self.plan(0)
        self.pixels = PixelSource(lambda rows: rows)

    def plan(self, epochs: int) -> None:
        self.model.compile("adam", "mse")

    def batches(self, epoch: int) -> Any:
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices((np.ones((10, 1, 2)), np.ones((10, 1, 1))))

    def judge(self) -> Judgement:
        return Judgement({}, (), "")


def test_a_training_says_how_long_it_takes_in_its_first_epoch(tmp_path) -> None:
    notes, config = Notes(), TrainConfig(epochs=2, patience=0)
    checkpoints = Checkpoints(tmp_path / "checkpoints", "mark")
    fit(Steps(), config, checkpoints, notes, module.time.perf_counter())
    assert ["of 10 steps take" in text for text in notes.texts] == [True, False, False]
