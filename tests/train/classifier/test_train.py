"""One tiny run, whole; and the promise that an interrupted one ends the same."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import read_index
from rs_toolkit.errors import DataError, RunError, ToolkitError
from rs_toolkit.folders.run import Run, read_history
from rs_toolkit.progress import Progress
from rs_train.classifier import fit_loop
from rs_train.classifier.backbones import BACKBONES, build_backbone
from rs_train.classifier.checkpoint import Checkpoints
from rs_train.classifier.fit_loop import Course, Judgement, fit
from rs_train.classifier.train import train
from rs_train.run_folder import settings_begun

CONFIG = TrainConfig(
    backbone="tiny",
    weights="none",
    imgsz=32,
    epochs=4,
    patience=4,
    batch_size=16,
    learning_rate=2e-3,
    fine_tune_from="all",
    val=0.2,
    test=0.2,
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A weights file, so that stage 1 runs too."""
    path = tmp_path_factory.mktemp("weights") / "made.weights.h5"
    build_backbone(CONFIG.backbone, CONFIG.imgsz).save_weights(path)
    return path


@pytest.fixture(scope="module")
def config(weights) -> TrainConfig:
    return replace(CONFIG, weights=str(weights))


@pytest.fixture(scope="module")
def recipe(config) -> TrainConfig:
    """Every option of stage 2 that makes it another one."""
    return replace(
        config,
        fine_tune_from="block1",
        loss="balanced_softmax",
        layer_decay=0.5,
        head_rate=3.0,
        average="ema",
        patience=0,
        head_strength=0.02,
    )


@contextmanager
def compiled() -> Iterator[None]:
    """As users run it, unlike the other tests here."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


@pytest.fixture(scope="module")
def finished_recipe(shapes, recipe, tmp_path_factory) -> Path:
    with compiled():
        return train(shapes, recipe, tmp_path_factory.mktemp("runs") / "recipe")


@pytest.fixture(scope="module")
def finished(shapes, config, tmp_path_factory) -> Path:
    return train(shapes, config, tmp_path_factory.mktemp("runs") / "whole")


def weights_of(run: Path) -> list[np.ndarray]:
    return Run.open(run).load_model().get_weights()


class StopAfter(Progress):
    """Press Ctrl-C once the given epoch has ended."""

    def __init__(self, epoch: int) -> None:
        self.text = f"epoch {epoch}/"

    def note(self, text: str) -> None:
        if text.startswith(self.text):
            raise KeyboardInterrupt


def test_run_folder_is_complete_and_consistent(finished) -> None:
    run = Run.open(finished)
    assert [item["name"] for item in run.classes] == ["discidae", "quadridae", "trigonidae"]
    assert run.classes[0]["taxon"] == {"family": "discidae"}
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["question"]["places"] == "unknown"
    assert "perhaps of the same places" in metrics["question"]["text"]
    photos, labels = run.split("test")
    assert metrics["test"]["n"] == len(photos) == len(labels) == 12
    assert run.temperature > 0
    assert (finished / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    history = json.loads((finished / "history.json").read_text())
    best = max(row["val_macro_f1"] for row in history["epochs"])
    assert history["epochs"][history["best_epoch"]]["val_macro_f1"] == best
    # Beside validation, the score on training photos, from before the first epoch on.
    assert [0 <= row["train_macro_f1"] <= 1 for row in history["epochs"]] == [True] * 5
    assert read_history(finished).best == history["epochs"][history["best_epoch"]]


def test_metrics_are_those_of_the_saved_model(finished) -> None:
    run = Run.open(finished)
    photos, labels = run.split("test")
    logits = np.asarray(run.load_model()(run.preprocessing.model_input(run.pixels(photos))))
    np.testing.assert_allclose(run.test_logits(), logits, atol=1e-4)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert (logits.argmax(1) == labels).mean() == pytest.approx(metrics["test"]["accuracy"])


def assert_same_result(one: Path, other: Path) -> None:
    for left, right in zip(weights_of(one), weights_of(other), strict=True):
        assert np.array_equal(left, right)
    for name in ("metrics.json", "calibration.json"):
        assert (one / name).read_text() == (other / name).read_text()


def test_interrupted_and_resumed_ends_the_same(
    finished, shapes, config, tmp_path, monkeypatch
) -> None:
    """So does one whose time is measured: that leaves no trace but the number of epochs."""
    # A weights file of its own, gone by the time of --resume: the checkpoint replaces it.
    own = tmp_path / "own.weights.h5"
    shutil.copy(config.weights, own)
    timed, run = replace(config, weights=str(own), time="30s", epochs=9), tmp_path / "interrupted"
    found: list[int] = []
    said: list[float] = []

    def four(*arguments: Any) -> int:
        found.append(measured(*arguments))
        return config.epochs

    measured = fit_loop._epochs
    monkeypatch.setattr(fit_loop, "_epochs", four)
    monkeypatch.setattr(fit_loop, "duration", said.append)
    with pytest.raises(KeyboardInterrupt):
        train(shapes, timed, run, tensorboard=True, progress=StopAfter(2))
    assert len(found) == 1 and found[0] >= 1
    # What is left, before the seconds of each epoch: of four, not of the nine in the settings.
    assert said[::2] == [3 * said[1], 2 * said[3]]
    assert not (run / "metrics.json").exists()
    with pytest.raises(RunError, match="--resume"):
        Run.open(run)
    own.unlink()
    # Killed between the state and the log of it.
    (run / "epochs.csv").unlink()
    saved, data, _ = settings_begun(run, TrainConfig)
    train(data, saved, run, resume=True, tensorboard=True)
    assert len(found) == 1
    assert_same_result(finished, run)
    with (run / "epochs.csv").open(newline="") as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    assert epochs == [0, 1, 2, 3, 4]
    assert scalars(run) == [("val_macro_f1", epoch) for epoch in epochs]
    assert not (finished / "tensorboard").exists()


def scalars(run: Path) -> list[tuple[str, int]]:
    """Name and step of each validation score in TensorBoard's files."""
    import tensorflow as tf

    files = sorted(map(str, (run / "tensorboard").iterdir()))
    events = [
        tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(files)
    ]
    values = [(value, event.step) for event in events for value in event.summary.value]
    assert {value.metadata.plugin_data.plugin_name for value, _ in values} == {"scalars"}
    assert all(tf.make_ndarray(value.tensor).shape == () for value, _ in values)
    return [(value.tag, step) for value, step in values if value.tag == "val_macro_f1"]


