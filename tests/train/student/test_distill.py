"""One tiny filter, whole; and the promise that an interrupted one ends the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.filter import organism_log_odds, organism_probability
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.base import load_settings
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.errors import ConfigError, DataError, RunError
from rs_toolkit.folders.filter import FilterFolder
from rs_toolkit.metrics.binary import auroc
from rs_toolkit.progress import Progress
from rs_toolkit.sample.faults import non_organism
from rs_train.classifier.backbones import build_backbone
from rs_train.run_folder import settings_begun
from rs_train.student.data import class_of, prepare_distillation
from rs_train.student.distill import distill
from rs_train.student.lesson import learn_from_labels, set_targets
from rs_train.student.portion import StudentPhotos, balanced_order

CONFIG = DistillConfig(
    student="tiny",
    imgsz=32,
    epochs=5,
    patience=6,
    batch_size=8,
    learning_rate=2e-3,
    val=0.2,
    test=0.2,
)


class StopAfter(Progress):
    """Interrupts once an epoch is over."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def note(self, text: str) -> None:
        if text.startswith(f"epoch {self.epochs}/"):
            raise KeyboardInterrupt


class Notes(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """Thirty pictures of no organism."""
    root = tmp_path_factory.mktemp("others")
    rng = np.random.default_rng(0)
    for kind in ("document", "chart", "screenshot"):
        (root / kind).mkdir()
        for number in range(10):
            non_organism(rng, kind).resize((64, 48)).save(root / kind / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def finished(shapes, others, tmp_path_factory) -> Path:
    return distill(shapes, CONFIG, tmp_path_factory.mktemp("f") / "filter", not_organism=others)


def test_the_folder_is_whole(finished) -> None:
    found = FilterFolder.open(finished)
    assert [item["organism"] for item in found.classes] == [True, False]
    assert found.teacher is None and found.student == CONFIG.student
    sides = {side: found.side(side) for side in ("train", "val", "test")}
    assert sum(len(photos) for photos, _ in sides.values()) == 90
    assert all(truth.any() and not truth.all() for _, truth in sides.values())
    assert json.loads((finished / "metrics.json").read_text()) == found.metrics
    history = json.loads((finished / "history.json").read_text())
    scores = [(row["val_auroc"], -row["val_loss"]) for row in history["epochs"]]
    assert len(scores) == CONFIG.epochs + 1
    assert scores[history["best_epoch"]] == max(scores)


def test_metrics_are_those_of_the_saved_model(finished) -> None:
    found = FilterFolder.open(finished)
    photos, truth = found.side("test")
    logits = np.asarray(found.load_model()(found.preprocessing.model_input(found.pixels(photos))))
    odds = organism_log_odds(logits, found.organism)
    probability = organism_probability(odds, **found.calibration)
    metrics = found.metrics["test"]
    assert metrics["auroc"] == pytest.approx(auroc(odds, truth))
    assert metrics["accuracy"] == pytest.approx(((probability >= 0.5) == truth).mean())
    flagged = probability < found.thresholds["not_organism"]
    assert metrics["flagged"] == pytest.approx(flagged[truth].mean())
    assert metrics["organisms"] + metrics["others"] == len(photos)


def test_something_was_learnt(finished) -> None:
    """Drawn shapes on noise and pages are easily told apart; chance is 0.5."""
    assert FilterFolder.open(finished).metrics["test"]["auroc"] > 0.75
    history = json.loads((finished / "history.json").read_text())
    losses = [row["val_loss"] for row in history["epochs"]]
    assert losses[history["best_epoch"]] < 0.8 * losses[0]


def weights_of(folder: Path) -> list[np.ndarray]:
    return FilterFolder.open(folder).load_model().get_weights()


def assert_same_result(one: Path, other: Path) -> None:
    for left, right in zip(weights_of(one), weights_of(other), strict=True):
        assert np.array_equal(left, right)
    for name in ("metrics.json", "filter.json"):
        assert (one / name).read_text() == (other / name).read_text()


@pytest.mark.parametrize("changes", [{}, {"train_from": "head"}])
def test_interrupted_and_resumed_ends_the_same(shapes, others, tmp_path, finished, changes) -> None:
    # A weights file of its own, gone by the time of --resume: the checkpoint replaces it.
    own = tmp_path / "own.weights.h5"
    build_backbone(CONFIG.student, CONFIG.imgsz).save_weights(own)
    config = replace(CONFIG, **changes, **({"student_weights": str(own)} if changes else {}))
    whole, halves = finished, tmp_path / "halves"
    if changes:
        whole = distill(shapes, config, tmp_path / "whole", not_organism=others)
    with pytest.raises(KeyboardInterrupt):
        distill(shapes, config, halves, not_organism=others, progress=StopAfter(2))
    with pytest.raises(RunError, match="--resume"):
        FilterFolder.open(halves)
    own.unlink()
    saved, data, folder = settings_begun(halves, DistillConfig)
    assert (saved, data, folder) == (config, shapes, others)
    distill(data, saved, halves, not_organism=folder, resume=True)
    assert_same_result(whole, halves)


def test_weights_swapped_before_a_resume_are_noticed(shapes, others, tmp_path, one_line) -> None:
    own = tmp_path / "own.weights.h5"
    build_backbone(CONFIG.student, CONFIG.imgsz).save_weights(own)
    config, out = replace(CONFIG, student_weights=str(own)), tmp_path / "filter"
    with pytest.raises(KeyboardInterrupt):
        distill(shapes, config, out, not_organism=others, progress=StopAfter(1))
    build_backbone(CONFIG.student, CONFIG.imgsz).save_weights(own)
    with pytest.raises(RunError, match="began with other weights") as caught:
        distill(shapes, config, out, not_organism=others, resume=True)
    assert str(own) in one_line(str(caught.value))


def test_a_frozen_backbone_stays_as_it_came(shapes, others, tmp_path) -> None:
    own = tmp_path / "own.weights.h5"
    backbone = build_backbone(CONFIG.student, CONFIG.imgsz)
    backbone.save_weights(own)
    config = replace(CONFIG, train_from="head", student_weights=str(own), epochs=2)
    out = distill(shapes, config, tmp_path / "filter", not_organism=others)
    found = FilterFolder.open(out).load_model()
    for layer in (layer for layer in backbone.layers if layer.weights):
        for left, right in zip(
            layer.get_weights(), found.get_layer(layer.name).get_weights(), strict=True
        ):
            assert np.array_equal(left, right)


def test_a_teacher_alone_needs_torch(shapes, others, repository, tmp_path) -> None:
    """From photos to a finished filter, and no torch is loaded."""
    code = (
        "import runpy, sys; from pathlib import Path; from rs_train.student.distill import distill;"
        f"runpy.run_path({str(repository / 'tests' / 'tiny_backbone.py')!r});"
        "from rs_toolkit.config.distillation import DistillConfig;"
        f"config = DistillConfig(**{replace(CONFIG, epochs=1).to_dict()!r});"
        f"distill(Path({str(shapes)!r}), config, Path({str(tmp_path / 'filter')!r}),"
        f" not_organism=Path({str(others)!r}));"
        "print({'torch', 'timm', 'open_clip', 'safetensors', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "set()\n"), done.stderr[-2000:]


def test_a_finished_filter_is_left_alone(shapes, others, finished, one_line) -> None:
    before = (finished / "filter.json").stat().st_mtime_ns
    distill(shapes, CONFIG, finished, not_organism=others, resume=True)
    assert (finished / "filter.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="holds a filter already") as caught:
        distill(shapes, CONFIG, finished, not_organism=others)
    one_line(str(caught.value))


def test_other_settings_do_not_resume(shapes, others, tmp_path, one_line) -> None:
    out = tmp_path / "filter"
    with pytest.raises(KeyboardInterrupt):
        distill(shapes, CONFIG, out, not_organism=others, progress=StopAfter(1))
    with pytest.raises(RunError, match="seed") as caught:
        distill(shapes, replace(CONFIG, seed=5), out, not_organism=others, resume=True)
    one_line(str(caught.value))
    state = out / "checkpoints" / "state.json"
    (state.parent / "epoch-0001.weights.h5").write_bytes(b"not weights")
    with pytest.raises(RunError, match="epoch-0001") as caught:
        distill(shapes, CONFIG, out, not_organism=others, resume=True)
    one_line(str(caught.value))


def test_only_organisms_are_no_data(shapes, tmp_path, one_line) -> None:
    with pytest.raises(DataError, match="--not-organism") as caught:
        distill(shapes, CONFIG, tmp_path / "filter")
    one_line(str(caught.value))


def test_a_photo_of_both_folders_is_no_proof(shapes, others, tmp_path) -> None:
    folder = shutil.copytree(others, tmp_path / "others")
    shutil.copy(next((shapes / "discidae").iterdir()), folder / "chart" / "copy.png")
    (folder / "chart" / "bad.png").write_bytes(b"")
    notes = Notes()
    out = distill(
        shapes, replace(CONFIG, epochs=0), tmp_path / "f", not_organism=folder, progress=notes
    )
    said = [note for note in notes.notes if note.startswith("left out")]
    assert len(said) == 2 and "bad.png" in said[0] and "1 photos of --not-organism" in said[1]
    found = FilterFolder.open(out)
    assert [p.split for p in found.photos if p.path.endswith(("copy.png", "bad.png"))] == [None] * 2


def test_duplicates_stay_together_and_earlier_sides_are_kept(
    shapes, others, tmp_path, finished
) -> None:
    folder = shutil.copytree(others, tmp_path / "others")
    for number in range(6):
        shutil.copy(folder / "chart" / "03.png", folder / "chart" / f"copy{number}.png")
    config = replace(CONFIG, epochs=0, splits_from=str(finished), seed=9)
    found = FilterFolder.open(distill(shapes, config, tmp_path / "f", not_organism=folder))
    before = {p.content: p.split for p in FilterFolder.open(finished).photos}
    assert {p.content: p.split for p in found.photos} == before
    copies = {p.split for p in found.photos if p.path.startswith("chart/") and p.group}
    assert len(copies) == 1


def test_a_cameras_animals_and_empty_frames_stay_together(shapes, others, tmp_path) -> None:
    """A site of both folders is on one side; one of one folder alone may be on any."""
    for name, source in (("organism", shapes), ("other", others)):
        folder = shutil.copytree(source, tmp_path / name)
        paths = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
        rows = [f"{path},{name},camera {row % 8}" for row, path in enumerate(paths)]
        (folder / "metadata.csv").write_text("\n".join(["file_path,family,site", *rows]))
    config = replace(CONFIG, group_by="site")
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=config.imgsz))
    found = prepare_distillation(
        tmp_path / "organism", tmp_path / "other", config, tmp_path / "f", cache, Progress()
    )
    sides = {(photo.site, photo.split) for photo in found.photos}
    assert len(sides) == 8 and {side for _, side in sides} == {"train", "val", "test"}
    assert len({photo.site for photo in found.photos[: found.data_photos]}) == 8


def test_photos_of_one_path_in_both_folders_are_no_group(shapes, others, tmp_path) -> None:
    for name, source in (("organism", shapes), ("other", others)):
        (tmp_path / name / "a").mkdir(parents=True)
        for number, file in enumerate(sorted(source.rglob("*.png"))):
            shutil.copy(file, tmp_path / name / "a" / f"{number}.png")
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=CONFIG.imgsz))
    found = prepare_distillation(
        tmp_path / "organism", tmp_path / "other", CONFIG, tmp_path / "f", cache, Progress()
    )
    data, other = found.photos[: found.data_photos], found.photos[found.data_photos :]
    splits = {photo.path: photo.split for photo in data}
    assert {photo.path for photo in other} <= splits.keys()
    assert any(photo.split != splits[photo.path] for photo in other)


