"""Measure the search for near-duplicates, and which threshold has the best F1 on other photos.

    python benchmarks/near_duplicates.py [--birds DIR] [--weights FILE] [--cache DIR]

Synthetic samples have near-duplicates planted (resized, recompressed, cropped, relit, with a
watermark, a caption or an info bar).  Real birds get copies changed by the same code, and by
``duplicate_sets.py``: mirrored; and *burst*, in which the subject moves by 2 or 4 % of the frame.
They also get pairs that are no duplicates: *trap*, another bird, 16 to 40 % of the frame wide,
before the same background; *bar trap*, with an info bar too; and *night bar*, two nearly black
photos under the same info bar.  The default threshold is measured; the one with the best
F1 is found on samples and birds that are not reported.  Writes ``results/near-duplicates.json`` and
``.md``.

A match that was not planted counts as wrong, but for two kinds of pairs that are left out: three
pairs of unchanged birds that are the same picture to the eye, and documents, charts and screenshots
drawn from one template.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import SHARED, grid, options, publish
from duplicate_sets import PHOTOS, Material, birds, sample
from numpy.typing import NDArray

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.checks.duplicates import pairs as search_module
from rs_toolkit.checks.duplicates.hashes import perceptual_hashes
from rs_toolkit.checks.duplicates.pairs import DuplicateSettings, near_duplicates
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.progress import ConsoleProgress

TUNING, REPORTED = (100, 101, 102), (0, 1, 2)
SIDE = 160
# Loose settings, so that the curve begins far below the default threshold.
OPEN = DuplicateSettings(similarity=0.05, radius=14, cosine=0.8)
Scores = dict[tuple[int, int], float]
WINDOWS = "pixels, overlays not looked for"
THRESHOLDS = np.round(np.arange(0.1, 1.0, 0.02), 2)


def search(item: Material) -> None:
    """Score all candidates, and measure the CPU time of a search with default settings."""
    begun = time.process_time()
    near_duplicates(len(item.pixels), item.pixels.__getitem__)
    item.seconds = time.process_time() - begun
    item.scores |= candidates(item)


def candidates(item: Material, features: NDArray[np.float32] | None = None) -> dict[str, Scores]:
    """Return the scores of all candidates by both steps (``pixels``), and by the first alone."""
    steps: list[Scores] = []
    # The second step only judges what the first one rejects; here, each judges everything.
    for other in ("overlay_similarity", "picture_similarity"):
        with mock.patch.object(search_module, other, lambda first, *_: np.zeros(len(first))):
            found = near_duplicates(len(item.pixels), item.pixels.__getitem__, features, OPEN)
        steps.append({(pair.first, pair.second): pair.similarity for pair in found})
    first, second = steps
    either = {pair: max(first.get(pair, 0), second.get(pair, 0)) for pair in first | second}
    return {"pixels": either, WINDOWS: first}


def compare(item: Material, features: NDArray[np.float32]) -> None:
    """Score the same candidates, and those that features add, by other methods."""
    pixels = candidates(item, features)["pixels"]
    hashes = perceptual_hashes(item.pixels)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = {pair: float(unit[pair[0]] @ unit[pair[1]]) for pair in pixels.keys() | item.wanted}
    item.scores |= {
        "pixels, candidates by features too": pixels,
        "cosine": cosines,
        "hash": {
            (i, j): 1 - float(np.bitwise_count(hashes[i] ^ hashes[j]).sum()) / 64
            for i, j in cosines
        },
        "mean of pixels and cosine": {
            pair: (pixels.get(pair, 0) + cosine) / 2 for pair, cosine in cosines.items()
        },
    }


def figures(sets: list[Material], threshold: float, method: str = "pixels") -> dict[str, float]:
    """Return precision, recall and F1 over all pairs of all sets together."""
    right = found = wanted = 0
    for item in sets:
        matched = {pair for pair, score in item.scores[method].items() if score >= threshold}
        matched -= item.ignored
        right += len(matched & item.wanted)
        found += len(matched)
        wanted += len(item.wanted)
    return {
        "precision": round(right / max(found, 1), 4),
        "recall": round(right / max(wanted, 1), 4),
        "f1": round(2 * right / max(found + wanted, 1), 4),
        "pairs": wanted,
    }


def best_threshold(sets: list[Material], method: str = "pixels") -> float:
    """Return the mean of the thresholds with the greatest F1."""
    scores = np.array([figures(sets, float(t), method)["f1"] for t in THRESHOLDS])
    return round(float(THRESHOLDS[scores == scores.max()].mean()), 2)


def by_kind(sets: list[Material], threshold: float) -> dict[str, dict[str, float]]:
    """Return the number of known pairs of each kind, and the shares that match.

    ``without`` is the share that matches where overlays are not looked for.
    """
    matched: dict[str, list[list[bool]]] = {}
    for item in sets:
        for pair, kind in item.known.items():
            scores = (item.scores[method].get(pair, 0) for method in ("pixels", WINDOWS))
            matched.setdefault(kind, []).append([score >= threshold for score in scores])
    shares = {kind: np.mean(hits, axis=0).round(3).tolist() for kind, hits in matched.items()}
    return {
        kind: {"pairs": len(matched[kind]), "matched": both[0], "without": both[1]}
        for kind, both in sorted(shares.items())
    }


def compared(
    tuning: Material, reported: Material, work: Path, cache: PhotoCache, weights: Path
) -> dict[str, Any]:
    """Measure each method on one sample, at the threshold that is best on another."""
    from rs_train.classifier.embed import embed

    with ConsoleProgress() as progress:
        for item in (tuning, reported):
            root = work / item.name.replace(" ", "-")
            asked = {"backbone": "xception", "weights": str(weights), "progress": progress}
            compare(item, embed(item.photos, root, cache, **asked))
    rows = {}
    for method in tuning.scores:
        threshold = best_threshold([tuning], method)
        rows[method] = {"threshold": threshold, **figures([reported], threshold, method)}
    return rows


def unplanned(item: Material, threshold: float) -> list[dict[str, Any]]:
    """Return matched pairs that were not planted, most similar first."""
    found = {pair: s for pair, s in item.scores["pixels"].items() if s >= threshold}
    pairs = sorted(found.keys() - item.known.keys() - item.ignored, key=lambda p: -found[p])
    return [
        {"similarity": round(found[i, j], 3), "photos": [item.paths[i], item.paths[j]]}
        for i, j in pairs
    ]


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    sets, kinds, methods = (result[key].items() for key in ("sets", "kinds", "methods"))
    named = [name for name in ("sample", "birds") if name in result["curve"][0]]
    both, together = ("precision", "recall"), result["all_sets"]
    measured = [[n, r["pairs"], *(r[k] for k in both), str(r["cpu_seconds"])] for n, r in sets]
    curve = [
        [str(row["threshold"]), *(row[name][key] for name in named for key in both)]
        for row in result["curve"][::2]
    ]
    by_kinds = [[n, r["pairs"], r["matched"], r["without"]] for n, r in kinds]
    compared = [[n, str(r["threshold"]), *(r[k] for k in both)] for n, r in methods]
    return f"""# Near-duplicates

