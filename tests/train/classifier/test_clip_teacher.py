"""Learning from a CLIP model: what it answers, from which labels, and that it stays the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rs_toolkit.cli.options import train_settings
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import read_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.errors import ConfigError, RunError, WeightsError
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress
from rs_train.classifier.teaching import Lesson, meet_teacher
from rs_train.classifier.train import train

CONFIG = TrainConfig(
    backbone="tiny", weights="none", imgsz=40, epochs=1, patience=0, batch_size=16, val=0.2,
    test=0.2, teacher="to be set", teacher_views=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def config(raw_clip) -> TrainConfig:
    plan, weights = raw_clip
    return replace(CONFIG, teacher=str(plan), teacher_weights=str(weights))


@pytest.fixture(scope="module")
def student(shapes, config, tmp_path_factory) -> Path:
    return train(shapes, config, tmp_path_factory.mktemp("runs") / "student")


def lesson(config: TrainConfig, student: Path, change=lambda photos: photos) -> Lesson:
    """Return what the teacher says of the student's training photos."""
    run = Run.open(student)
    photos = [photo for photo in read_index(student / "index.parquet") if photo.split == "train"]
    teacher = meet_teacher(config, student)
    assert teacher is not None
    cache = PhotoCache.default(config.imgsz, config.resize, strict=False)
    given = (change(photos), run.data_root, run.classes, cache, config, Progress())
    return teacher.lesson(*given)


def test_answers_are_of_the_photos_classes(config, student) -> None:
    found = lesson(config, student)
    photos = [photo for photo in read_index(student / "index.parquet") if photo.split == "train"]
    names = [item["name"] for item in Run.open(student).classes]
    labels = np.array([names.index(photo.label("family")) for photo in photos])
    assert found.logits.shape == (len(photos), 2, 3) and found.logits.dtype == np.float32
    # On the photos that it was fitted on, far better than guessing one of three.
    assert (found.logits[:, 0].argmax(1) == labels).mean() > 0.6
    views = found.views(np.array([0, 0]), np.array([0, 1]))
    assert views.shape == (2, 40, 40, 3) and (views[0] != views[1]).any()


def test_answers_follow_the_labels_that_are_given(config, student) -> None:
    def turned(photos):
        names = {"discidae": "quadridae", "quadridae": "trigonidae", "trigonidae": "discidae"}
        taxa = [replace(p.taxon, family=names[p.taxon.family]) for p in photos]
        return [replace(p, taxon=taxon) for p, taxon in zip(photos, taxa, strict=True)]

    right, wrong = lesson(config, student), lesson(config, student, turned)
    same = right.logits[:, 0].argmax(1) == wrong.logits[:, 0].argmax(1)
    assert same.mean() < 0.4


def test_the_run_records_its_teacher_and_refuses_another(config, student, tmp_path) -> None:
    begun = json.loads((student / "config.json").read_text())
    assert len(begun["teacher_sha256"]) == 64
    other = tmp_path / "other.safetensors"
    data = bytearray(Path(config.teacher_weights).read_bytes())
    data[-5] ^= 1
    other.write_bytes(data)
    with pytest.raises(RunError, match="began with another teacher"):
        meet_teacher(replace(config, teacher_weights=str(other)), student)
    with pytest.raises(WeightsError, match="absent"):
        meet_teacher(replace(config, teacher_weights="absent.safetensors"), student)


def test_it_may_teach_a_refit_on_every_photo_which_a_run_may_not() -> None:
    assert replace(CONFIG, teacher_weights="a.pt", refit="all").refit == "all"
    with pytest.raises(ConfigError, match="got all with a teacher"):
        replace(CONFIG, refit="all")


def test_weights_need_a_teacher_and_names_stay_names(tmp_path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="without a teacher"):
        TrainConfig(teacher_weights="a.pt")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plan.json").write_text("{}")

    def settings(name: str) -> TrainConfig:
        return train_settings(None, {"teacher": name, "teacher_weights": "a.pt"})

    assert settings("ViT-B-32").teacher == "ViT-B-32"
    assert settings("plan.json").teacher == str(tmp_path / "plan.json")
    assert settings("ViT-B-32").teacher_weights == str(tmp_path / "a.pt")
