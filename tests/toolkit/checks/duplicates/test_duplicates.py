"""Near-duplicates: hashes, the search for near ones, the decision on pixels, groups, findings."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rs_toolkit.checks.duplicates import neighbours
from rs_toolkit.checks.duplicates import pairs as search
from rs_toolkit.checks.duplicates.groups import (
    Pair,
    duplicate_findings,
    duplicate_groups,
    join_groups,
)
from rs_toolkit.checks.duplicates.hashes import greys, perceptual_hashes
from rs_toolkit.checks.duplicates.neighbours import near_features, near_hashes
from rs_toolkit.checks.duplicates.pairs import DuplicateSettings, near_duplicates
from rs_toolkit.checks.duplicates.same_picture import THUMBNAIL, picture_similarity
from rs_toolkit.checks.similar import nearest
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.progress import Progress

SIDE = 96
THRESHOLD = DuplicateSettings().similarity


def scene(seed: int, width: int = SIDE) -> Image.Image:
    """Draw a landscape of coarse and fine blotches; another seed is another place."""
    generator = np.random.default_rng(seed)
    total = np.zeros((SIDE, width, 3))
    for cells, weight in ((5, 60), (12, 30), (40, 12)):
        grid = generator.uniform(-1, 1, (cells, cells * width // SIDE, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(grid[:, :, channel]).resize((width, SIDE), Image.BICUBIC)
            total[:, :, channel] += weight * np.asarray(layer)
    return Image.fromarray(np.clip(total + 120, 0, 255).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.BILINEAR))


def with_animal(image: Image.Image, seed: int, width: int = 22) -> Image.Image:
    """Put a patch of another scene in the middle of the frame."""
    changed = image.copy()
    changed.paste(scene(seed).resize((width, width)), (SIDE // 2, SIDE // 2))
    return changed


def copies(image: Image.Image) -> dict[str, np.ndarray]:
    file = io.BytesIO()
    image.resize((70, 60)).save(file, "JPEG", quality=50)
    return {
        "itself": pixels(image),
        "resized": pixels(Image.open(file)),
        "cropped": pixels(image.crop((6, 2, SIDE - 3, SIDE - 6))),
        "darker": pixels(image.point(lambda v: v * 0.7)),
        "grey": pixels(image.convert("L")),
        "mirrored": pixels(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    }


def thumbnails(*images: np.ndarray) -> np.ndarray:
    return np.rint(greys(np.stack(images), THUMBNAIL)).astype(np.uint8)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    return float(picture_similarity(thumbnails(one), thumbnails(other))[0])


def as_set(pairs: np.ndarray) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in pairs.tolist()}


# Hashes


def test_greys_are_area_means() -> None:
    grey = np.array([[[0, 30, 90], [10, 40, 100], [20, 50, 110]]], np.uint8)
    assert np.allclose(greys(grey, 1), 50)
    # Two cells of one and a half: the middle one belongs to both by halves.
    assert np.allclose(greys(grey, 2)[0, 0], [(0 + 15 + 5 + 10) / 2.25, (15 + 90 + 10 + 50) / 2.25])
    tall = np.arange(24, dtype=np.uint8).reshape(1, 4, 2, 3)
    luma = tall @ np.array([0.299, 0.587, 0.114])
    assert np.allclose(greys(tall, 2)[0], luma.reshape(2, 2, 2).mean(axis=1), atol=1e-4)
    assert np.allclose(greys(np.full((1, 7, 5, 3), 80, np.uint8), 32), 80, atol=1e-3)


def test_hashes_of_copies_are_near_and_of_other_photos_far() -> None:
    original = scene(0)
    hashes = perceptual_hashes(np.stack([*copies(original).values(), pixels(scene(1))]))
    assert hashes.shape == (7, 8) and hashes.dtype == np.uint8
    # Of 63 waves, 31 are above their median; the mean brightness does not count.
    assert (np.bitwise_count(hashes).sum(axis=1) == 31).all()
    names = [*copies(original), "other"]
    bits = dict(zip(names, np.bitwise_count(hashes ^ hashes[0]).sum(axis=1), strict=True))
    assert bits["itself"] == 0
    assert max(bits["resized"], bits["darker"], bits["grey"]) <= 4
    assert min(bits["mirrored"], bits["other"]) > 16


def test_frames_without_structure_have_the_hash_0() -> None:
    noise = np.random.default_rng(0).integers(9, 12, (SIDE, SIDE, 3), dtype=np.uint8)
    frames = [np.zeros((SIDE, SIDE, 3), np.uint8), noise, pixels(scene(0))]
    assert perceptual_hashes(np.stack(frames)).any(axis=1).tolist() == [False, False, True]


def clustered(generator: np.random.Generator, count: int = 60) -> np.ndarray:
    """Return hashes of which many are near each other."""
    centres = generator.integers(0, 256, (6, 8), dtype=np.uint8)
    flips = np.packbits(generator.random((count, 64)) < 0.08, axis=1)
    return centres[generator.integers(0, 6, count)] ^ flips


@pytest.mark.parametrize("tile", [7, 1000])
def test_near_hashes_are_all_found(tile, monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "_TILE", tile)
    monkeypatch.setattr(neighbours, "_MOST_RESULTS", 1)
    generator = np.random.default_rng(tile)
    one, other = clustered(generator), clustered(generator)
    one[5] = other[9] = 0
    # A hash near 0 is no reason to match.
    one[20] = other[20] = [0] * 7 + [3]

    def wanted(a: np.ndarray, b: np.ndarray) -> set[tuple[int, int]]:
        bits = np.bitwise_count(a[:, None] ^ b[None]).sum(axis=2)
        bits[~a.any(axis=1)] = bits[:, ~b.any(axis=1)] = 99
        # What has no hash in one view is left out of both.
        bits[~b.any(axis=1)] = bits[:, ~a.any(axis=1)] = 99
        rows, columns = np.nonzero(bits <= 8)
        return {(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if i != j}

    found = near_hashes(one, one, 8, 99)
    assert len(found) == len(as_set(found)) > 50
    assert as_set(found) == {(i, j) for i, j in wanted(one, one) if i < j}
    assert set(map(tuple, near_hashes(one, other, 8, 99, symmetric=False).tolist())) == wanted(
        one, other
    )


def test_a_heap_of_equal_frames_is_bounded() -> None:
    hashes = np.repeat(np.random.default_rng(0).integers(1, 256, (1, 8), dtype=np.uint8), 500, 0)
    hashes[7, 0] ^= 1
    pairs = near_hashes(hashes, hashes, 4, 3)
    assert len(pairs) <= 1500
    # Connected all the same, and the odd one out is nobody's nearest but its own.
    groups = duplicate_groups(500, [Pair(*sorted(pair), 1.0) for pair in pairs.tolist()])
    assert set(groups) == {0}
    assert (pairs == 7).any(axis=1).sum() == 3


@pytest.mark.parametrize("exact", [20_000, 100])
def test_near_features_are_found(exact, monkeypatch) -> None:
    monkeypatch.setattr(nearest, "EXACT_ROWS", exact)
    generator = np.random.default_rng(0)
    features = generator.normal(size=(2000, 40)).astype(np.float32)
    features[1000:1020] = 3 * features[:20] + generator.normal(0, 0.1, (20, 40))
    features[30] = features[1030] = 0
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    near = np.argwhere(np.triu(unit @ unit.T, 1) >= 0.9)
    assert len(near) == 20
    assert as_set(near_features(features, 0.9)) == as_set(near)
    assert near_features(features[:1], 0.9).shape == (0, 2)


# The decision on pixels


@pytest.mark.parametrize("how", copies(scene(0)))
def test_changed_copies_are_the_same_picture(how) -> None:
    for seed in range(4):
        changed = copies(scene(seed))[how]
        assert similarity(pixels(scene(seed)), changed) > THRESHOLD
        assert similarity(changed, pixels(scene(seed))) > THRESHOLD


def test_another_animal_before_the_same_background_is_another_picture() -> None:
    for seed in range(4):
        empty, one, other = scene(seed), with_animal(scene(seed), 50), with_animal(scene(seed), 60)
        assert similarity(pixels(one), pixels(other)) < THRESHOLD
        assert similarity(pixels(empty), pixels(one)) < THRESHOLD
        assert similarity(pixels(one), pixels(scene(seed + 9))) < 0.3


def test_frames_without_structure_are_no_copies_of_each_other() -> None:
    noise = np.random.default_rng(0).integers(0, 6, (2, SIDE, SIDE, 3), dtype=np.uint8)
    assert similarity(noise[0], noise[1]) < 0.1
    assert similarity(noise[0], noise[0]) < THRESHOLD


def test_only_what_can_be_near_enough_is_looked_at_closely() -> None:
    one = thumbnails(*(pixels(with_animal(scene(seed), 50)) for seed in range(4)))
    other = thumbnails(*(pixels(with_animal(scene(seed), 60)) for seed in (0, 1, 8, 9)))
    exact, quick = picture_similarity(one, other), picture_similarity(one, other, THRESHOLD)
    assert (exact < THRESHOLD).all() and (quick < THRESHOLD).all()
    assert (quick >= exact).all()
    assert np.array_equal(quick[:2], exact[:2]) and (quick[2:] > exact[2:]).any()
    assert picture_similarity(one[:0], other[:0]).shape == (0,)


# The whole search


def found(images: list[np.ndarray], **more: object) -> set[tuple[int, int]]:
    pairs = near_duplicates(len(images), images.__getitem__, **more)
    assert all(pair.first < pair.second and THRESHOLD <= pair.similarity <= 1 for pair in pairs)
    return {(pair.first, pair.second) for pair in pairs}


def test_copies_are_found_among_other_photos() -> None:
    others = [pixels(scene(seed)) for seed in range(20, 50)]
    traps = [pixels(with_animal(scene(21), seed)) for seed in (1, 2, 3)]
    images = others + traps + [copies(scene(20))[how] for how in ("cropped", "mirrored")]
    images += [copies(scene(22))["resized"]]
    assert found(images) == {(0, 33), (0, 34), (33, 34), (2, 35)}
    assert found([]) == found(others[:1]) == set()


def test_crops_are_found_whose_hash_is_far() -> None:
    narrow = DuplicateSettings(radius=8)
    far = 0
    for seed in range(5):
        images = [pixels(scene(seed)), pixels(scene(seed).crop((7, 7, SIDE - 7, SIDE - 7)))]
        assert found(images, settings=narrow) == found(images[::-1], settings=narrow) == {(0, 1)}
        one, other = perceptual_hashes(np.stack(images))
        far += np.bitwise_count(one ^ other).sum() > narrow.radius
    assert far >= 3


def test_pixels_are_asked_for_once_and_progress_reaches_the_end() -> None:
    asked: list[int] = []
    seen: dict[str, tuple[int, int]] = {}

    class Seen(Progress):
        def update(self, title: str, done: int, total: int, text: str = "") -> None:
            seen[title] = (done, total)

    def give(number: int) -> np.ndarray:
        asked.append(number)
        return pixels(scene(number // 2))

    assert len(near_duplicates(6, give, progress=Seen())) == 3
    assert asked == list(range(6))
    assert seen == {"hash photos": (6, 6), "compare photos": (3, 3)}


def test_features_propose_what_hashes_miss_and_decide_nothing() -> None:
    images = [pixels(scene(0)), copies(scene(0))["cropped"], pixels(scene(1))]
    narrow = DuplicateSettings(radius=0)
    assert found(images, settings=narrow) == set()
    alike = np.ones((3, 5), np.float32)
    assert found(images, settings=narrow, features=alike) == {(0, 1)}


def test_a_full_disk_is_an_error_and_not_a_crash(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 8191))
    with pytest.raises(OSError, match="free"):
        found([pixels(scene(0))] * 2)


def panned(frames: int) -> list[np.ndarray]:
    """Return the frames of a camera that turns: each is like its neighbours, the ends are not."""
    wide = scene(0, width=max(4 * SIDE, SIDE + 3 * frames))
    return [pixels(wide.crop((3 * k, 0, 3 * k + SIDE, SIDE))) for k in range(frames)]


def test_a_burst_is_one_group() -> None:
    images = [*panned(24), pixels(scene(5))]
    assert similarity(images[0], images[23]) < THRESHOLD
    pairs = near_duplicates(len(images), images.__getitem__)
    assert duplicate_groups(len(images), pairs) == (*[0] * 24, None)


@pytest.mark.parametrize("frames", [60, 130])
def test_a_chain_of_any_length_is_one_group(frames) -> None:
    """Cut into stars, photos that form a pair came to different sides of a split."""
    images = [*panned(frames), pixels(scene(5)), pixels(scene(5))]
    pairs = near_duplicates(len(images), images.__getitem__)
    groups = duplicate_groups(len(images), pairs)
    assert groups == (*[0] * frames, 1, 1)
    photos = [photo(f"{n:03}.jpg", sha256=f"{n:064}") for n in range(len(images))]
    assert len({item.group for item in join_groups(photos, pairs)}) == 2


def test_no_more_than_a_batch_is_compared_at_once(monkeypatch) -> None:
    sizes: list[int] = []

    def counted(first: np.ndarray, other: np.ndarray, least: float) -> np.ndarray:
        sizes.append(len(first))
        return picture_similarity(first, other, least)

    monkeypatch.setattr(search, "_BATCH", 16)
    monkeypatch.setattr(search, "picture_similarity", counted)
    assert found(panned(60))
    assert max(sizes) == 16


# What follows from pairs


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, list[Pair]]:
    count = draw(st.integers(2, 12))
    number = st.integers(0, count - 1)
    ends = draw(st.lists(st.tuples(number, number).filter(lambda e: e[0] < e[1]), max_size=12))
    return count, [Pair(*pair, 1.0) for pair in ends]


@settings(deadline=None, max_examples=50)
@given(graphs())
def test_groups_are_the_transitive_closure_of_pairs(graph) -> None:
    count, pairs = graph
    reached = np.eye(count, dtype=bool)
    for pair in pairs:
        reached[pair.first, pair.second] = reached[pair.second, pair.first] = True
    for _ in range(count):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    groups = duplicate_groups(count, pairs)
    assert len(groups) == count
    for one in range(count):
        assert (groups[one] is None) == (reached[one].sum() == 1)
        for other in range(count):
            together = groups[one] is not None and groups[one] == groups[other]
            assert (together or one == other) == reached[one, other]
    first = dict.fromkeys(group for group in groups if group is not None)
    assert list(first) == list(range(len(first)))


def photo(name: str, **more: object) -> Photo:
    known = {"sha256": name[0] * 64, "bytes": 100, "width": 40, "height": 30}
    return Photo(name, Taxon(species="panthera leo"), **{**known, **more})


@settings(deadline=None, max_examples=50)
@given(graphs(), st.data())
def test_photos_of_a_pair_or_of_a_group_share_a_group(graph, data) -> None:
    count, pairs = graph
    own = data.draw(st.lists(st.sampled_from([None, "x", "y", "sha256:f"]), min_size=count))
    photos = [photo(f"{n:x}.jpg", group=own[n]) for n in range(count)]
    grouped = join_groups(photos, pairs)
    assert [replace(one, group=None) for one in grouped] == [
        replace(one, group=None) for one in photos
    ]
    paired = {n for pair in pairs for n in (pair.first, pair.second)}
    links = [(pair.first, pair.second) for pair in pairs]
    links += [
        (i, j) for j in range(count) for i in range(j) if own[i] is not None and own[i] == own[j]
    ]
    wanted = duplicate_groups(count, [Pair(*pair, 1.0) for pair in links])
    for i in range(count):
        assert (grouped[i].group is None) == (wanted[i] is None and own[i] is None)
        for j in range(i):
            if grouped[i].group is not None and grouped[j].group is not None:
                together = wanted[i] is not None and wanted[i] == wanted[j]
                assert (grouped[i].group == grouped[j].group) == together
    # The names do not depend on the order, and photos in no pair, nor of its group, keep theirs.
    turned = [Pair(count - 1 - p.second, count - 1 - p.first, 1.0) for p in pairs]
    assert join_groups(photos[::-1], turned) == grouped[::-1]
    joined = {wanted[n] for n in paired}
    for n in range(count):
        if wanted[n] is None or wanted[n] not in joined:
            assert grouped[n] == photos[n]


def test_all_but_the_best_photo_of_a_group_are_reported() -> None:
    photos = [
        photo("a.jpg", bytes=80),
        photo("b.jpg", width=80, height=60),
        photo("c.jpg", bytes=90),
        photo("d.jpg"),
    ]
    pairs = [Pair(0, 1, 0.9), Pair(0, 2, 0.7)]
    first, second = duplicate_findings(photos, pairs)
    assert (first.path, first.flag, first.score) == ("a.jpg", "near_duplicate", 0.9)
    assert first.detail == "the same picture as b.jpg"
    # c is not like the best photo itself.
    assert (second.path, second.score, second.detail) == ("c.jpg", 0.7, "the same picture as a.jpg")
    assert first.suggested_weight == second.suggested_weight == 1
    assert duplicate_findings(photos, []) == []


def test_more_bytes_win_among_photos_of_one_size() -> None:
    photos = [photo("a.jpg", bytes=80), photo("b.jpg", bytes=90), photo("c.jpg", bytes=90)]
    pairs = [Pair(0, 1, 0.9), Pair(0, 2, 0.9), Pair(1, 2, 0.9)]
    assert [item.path for item in duplicate_findings(photos, pairs)] == ["a.jpg", "c.jpg"]


def test_exact_copies_are_reported_as_such_and_only_once() -> None:
    photos = [
        photo("x2.jpg"),
        photo("x1.jpg"),
        photo("y.jpg", width=10, height=10),
        photo("x3.jpg", box="0,0,1,0.5"),
        photo("x4.jpg", error="is damaged"),
        photo("unread.jpg", sha256="", error="does not exist"),
        photo("absent.jpg", sha256="", error="does not exist"),
    ]
    pairs = [Pair(0, 1, 1.0), Pair(0, 2, 0.8), Pair(1, 2, 0.8)]
    found_ = duplicate_findings(photos, pairs)
    assert [(item.path, item.flag) for item in found_] == [
        ("x2.jpg", "exact_duplicate"),
        ("y.jpg", "near_duplicate"),
    ]
    assert found_[0].detail == "the same file as x1.jpg"
    assert found_[1].detail == "the same picture as x1.jpg"


def test_labels_that_differ_are_said() -> None:
    photos = [
        photo("a.jpg"),
        replace(photo("b.jpg"), taxon=Taxon(family="canidae", order="carnivora")),
    ]
    (item,) = duplicate_findings(photos, [Pair(0, 1, 0.75)])
    assert item.detail == "the same picture as a.jpg; labelled canidae, that one panthera leo"
    photos[1] = replace(photos[1], taxon=Taxon(), sha256=photos[0].sha256)
    (item,) = duplicate_findings(photos, [])
    assert item.detail == "the same file as a.jpg; labelled nothing, that one panthera leo"


def test_photos_of_one_view_are_one_group_without_comparing_all_pairs() -> None:
    view = pixels(scene(5))
    generator = np.random.default_rng(0)
    images = [
        np.clip(view + generator.normal(0, 2, view.shape), 0, 255).astype(np.uint8)
        for _ in range(150)
    ]
    with patch.object(search, "picture_similarity", wraps=search.picture_similarity) as similarity:
        found = near_duplicates(len(images), images.__getitem__)
        compared = [len(call.args[0]) for call in similarity.call_args_list]
    assert set(duplicate_groups(len(images), found)) == {0}
    assert sum(compared) < 150 * 149 // 2 // 4
