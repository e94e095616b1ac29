"""Time and memory of searches and splits of many photos, on generated data.

    python benchmarks/scale.py                      # a first try: 100,000 hashes, 30,000 features
    python benchmarks/scale.py --hashes 1000000 --features 300000 --rows 1000000

Each part runs in a process of its own, so that its peak memory is its own.  Writes
``results/scale.json``: parts that were measured replace those of the file, others stay.

- ``hashes``: the six searches of cleaning (whole, mirrored and middle frames; three crops) on
  random hashes, in which 1,000 pairs are planted at each even distance up to 12 bits.
- ``crowd``: the same searches, where one hash in 20 is of a crowd, as of one fixed camera: each is
  another, and nearly all of its pairs are near.  Its recall is that of groups: the share of near
  pairs in the crowd, of a sample, whose two are connected by pairs that were found.
  ``nearest`` is the share of the sample for which a hash at the least distance was found.
- ``features``: near-duplicates and outliers on features of 256 numbers around one centre
  for each 50 photos; one photo in 20 has a near-duplicate.
- ``votes``: the votes of the other folds on each label, exact, with 100 classes and 5 folds.
- ``split``: a split of rows of an index, in groups of 3 photos on average, of 1,000 species.

Recall is measured on a sample against an exact search.  Other jobs slow the seconds, less so the
CPU seconds.
"""

from __future__ import annotations

import os
import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from common import RESULTS, options, publish
from million_hashes import hashes as planted_hashes
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rs_toolkit.checks.duplicates.neighbours import near_features, near_hashes
from rs_toolkit.checks.labels.out_of_fold import label_votes
from rs_toolkit.checks.labels.outliers import find_outliers
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo
from rs_toolkit.data.taxonomy import Taxon
from rs_toolkit.files import read_json
from rs_toolkit.progress import Progress
from rs_toolkit.splits.table import split_table

RADIUS, COSINE, WIDTH, CLASSES, SAMPLE = 12, 0.85, 256, 100, 500
CROWD, CHANGED = 1 / 20, 0.05  # share of the hashes, and of their bits that differ from the centre
Measured = dict[str, Any]
Hashes = NDArray[np.uint8]


