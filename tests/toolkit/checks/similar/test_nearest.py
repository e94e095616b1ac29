"""The search for similar photos: exact for few, measured for many."""

from __future__ import annotations

import numpy as np
import pytest

from rs_toolkit.checks.labels.outliers import find_outliers
from rs_toolkit.checks.similar import nearest
from rs_toolkit.checks.similar.nearest import Search
from rs_toolkit.progress import Progress


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def unit(count: int, width: int, centres: int = 40) -> np.ndarray:
    generator = np.random.default_rng(count)
    middle = 2 * generator.normal(size=(centres, width))
    found = middle[np.arange(count) % centres] + generator.normal(size=(count, width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def by_definition(photos: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-(photos @ photos.T), axis=1, kind="stable")[:, :k]


def test_among_few_photos_the_nearest_are_those_of_the_definition() -> None:
    photos, notes = unit(800, 24), Notes()
    search = Search(photos, 5, progress=notes)
    cosines, rows = search.find(photos)
    assert (rows == by_definition(photos, 5)).all()
    assert np.allclose(cosines, np.take_along_axis(photos @ photos.T, rows, 1), atol=1e-5)
    assert search.recall == 1 and not notes.texts


@pytest.mark.parametrize("width", [24, 300])
def test_among_many_photos_the_recall_is_kept_and_told(width, monkeypatch) -> None:
    monkeypatch.setattr(nearest, "EXACT_ROWS", 1000)
    monkeypatch.setattr(nearest, "_FIRST_LISTS", 1)
    photos, notes = unit(3000, width), Notes()
    search = Search(photos, 5, progress=notes)
    cosines, rows = search.find(photos)
    true = by_definition(photos, 5)
    recall = (true[:, :, None] == rows[:, None]).any(axis=2).mean()
    assert search.recall is not None and search.recall >= nearest.RECALL
    assert recall > nearest.RECALL - 0.02
    assert (np.diff(cosines, axis=1) <= 0).all()
    assert len(notes.texts) == 1 and ("recall" in notes.texts[0] or "all 3000" in notes.texts[0])
    again = Search(photos, 5).find(photos)[1]
    assert (again == rows).all()


def test_where_no_photo_is_so_similar_no_recall_is_claimed(monkeypatch) -> None:
    monkeypatch.setattr(nearest, "EXACT_ROWS", 1000)
    notes = Notes()
    assert Search(unit(2000, 24), 3, 0.99999, notes).recall is None
    assert "not measurable" in notes.texts[0]


def test_outliers_among_many_photos_are_those_of_the_exact_search(monkeypatch) -> None:
    photos, labels, notes = unit(3000, 24), np.arange(3000) % 40 // 20, Notes()
    exact = find_outliers(photos, labels)
    monkeypatch.setattr(nearest, "EXACT_ROWS", 1000)
    found = find_outliers(photos, labels, progress=notes)
    assert np.mean(np.abs(found.any - exact.any) < 1e-5) > 0.95
    assert np.mean(np.abs(found.own - exact.own) < 1e-5) > 0.95
    assert len(notes.texts) == 3
