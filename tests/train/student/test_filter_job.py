"""The filter's whole way: a CLIP that was really trained, a student, a kit, answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import rs_runtime.cli
from rs_export import ExportSettings, export_run
from rs_runtime.kit.kit import open_kit
from rs_toolkit.checks.organisms import read_filter
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.files import read_json
from rs_toolkit.sample import generate_sample
from rs_toolkit.sample.faults import non_organism
from rs_train.classifier.train import train

KINDS = ("landscape", "document", "chart", "screenshot")
RUN = TrainConfig(
    backbone="tiny", weights="none", imgsz=32, epochs=4, batch_size=16,
    learning_rate=1e-2, val=0.2, test=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """Pictures of no organism."""
    folder = tmp_path_factory.mktemp("others")
    for number in range(120):
        picture = non_organism(np.random.default_rng(number), KINDS[number % 4])
        picture.save(folder / f"{number:03}.jpg", quality=85)
    return folder


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "sample"
    generate_sample(folder, seed=3, photos=240)
    return folder


@pytest.fixture(scope="module")
def folder(sample, others, tiny_clip, repository, tmp_path_factory) -> Path:
    """A distilled filter."""
    from rs_train.student.distill import distill

    config, checkpoint = tiny_clip
    settings = DistillConfig(
        student="mobilenetv4_conv_small_035",
        teacher=str(config),
        teacher_weights=str(checkpoint),
        prompts=str(repository / "samples" / "prompts-sample.toml"),
        imgsz=64,
        epochs=10,
        views=1,
        learning_rate=2e-3,
        val=0.25,
        test=0.25,
    )
    out = tmp_path_factory.mktemp("filters") / "filter"
    return distill(sample, settings, out, not_organism=others)


@pytest.fixture(scope="module")
def kit(folder, shapes, tmp_path_factory) -> Path:
    """The kit of a classifier of shapes, with that filter."""
    run = train(shapes, RUN, tmp_path_factory.mktemp("runs") / "shapes")
    settings = ExportSettings(
        recipes=("tflite_fp32", "onnx_fp32"), mend=False, filter=str(folder), calibration_photos=40
    )
    return export_run(run, settings).kit


def test_teacher_and_student_tell_organisms(folder) -> None:
    """A few epochs from random weights; and some of the sample's organisms are planted faults."""
    found = read_json(folder / "metrics.json")["test"]
    assert found["teacher_auroc"] > 0.85
    assert found["auroc"] > 0.75


def test_cleaning_takes_the_filter_from_its_folder_or_from_a_kit(folder, kit, others) -> None:
    one, other = read_filter(folder), read_filter(kit)
    photos = sorted(others.glob("*.jpg"))[:8]
    pixels = np.stack([one.preprocessing.load(photo) for photo in photos])
    assert one.preprocessing == other.preprocessing
    assert dict(one.thresholds) == dict(other.thresholds)
    assert np.corrcoef(one.judge(pixels), other.judge(pixels))[0, 1] > 0.9
    assert len({one.fingerprint, other.fingerprint, read_filter(kit).fingerprint}) == 2


def test_a_kit_judges_before_it_names(kit, sample, others, capsys) -> None:
    with open_kit(kit) as opened:
        spec = opened.manifest.filter
    assert spec is not None
    assert set(spec.default_variants) == {"litert", "onnxruntime"}
    photos = [*sorted((sample / "photos").rglob("*.jpg"))[:40], *sorted(others.glob("*.jpg"))[:40]]
    given = [str(photo) for photo in photos]
    said: dict[str, list[dict]] = {}
    for engine in ("litert", "onnxruntime"):
        rs_runtime.cli.main(["--kit", str(kit), "--engine", engine, "--json", *given])
        said[engine] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [row for row in said["litert"] if "error" not in row]
    assert all(row["top"] for row in rows), "a report hides nothing"
    shown = np.array([Path(row["path"]).is_relative_to(sample) for row in rows])
    probability = np.array([row["filter"]["probability"] for row in rows])
    assert probability[shown].mean() > probability[~shown].mean() + 0.3
    again = [row["filter"]["probability"] for row in said["onnxruntime"] if "error" not in row]
    assert np.corrcoef(probability, again)[0, 1] > 0.95

    rs_runtime.cli.main(["--kit", str(kit), "--json", "--filter", "on", *given])
    for row in map(json.loads, capsys.readouterr().out.splitlines()):
        if "error" not in row:
            assert bool(row["top"]) == (row["filter"]["verdict"] != "not_organism")