class Notes(Progress):
    """Keeps the notes of approximate searches."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def timed(work: Callable[[], Any]) -> tuple[Any, Measured]:
    """Run ``work``; return its result, its seconds, and the peak memory of the process so far."""
    begun, worked = time.perf_counter(), time.process_time()
    result = work()
    return result, {
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def search(whole: Hashes, views: list[Hashes]) -> NDArray[np.int64]:
    """Do the six searches of cleaning; return the pairs of the first."""
    found = near_hashes(whole, whole, RADIUS)
    near_hashes(views[0], whole, RADIUS)
    near_hashes(views[1], views[1], RADIUS)
    for cut in views[2:]:
        near_hashes(cut, whole, RADIUS, symmetric=False)
    return found


def hash_searches(count: int) -> Measured:
    """Search as cleaning does; recall is that of planted pairs and of all pairs of a sample."""
    whole, planted = planted_hashes(count, RADIUS)
    generator = np.random.default_rng(1)
    views = [generator.integers(0, 256, whole.shape, dtype=np.uint8) for _ in range(5)]
    pairs, result = timed(lambda: search(whole, views))
    codes = np.sort(pairs, axis=1) @ [count, 1]
    true = np.concatenate(list(planted.values()))
    for row in generator.choice(count, min(SAMPLE, count), False).tolist():
        near = np.flatnonzero(np.bitwise_count(whole ^ whole[row]).sum(axis=1) <= RADIUS)
        near = near[near != row]
        true = np.concatenate([true, np.stack([np.full(len(near), row), near], axis=1)])
    recall = np.isin(np.sort(true, axis=1) @ [count, 1], codes).mean()
    return {"rows": count, **result, "pairs": len(pairs), "recall": round(float(recall), 4)}


def crowd_searches(count: int) -> Measured:
    """Search as cleaning does where a crowd of hashes is near each other in each view but one."""
    generator = np.random.default_rng(1)
    members = generator.permutation(count)[: int(count * CROWD)]

    def view() -> Hashes:
        found = generator.integers(0, 256, (count, 8), dtype=np.uint8)
        flips = generator.random((len(members), 64)) < CHANGED
        found[members] = centre ^ np.packbits(flips, axis=1)
        return found

    centre = generator.integers(0, 256, 8, dtype=np.uint8)
    whole, mirrored = view(), generator.integers(0, 256, (count, 8), dtype=np.uint8)
    views = [mirrored, *(view() for _ in range(4))]
    pairs, result = timed(lambda: search(whole, views))
    graph = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(count, count))
    group = connected_components(graph, directed=False)[1]
    least = np.full(count, 65)
    distances = np.bitwise_count(whole[pairs[:, 0]] ^ whole[pairs[:, 1]]).sum(axis=1)
    for side in pairs.T:
        np.minimum.at(least, side, distances)
    joined, nearest = [], []
    for row in members[:SAMPLE].tolist():
        bits = np.bitwise_count(whole ^ whole[row]).sum(axis=1)
        bits[row] = 65
        near = np.flatnonzero(bits <= RADIUS)
        joined += (group[near] == group[row]).tolist()
        nearest += [least[row] == bits.min()] if len(near) else []
    recall = {"recall": round(float(np.mean(joined)), 4), "recall_pairs": len(joined)}
    recall["nearest"] = round(float(np.mean(nearest)), 4)
    return {"rows": count, "crowd": len(members), **result, "pairs": len(pairs), **recall}


def some_features(count: int) -> NDArray[np.float32]:
    """Return features around centres, (count, 256); of a tenth, two each are near-duplicates."""
    generator = np.random.default_rng(0)
    centres = generator.standard_normal((count // 50 + 1, WIDTH), np.float32)
    found = centres[generator.integers(0, len(centres), count)]
    found += generator.standard_normal((count, WIDTH), np.float32)
    copies = count // 20
    noise = generator.standard_normal((copies, WIDTH), np.float32)
    found[:copies] = found[copies : 2 * copies] + 0.5 * noise
    return found


def feature_pairs(count: int) -> Measured:
    """Search near-duplicates; recall is that of the pairs of a sample of rows."""
    features, notes = some_features(count), Notes()
    pairs, result = timed(lambda: near_features(features, COSINE, notes))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    # Half of the sample are rows that have a near-duplicate.
    generator = np.random.default_rng(2)
    rows = np.concatenate([generator.choice(n, SAMPLE, False) for n in (count // 20, count)])
    first, second = np.nonzero(unit[rows] @ unit.T >= COSINE)
    true = np.stack([rows[first], second], axis=1)
    true = true[true[:, 0] != true[:, 1]]
    codes = np.sort(pairs, axis=1) @ [count, 1]
    recall = np.isin(np.sort(true, axis=1) @ [count, 1], codes).mean()
    shown = {"recall": round(float(recall), 4), "recall_pairs": len(true)}
    return {"rows": count, **result, "pairs": len(pairs), **shown, "notes": notes.texts}


def outliers(count: int) -> Measured:
    """Measure the distances of outliers: the share of a sample whose distance to any is exact."""
    features, notes = some_features(count), Notes()
    labels = np.random.default_rng(3).integers(0, CLASSES, count)
    found, result = timed(lambda: find_outliers(features, labels, progress=notes))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = np.random.default_rng(4).choice(count, SAMPLE, False)
    exact = 1 - np.sort(unit[rows] @ unit.T, axis=1)[:, -4]  # the third beside the photo itself
    # All three nearest photos must be found for this; recall, in the notes, is that of each.
    same = float(np.mean(np.abs(found.any[rows] - exact) < 1e-4))
    # Of each search that is approximate: those of the largest classes, and that of all photos.
    recalls = [float(found) for found in re.findall(r"recall ([\d.]+)", " ".join(notes.texts))]
    shown = {"exact_distances": round(same, 4), "recall": min(recalls, default=1.0)}
    return {"rows": count, **result, **shown, "notes": notes.texts}


def votes(count: int) -> Measured:
    """Count the votes on each label; ``largest_error`` is against plain sums for a sample."""
    features, generator = some_features(count), np.random.default_rng(3)
    labels, fold = generator.integers(0, CLASSES, count), generator.integers(0, 5, count)
    found, result = timed(lambda: label_votes(features, labels, np.ones(count), fold, CLASSES))
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = generator.choice(count, SAMPLE, False)
    weight = np.exp((unit[rows].astype(np.float64) @ unit.T - 1) / 0.05)
    weight[fold[rows][:, None] == fold] = 0
    sums = np.stack([weight[:, labels == name].sum(axis=1) for name in range(CLASSES)], axis=1)
    error = np.abs(found[rows] - sums / sums.sum(axis=1, keepdims=True)).max()
    return {"rows": count, **result, "largest_error": float(error)}


def split_rows(count: int) -> Measured:
    """Split generated rows by species, groups and observations."""
    generator = np.random.default_rng(0)
    species = np.minimum(generator.zipf(1.3, count), 1000).tolist()
    groups = generator.integers(0, max(1, count // 3), count).tolist()
    photos = [
        Photo(
            f"photos/{row:07}.jpg",
            Taxon(family=f"family {k % 60}", genus=f"genus{k % 300}", species=f"species {k}"),
            group=f"group {n}" if n % 2 else None,
            site=f"site {n % 500}",
            observation=f"observation {n}",
        )
        for row, (k, n) in enumerate(zip(species, groups, strict=True))
    ]
    return {"rows": count, **timed(lambda: split_table(photos, TrainConfig(rank="species")))[1]}


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.add_argument(
        "--hashes", type=int, default=100_000, help="12000 or more; 0: leave this out"
    )
    parser.add_argument("--features", type=int, default=30_000, help="0: leave this out")
    parser.add_argument("--rows", type=int, default=100_000, help="0: leave this out")
    chosen = parser.parse_args()
    path = RESULTS / "scale.json"
    result: Measured = dict(read_json(path)) if path.is_file() else {}
    parts: list[tuple[str, Callable[[int], Measured], int]] = [
        ("hashes", hash_searches, chosen.hashes),
        ("crowd", crowd_searches, chosen.hashes),
        ("near_features", feature_pairs, chosen.features),
        ("split", split_rows, chosen.rows),
        ("outliers", outliers, chosen.features),
        ("votes", votes, chosen.features),
    ]
    searches = dict(result.get("searches", {}))
    for name, work, count in parts:
        if not count:
            continue
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(work, count).result()
        found["load_average"] = round(os.getloadavg()[1], 1)
        if name == "split":
            result["split"] = found
        else:
            result["searches"] = searches = {**searches, name: found}
        publish("scale", result)


if __name__ == "__main__":
    main()
