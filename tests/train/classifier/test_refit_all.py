"""A refit on every photo: each is judged out of fold, and resuming is exact.

Trainings end after stage 1, which is enough to tell models apart; test_refit.py has epochs.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rs_export import ExportSettings, export_run
from rs_runtime.classify import Classifier
from rs_runtime.kit.kit import open_kit
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import SIDES, Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.errors import DataError, ExportError, RunError
from rs_toolkit.evaluation.compare import compare_runs
from rs_toolkit.evaluation.model import run_classifier
from rs_toolkit.evaluation.photos import choose_photos
from rs_toolkit.evaluation.run_page import write_run_page
from rs_toolkit.folders.folds import Folds, fold_folder
from rs_toolkit.folders.run import Run, read_metrics
from rs_toolkit.progress import Progress
from rs_train.classifier import train as module
from rs_train.classifier.backbones import build_backbone
from rs_train.classifier.folds import fold_logits
from rs_train.classifier.model import feature_extractor
from rs_train.classifier.tau import normalized
from rs_train.classifier.train import train


class Lines(Progress):
    """Progress that keeps its notes."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    path = tmp_path_factory.mktemp("weights") / "made.weights.h5"
    build_backbone("tiny", 32).save_weights(path)
    return TrainConfig(
        backbone="tiny", weights=str(path), imgsz=32, epochs=0, batch_size=32, patience=0,
        learning_rate=1e-2, val=0.2, test=0.2, fine_tune_from="block1", refit="all", refit_folds=2,
        group_by="photo", tau_head=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def photos(shapes, tmp_path_factory) -> Path:
    """The shapes, and a class that is one photo: no fold can judge it."""
    root = tmp_path_factory.mktemp("photos") / "shapes"
    shutil.copytree(shapes, root)
    (root / "singulidae").mkdir()
    (root / "trigonidae" / "00.png").rename(root / "singulidae" / "00.png")
    return root


@pytest.fixture(scope="module")
def learned() -> list[np.ndarray]:
    """The labels that each repetition was given."""
    return []


@pytest.fixture(scope="module")
def taus() -> list[float]:
    """What the head of each trained model was normalized by."""
    return []


@pytest.fixture(scope="module")
def means() -> list[np.ndarray]:
    """The mean features that each head was normalized with."""
    return []


@pytest.fixture(scope="module")
def run(photos, config, learned, taus, means, tmp_path_factory) -> Path:
    class Watched(module.RefitCourse):
        def __init__(self, model: Any, members: Any, *others: Any) -> None:
            learned.append(members.labels)
            super().__init__(model, members, *others)

    def watched(*given: Any) -> Any:
        taus.append(given[-1])
        means.append(given[-2])
        return normalized(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "RefitCourse", Watched)
        patch.setattr(module, "choose_tau", lambda *others: 0.5)
        patch.setattr(module, "normalized", watched)
        return train(photos, config, tmp_path_factory.mktemp("runs") / "all")


def test_each_photo_is_judged_by_a_model_that_has_not_learned_from_it(run, learned) -> None:
    opened = Run.open(run)
    folds, (members, labels) = opened.folds(), opened.split("all")
    assert [len(seen) for seen in learned] == [*(60 - np.bincount(folds.numbers)), 60]
    judged, kept = opened.held_out("test")
    assert len(judged) == len(kept) == 59
    assert (folds.judged == (labels != 2)).all(), "the class of one photo"
    logits = opened.test_logits()
    assert np.array_equal(logits, opened.val_logits())
    for number in folds.names():
        keras_model = fold_model(run, number)
        own = [x for x, fold in zip(members, folds.numbers, strict=True) if fold == number]
        inputs = opened.preprocessing.model_input(opened.pixels(own))
        rows = folds.numbers[folds.judged] == number
        told = folds.judged[folds.numbers == number]
        assert logits[rows] == pytest.approx(np.asarray(keras_model(inputs))[told], abs=1e-3)
        assert not (fold_folder(run, number) / "checkpoints").exists()


def test_all_models_have_the_tau_of_the_first(run, taus) -> None:
    assert taus == [0.5] * 4
    assert json.loads((run / "history.json").read_text())["tau"] == 0.5


def test_a_fold_takes_no_part_in_the_head_of_its_model(run, means) -> None:
    opened = Run.open(run)
    folds, members = opened.folds(), opened.split("all")[0]
    for number in folds.names():
        kept = [x.split == "val" for x in members] & (folds.numbers != number)
        own = [photo for photo, one in zip(members, kept, strict=True) if one]
        inputs = opened.preprocessing.model_input(opened.pixels(own))
        features = feature_extractor(fold_model(run, number))(inputs)
        assert means[1 + number] == pytest.approx(np.asarray(features).mean(0), abs=1e-4)


def fold_model(run: Path, number: int) -> Any:
    import keras

    return keras.models.load_model(fold_folder(run, number) / "model.keras", compile=False)


def test_scores_say_that_they_are_out_of_fold(run) -> None:
    metrics, opened = read_metrics(run), Run.open(run)
    assert metrics["out_of_fold"] == {"folds": 2, "photos": 59, "left_out": 1}
    assert metrics["test"]["n"] == metrics["question"]["test_photos"] == 59
    right = opened.test_logits().argmax(1) == opened.held_out("test")[1]
    assert metrics["test"]["accuracy"] == pytest.approx(right.mean())
    assert metrics["first_model"]["test"]["n"] == len(opened.split("test")[0])
    saved = json.loads((run / "calibration.json").read_text())
    assert "without its fold" in saved["fitted_on"] and saved["temperature"] > 0


def test_finished_folds_are_kept_and_an_interrupted_one_goes_on(tmp_path) -> None:
    photos = [Photo(f"{number}.png", Taxon()) for number in range(5)]
    folds = Folds(np.array([0, 1, 1, 2, 0]), np.ones(5, bool))
    begun: list[tuple[Path, list[Photo]]] = []

    def learn(folder: Path, others: list[Photo]) -> Any:
        begun.append((folder, others))
        folder.mkdir(parents=True, exist_ok=True)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return tiny

    def answer(model: Any, held: list[Photo]) -> Any:
        return np.array([[float(photo.path[0]), 0] for photo in held], np.float32)

    import keras

    tiny = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    with pytest.raises(KeyboardInterrupt):
        fold_logits(tmp_path, photos, folds, learn, answer, Progress())
    folders = [fold_folder(tmp_path, number) / "checkpoints" for number in range(3)]
    assert [folder.exists() for folder in folders] == [False, True, False]
    logits = fold_logits(tmp_path, photos, folds, learn, answer, Progress())
    assert logits[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert [folder for folder, _ in begun] == [folders[0], folders[1], folders[1], folders[2]]
    assert [photo.path for photo in begun[2][1]] == ["0.png", "3.png", "4.png"]
    # A damaged file is made again.
    (fold_folder(tmp_path, 2) / "logits.npy").write_bytes(b"damaged")
    assert np.array_equal(fold_logits(tmp_path, photos, folds, learn, answer, Progress()), logits)
    assert begun[-1][0] == folders[2] and len(begun) == 5
    # Finished altogether, nothing is learned.
    fold_logits(tmp_path, photos, folds, learn, answer, Progress())
    assert len(begun) == 5


def test_what_reads_a_run_knows_that_it_has_learned_from_every_photo(run, tmp_path) -> None:
    opened, progress = Run.open(run), Lines()
    assert opened.learned == SIDES
    with pytest.raises(DataError, match="learned from every photo of its run"):
        choose_photos(None, opened, opened.data_fingerprint, None, None, "", progress)
    choose_photos(None, opened, opened.data_fingerprint, "test", None, "", progress)
    assert "has learned from the test photos" in progress.said[0]
    everything = choose_photos(None, opened, opened.data_fingerprint, "all", None, "", progress)
    assert set(everything.seen) == set(SIDES)
    asked = []

    def keep(logits: np.ndarray, labels: np.ndarray, *_: Any) -> dict[str, Any]:
        asked.append((len(logits), len(labels)))
        return {"temperature": 1.0}

    run_classifier(opened, keep, None, progress)
    assert asked == [(59, 59)]
    assert "by a model that was trained, in the same way, without" in " ".join(
        write_run_page(run, progress).read_text().split()
    )
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    compared = compare_runs([run, copy], progress)
    assert compared["runs"][1]["against_first"]["photos"] == 59
    assert "every photo" in compared["notes"][0]


@pytest.mark.parametrize("name", ["test_logits.npy", "folds.json"])
def test_lost_evidence_is_one_line(run, name, one_line) -> None:
    kept = (run / name).read_bytes()
    (run / name).write_bytes(kept[:40])
    try:
        with pytest.raises(RunError, match="train again") as caught:
            Run.open(run).test_logits()
        one_line(str(caught.value))
    finally:
        (run / name).write_bytes(kept)


def test_time_counts_the_folds() -> None:
    plain = TrainConfig(val=0.2, test=0.2)
    assert plain.passes == 1
    assert replace(plain, refit="val").passes == pytest.approx(1 + 0.8 / 0.6)
    # Four of five photos five times, and all once.
    assert replace(plain, refit="all").passes == pytest.approx(1 + 5 / 0.6)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> tuple[Path, list[str]]:
    """The folder of its export, and what was said."""
    out, progress = tmp_path_factory.mktemp("export"), Lines()
    settings = ExportSettings(recipes=("tflite_fp32", "tflite_sp50_int8"))
    export_run(run, settings, out=out, progress=progress)
    return out, progress.said


def test_export_measures_the_models_of_folds_and_ships_the_other(run, exported) -> None:
    out, said = exported
    assert said[0].startswith("left out: tflite_sp50_int8")
    report, metrics = json.loads((out / "report.json").read_text()), read_metrics(run)["test"]
    for name in ("float", "tflite_fp32"):
        row = report["table"][name]
        for score in ("accuracy", "macro_f1", "ece"):
            assert row[score] == pytest.approx(metrics[score], abs=1e-4), (name, score)
    assert report["counts"]["train"] == 60 and report["counts"]["test"] == 59
    assert report["verdicts"]["tflite_fp32"]["verdict"] != "lost"
    told = (out / "report.md").read_text()
    assert "Measured and calibrated by 2 other models" in told
    assert "the 59 test photos are those of all parts" in told and "1 could not be judged" in told
    opened = Run.open(run)
    with open_kit(out / f"{opened.name}.rskit") as kit:
        classifier = Classifier(kit)
        pixels = opened.pixels(opened.split("all")[0])
        wanted = opened.load_model()(opened.preprocessing.model_input(pixels))
        assert classifier.logits(pixels) == pytest.approx(np.asarray(wanted), abs=1e-3)


def test_recipes_that_train_again_are_refused(run, tmp_path, one_line) -> None:
    with pytest.raises(ExportError, match="tflite_sp50_int8: cannot be judged") as caught:
        export_run(run, ExportSettings(recipes=("tflite_sp50_int8",)), out=tmp_path)
    one_line(str(caught.value))