@pytest.mark.parametrize("epoch", [0, 2], ids=["before a checkpoint", "after one"])
def test_weights_swapped_before_a_resume_are_noticed(
    shapes, config, tmp_path, one_line, epoch, monkeypatch
) -> None:
    own = tmp_path / "own.weights.h5"
    shutil.copy(config.weights, own)
    run = tmp_path / "interrupted"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if not epoch:
            patched.setattr("rs_train.classifier.probe.fit_head", _interrupt)
        train(shapes, replace(config, weights=str(own)), run, progress=StopAfter(epoch))
    assert (run / "checkpoints" / "state.json").exists() == bool(epoch)
    other = build_backbone(CONFIG.backbone, CONFIG.imgsz)
    other.set_weights([0.5 * array for array in other.get_weights()])
    other.save_weights(own)
    saved, data, _ = settings_begun(run, TrainConfig)
    with pytest.raises(RunError, match="began with other weights") as caught:
        train(data, saved, run, resume=True)
    assert str(own) in one_line(str(caught.value))
    if not epoch:
        # The former file put back, it goes on.
        shutil.copy(config.weights, own)
        train(data, saved, run, resume=True)
        assert (run / "metrics.json").exists()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_killed_and_resumed_ends_the_same(
    finished_recipe, shapes, recipe, tmp_path, repository
) -> None:
    run = tmp_path / "killed"
    code = (
        "import runpy; from pathlib import Path; from rs_train.classifier.train import train;"
        f"runpy.run_path({str(repository / 'tests' / 'tiny_backbone.py')!r});"
        "from rs_toolkit.config.training import TrainConfig;"
        f"train(Path({str(shapes)!r}), TrainConfig(**{recipe.to_dict()!r}), Path({str(run)!r}))"
    )
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", code], stderr=file)
    state = run / "checkpoints" / "state.json"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if state.exists() and json.loads(state.read_text())["state"]["epoch"] >= 1:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert state.exists(), log.read_text("utf-8", "replace")[-2000:]
    assert not (run / "metrics.json").exists(), "it finished before it was killed"
    saved, data, _ = settings_begun(run, TrainConfig)
    with compiled():
        train(data, saved, run, resume=True)
    assert_same_result(finished_recipe, run)


