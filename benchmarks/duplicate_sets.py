"""Photos with known near-duplicates, for ``near_duplicates.py``: samples, and birds with copies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from changed_photos import MADE, OTHER, Pixels, changed

from rs_toolkit.checks.duplicates.groups import Pair, duplicate_groups
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.files import read_json
from rs_toolkit.sample import generate_sample
from rs_toolkit.sample.plan import NEAR_WAYS

__all__ = ["PHOTOS", "Material", "birds", "sample"]

PHOTOS = 1000
KINDS = (*NEAR_WAYS, *MADE, *OTHER)
Numbers = tuple[int, int]


@dataclass
class Material:
    """Photos, pairs of them that are known (those of OTHER are no duplicates), and scores.

    ``ignored`` pairs count neither way.  ``scores`` are by method; pairs without a score have 0.
    """

    name: str
    pixels: Pixels
    paths: list[str]
    known: dict[Numbers, str]
    ignored: set[Numbers] = field(default_factory=set)
    photos: list[Photo] = field(default_factory=list)
    scores: dict[str, dict[Numbers, float]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def wanted(self) -> set[Numbers]:
        """Pairs to be found."""
        return {pair for pair, kind in self.known.items() if kind not in OTHER}


def sample(seed: int, work: Path, cache: PhotoCache) -> Material:
    """Draw a sample; pairs of the same bytes do not count, for they are found without this."""
    root = work / f"sample-{seed}"
    generate_sample(root, seed=seed, photos=PHOTOS)
    photos = [p for p in build_index(read_dataset(root), cache) if p.error is None]
    number = {photo.path: row for row, photo in enumerate(photos)}
    faults = read_json(root / "truth.json")["faults"]
    planted: dict[Numbers, str] = {}
    for entry in (*faults["near_duplicates"], *faults["exact_duplicates"]):
        first, second = sorted((number[entry["original"]], number[entry["copy"]]))
        planted[first, second] = entry.get("how", "")
    groups = duplicate_groups(len(photos), [Pair(*pair, 1.0) for pair in planted])
    alike = [
        (i, j)
        for i, group in enumerate(groups)
        for j in range(i + 1, len(photos))
        if group is not None and groups[j] == group
    ]
    ignored = {(i, j) for i, j in alike if photos[i].sha256 == photos[j].sha256}
    known = {pair: planted.get(pair) or "of one original" for pair in alike if pair not in ignored}
    pixels = np.stack([cache.pixels(photo, root) for photo in photos])
    return Material(f"sample {seed}", pixels, list(number), known, ignored, photos)


def birds(root: Path, cache: PhotoCache) -> list[Material]:
    """Return real birds: two halves with a changed copy of every other photo, and all as are."""
    photos = [p for p in build_index(read_dataset(root), cache) if p.error is None]
    halves = []
    for half in range(2):
        # Photos of a species lie side by side: each half has some of every species.
        side = photos[half::2]
        pixels = [cache.pixels(photo, root) for photo in side]
        paths = [photo.path for photo in side]
        known: dict[Numbers, str] = {}
        for k, photo in enumerate(side[::2]):
            kind = KINDS[k % len(KINDS)]
            other = pixels[(2 * k + len(side) // 2) % len(side)]
            known[2 * k, len(pixels)] = kind
            rng = np.random.default_rng([half, k])
            data = (root / photo.path).read_bytes()
            pixels.append(changed(rng, kind, data, pixels[2 * k], other))
            paths.append(f"{photo.path} {kind}")
        halves.append(Material(f"birds, half {half + 1}", np.stack(pixels), paths, known))
    pixels = [cache.pixels(photo, root) for photo in photos]
    return [*halves, Material("birds as they are", np.stack(pixels), [p.path for p in photos], {})]
