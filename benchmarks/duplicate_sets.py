"""Samples and birds with known near-duplicates, for ``near_duplicates.py``.

That script describes the kinds of changed copies, and of other photos that look like copies.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.duplicates.groups import Pair, duplicate_groups
from rs_toolkit.data.index import build_index
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.files import read_json
from rs_toolkit.sample import generate_sample
from rs_toolkit.sample.faults import near_duplicate
from rs_toolkit.sample.overlays import overlaid
from rs_toolkit.sample.plan import NEAR_WAYS

__all__ = ["PHOTOS", "Material", "birds", "sample"]

PHOTOS = 1000
MADE = ("mirrored", "burst_2", "burst_4")
# Photos of the birds that show the same picture to the eye: two bursts, and a mirrored puffin.
SAME = tuple(
    (f"photos/{name}_{one}.jpg", f"photos/{name}_{other}.jpg")
    for name, one, other in (
        ("alcidae/puffin", 2, 4),
        ("columbidae/european-turtle-dove", 3, 5),
        ("furnariidae/caatinga-cacholote", 3, 5),
    )
)
OTHER = ("trap_16", "trap_24", "trap_40", "bar_trap_16", "bar_trap_24", "night_bar")
KINDS = (*NEAR_WAYS, *MADE, *OTHER)
Numbers = tuple[int, int]
Pixels = NDArray[np.uint8]


@dataclass
class Material:
    """Photos, and pairs of them by their row numbers.

    ``known`` gives the kind of each planted pair; those of a kind in OTHER are no duplicates.
    ``ignored`` pairs are neither right nor wrong.  ``scores`` are by method; no score counts as 0.
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
        """The known pairs that are duplicates."""
        return {pair for pair, kind in self.known.items() if kind not in OTHER}


def sample(seed: int, work: Path, cache: PhotoCache) -> Material:
    """Draw a sample.

    Pairs of equal files are ignored, because their hashes tell that already, and so are pairs of
    documents, charts or screenshots: they are drawn from one template, and only their text differs.
    """
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
    kinds: dict[str, list[int]] = {}
    for entry in faults["non_organism"]:
        if entry["path"] in number and entry["kind"] != "landscape":
            kinds.setdefault(entry["kind"], []).append(number[entry["path"]])
    for rows in kinds.values():
        ignored |= set(combinations(sorted(rows), 2)) - known.keys()
    pixels = np.stack([cache.pixels(photo, root) for photo in photos])
    return Material(f"sample {seed}", pixels, list(number), known, ignored, photos)


