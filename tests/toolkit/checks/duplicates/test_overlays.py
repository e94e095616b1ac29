"""Copies that differ by an overlay are the same picture; a new animal is another picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rs_toolkit.checks.duplicates.hashes import greys
from rs_toolkit.checks.duplicates.overlay import DETAIL, overlay_similarity
from rs_toolkit.checks.duplicates.pairs import DuplicateSettings, near_duplicates
from rs_toolkit.sample.overlays import OVERLAYS, overlaid

SIDE = 160
THRESHOLD = DuplicateSettings().similarity
PLACES = range(6)


def scene(seed: int, light: float = 1.0) -> np.ndarray:
    """Draw a landscape of coarse and fine blotches, (160, 160, 3); another seed: another place."""
    generator = np.random.default_rng(seed)
    total = np.full((SIDE, SIDE, 3), 120.0)
    for cells, weight in ((5, 60), (12, 30), (40, 12)):
        grid = generator.uniform(-1, 1, (cells, cells)).astype(np.float32)
        layer = Image.fromarray(grid).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        total += weight * np.asarray(layer)[:, :, None]
    return np.clip(total * light, 0, 255).astype(np.uint8)


def overlay(photo: np.ndarray, kind: str, seed: int = 0) -> np.ndarray:
    changed = overlaid(np.random.default_rng(seed), Image.fromarray(photo), kind)
    return np.asarray(changed.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def with_animal(photo: np.ndarray, seed: int, width: int) -> np.ndarray:
    """Put a disc of another scene, as bright as this one, near the middle."""
    at = np.arange(SIDE) - SIDE // 2
    disc = np.hypot(at - 9, at[:, None]) < width / 2
    light = photo.mean() / scene(seed).mean()
    return np.where(disc[:, :, None], np.clip(scene(seed) * light, 0, 255), photo).astype(np.uint8)


def matched(*photos: np.ndarray) -> bool:
    return bool(near_duplicates(len(photos), photos.__getitem__))


def differ_by_overlay(*photos: np.ndarray) -> bool:
    one, other = np.rint(greys(np.stack(photos), DETAIL)).astype(np.uint8)[:, None]
    return bool(overlay_similarity(one, other)[0] >= THRESHOLD)


@pytest.mark.parametrize("kind", OVERLAYS)
def test_copies_with_an_overlay_are_the_same_picture(kind) -> None:
    for place in PLACES:
        photo, copy = scene(place), overlay(scene(place), kind, place)
        assert matched(photo, copy), place
        assert matched(copy, photo), place


def test_copies_with_two_different_overlays_are_the_same_picture() -> None:
    found = [
        matched(overlay(scene(place), "watermark", place), overlay(scene(place), "info_bar", place))
        for place in PLACES
    ]
    assert sum(found) >= len(found) - 1


@pytest.mark.parametrize("light", [1, 0.3])
@pytest.mark.parametrize("width", [24, 36, 60])
def test_an_animal_is_no_overlay(width, light) -> None:
    for place in PLACES:
        photo = scene(place, light)
        animal = with_animal(photo, 40 + place, width)
        assert not differ_by_overlay(photo, animal), place
        # Nor do bars, the same in both or in one alone, hide it.
        barred = overlay(animal, "info_bar", place)
        assert not differ_by_overlay(overlay(photo, "info_bar", place), barred), place
        assert not differ_by_overlay(photo, barred), place


@pytest.mark.parametrize("width", [36, 60])
def test_frames_of_a_camera_with_and_without_an_animal_are_different(width) -> None:
    for place in PLACES:
        photo, animal = scene(place), with_animal(scene(place), 40 + place, width)
        assert not matched(photo, animal), place
        barred = overlay(animal, "info_bar", place)
        assert not matched(overlay(photo, "info_bar", place), barred), place
        assert not matched(photo, barred), place


@pytest.mark.parametrize("light", [1, 0.3, 0.05])
def test_photos_that_share_an_info_bar_alone_are_different(light) -> None:
    for place in PLACES:
        photos = (scene(place, light), scene(60 + place, light))
        assert not matched(*(overlay(photo, "info_bar", place) for photo in photos)), place


def test_similarities_are_finite_for_any_frames() -> None:
    flat = np.zeros((3, DETAIL, DETAIL), np.uint8)
    flat[1], flat[2] = 255, np.random.default_rng(0).integers(0, 256, (DETAIL, DETAIL))
    found = overlay_similarity(flat, np.roll(flat, 1, axis=0))
    assert ((found >= 0) & (found <= 1)).all()
    assert overlay_similarity(flat[:0], flat[:0]).shape == (0,)
    photo = np.rint(greys(scene(0)[None], DETAIL)).astype(np.uint8)
    assert overlay_similarity(photo, photo)[0] > 0.9 > THRESHOLD
