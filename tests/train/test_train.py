"""One tiny run, whole; and the promise that an interrupted one ends the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rs_toolkit.config import TrainConfig
from rs_toolkit.errors import DataError, RunError
from rs_toolkit.progress import Progress
from rs_toolkit.run import Run
from rs_train.prepare import saved_config
from rs_train.train import train

CONFIG = TrainConfig(
    backbone="xception-w25",
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
def finished(shapes, tmp_path_factory) -> Path:
    return train(shapes, CONFIG, tmp_path_factory.mktemp("runs") / "whole")


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
    photos, labels = run.split("test")
    assert metrics["test"]["n"] == len(photos) == len(labels) == 12
    assert run.temperature > 0
    assert (finished / "confusion.png").read_bytes()[:4] == b"\x89PNG"
    history = json.loads((finished / "history.json").read_text())
    best = max(row["val_macro_f1"] for row in history["epochs"])
    assert history["epochs"][history["best_epoch"]]["val_macro_f1"] == best


def test_metrics_are_those_of_the_saved_model(finished) -> None:
    run = Run.open(finished)
    photos, labels = run.split("test")
    logits = np.asarray(run.load_model()(run.preprocessing.model_input(run.pixels(photos))))
    metrics = json.loads((finished / "metrics.json").read_text())
    assert (logits.argmax(1) == labels).mean() == pytest.approx(metrics["test"]["accuracy"])


def test_training_learns(shapes, tmp_path) -> None:
    from dataclasses import replace

    run = train(shapes, replace(CONFIG, epochs=14, patience=14), tmp_path / "run")
    assert json.loads((run / "metrics.json").read_text())["test"]["accuracy"] >= 0.75


def test_interrupted_and_resumed_ends_the_same(finished, shapes, tmp_path) -> None:
    run = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        train(shapes, CONFIG, run, progress=StopAfter(2))
    assert not (run / "metrics.json").exists()
    with pytest.raises(RunError, match="--resume"):
        Run.open(run)
    config, data = saved_config(run)
    train(data, config, run, resume=True)
    for one, two in zip(weights_of(finished), weights_of(run), strict=True):
        assert np.array_equal(one, two)
    same = [json.loads((where / "metrics.json").read_text()) for where in (finished, run)]
    assert same[0] == same[1]


def test_killed_and_resumed_ends_the_same(finished, shapes, tmp_path) -> None:
    run = tmp_path / "killed"
    code = (
        "import sys; from pathlib import Path; from rs_train.train import train;"
        "from rs_toolkit.config import TrainConfig;"
        f"train(Path({str(shapes)!r}), TrainConfig(**{CONFIG.to_dict()!r}), Path({str(run)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    state = run / "checkpoints" / "state.json"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if state.exists() and json.loads(state.read_text())["state"]["epoch"] >= 1:
            break
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert state.exists(), "no epoch was finished before the deadline"
    config, data = saved_config(run)
    train(data, config, run, resume=True)
    for one, two in zip(weights_of(finished), weights_of(run), strict=True):
        assert np.array_equal(one, two)


def test_a_run_is_not_overwritten(finished, shapes) -> None:
    with pytest.raises(RunError, match="holds a run already"):
        train(shapes, CONFIG, finished)


def test_a_damaged_checkpoint_is_one_line(shapes, tmp_path) -> None:
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(shapes, CONFIG, run, progress=StopAfter(1))
    state = run / "checkpoints" / "state.json"
    state.write_text(state.read_text()[:40])
    with pytest.raises(RunError, match="damaged") as caught:
        train(shapes, CONFIG, run, resume=True)
    assert "\n" not in str(caught.value)


def test_one_class_is_refused(shapes, tmp_path) -> None:
    import shutil

    shutil.copytree(shapes / "discidae", tmp_path / "data" / "discidae")
    with pytest.raises(DataError, match="wanted two classes"):
        train(tmp_path / "data", CONFIG, tmp_path / "run")


def test_a_class_of_one_photo_trains_and_is_reported(shapes, tmp_path) -> None:
    import shutil
    from dataclasses import replace

    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    (data / "solitidae").mkdir()
    shutil.copy(shapes / "discidae" / "00.png", data / "solitidae" / "only.png")
    run = train(data, replace(CONFIG, epochs=1), tmp_path / "run")
    photos, labels = Run.open(run).split("train")
    assert [p.path for p, y in zip(photos, labels, strict=True) if y == 3] == ["solitidae/only.png"]
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    row = next(item for item in metrics["per_class"] if item["name"] == "solitidae")
    assert row["support"] == 0
