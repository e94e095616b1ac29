"""A training that ends below a linear classifier on the frozen backbone keeps that classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.folders.run import Run, read_history
from rs_toolkit.progress import Progress
from rs_train.classifier.backbones import build_backbone
from rs_train.classifier.train import train


class Said(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def poor(tmp_path_factory) -> TrainConfig:
    """Settings of which nothing comes: a penalty that leaves stage 1 no weights, and no epoch."""
    weights = tmp_path_factory.mktemp("weights") / "made.weights.h5"
    build_backbone("tiny", 32).save_weights(weights)
    return TrainConfig(
        backbone="tiny", weights=str(weights), imgsz=32, epochs=0, batch_size=16, val=0.2, test=0.2,
        fine_tune_from="block1", balance=0.0, head_strength=1e-7,
    )  # fmt: skip


def content(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


@pytest.fixture(scope="module")
def kept(shapes, poor, tmp_path_factory) -> tuple[Path, list[str]]:
    said = Said()
    return train(shapes, poor, tmp_path_factory.mktemp("runs") / "kept", progress=said), said.lines


def test_the_better_probe_is_kept_and_said(kept) -> None:
    run, lines = kept
    history = content(run, "history.json")
    probe, best = history["stage_1"]["probe_macro_f1"], history["epochs"][0]["val_macro_f1"]
    assert history["probe_kept"] and probe > best
    assert content(run, "metrics.json")["val"]["macro_f1"] == pytest.approx(probe)
    (line,) = [line for line in lines if "probe" in line]
    assert f"{best:.3f} fine-tuned, {probe:.3f}" in line and line.endswith("the probe is kept")
    assert read_history(run).best["val_macro_f1"] is None


def test_a_refit_repeats_the_probe_with_the_validation_photos(shapes, poor, kept, tmp_path) -> None:
    run = train(shapes, replace(poor, refit="val"), tmp_path / "refit")
    first, second = (Run.open(path).load_model().get_weights() for path in (kept[0], run))
    same = [np.array_equal(*pair) for pair in zip(first, second, strict=True)]
    # The backbone is as it was; kernel and bias come from more photos.
    assert all(same[:-2]) and not any(same[-2:])
    metrics = content(run, "metrics.json")
    assert metrics["val"] == content(kept[0], "metrics.json")["val"]
    # Of the same test photos, the poor stage 1 would name one class.
    assert metrics["test"]["macro_f1"] > 1 / 3


def test_a_training_that_is_better_is_kept(shapes, poor, tmp_path, monkeypatch) -> None:
    from rs_train.classifier import fine_tune

    said = Said()
    monkeypatch.setattr(fine_tune, "macro_f1", lambda *_: 1.5)
    run = train(shapes, poor, tmp_path / "run", progress=said)
    assert not content(run, "history.json")["probe_kept"]
    assert [line for line in said.lines if line.endswith("the fine-tuned model is kept")]


def test_without_pretrained_weights_there_is_no_probe(shapes, poor, tmp_path) -> None:
    config = replace(poor, weights="none", head_strength=0.0)
    history = content(train(shapes, config, tmp_path / "run"), "history.json")
    assert history["stage_1"] is None and not history["probe_kept"]
