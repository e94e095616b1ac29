"""The search that all commands share: remembered, and heedful of what a person decided."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.duplicates.search import group_near_duplicates, remembered_pairs
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.progress import Progress


@pytest.fixture
def data(tmp_path) -> Path:
    """Four pictures, each as it is and smaller."""
    for n in range(4):
        coarse = np.random.default_rng(n).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((96, 96), Image.BICUBIC)
        for family, side in (("canidae", 96), ("felidae", 72)):
            (tmp_path / "data" / family).mkdir(parents=True, exist_ok=True)
            image.resize((side, side)).save(tmp_path / "data" / family / f"{n}.png")
    return tmp_path / "data"


def indexed(data: Path, size: int):
    cache = PhotoCache(data.parent / "cache", Preprocessing(size=size))
    photos = build_index(read_dataset(data), cache)
    return photos, [data] * len(photos), cache.directory, Progress()


def test_pairs_are_searched_once_whatever_the_input_size(data) -> None:
    arguments = indexed(data, 64)
    pairs = remembered_pairs(*arguments)
    assert {pair[:2] for pair in pairs} == {(n, n + 4) for n in range(4)}
    other = indexed(data, 32)
    shutil.rmtree(data)
    shutil.rmtree(arguments[2] / Preprocessing(size=224).fingerprint())
    assert remembered_pairs(*other) == pairs


def test_photos_that_cannot_be_read_are_passed_over(data) -> None:
    (data / "canidae" / "0.png").write_bytes(b"no photo")
    pairs = remembered_pairs(*indexed(data, 64))
    assert {pair[:2] for pair in pairs} == {(n, n + 4) for n in range(1, 4)}


def test_what_cleaning_and_a_person_judged_stays_unless_new_photos_join_it(data) -> None:
    photos, *rest = indexed(data, 64)
    assert group_near_duplicates(photos, *rest, judged=8) == photos
    groups = [photo.group for photo in group_near_duplicates(photos, *rest, judged=5)]
    assert groups[0] is None and groups[4] is None
    assert all(groups[n] == groups[n + 4] is not None for n in range(1, 4))