def birds(root: Path, cache: PhotoCache) -> list[Material]:
    """Return two halves of the birds, every second photo with a changed copy, and all birds.

    Pairs of photos in SAME, and of their copies, are ignored.
    """
    photos = [p for p in build_index(read_dataset(root), cache) if p.error is None]
    halves = []
    for half in range(2):
        # Photos of a species are adjacent, so every species is in both halves.
        part = photos[half::2]
        pixels = [cache.pixels(photo, root) for photo in part]
        paths = [photo.path for photo in part]
        known: dict[Numbers, str] = {}
        for k, photo in enumerate(part[::2]):
            kind = KINDS[k % len(KINDS)]
            other = pixels[(2 * k + len(part) // 2) % len(part)]
            known[2 * k, len(pixels)] = kind
            rng = np.random.default_rng([half, k])
            data = (root / photo.path).read_bytes()
            if kind == "night_bar":
                pixels[2 * k], copy = night_bar(rng, pixels[2 * k], other)
            else:
                copy = changed(rng, kind, data, pixels[2 * k], other)
            pixels.append(copy)
            paths.append(f"{photo.path} {kind}")
        name = f"birds, half {half + 1}"
        halves.append(Material(name, np.stack(pixels), paths, known, _same(paths) - known.keys()))
    pixels = [cache.pixels(photo, root) for photo in photos]
    return [*halves, Material("birds as they are", np.stack(pixels), [p.path for p in photos], {})]


def _same(paths: list[str]) -> set[Numbers]:
    """Return the pairs of photos, or copies of photos, that are a pair of SAME."""
    of: dict[str, list[int]] = {}
    for row, path in enumerate(paths):
        of.setdefault(path.split(" ")[0], []).append(row)
    pairs = (pair for one, other in SAME for pair in product(of.get(one, []), of.get(other, [])))
    return {(min(pair), max(pair)) for pair in pairs}


def changed(
    rng: np.random.Generator, kind: str, data: bytes, photo: Pixels, other: Pixels
) -> Pixels:
    """Return a changed copy (S, S, 3) of a photo, given as the bytes of its file and as pixels.

    ``kind`` is one of KINDS.  For those in OTHER, a part of the photo ``other`` is pasted in.
    """
    if kind in NEAR_WAYS:
        return Preprocessing(size=len(photo)).load(near_duplicate(rng, data, kind))
    if kind == "mirrored":
        return camera(rng, photo[:, ::-1])
    size = float(kind.split("_")[-1]) / 100
    if kind.startswith("burst"):
        return burst(rng, photo, size)
    trapped = trap(rng, photo, other, size)
    return barred(rng, trapped) if kind.startswith("bar") else trapped


def barred(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """Add the info bar of a camera."""
    bar = overlaid(rng, Image.fromarray(photo), "info_bar")
    return np.asarray(bar.resize((len(photo), len(photo)), Image.Resampling.BILINEAR))


def night_bar(rng: np.random.Generator, photo: Pixels, other: Pixels) -> list[Pixels]:
    """Make two photos nearly black, under the same info bar."""
    seed = int(rng.integers(2**31))
    dark = [
        camera(rng, np.repeat(p.mean(axis=2, keepdims=True) / 15, 3, 2)) for p in (photo, other)
    ]
    return [barred(np.random.default_rng(seed), frame) for frame in dark]


def camera(rng: np.random.Generator, frame: NDArray[Any]) -> Pixels:
    """Expose a frame (S, S, 3) again, and compress it."""
    light = np.clip(frame / 255, 0, 1) ** rng.uniform(0.85, 1.18) * rng.uniform(0.9, 1.1)
    noisy = np.clip((light + rng.normal(0, 0.015, light.shape)) * 255, 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return np.asarray(Image.open(buffer))


def ellipse(side: int, x: float, y: float, width: float) -> NDArray[np.float64]:
    """Return a disc (side, side) with a soft edge, 0 to 1; x, y and width in shares of the side."""
    at = (np.arange(side) + 0.5) / side
    distance = np.hypot(at - x, (at - y)[:, None]) / (width / 2)
    return np.asarray(np.clip((1.15 - distance) / 0.15, 0, 1))


def burst(rng: np.random.Generator, photo: Pixels, move: float) -> Pixels:
    """Move the middle of the frame by ``move``, a share of its side, and all of it a little."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    side = len(photo)
    subject = gaussian_filter(ellipse(side, 0.5, 0.5, 0.64), side * 0.05) * move * side
    angle, shake = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.006 * side, 2)
    y, x = np.mgrid[:side, :side]
    at = [y + np.sin(angle) * subject + shake[0], x + np.cos(angle) * subject + shake[1]]
    planes = np.moveaxis(photo.astype(np.float64), 2, 0)
    moved = [map_coordinates(plane, at, order=1, mode="nearest") for plane in planes]
    return camera(rng, np.stack(moved, 2))


def trap(rng: np.random.Generator, photo: Pixels, other: Pixels, width: float) -> Pixels:
    """Paste a disc of the photo ``other``, near its middle, into the same place of ``photo``."""
    mask = ellipse(len(photo), *rng.uniform(0.35, 0.65, 2), width)[:, :, None]
    return camera(rng, photo * (1 - mask) + other * mask)
