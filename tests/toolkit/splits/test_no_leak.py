"""By default, nothing that belongs together is on two sides of a split: chains of any length."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rs_toolkit.checks.duplicates.groups import Pair, join_groups
from rs_toolkit.checks.duplicates.search import photos_to_split, remembered_pairs
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo, default_cache_dir
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.progress import Progress
from rs_toolkit.sample import generate_sample
from rs_toolkit.splits.table import make_splits

CONFIG = TrainConfig(val=0.2, test=0.2)
ROUNDS = 60


def photo(number: int, family: str = "felidae", **known) -> Photo:
    return Photo(f"{number}.jpg", Taxon(family=family), sha256=f"{number:064}", **known)


def crossing(photos, links) -> list[tuple[str, str]]:
    """Return the pairs of paths that belong together and are on two sides."""
    side = {item.path: item.split for item in photos}
    return [(a, b) for a, b in links if side[a] and side[b] and side[a] != side[b]]


def random_set(draw: random.Random) -> tuple[list[Photo], list[Pair]]:
    """Photos in groups and observations, and chains of near-duplicates over all of them."""
    count = draw.randint(20, 400)
    photos = [
        photo(
            n,
            draw.choice(["canidae", "felidae", "ursidae"]),
            group=draw.choice([None, None, f"g{draw.randint(0, 20)}"]),
            observation=draw.choice([None, None, f"e{draw.randint(0, 40)}"]),
            site=draw.choice([None, f"s{draw.randint(0, 9)}"]),
        )
        for n in range(count)
    ]
    pairs = []
    for _ in range(draw.randint(0, 6)):
        chain = draw.sample(range(count), draw.choice([2, 3, min(count, 60), count // 3]))
        pairs += [Pair(*sorted(ends), 1.0) for ends in pairwise(chain)]
    for n in range(3):
        # Three photos that belong to nothing, so that no side is empty.
        photos += [photo(count + 2 * n, "canidae"), photo(count + 2 * n + 1)]
    return photos, pairs


def test_no_group_observation_or_pair_crosses_a_split() -> None:
    draw = random.Random(0)
    for seed in range(ROUNDS):
        photos, pairs = random_set(draw)
        joined = join_groups(photos, pairs)
        found, report = make_splits(joined, replace(CONFIG, seed=seed))
        assert sum(report.photos.values()) == len(photos)
        links = [(photos[a].path, photos[b].path) for a, b, _ in pairs]
        for attribute in ("group", "observation"):
            members = defaultdict(list)
            for item in photos:
                members[getattr(item, attribute)].append(item.path)
            members.pop(None, None)
            links += [ends for paths in members.values() for ends in pairwise(paths)]
        assert crossing(found, links) == []


def test_a_site_crosses_no_split_by_site_and_takes_its_observations_along() -> None:
    draw = random.Random(1)
    for seed in range(ROUNDS // 4):
        photos, _ = random_set(draw)
        photos = [replace(item, site=item.site or f"own{n}") for n, item in enumerate(photos)]
        photos = [replace(item, group=None, observation=None) for item in photos]
        photos[0] = replace(photos[0], observation="e")
        photos[1] = replace(photos[1], observation="e")
        found, report = make_splits(photos, replace(CONFIG, seed=seed, group_by="site"))
        sites, links = defaultdict(list), [(photos[0].path, photos[1].path)]
        for item in photos:
            sites[item.site].append(item.path)
        links += [ends for paths in sites.values() for ends in pairwise(paths)]
        assert crossing(found, links) == []
        assert report.places["places"] == "new"


def test_splits_of_data_without_such_links_stay_as_earlier_versions_made_them() -> None:
    photos = [
        Photo(
            f"f{f}/{n}.jpg",
            Taxon(family=f"f{f}idae", species=f"s{n % 3} f{f}"),
            group=f"g{f}{n // 2}" if n % 5 == 0 else None,
        )
        for f in range(12)
        for n in range(3 + 5 * f)
    ]
    found, _ = make_splits(photos, TrainConfig(seed=4))
    sides = "".join(str(item.split)[1] for item in found)
    assert hashlib.sha256(sides.encode()).hexdigest()[:16] == "71b55b149632a492"


def scene(generator: np.random.Generator, width: int) -> Image.Image:
    """A landscape of coarse and fine blotches, 128 px high."""
    total = np.zeros((128, width, 3))
    for cells, weight in ((5, 60), (12, 30), (40, 12)):
        grid = generator.uniform(0, 255, (cells, cells * width // 128, 3)).astype(np.uint8)
        layer = Image.fromarray(grid).resize((width, 128), Image.BICUBIC)
        total += weight * (np.asarray(layer) / 127.5 - 1)
    return Image.fromarray(np.clip(total + 120, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def panned(tmp_path_factory) -> Path:
    """A camera that turns, 60 frames, each like its neighbours; and 80 pictures of their own."""
    root, generator = tmp_path_factory.mktemp("panned"), np.random.default_rng(0)
    for family in ("canidae", "felidae"):
        (root / family).mkdir()
        for n in range(40):
            scene(generator, 128).save(root / family / f"{n}.png")
    wide = scene(generator, 128 + 4 * 60)
    for k in range(60):
        frame = wide.crop((4 * k, 0, 4 * k + 128, 128))
        frame.save(root / ("canidae", "felidae")[k % 2] / f"frame{k:02}.png")
    return root


class Notes(Progress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_a_chain_of_60_frames_is_on_one_side_and_said_to_be_large(panned) -> None:
    """Cut into stars of at most 50 photos, it had neighbours on different sides."""
    notes = Notes()
    photos = photos_to_split(panned, CONFIG, notes)
    assert "near-duplicates: 60 of 140 photos, in 1 groups, which no split separates" in notes.texts
    for seed in range(5):
        found, report = make_splits(photos, replace(CONFIG, seed=seed))
        assert len({item.split for item in found if "frame" in item.path}) == 1
        assert report.largest and report.largest[0] == 60
        assert any(note.startswith("lopsided: 60 of 140 photos") for note in report.notes())


def test_it_can_be_switched_off(panned) -> None:
    photos = photos_to_split(panned, replace(CONFIG, group_by="photo"), Progress())
    assert {item.group for item in photos} == {None} and photos[0].sha256 == ""
    found, report = make_splits(photos, replace(CONFIG, group_by="photo"))
    assert len({item.split for item in found if "frame" in item.path}) == 3
    assert report.largest is None


def test_planted_duplicates_of_the_sample_cross_no_split(tmp_path) -> None:
    root = tmp_path / "sample"
    generate_sample(root, seed=3, photos=300)
    faults = json.loads((root / "truth.json").read_text())["faults"]
    photos = photos_to_split(root, CONFIG, Progress())
    pairs = remembered_pairs(photos, [root] * len(photos), default_cache_dir(), Progress())
    links = {(photos[a].path, photos[b].path) for a, b, _ in pairs}
    kinds = ("near_duplicates", "exact_duplicates")
    planted = [(pair["original"], pair["copy"]) for kind in kinds for pair in faults[kind]]
    found_pairs = [ends for ends in planted if ends in links or ends[::-1] in links]
    assert len(found_pairs) >= 0.8 * len(planted) > 3
    for seed in range(10):
        found, _ = make_splits(photos, replace(CONFIG, seed=seed))
        assert crossing(found, links) == []
