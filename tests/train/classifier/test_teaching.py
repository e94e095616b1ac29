"""Learning from another run: what is learned, from which photos, and that resuming is exact."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import read_index, write_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.errors import ConfigError, DataError, RunError, ToolkitError
from rs_toolkit.files import read_json, sha256_file, write_json
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import Progress
from rs_train.classifier import fine_tune
from rs_train.classifier.fine_tune import ClassifierCourse
from rs_train.classifier.loss import class_loss, taught_loss
from rs_train.classifier.model import build_classifier
from rs_train.classifier.teaching import meet_teacher
from rs_train.classifier.train import train
from rs_train.run_folder import settings_begun
from rs_train.teacher.embeddings import photo_view

# Other sizes, fractions and seed than the teacher's.
CONFIG = TrainConfig(
    backbone="tiny", weights="none", imgsz=40, epochs=2, patience=0, batch_size=16,
    learning_rate=1e-2, seed=5, val=0.1, test=0.1, teacher_views=3, teacher="to be set",
    refit="val",
)  # fmt: skip


@pytest.fixture(scope="module")
def config(trained) -> TrainConfig:
    return replace(CONFIG, teacher=str(trained))


@pytest.fixture(scope="module")
def courses() -> list[ClassifierCourse]:
    """The courses of the trainings of this module."""
    return []


@pytest.fixture(scope="module")
def student(shapes, config, courses, tmp_path_factory) -> Path:
    class Watched(ClassifierCourse):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            courses.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rs_train.classifier.train.ClassifierCourse", Watched)
        return train(shapes, config, tmp_path_factory.mktemp("runs") / "student")


def test_the_loss_is_that_of_hinton() -> None:
    config = replace(CONFIG, teacher_weight=0.3, teacher_temperature=2.5, label_smoothing=0.0)
    own = class_loss(config, np.array([5.0, 5, 5]))
    generator = np.random.default_rng(0)
    taught, logits = generator.normal(size=(2, 4, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 0])
    rows = np.column_stack([labels, taught]).astype(np.float32)
    wanted = log_softmax(taught / 2.5, 1)
    distance = (np.exp(wanted) * (wanted - log_softmax(logits / 2.5, 1))).sum(1)
    plain = -np.log(softmax(logits, 1)[np.arange(4), labels])
    found = np.asarray(taught_loss(own, config).function(rows, logits))
    assert found == pytest.approx(0.7 * plain + 0.3 * 2.5**2 * distance, abs=1e-5)
    alone = taught_loss(own, replace(config, teacher_weight=1.0)).function
    assert np.asarray(alone(rows, taught)) == pytest.approx(np.zeros(4), abs=1e-5)


def test_the_teachers_split_is_kept_and_the_teacher_is_recorded(student, trained) -> None:
    sides = [{p.sha256: p.split for p in Run.open(run).photos} for run in (student, trained)]
    assert sides[0] == sides[1]
    saved = read_json(student / "config.json")
    assert saved["teacher_sha256"] == sha256_file(trained / "model.keras")
    assert saved["settings"]["teacher"] == str(trained)
    assert saved["settings"]["splits_from"] == ""
    history = read_json(student / "history.json")
    assert len(history["refit"]) == 1 + history["best_epoch"]


def test_both_see_the_same_view(student, trained, courses, monkeypatch) -> None:
    """Of each photo in a batch, the teacher's logits are those of the view that is shown."""
    monkeypatch.setattr(fine_tune, "recolour", lambda images, *_: images)
    (course,) = courses
    teacher, pupil = Run.open(trained), Run.open(student)
    photos, labels = pupil.split("train")
    inputs, targets = next(iter(course.batches(0)))
    small, large = ((pupil, 40), (teacher, 32))
    views = {}
    for run, side in (small, large):
        whole = run.pixels(photos)
        assert whole.shape[1] == side
        views[run.path] = run.preprocessing.model_input(
            np.array(
                [
                    photo_view(x, p.content, n, CONFIG.seed)
                    for x, p in zip(whole, photos, strict=True)
                    for n in range(3)
                ]
            )
        )
    answers = teacher.load_model().predict_on_batch(views[trained])
    shown = set()
    for image, target in zip(np.asarray(inputs), np.asarray(targets), strict=True):
        row = int(np.abs(views[student] - image).sum((1, 2, 3)).argmin())
        assert views[student][row] == pytest.approx(image, abs=1e-5)
        assert target[0] == labels[row // 3]
        assert target[1:] == pytest.approx(answers[row], abs=1e-3)
        shown.add(row % 3)
    assert shown == {0, 1, 2}


class StopAfter(Progress):
    """Press Ctrl-C once the first epoch has ended."""

    def note(self, text: str) -> None:
        if text.startswith("epoch 1/"):
            raise KeyboardInterrupt


def test_interrupted_and_resumed_ends_the_same(
    student, trained, shapes, config, tmp_path, monkeypatch, one_line
) -> None:
    """The teacher, which has answered everything, is not asked again, and may not be another."""
    own, run = shutil.copytree(trained, tmp_path / "teacher"), tmp_path / "run"
    kept = (own / "model.keras").read_bytes()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Run, "load_model", lambda run: pytest.fail("the teacher was loaded"))
        train(shapes, replace(config, teacher=str(own)), run, progress=StopAfter())
    saved, data, _ = settings_begun(run, TrainConfig)
    (own / "model.keras").write_bytes(kept + b"another")
    with pytest.raises(RunError, match="began with another teacher") as caught:
        train(data, saved, run, resume=True)
    one_line(str(caught.value))
    (own / "model.keras").write_bytes(kept)
    train(data, saved, run, resume=True)
    weights = [Run.open(path).load_model().get_weights() for path in (student, run)]
    assert all(np.array_equal(*pair) for pair in zip(*weights, strict=True))