@pytest.fixture
def with_blanks(shapes, others, tmp_path) -> Path:
    """A table of photos with families, with blanks and people, and one without a label."""
    folder = shutil.copytree(shapes, tmp_path / "data")
    shutil.copytree(others, folder, dirs_exist_ok=True)
    labels = {"document": "Blank", "chart": "human", "screenshot": "Homo sapiens"}
    paths = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
    names = [labels.get(path.split("/")[0], path.split("/")[0]) for path in paths]
    rows = [f"{path},{name}" for path, name in zip(paths, names, strict=True)]
    draw = Image.new("RGB", (40, 40), "red")
    draw.save(folder / "nameless.png")
    (folder / "metadata.csv").write_text("\n".join(["file_path,family", *rows, "nameless.png,"]))
    return folder


def test_the_datas_own_blanks_and_people_become_other_photos(with_blanks, tmp_path) -> None:
    config = replace(CONFIG, blanks="other")
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=config.imgsz))
    asked = (with_blanks, None, config, tmp_path / "f", cache, Progress())
    found = prepare_distillation(*asked)
    own = np.array([photo.no_organism is not None for photo in found.photos])
    assert own.sum() == 30
    assert found.of_data.all()
    assert (found.organism == ~own).all()
    used = np.array([photo.split is not None for photo in found.photos])
    assert [photo.path for photo in found.photos if photo.split is None] == ["nameless.png"]
    assert found.labelled[used].all()
    truth = set_targets(found, learn_from_labels(), config.teacher_share).truth
    assert (truth[used] == ~own[used]).all()
    classes = {class_of(photo, False) for photo in found.photos if photo.no_organism}
    assert classes == {"other:blank", "other:human"}
    assert found.pixels(cache)(int(np.flatnonzero(own)[0])).shape == (32, 32, 3)
    again = prepare_distillation(*asked)
    assert (again.organism == found.organism).all()
    assert again == replace(again, photos=found.photos)