def test_the_better_of_last_and_averaged_weights_is_kept(finished_recipe) -> None:
    history = json.loads((finished_recipe / "history.json").read_text())
    assert history["planned_epochs"] == 4
    rows = history["epochs"]
    for row in rows[1:]:
        scores = {name: row[f"{name}_val_macro_f1"] for name in ("last", "average")}
        assert row["val_macro_f1"] == max(scores.values()) == scores[row["weights"]]
    best = rows[history["best_epoch"]]
    assert history["best_weights"] == best.get("weights", "last")
    metrics = json.loads((finished_recipe / "metrics.json").read_text())
    assert metrics["val"]["macro_f1"] == pytest.approx(best["val_macro_f1"])


class Idle(Course):
    """A course on which nothing improves."""

    def __init__(self) -> None:
        import keras

        self.model = self.learner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        self.model.compile("adam", "mse")
        self.pixels = PixelSource(lambda rows: rows)

    def batches(self, epoch: int) -> Any:
        import tensorflow as tf

        return tf.data.Dataset.from_tensors((np.ones((1, 2)), np.ones((1, 1))))

    def judge(self) -> Judgement:
        return Judgement({}, (1.0,), "")


def test_stage_1_has_the_strength_that_was_set(finished, finished_recipe) -> None:
    def strength(run: Path) -> float:
        return json.loads((run / "history.json").read_text())["stage_1"]["strength"]

    assert strength(finished_recipe) == 0.02 != strength(finished)


@pytest.mark.parametrize(("patience", "epochs"), [(2, 2), (0, 4)], ids=["2", "without"])
def test_it_stops_when_validation_no_longer_improves(tmp_path, patience, epochs) -> None:
    config = replace(CONFIG, epochs=4, patience=patience)
    checkpoints = Checkpoints(tmp_path / "checkpoints", "mark")
    state = fit(Idle(), config, checkpoints, Progress(), time.perf_counter())
    assert [row["epoch"] for row in state.history] == list(range(epochs + 1))
    assert state.best_epoch == 0


