"""What a run is prepared from: splits, those of an earlier run, and what photos count for."""

from __future__ import annotations

import csv
import json
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.photos.photo import read_photo
from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.duplicates import search
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data import index as data_index
from rs_toolkit.data import known_files
from rs_toolkit.data.index import read_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.errors import DataError
from rs_toolkit.progress import Progress
from rs_train.classifier import fine_tune as fit
from rs_train.classifier import linear_probe as head
from rs_train.classifier import probe
from rs_train.classifier import train as training
from rs_train.classifier.backbones import build_backbone
from rs_train.classifier.prepare import prepare
from rs_train.run_folder import settings_begun

CONFIG = TrainConfig(
    backbone="tiny", weights="none", imgsz=32, epochs=1, fine_tune_from="all", val=0.2, test=0.2
)


class Notes(Progress):
    """Progress that remembers what was noted."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def prepared(data: Path, config: TrainConfig, run: Path, notes: Notes | None = None):
    cache = PhotoCache(run / "cache", Preprocessing(size=config.imgsz))
    return prepare(data, config, run, cache, notes or Notes())[0]


def test_the_report_of_the_splits_is_noted_and_written(shapes, tmp_path) -> None:
    data = tmp_path / "data"
    shutil.copytree(shapes, data)
    (data / "solitidae").mkdir()
    shutil.copy(shapes / "discidae" / "00.png", data / "solitidae" / "copy.png")
    notes = Notes()
    photos = prepared(data, CONFIG, tmp_path / "run", notes)
    report = json.loads((tmp_path / "run" / "splits.json").read_text())
    assert report["group_by"] == "observation"
    assert sum(report["photos"].values()) == 61
    # Its only photo is a copy of another class's, and so in the same group.
    assert report["missing"] == {side: {"solitidae": "1 group"} for side in ("val", "test")}
    assert any("1 class without a test photo (1: 1 group): solitidae" in t for t in notes.texts)
    assert photos == read_index(tmp_path / "run" / "index.parquet")


def test_a_start_with_everything_cached_is_the_same(shapes, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(known_files, "_CLOCK_STEP_NS", -(10**18))
    data = shutil.copytree(shapes, tmp_path / "data")
    shutil.copy(data / "discidae" / "00.png", data / "discidae" / "copy.png")
    (data / "discidae" / "damaged.png").write_bytes(b"\x89PNG")
    cache = PhotoCache(tmp_path / "cache", Preprocessing(size=CONFIG.imgsz))
    first = prepare(data, CONFIG, tmp_path / "first", cache, Notes())
    read: list[str] = []

    def reading(path: Path) -> bytes:
        read.append(path.name)
        return read_photo(path)

    monkeypatch.setattr(data_index, "read_photo", reading)
    monkeypatch.delattr(search, "near_duplicates")
    assert prepare(data, CONFIG, tmp_path / "second", cache, Notes()) == first
    # What could not be read is tried again.
    assert read == ["damaged.png"]
    for name in ("index.parquet", "classes.json", "splits.json", "config.json"):
        assert (tmp_path / "second" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    assert read_index(tmp_path / "second" / "index.parquet") == first.photos


def test_training_separates_no_near_duplicates_and_no_observation(shapes, tmp_path) -> None:
    """Without cleaning; it used to know copies of the same bytes alone."""
    data = shutil.copytree(shapes, tmp_path / "data")
    for n in range(4):
        blotches = np.random.default_rng(n).integers(0, 256, (7, 7, 3), dtype=np.uint8)
        scene = Image.fromarray(blotches).resize((96, 96), Image.BICUBIC)
        for side in (96, 80, 64):
            scene.resize((side, side)).save(data / "discidae" / f"near{n}-{side}.png")
    paths = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.png"))
    rows = []
    for path in paths:
        family, name = path.split("/")
        burst = f"burst of {family}" if name.endswith("1.png") else ""
        rows.append(f"{path},{family},{burst}")
    (data / "metadata.csv").write_text("\n".join(["path,family,seq_id", *rows]))
    for seed in range(3):
        config, notes = replace(CONFIG, seed=seed), Notes()
        photos = prepared(data, config, tmp_path / f"run{seed}", notes)
        sides: dict[str, set[str | None]] = defaultdict(set)
        for photo in photos:
            sides[photo.observation or photo.path.split("-")[0]].add(photo.split)
        assert all(len(found) == 1 for found in sides.values())
        assert {"burst of discidae", "discidae/near0"} <= sides.keys()
        assert any("near-duplicates: 12 of 72 photos, in 4 groups" in text for text in notes.texts)
        assert any(text.startswith("the test answers: how good at ") for text in notes.texts)
    photos = prepared(data, replace(CONFIG, group_by="photo"), tmp_path / "off")
    assert not any(photo.group for photo in photos)


def test_a_photo_that_stands_under_two_classes_is_named(shapes, tmp_path) -> None:
    data, notes = tmp_path / "data", Notes()
    shutil.copytree(shapes, data)
    shutil.copy(data / "discidae" / "00.png", data / "discidae" / "same.png")
    prepared(data, CONFIG, tmp_path / "one", notes)
    assert not any("several classes" in text for text in notes.texts)
    other = next(path for path in sorted(data.iterdir()) if path.name != "discidae")
    shutil.copy(data / "discidae" / "00.png", other / "copy.png")
    prepared(data, CONFIG, tmp_path / "two", notes)
    (note,) = [text for text in notes.texts if "several classes" in text]
    for path in ("discidae/00.png (discidae)", f"{other.name}/copy.png ({other.name})"):
        assert path in note


def test_a_second_run_keeps_the_splits_of_the_first(shapes, tmp_path) -> None:
    """Half of the photos first; then all, under other names, by another seed and rank."""
    data = tmp_path / "data"
    for folder in sorted(shapes.iterdir()):
        (data / folder.name).mkdir(parents=True)
        for file in sorted(folder.iterdir())[::2]:
            shutil.copy(file, data / folder.name)
    first = {p.sha256: p.split for p in prepared(data, CONFIG, tmp_path / "first")}
    for folder in sorted(shapes.iterdir()):
        shutil.copytree(folder, tmp_path / "all" / f"x{folder.name}")
    config = replace(CONFIG, seed=5, splits_from=str(tmp_path / "first"))
    notes = Notes()
    photos = prepared(tmp_path / "all", config, tmp_path / "second", notes)
    assert len(first) == 30
    assert {p.sha256: p.split for p in photos if p.sha256 in first} == first
    assert "30 photos keep the side that they had, 30 are new" in notes.texts


def test_the_rank_that_auto_stands_for_is_recorded(shapes, tmp_path) -> None:
    notes, run = Notes(), tmp_path / "run"
    prepared(shapes, replace(CONFIG, rank="auto"), run, notes)
    (said,) = [text for text in notes.texts if text.startswith("rank auto")]
    assert said.startswith("rank auto: family.")
    settings, _, _ = settings_begun(run, TrainConfig)
    assert settings == replace(CONFIG, rank="family")
    assert json.loads((run / "classes.json").read_text())["rank"] == "family"
    # A resumed run has the recorded settings, and chooses no more.
    cache = PhotoCache(run / "cache", Preprocessing(size=settings.imgsz))
    again = Notes()
    assert prepare(shapes, settings, run, cache, again).config == settings
    assert again.texts == []


def test_a_wrong_earlier_run_fails_before_a_photo_is_opened(shapes, tmp_path, one_line) -> None:
    config = replace(CONFIG, splits_from=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere: no index") as caught:
        prepared(shapes, config, tmp_path / "run")
    one_line(str(caught.value))
    assert not (tmp_path / "run").exists()


def test_both_stages_heed_copies_and_weights(shapes, tmp_path, monkeypatch) -> None:
    """Six photos of each class are one group; stage 1 leaves out what weighs nothing."""
    with (tmp_path / "data.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "family", "group"])
        for path in sorted(shapes.rglob("*.png")):
            row = path.relative_to(shapes).as_posix()
            group = path.parent.name if path.stem < "06" else ""
            table.writerow([row, path.parent.name, group])
            (tmp_path / row).parent.mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / row)
    weights = tmp_path / "made.weights.h5"
    build_backbone("tiny", 32).save_weights(weights)
    seen = {}

    def prepare_light(*arguments):
        found = prepare(*arguments)
        light = [replace(p, weight=0.0) if p.path.endswith("7.png") else p for p in found.photos]
        seen["train"] = [p for p in light if p.split == "train"]
        return found._replace(photos=tuple(light))

    def stage_1(features, labels, weights, *rest):
        # First the recipe's, then the probe's.
        seen.setdefault("weights", weights)
        return head.fit_head(features, labels, weights, *rest)

    def stage_2(pixels, labels, preprocessing, *, shares, **rest):
        seen["shares"] = shares
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "prepare", prepare_light)
    monkeypatch.setattr(probe, "fit_head", stage_1)
    monkeypatch.setattr(fit, "training_epoch", stage_2)
    with pytest.raises(KeyboardInterrupt):
        config = replace(CONFIG, weights=str(weights), balance=0.0)
        training.train(tmp_path / "data.csv", config, tmp_path / "run")
    photos = seen["train"]
    used = [p for p in photos if p.weight]
    assert len(used) < len(photos)
    # Of balance 0, each photo counts once, and each of six copies a sixth; two views of each.
    sixths = [1 / 6 if p.group else 1.0 for p in used]
    assert 1 / 6 in sixths
    assert np.allclose(seen["weights"], np.repeat(sixths, 2))
    assert seen["shares"].weights.tolist() == [p.weight for p in photos]
    named = {p.group for p in photos if p.group}
    alone = sum(p.group is None for p in photos)
    assert len(set(seen["shares"].groups.tolist())) == len(named) + alone
