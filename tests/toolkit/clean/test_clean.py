from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.findings import read_findings
from rs_toolkit.checks.organisms import OrganismFilter
from rs_toolkit.clean.policy import Policy
from rs_toolkit.clean.run import clean
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import read_index
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.errors import DataError

CONFIG = TrainConfig(weights="none", imgsz=64, val=0.2, test=0.2)
FAMILIES = ("anatidae", "corvidae", "felidae")
COUNT = 30


def scene(generator: np.random.Generator) -> np.ndarray:
    """A picture with structure of its own: sums of random waves."""
    y, x = np.mgrid[:96, :96] / 96
    waves = [
        np.sin(
            generator.uniform(3, 20) * x + generator.uniform(3, 20) * y + generator.uniform(0, 6)
        )
        for _ in range(6)
    ]
    tint = generator.uniform(0.4, 1, 3)
    field = np.add.reduce(waves)
    grey = 127 + 100 * field / np.abs(field).max()
    noise = generator.normal(0, 12, (96, 96, 3))
    return np.clip(grey[..., None] * tint + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Three families; one photo mislabelled, one repeated smaller, one black, one cut short."""
    monkeypatch.setenv("RS_CACHE", str(tmp_path / "cache"))
    generator, root = np.random.default_rng(0), tmp_path / "data"
    for family in FAMILIES:
        (root / family).mkdir(parents=True)
        for n in range(COUNT):
            Image.fromarray(scene(generator)).save(root / family / f"{n:02}.jpg", quality=95)
    small = Image.open(root / "felidae/00.jpg").resize((80, 80))
    small.save(root / "felidae" / "00-small.jpg", quality=80)
    Image.new("RGB", (96, 96)).save(root / "corvidae" / "black.png")
    (root / "anatidae" / "cut.jpg").write_bytes((root / "anatidae/00.jpg").read_bytes()[:300])
    return root


def embed(photos, root, cache) -> np.ndarray:
    """Features that tell families apart; some corvidae look like felidae."""
    generator = np.random.default_rng(1)
    features = generator.normal(0, 0.3, (len(photos), 12)).astype(np.float32)
    for row, photo in enumerate(photos):
        family = FAMILIES.index(photo.taxon.family)
        features[row, 2 if photo.path in WRONG else family] += 3
    return features


WRONG = {f"corvidae/{n:02}.jpg" for n in (3, 7, 11)}


def test_a_clean_folder_holds_what_was_found_and_decided(data, tmp_path) -> None:
    out = tmp_path / "clean"
    found = clean(data, CONFIG, Policy(), out, embed=embed)
    photos = {photo.path: photo for photo in read_index(out / "index.parquet")}
    flags: dict[str, set[str]] = {}
    for finding in read_findings(out / "findings.parquet"):
        flags.setdefault(finding.path, set()).add(finding.flag)
    assert {path for path, names in flags.items() if "label_noise" in names} >= WRONG
    assert photos["felidae/00.jpg"].group == photos["felidae/00-small.jpg"].group is not None
    assert photos["felidae/00.jpg"].split == photos["felidae/00-small.jpg"].split
    assert "near_duplicate" in flags["felidae/00-small.jpg"]
    assert flags["corvidae/black.png"] >= {"blank", "dark"}
    assert photos["anatidae/cut.jpg"].error and flags["anatidae/cut.jpg"] == {"unreadable"}
    for photo in photos.values():
        assert photo.weight == 1 or photo.split == "train"
    assert {item.path for item in found.decided} >= {
        path for path in WRONG if photos[path].split == "train"
    }
    facts = json.loads((out / "clean.json").read_text())
    assert facts["rank"] == "family" and facts["classes"] == list(FAMILIES)
    for name in ("clean.md", "decided.csv", "audit.html", "audit.json", "splits.json"):
        assert (out / name).stat().st_size > 0
    assert "label noise" in found.summary


def test_the_same_data_give_the_same_index(data, tmp_path) -> None:
    one = clean(data, CONFIG, Policy(), tmp_path / "one", embed=embed)
    other = clean(data, CONFIG, Policy(), tmp_path / "other", embed=embed)
    assert one.photos == other.photos and one.findings == other.findings


def test_cleaning_again_applies_decisions_and_moves_nothing(data, tmp_path) -> None:
    out = tmp_path / "clean"
    first = {photo.path: photo for photo in clean(data, CONFIG, Policy(), out, embed=embed).photos}
    kept = next(path for path in sorted(WRONG) if first[path].split == "train")
    dropped = next(p.path for p in first.values() if p.split == "train" and p.path not in WRONG)
    decide(out, first[kept], action="keep")
    decide(out, first[dropped], action="drop")
    generator = np.random.default_rng(5)
    for n in range(9):
        Image.fromarray(scene(generator)).save(data / "felidae" / f"new{n}.jpg")
    again = {photo.path: photo for photo in clean(data, CONFIG, Policy(), out, embed=embed).photos}
    assert again[kept].weight == 1 and again[dropped].weight == 0
    for path, photo in first.items():
        assert again[path].split == photo.split
    assert any(again[f"felidae/new{n}.jpg"].split for n in range(9))


def decide(out: Path, photo, **fields) -> None:
    row = {"time": "2026-01-01T00:00:00+00:00", "path": photo.path, "sha256": photo.sha256}
    with (out / "decisions.jsonl").open("a") as file:
        file.write(json.dumps({**row, **fields}) + "\n")


def test_what_a_person_told_apart_is_no_group(data, tmp_path) -> None:
    out = tmp_path / "clean"
    photos = {photo.path: photo for photo in clean(data, CONFIG, Policy(), out).photos}
    one, other = photos["felidae/00.jpg"], photos["felidae/00-small.jpg"]
    decide(out, one, action="different", group={other.path: other.sha256})
    photos = {photo.path: photo for photo in clean(data, CONFIG, Policy(), out).photos}
    assert photos[one.path].group is photos[other.path].group is None


def test_without_features_labels_are_not_judged(data, tmp_path) -> None:
    found = clean(data, CONFIG, Policy(), tmp_path / "clean")
    assert not {"label_noise", "outlier"} & {item.flag for item in found.findings}
    assert "near_duplicate" in {item.flag for item in found.findings}


def test_test_labels_do_not_shape_training_weights(data, tmp_path) -> None:
    """Weights stay what they are when every validation and test label is another."""
    out = tmp_path / "one"
    first = {photo.path: photo for photo in clean(data, CONFIG, Policy(), out, embed=embed).photos}
    rows = ["path,family"]
    for photo in first.values():
        family = photo.taxon.family
        if photo.split in ("val", "test"):
            family = FAMILIES[(FAMILIES.index(family) + 1) % 3]
        rows.append(f"data/{photo.path},{family}")
    (data.parent / "changed.csv").write_text("\n".join(rows) + "\n")

    def same(photos, root, cache) -> np.ndarray:
        return embed(
            [replace(first[p.path.removeprefix("data/")], path=p.path.removeprefix("data/"))
             for p in photos], root, cache
        )  # fmt: skip

    config = replace(CONFIG, splits_from=str(out))
    found = clean(data.parent / "changed.csv", config, Policy(), tmp_path / "two", embed=same)
    after = {photo.path.removeprefix("data/"): photo for photo in found.photos}
    train = [path for path, photo in first.items() if photo.split == "train"]
    assert [after[path].split for path in train] == ["train"] * len(train)
    assert [after[path].weight for path in train] == [first[path].weight for path in train]
    assert any(first[path].weight < 1 for path in train)


def test_training_takes_a_clean_folder(data, tmp_path) -> None:
    out = tmp_path / "clean"
    found = clean(data, CONFIG, Policy(), out, embed=embed)
    dataset = read_dataset(out)
    assert (dataset.root, dataset.source) == (data.resolve(), "clean")
    assert dataset.photos == found.photos
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no longer in"):
        read_dataset(out)
    (out / "clean.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_dataset(out)


def by_brightness(floor: float) -> OrganismFilter:
    """A filter that takes dark pictures for no organism."""

    def judge(pixels: np.ndarray) -> np.ndarray:
        JUDGED.append(len(pixels))
        return np.where(pixels.mean(axis=(1, 2, 3)) < floor, 0.02, 0.98)

    thresholds = {"not_organism": 0.1, "organism": 0.9}
    return OrganismFilter(Preprocessing(size=32), thresholds, f"brightness {floor}", judge)


JUDGED: list[int] = []


def test_a_filter_gives_a_column_and_weighs_training_photos_under_the_caps(data, tmp_path) -> None:
    JUDGED.clear()
    out = tmp_path / "clean"
    # More than the cap lets go: about a third of all.
    clean(data, CONFIG, Policy(), out, organisms=by_brightness(80))
    photos = read_index(out / "index.parquet")
    readable = [photo for photo in photos if photo.error is None]
    # In full batches, whose size an answer may depend on.
    assert JUDGED == [32] * 3 and 64 < len(readable) <= 96
    assert {photo.organism for photo in readable} == {0.02, 0.98}
    assert all(photo.organism is None for photo in photos if photo.error)
    flagged = {
        item.path for item in read_findings(out / "findings.parquet") if item.flag == "not_organism"
    }
    assert flagged == {photo.path for photo in readable if photo.organism == 0.02}
    assert all(photo.weight == 1 for photo in readable if photo.split != "train")
    for family in FAMILIES:
        train = [p for p in readable if p.split == "train" and p.label("family") == family]
        assert sum(1 - photo.weight for photo in train) <= 0.1 * len(train) + 1e-9
    assert any(photo.weight < 1 for photo in readable)
    assert "not_organism" in (out / "decided.csv").read_text()
    # Cleaning again asks it nothing; another filter judges anew.
    clean(data, CONFIG, Policy(), out, organisms=by_brightness(80))
    assert len(JUDGED) == 3
    clean(data, CONFIG, Policy(), out, organisms=by_brightness(60))
    assert len(JUDGED) == 6