class Hungry(Idle):
    """Its batches are waited for."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def batches(self, epoch: int) -> Any:
        import tensorflow as tf

        def waited() -> Any:
            time.sleep(self.seconds)
            self.pixels.waited += self.seconds
            yield np.ones((1, 2)), np.ones((1, 1))

        kinds = tuple(tf.TensorSpec((1, width)) for width in (2, 1))
        made = tf.data.Dataset.from_generator(waited, output_signature=kinds)
        return made.apply(tf.data.experimental.assert_cardinality(1))


@pytest.mark.parametrize("seconds", [0.0, 0.4])
def test_waiting_for_photos_is_recorded_and_said_where_it_is_much(tmp_path, seconds) -> None:
    said: list[str] = []
    progress = Progress()
    progress.note = said.append  # type: ignore[method-assign]
    checkpoints = Checkpoints(tmp_path / "checkpoints", "mark")
    config = replace(CONFIG, epochs=2, patience=0)
    state = fit(Hungry(seconds), config, checkpoints, progress, time.perf_counter())
    waits = [row["input_wait"] for row in state.history]
    assert waits[0] is None
    assert all(0 <= wait <= 1 for wait in waits[1:])
    assert (waits[2] > 0.05) == bool(seconds)
    # The first epoch also compiles.
    assert (f"{waits[2]:.0%} of its steps' time waiting for photos" in said[1]) == bool(seconds)
    assert "input_wait" in (tmp_path / "epochs.csv").read_text()


def float32_model(run: Path) -> Any:
    model = Run.open(run).load_model()
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert model.compute_dtype == "float32"
    return model


def test_mixed_precision_and_a_bottleneck_leave_a_float32_model(shapes, recipe, tmp_path) -> None:
    # For float16 Keras wraps the optimizer, which holds the averages.
    settings = replace(recipe, epochs=1, precision="mixed_float16", bottleneck=2)
    model = float32_model(train(shapes, settings, tmp_path / "run"))
    head = model.get_layer("predictions")
    assert head.input.name == model.get_layer("dropout").output.name
    assert np.linalg.matrix_rank(head.get_weights()[0], tol=1e-4) == 2


def test_random_weights_are_never_frozen() -> None:
    assert TrainConfig(weights="none").first_block == "all"
    assert TrainConfig(weights="imagenet").first_block == "auto"
    assert BACKBONES["xception"].start == "block9"
    assert TrainConfig(weights="none", fine_tune_from="block5").first_block == "block5"


def test_a_run_is_not_overwritten(finished, shapes, config) -> None:
    with pytest.raises(RunError, match="holds a run already"):
        train(shapes, config, finished)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def stopped(shapes, config, own_cache, tmp_path_factory) -> Path:
    """A run stopped after its first epoch, over photos and a cache of its own."""
    folder = tmp_path_factory.mktemp("stopped")
    shutil.copytree(shapes, folder / "photos")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setenv("RS_CACHE", str(own_cache))
        train(folder / "photos", config, folder / "run", progress=StopAfter(1))
    return folder / "run"


@pytest.fixture
def interrupted(stopped, own_cache, monkeypatch) -> Path:
    monkeypatch.setenv("RS_CACHE", str(own_cache))
    return stopped


def test_no_checkpoint_on_a_full_disk(interrupted, config, monkeypatch) -> None:
    state = (interrupted / "checkpoints" / "state.json").read_text()
    full = shutil.disk_usage(interrupted)._replace(free=1000)
    monkeypatch.setattr("rs_toolkit.files.shutil.disk_usage", lambda path: full)
    with pytest.raises(OSError, match="MB free"):
        train(interrupted, config, interrupted, resume=True)
    assert (interrupted / "checkpoints" / "state.json").read_text() == state


def test_spoilt_runs_are_one_line(interrupted, own_cache, config) -> None:
    """The last test of this run, which it leaves spoilt."""

    def resume(settings: TrainConfig, said: str) -> None:
        with pytest.raises(ToolkitError, match=said) as caught:
            train(interrupted, settings, interrupted, resume=True)
        assert "\n" not in str(caught.value)

    resume(replace(config, seed=1, imgsz=64), "other settings \\(imgsz, seed\\)")
    photo = next(p for p in read_index(interrupted / "index.parquet") if p.split == "train")
    shutil.rmtree(own_cache)
    (interrupted.parent / "photos" / photo.path).write_bytes(b"another photo")
    resume(config, "changed since it was indexed")
    state = interrupted / "checkpoints" / "state.json"
    state.write_text(state.read_text()[:40])
    resume(config, "damaged")


def test_one_class_is_refused(shapes, tmp_path) -> None:
    shutil.copytree(shapes / "discidae", tmp_path / "data" / "discidae")
    with pytest.raises(DataError, match="wanted two classes"):
        train(tmp_path / "data", CONFIG, tmp_path / "run")


def test_a_class_of_one_photo_trains_in_bfloat16_and_is_reported(shapes, tmp_path) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    (data / "solitidae").mkdir()
    shutil.copy(shapes / "discidae" / "00.png", data / "solitidae" / "only.png")
    run = train(data, replace(CONFIG, epochs=1, precision="mixed_bfloat16"), tmp_path / "run")
    float32_model(run)
    photos, labels = Run.open(run).split("train")
    assert [p.path for p, y in zip(photos, labels, strict=True) if y == 2] == ["solitidae/only.png"]
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    row = next(item for item in metrics["per_class"] if item["name"] == "solitidae")
    assert row["support"] == 0


ODD_NAMES = ("Ca$$in finch", "$\\frac <b>&amp;", "🦊 {0} %s \u202egnp")


@pytest.fixture
def odd_names(shapes, tmp_path) -> Path:
    """The shapes, in class folders whose names mean something to matplotlib, HTML or a terminal."""
    for folder, name in zip(sorted(shapes.iterdir()), ODD_NAMES, strict=True):
        shutil.copytree(folder, tmp_path / "odd" / name)
    return tmp_path / "odd"


def test_no_class_name_stops_a_training(odd_names, tmp_path) -> None:
    settings = replace(CONFIG, epochs=0, rank="species")
    run = train(odd_names, settings, tmp_path / "run")
    assert (run / "confusion.png").exists()
    names = [item["name"] for item in Run.open(run).classes]
    assert names == sorted(["ca$$in finch", "$\\frac <b>&amp;", "🦊 {0} %s gnp"])


def test_a_picture_that_fails_loses_no_training(shapes, tmp_path, monkeypatch) -> None:
    def fails(*arguments: object) -> None:
        raise ValueError("no font")

    monkeypatch.setattr("rs_train.classifier.results._confusion", fails)
    notes: list[str] = []

    class Notes(Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    run = train(shapes, replace(CONFIG, epochs=0), tmp_path / "run", progress=Notes())
    assert json.loads((run / "metrics.json").read_text())["test"]["n"] == 12
    assert [note for note in notes if "confusion.png: not drawn (no font)" in note]