def other_teacher(trained: Path, folder: Path, **changed: Any) -> Path:
    """Return a copy of a run whose JSON files differ."""
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoints"))
    for name, change in changed.items():
        found = read_json(folder / f"{name}.json")
        change(found)
        write_json(folder / f"{name}.json", found)
    return folder


def test_a_teacher_that_does_not_fit_is_refused(
    shapes, config, trained, tmp_path, one_line
) -> None:
    def refused(kind: type[ToolkitError], said: str, **settings: Any) -> None:
        with pytest.raises(kind, match=said) as caught:
            train(shapes, replace(config, **settings), tmp_path / "run")
        one_line(str(caught.value))
        assert not (tmp_path / "run" / "config.json").exists()

    renamed = other_teacher(
        trained, tmp_path / "renamed", classes=lambda x: x["classes"][2].update(name="felidae")
    )
    refused(DataError, "2 are not in both, such as 'felidae'", teacher=str(renamed))
    refit = other_teacher(
        trained, tmp_path / "refit", config=lambda x: x["settings"].update(refit="val")
    )
    refused(RunError, "without --refit", teacher=str(refit))
    refused(RunError, "no such run folder", teacher=str(tmp_path / "nowhere"))
    # A split of its own: photos that the teacher has learned from would be tested.
    swapped = tmp_path / "swapped" / "index.parquet"
    photos = read_index(trained / "index.parquet")
    sides = {"train": "test", "test": "train", "val": "val"}
    write_index(swapped, [replace(photo, split=sides[str(photo.split)]) for photo in photos])
    refused(DataError, "leave out --splits-from", splits_from=str(swapped.parent))


def test_without_augmentation_there_is_one_view_and_a_class_has_its_own_column(
    trained, shapes, config
) -> None:
    teacher = meet_teacher(replace(config, augment=0.0), Path("nowhere"))
    photos = Run.open(trained).split("train")[0][:3]
    classes = [{"name": item["name"], "id": n} for n, item in enumerate(teacher.run.classes[::-1])]
    cache = PhotoCache.default(40, "squash", False)
    settings = replace(config, augment=0.0)
    lesson = teacher.lesson(photos, shapes, classes, cache, settings, Progress())
    assert lesson.logits.shape == (3, 1, 3)
    inputs = teacher.run.preprocessing.model_input(teacher.run.pixels(photos))
    wanted = teacher.run.load_model().predict_on_batch(inputs)
    assert lesson.logits[:, 0] == pytest.approx(wanted[:, ::-1], abs=1e-3)


def test_a_bottleneck_in_half_precision_learns_from_it_too(config) -> None:
    import keras

    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = build_classifier("tiny", 40, 3, bottleneck=2)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    generator = np.random.default_rng(0)
    rows = np.column_stack([[0, 1], generator.normal(size=(2, 3))]).astype(np.float32)
    model.compile("sgd", taught_loss(class_loss(config, np.ones(3)), config).function)
    assert np.isfinite(model.train_on_batch(np.zeros((2, 40, 40, 3), np.float32), rows))


def test_settings_of_a_teacher_need_one(one_line) -> None:
    with pytest.raises(ConfigError, match=r"got 0\.5 without a teacher") as caught:
        TrainConfig(teacher_weight=0.5)
    one_line(str(caught.value))