def test_own_blanks_and_a_folder_of_others_go_together(with_blanks, others, tmp_path) -> None:
    config = replace(CONFIG, blanks="other")
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=config.imgsz))
    out = tmp_path / "f"
    found = prepare_distillation(with_blanks, others, config, out, cache, Progress())
    assert (found.of_data.sum(), found.organism.sum()) == (91, 61)
    # All photos of the folder are copies of photos of the data.
    assert all(photo.split is None for photo in found.photos[91:])


def test_own_blanks_are_left_out_unless_asked_for_and_that_is_said(with_blanks, tmp_path) -> None:
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=CONFIG.imgsz))
    notes = Notes()
    found = prepare_distillation(with_blanks, None, CONFIG, tmp_path / "f", cache, notes)
    assert sum(photo.split is not None for photo in found.photos) == 60
    (said,) = [note for note in notes.notes if "without a label" in note]
    assert "left out: 31 photos" in said and "--blanks other (30 of them" in said
    with pytest.raises(DataError, match="or --blanks other"):
        set_targets(found, learn_from_labels(), CONFIG.teacher_share)


@pytest.fixture(scope="module")
def taught(raw_clip, tmp_path_factory) -> DistillConfig:
    """Settings with a teacher that has opinions, though no knowledge."""
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.toml"
    prompts.write_text(
        '[organism.disc]\nnames = ["a red disc"]\n[organism.other]\nnames = ["a shape"]\n'
        '[not_organism.page]\nnames = ["a page of text"]\n'
    )
    teacher, weights = map(str, raw_clip)
    return replace(CONFIG, teacher=teacher, teacher_weights=weights, prompts=str(prompts), epochs=4)


