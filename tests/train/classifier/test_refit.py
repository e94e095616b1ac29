"""A refit: what it learns from, what stays that of the first model, and that resuming is exact."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_export.classify import classifier_task
from rs_export.report import learned
from rs_toolkit.config.export import ExportSettings
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.errors import RunError
from rs_toolkit.evaluation.model import run_classifier
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress
from rs_train.classifier import fit_loop
from rs_train.classifier import train as module
from rs_train.classifier.backbones import build_backbone
from rs_train.classifier.checkpoint import Checkpoints
from rs_train.classifier.fine_tune import ClassifierCourse
from rs_train.classifier.fit_loop import Judgement
from rs_train.classifier.optimizer import averaged
from rs_train.classifier.train import train

PLAIN = TrainConfig(
    backbone="tiny", imgsz=32, epochs=2, patience=0, batch_size=16, learning_rate=1e-2,
    val=0.2, test=0.2, fine_tune_from="block1", average="ema",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def averages() -> Any:
    """Make the averages of the last epoch the best, whatever the processor; the latest are here."""
    found: list[np.ndarray] = []

    @contextmanager
    def noted(model: Any) -> Any:
        with averaged(model):
            found[:] = [variable.numpy() for variable in model.trainable_variables]
            inside.append(True)
            yield
            inside.clear()

    def judge(course: ClassifierCourse) -> Judgement:
        # Above 1, so that no probe is better.
        score = 2 + float(course.model.optimizer.iterations) + 0.5 * len(inside)
        return Judgement({"val_macro_f1": score}, (score,), "made up")

    inside: list[bool] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ClassifierCourse, "judge", judge)
        patch.setattr(fit_loop, "averaged", noted)
        yield found


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> TrainConfig:
    path = tmp_path_factory.mktemp("weights") / "made.weights.h5"
    build_backbone("tiny", 32).save_weights(path)
    return replace(PLAIN, weights=str(path))


@pytest.fixture(scope="module")
def first(shapes, plain, averages, tmp_path_factory) -> Path:
    """The run without the refit."""
    run = train(shapes, plain, tmp_path_factory.mktemp("runs") / "first")
    kept = Run.open(run).load_model().get_weights()
    for array in averages:
        assert any(np.array_equal(array, other) for other in kept), "not the averaged weights"
    return run


@pytest.fixture(scope="module")
def seen() -> list[np.ndarray]:
    """The labels that refits were given."""
    return []


@pytest.fixture(scope="module")
def refitted(shapes, plain, seen, tmp_path_factory) -> Path:
    class Watched(module.RefitCourse):
        def __init__(self, model: Any, photos: Any, *others: Any) -> None:
            seen.append(photos.labels)
            super().__init__(model, photos, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RefitCourse", Watched)
        run = tmp_path_factory.mktemp("runs") / "refitted"
        return train(shapes, replace(plain, refit="val"), run)


def content(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


def test_the_first_model_is_validated_and_the_second_is_tested(first, refitted) -> None:
    before, after = content(first, "metrics.json"), content(refitted, "metrics.json")
    assert after["val"] == before["val"]
    assert after["first_model"]["test"] == before["test"]
    calibration = content(refitted, "calibration.json")
    assert calibration["temperature"] == content(first, "calibration.json")["temperature"]
    assert "before the refit" in calibration["fitted_on"]
    run = Run.open(refitted)
    photos, labels = run.split("test")
    logits = np.asarray(run.load_model()(run.preprocessing.model_input(run.pixels(photos))))
    assert (logits.argmax(1) == labels).mean() == pytest.approx(after["test"]["accuracy"])
    # What compare and the page take as the answers of the run's model.
    assert run.test_logits() == pytest.approx(logits, abs=1e-3)
    one, other = (Run.open(path).load_model().get_weights() for path in (first, refitted))
    assert not all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_it_learns_from_training_and_validation_photos_as_long_as_the_first(refitted, seen) -> None:
    run = Run.open(refitted)
    counts = [len(run.split(side)[0]) for side in ("train", "val")]
    assert [len(labels) for labels in seen] == [sum(counts)]
    history = content(refitted, "history.json")
    assert history["best_epoch"] == 2 and history["best_weights"] == "average"
    assert [row["epoch"] for row in history["refit"]] == [0, 1, 2]


def test_what_calibrates_takes_the_logits_of_the_first_model(first, refitted) -> None:
    own, run = Run.open(first), Run.open(refitted)
    assert own.val_logits() is None
    logits = run.val_logits()
    photos, labels = own.split("val")
    found = np.asarray(own.load_model()(own.preprocessing.model_input(own.pixels(photos))))
    assert logits == pytest.approx(found, abs=1e-3)
    task = classifier_task(run, ExportSettings())
    other = np.random.default_rng(0).normal(size=logits.shape).astype(np.float32)
    alone = np.arange(len(labels))
    assert task.calibrate(other, labels, alone).temperature == pytest.approx(run.temperature)
    asked = []

    def keep(logits: np.ndarray, *_: Any) -> dict[str, Any]:
        asked.append(logits)
        return {"temperature": 1.0}

    assert "a model that was trained on the other" in learned(task.about)
    assert "validated on" in learned(classifier_task(own, ExportSettings()).about)
    run_classifier(run, keep, None, Progress())
    assert np.array_equal(asked[0], logits)


def test_lost_logits_are_one_line(refitted, one_line) -> None:
    path = refitted / "val_logits.npy"
    kept = path.read_bytes()
    for spoilt in (None, kept[:60], kept.replace(b"f4", b"f8")):
        path.unlink()
        if spoilt:
            path.write_bytes(spoilt)
        with pytest.raises(RunError, match="train again") as caught:
            Run.open(refitted).val_logits()
        one_line(str(caught.value))
        path.write_bytes(kept)


class StopAt(Progress):
    """Press Ctrl-C at the first note that starts so."""

    def __init__(self, text: str) -> None:
        self.text = text

    def note(self, text: str) -> None:
        if text.startswith(self.text):
            raise KeyboardInterrupt


def test_interrupted_twice_and_resumed_ends_the_same(refitted, shapes, plain, tmp_path) -> None:
    """Between both trainings, and after the first epoch of the second."""
    config, run = replace(plain, refit="val"), tmp_path / "run"
    # What there is between them.
    run.mkdir()
    for name in ("config.json", "classes.json", "index.parquet", "splits.json"):
        shutil.copy(refitted / name, run)
    shutil.copytree(refitted / "checkpoints", run / "checkpoints")
    with pytest.raises(KeyboardInterrupt):
        train(shapes, config, run, resume=True, progress=StopAt("epoch "))
    assert Checkpoints.begun(run / "refit" / "checkpoints")
    assert not (run / "model.keras").exists()
    train(shapes, config, run, resume=True)
    weights = [Run.open(path).load_model().get_weights() for path in (refitted, run)]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))
    for name in ("metrics.json", "calibration.json", "val_logits.npy"):
        assert (run / name).read_bytes() == (refitted / name).read_bytes()


def test_where_stage_1_was_best_it_alone_is_repeated(shapes, plain, tmp_path) -> None:
    run = train(shapes, replace(plain, epochs=0, refit="val"), tmp_path / "run")
    assert [row["epoch"] for row in content(run, "history.json")["refit"]] == [0]
    metrics = content(run, "metrics.json")
    assert metrics["test"]["n"] == metrics["first_model"]["test"]["n"]