{result["about"]}

Measured at the default threshold, {result["threshold"]}; the best F1 on the tuning photos is at
{result["best_threshold"]}.  All sets together: precision {together["precision"]:.3f}, recall
{together["recall"]:.3f}.

{grid(["photos", "pairs", *both, "CPU seconds"], measured)}

{grid(["kind", "pairs", "matched", "without the search for overlays"], by_kinds)}

{grid(["threshold", *(f"{name}: {key}" for name in named for key in both)], curve)}

Methods on sample 0, each at its best threshold on sample 100:

{grid(["method", "threshold", *both], compared)}
"""


def measured(reported: dict[str, list[Material]], threshold: float) -> dict[str, Any]:
    """Measure a threshold on the photos that are reported."""
    pooled = figures(reported["sample"], threshold)
    all_sets = figures([item for sets in reported.values() for item in sets], threshold)
    return {
        "near_duplicates": {key: pooled[key] for key in ("precision", "recall")},
        "all_sets": {key: all_sets[key] for key in ("pairs", "precision", "recall")},
        "about": f"{PHOTOS} photos a sample, {SIDE} px; tuned on samples {TUNING} and half of the "
        "birds, measured on the others.  trap, bar_trap and night_bar: not to be matched.",
        "threshold": threshold,
        "sets": {
            item.name: {**figures([item], threshold), "cpu_seconds": round(item.seconds, 2)}
            for sets in reported.values()
            for item in sets
        },
        "kinds": {
            f"{name}: {kind}": row
            for name, sets in reported.items()
            for kind, row in by_kind(sets, threshold).items()
        },
        "curve": [
            {"threshold": t, **{name: figures(sets, t) for name, sets in reported.items()}}
            for t in THRESHOLDS.tolist()
        ],
    }


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, "weights", work="near-duplicates")
    parser.add_argument("--birds", type=Path, default=SHARED / "data" / "birds")
    parser.add_argument("--cache", type=Path, default=default_cache_dir())
    chosen = parser.parse_args()
    cache = PhotoCache(chosen.cache, Preprocessing(size=SIDE))
    tuning = [sample(seed, chosen.work, cache) for seed in TUNING]
    reported = {"sample": [sample(seed, chosen.work, cache) for seed in REPORTED]}
    as_they_are = []
    if chosen.birds.is_dir():
        half, other, whole = birds(chosen.birds, cache)
        reported["birds"], as_they_are = [other], [whole]
        tuning.append(half)
    everything = [*tuning, *(item for sets in reported.values() for item in sets), *as_they_are]
    for item in everything:
        search(item)
        print(item.name, f"{item.seconds:.1f} s", flush=True)
    threshold = DuplicateSettings().similarity
    found = {item.name: unplanned(item, threshold) for item in everything}
    methods = {}
    if chosen.weights.is_file():
        first = reported["sample"][0]
        methods = compared(tuning[0], first, chosen.work, cache, chosen.weights)
    result = {
        **measured(reported, threshold),
        "best_threshold": best_threshold(tuning),
        "unplanned": {name: pairs for name, pairs in found.items() if pairs},
        "methods": methods,
    }
    publish("near-duplicates", result, table)


if __name__ == "__main__":
    main()
