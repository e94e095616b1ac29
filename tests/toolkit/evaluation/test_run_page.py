"""The page of a run, and Grad-CAM by hand."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from rs_toolkit.evaluation.grad_cam import grad_cam, lit
from rs_toolkit.evaluation.run_page import attempt_run_page, write_run_page
from rs_toolkit.folders.run import Run, write_logits
from rs_toolkit.progress import Progress
from rs_train.classifier.model import build_classifier


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def paged(trained, tmp_path_factory) -> Path:
    """A run on the shapes that takes every second test photo for another class, and is sure."""
    run = tmp_path_factory.mktemp("paged") / "shapes"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("checkpoints"))
    _, labels = Run.open(run).split("test")
    named = np.where(np.arange(len(labels)) % 2, (labels + 1) % 3, labels)
    write_logits(run, "test", np.asarray(5.0 * np.eye(3)[named], np.float32))
    return run


def test_the_page_shows_epochs_classes_confusions_and_photos(run, paged) -> None:
    code, said, err = run("report", paged)
    assert code == 0, err
    page = Path(said.strip()).read_text()
    assert Path(said.strip()) == paged / "run.html"
    for title in ("Macro-F1", "Calibration", "F1 against class size", "Confusions", "Worst"):
        assert title in page
    # Of the wrong photos of each class, three at most, each with its map; then all of them.
    maps, wrong = page.count("<figcaption>Grad-CAM"), 9
    assert 3 <= maps <= 9
    assert page.count('src="data:image/jpeg') == 2 * maps + wrong
    assert "discidae → quadridae" in page
    assert not re.search(r"https?:|<script|@import|url\(", re.sub(r'"data:[^"]*"', "", page))


def test_wrong_usage_is_one_line(run, tmp_path, one_line) -> None:
    code, _, err = run("report", tmp_path / "none")
    assert code == 2 and "no such run folder" in one_line(err, "rs-toolkit")
    assert not (tmp_path / "none").exists()


def test_names_are_escaped_and_photos_that_are_gone_leave_no_picture(
    paged, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    moved = tmp_path / "moved"
    shutil.copytree(paged, moved)
    saved = json.loads((moved / "config.json").read_text())
    saved |= {"data_root": str(tmp_path / "gone")}
    saved["settings"] |= {"backbone": "<i>odd</i>", "refit": "val"}
    (moved / "config.json").write_text(json.dumps(saved))
    page = write_run_page(moved, Progress()).read_text()
    assert "data:image" not in page and "Worst classes" in page
    assert "<i>odd" not in page and "&lt;i&gt;odd" in page
    assert "epochs of the first model" in page


def test_a_page_that_fails_loses_no_training(paged, tmp_path, monkeypatch) -> None:
    def fails(*arguments: object) -> None:
        raise ValueError("odd model")

    monkeypatch.setattr("rs_toolkit.evaluation.run_page.grad_cam", fails)
    progress = Notes()
    attempt_run_page(paged, progress)
    assert "run.html: not written (odd model); write it with" in progress.notes[-1]


def test_grad_cam_is_the_formula() -> None:
    import keras

    keras.utils.set_random_seed(0)
    model = build_classifier("tiny", 32, 3)
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    maps = grad_cam(model, inputs, np.array([2, 0]))
    assert maps is not None and maps.shape == (2, 7, 7)
    features = np.asarray(
        keras.Model(model.input, model.get_layer("avg_pool").input)(inputs, training=False)
    )
    kernel = model.get_layer("predictions").get_weights()[0]
    # With pooling and one linear layer, the gradient is the class's weight (section 3.1).
    for place, number in enumerate((2, 0)):
        expected = np.maximum(features[place] @ kernel[:, number], 0)
        np.testing.assert_allclose(maps[place], expected / expected.max(), atol=1e-4)
    assert grad_cam(keras.Model(model.input, model.layers[1].output), inputs, np.zeros(2)) is None


def test_what_speaks_for_nothing_is_dark() -> None:
    photo = np.full((8, 8, 3), 200, np.uint8)
    places = np.zeros((2, 2), np.float32)
    places[0, 0] = 1
    shown = lit(photo, places)
    assert shown[0, 0].tolist() == [200] * 3 and shown[7, 7].tolist() == [40] * 3