@pytest.fixture(scope="module")
def distilled(shapes, others, taught, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("distilled") / "filter"
    return distill(shapes, taught, out, not_organism=others)


def test_a_teacher_gives_classes_and_is_followed(
    distilled, shapes, others, taught, tmp_path
) -> None:
    found = FilterFolder.open(distilled)
    names = [(item["name"], item["organism"]) for item in found.classes]
    assert names == [("disc", True), ("other", True), ("page", False)]
    assert found.teacher is not None and len(found.teacher["fingerprint"]) == 16
    known = found.verdicts.target[found.verdicts.truth]
    # A part of the target is the teacher's.
    assert known.min() >= 0.7 and known.max() < 1
    metrics = found.metrics["test"]
    assert 0 <= metrics["teacher_auroc"] <= 1 and -1 <= metrics["cosine"] <= 1
    losses = [
        row["val_loss"] for row in json.loads((distilled / "history.json").read_text())["epochs"]
    ]
    assert min(losses) < 0.8 * losses[0]
    untaught = distill(shapes, replace(taught, epochs=0), tmp_path / "f", not_organism=others)
    before = FilterFolder.open(untaught).metrics["test"]["cosine"]
    # A student that was not taught is about 0 here, one that was about 0.3.
    assert metrics["cosine"] > before + 0.1


def test_with_a_teacher_too_resuming_ends_the_same_and_embeds_nothing(
    shapes, others, taught, distilled, tmp_path, monkeypatch
) -> None:
    from rs_train.teacher.teacher import Teacher

    asked = []
    embed = Teacher.embed_images
    monkeypatch.setattr(Teacher, "embed_images", lambda *a: asked.append(len(a[1])) or embed(*a))
    out = tmp_path / "halves"
    with pytest.raises(KeyboardInterrupt):
        distill(shapes, taught, out, not_organism=others, progress=StopAfter(2))
    distill(shapes, taught, out, not_organism=others, resume=True)
    assert_same_result(distilled, out)
    assert asked == []


def test_photos_without_a_label_are_judged_by_the_teacher(shapes, others, taught, tmp_path) -> None:
    folder = shutil.copytree(shapes, tmp_path / "shapes")
    # Photos outside of the folders of classes have no label.
    for number, file in enumerate(sorted((folder / "discidae").iterdir())[:8]):
        file.rename(folder / f"{number}.png")
    config = replace(taught, epochs=0)
    found = FilterFolder.open(distill(folder, config, tmp_path / "f", not_organism=others))
    rows = [row for row, photo in enumerate(found.photos) if "/" not in photo.path]
    assert len(rows) == 8 and all(found.photos[row].split for row in rows)
    target = found.verdicts.target[rows]
    assert np.array_equal(found.verdicts.truth[rows], target >= 0.5)


def test_without_a_teacher_photos_without_a_label_are_left_out(shapes, others, tmp_path) -> None:
    folder = shutil.copytree(shapes, tmp_path / "shapes")
    for number, file in enumerate(sorted((folder / "discidae").iterdir())[:8]):
        file.rename(folder / f"{number}.png")
    notes = Notes()
    config = replace(CONFIG, epochs=0)
    distill(folder, config, tmp_path / "filter", not_organism=others, progress=notes)
    assert any("8 photos without a label" in note for note in notes.notes)


def photos_of(truth: list[bool], labels: list[int]) -> StudentPhotos:
    count, kinds = len(truth), np.array(truth)
    shares = Shares(np.arange(count), np.ones(count))
    views = PixelSource(lambda rows, numbers: np.zeros((len(rows), 4, 4, 3), np.uint8))
    return StudentPhotos(
        np.arange(count), views, kinds, kinds * 1.0, np.array(labels), shares, None
    )


def test_an_epoch_shows_both_kinds_alike_and_rare_families_more() -> None:
    train = photos_of([True] * 110 + [False] * 10, [0] * 100 + [1] * 10 + [2] * 10)
    orders = [balanced_order(train, CONFIG, epoch) for epoch in range(3)]
    assert np.array_equal(orders[1], balanced_order(train, CONFIG, 1))
    assert not np.array_equal(orders[0], orders[1])
    for order in orders:
        assert train.truth[order].mean() == 0.5
        shown = np.bincount(train.labels[order])
        assert shown[1] / shown[0] > 0.2


def test_divergence_is_one_line(shapes, others, tmp_path, one_line, monkeypatch) -> None:
    def wild(*_: object) -> object:
        import keras

        return keras.optimizers.SGD(float("inf"))

    monkeypatch.setattr("rs_train.student.fit.adamw", wild)
    out = tmp_path / "filter"
    with pytest.raises(RunError, match="--learning-rate") as caught:
        distill(shapes, replace(CONFIG, train_from="head"), out, not_organism=others)
    one_line(str(caught.value))
    assert json.loads((out / "checkpoints" / "state.json").read_text())["state"]["epoch"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"imgsz": 8},
        {"epochs": -1},
        {"train_from": "middle"},
        {"val": 0.5, "test": 0.5},
        {"prompts": "x.toml"},
        {"nothing": 1},
    ],
)
def test_wrong_settings_are_refused(one_line, changes) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(DistillConfig, changes)
    one_line(str(caught.value))


def test_the_command(shapes, others, tmp_path, monkeypatch, capsys) -> None:
    from rs_toolkit.cli.main import main

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["rs-toolkit", "distill", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0)

    monkeypatch.chdir(tmp_path)
    flags = ("--student", CONFIG.student, "--imgsz", 32, "--epochs", 1, "--train-from", "head")
    assert run(shapes, "--not-organism", others, *flags) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "AUROC" in shown[0] and shown[1] == str(Path("filters") / shapes.name)
    assert run("--resume", shown[1], "--epochs", 3) == 2
    assert run() == 2
    assert FilterFolder.open(Path(shown[1])).metrics
