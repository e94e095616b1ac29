"""Clean bird photos with flipped labels, and train on them before and after cleaning.

    python benchmarks/cleaning.py [--seeds 3] [--imgsz 128] [--epochs 3]

1. Time ``rs-toolkit clean`` on the bird photos in ``../shared``, with an empty and a full cache.
2. For each seed, flip a tenth of the family labels of training and validation photos, each to a
   random other family, and clean with the default policy at the default 224 px.
3. For each seed, train on the flipped photos and on the clean folder, with the same split.  Test
   photos keep their true labels.  Only the clean folder groups near-duplicates and gives doubtful
   labels less weight.

Writes ``results/cleaning.json`` and ``results/cleaning.md``, with figures from the results of
``near_duplicates.py``, ``label_noise.py`` and ``million_hashes.py``.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, grid, on, options, publish
from label_noise import flip, hits

from rs_toolkit.checks.findings import read_findings
from rs_toolkit.clean.policy import Policy
from rs_toolkit.clean.run import clean
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import read_index
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import read_metrics
from rs_toolkit.progress import ConsoleProgress, Progress

SPLIT = {"rank": "family", "stratify_by": "common_name", "val": 0.15, "test": 0.25}


def timed_clean(data: Path, weights: Path, work: Path) -> dict[str, float]:
    """Return the seconds that the command takes with an empty cache, and with a full one."""
    environment = {**os.environ, "RS_CACHE": str(work / "cache")}
    seconds = {}
    for name in ("cold", "warm"):
        out = work / f"timed-{name}"
        command = [sys.executable, "-m", "rs_toolkit", "clean", str(data), "--rank", "family"]
        command += ["--weights", str(weights), "--out", str(out)]
        begun = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        seconds[name] = round(time.perf_counter() - begun, 1)
    return seconds


def flipped_copy(source: Path, index: Path, out: Path, seed: int) -> dict[str, bool]:
    """Write the birds' table with flipped labels; return by path whether a label was flipped."""
    with (source / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    split = {photo.path: photo.split for photo in read_index(index)}
    names, labels = np.unique([row["family"] for row in rows], return_inverse=True)
    free = np.array([split[row["file_path"]] in ("train", "val") for row in rows])
    changed = labels.copy()
    changed[free] = flip(labels[free], len(names), seed)
    with (out / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        pairs = zip(rows, changed, strict=True)
        table.writerows({**row, "family": names[label]} for row, label in pairs)
    wrong = changed != labels
    return {row["file_path"]: bool(bad) for row, bad in zip(rows, wrong, strict=True)}


def found_flips(folder: Path, wrong: dict[str, bool]) -> dict[str, Any]:
    """Compare a clean folder's flags and weights with the flips, and measure what classes lost."""
    noisy = {f.path for f in read_findings(folder / "findings.parquet") if f.flag == "label_noise"}
    photos = [photo for photo in read_index(folder / "index.parquet") if photo.split]
    open_to = [photo for photo in photos if photo.split != "test"]
    bad = np.array([wrong[photo.path] for photo in open_to])
    flagged = np.array([photo.path in noisy for photo in open_to])
    train = [photo for photo in photos if photo.split == "train"]
    losses: dict[str, list[float]] = defaultdict(list)
    for photo in train:
        losses[str(photo.label("family"))].append(1 - photo.weight)
    lost = {name: sum(values) / len(values) for name, values in losses.items()}
    return {
        "flipped": int(bad.sum()),
        **hits(flagged, bad),
        "weight_taken": round(sum(1 - photo.weight for photo in train), 2),
        "weight_taken_from_flipped": round(
            sum(1 - photo.weight for photo in train if wrong[photo.path]), 2
        ),
        "flipped_in_training": sum(wrong[photo.path] for photo in train),
        "largest_loss_of_a_family": round(max(lost.values()), 4),
        "groups": len({photo.group for photo in photos if photo.group}),
    }


def trained(data: Path, config: TrainConfig, run: Path, progress: Progress) -> float:
    """Return the test macro-F1 of a model trained on ``data``."""
    from rs_train.classifier.train import train

    train(data, config, run, resume=True, progress=progress)
    return float(read_metrics(run)["test"]["macro_f1"])


def spread(values: list[float]) -> str:
    """Return mean and sample standard deviation as text."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    raw, cleaned = result["raw_vs_clean"]["raw"], result["raw_vs_clean"]["clean"]
    gains = ", ".join(f"{gain:+.1f}" for gain in 100 * np.subtract(cleaned, raw))
    settings, flips, seconds = (result[key] for key in ("settings", "flipped_birds", "seconds"))
    keys = ("seed", "flipped", "flagged", "precision", "recall")
    rows = [
        [
            *(row[key] for key in keys),
            *(f"{row[key]:.1f}" for key in ("weight_taken", "weight_taken_from_flipped")),
            *(row["flipped_in_training"], one, other),
        ]
        for row, one, other in zip(flips["seeds"], raw, cleaned, strict=True)
    ]
    head = [*keys, "weight taken", "of it from flips", "flips in training"]
    return f"""# Cleaning, end to end

1772 bird photos, 148 families; {on(result["machine"])}. Cleaning takes {seconds["cold"]:.0f} s \
with an empty cache and {seconds["warm"]:.1f} s again.

A tenth of the training and validation labels flipped, {len(raw)} seeds: {flips["recall"]:.0%} of \
the flips are flagged, {flips["precision"]:.0%} of the flags are flips. No family lost more than \
{flips["largest_loss_of_a_family"]:.1%} of its weight (cap 10 %).

Training ({settings["imgsz"]} px, {settings["epochs"]} epochs), macro-F1 on the same test photos \
with true labels: raw {spread(raw)}, clean {spread(cleaned)}; gain by seed {gains} points.

{grid([*head, "raw macro-F1", "clean macro-F1"], rows)}
"""


def one_seed(
    seed: int, work: Path, data: Path, whole: TrainConfig, changes: dict[str, int], progress: Any
) -> tuple[dict[str, Any], dict[str, float]]:
    """Flip labels, clean, train on both; return what cleaning found, and the two scores."""
    from rs_train.classifier.embed import embed

    def features(photos: Any, root: Any, cache: Any) -> Any:
        return embed(
            photos, root, cache, backbone="xception", weights=whole.weights, progress=progress
        )

    sides, flipped, folder = (work / f"{name}-{seed}" for name in ("sides", "birds", "clean"))
    config = replace(whole, seed=seed)
    clean(data, config, Policy(), sides, embed=features, progress=progress)
    shutil.copytree(data / "photos", flipped / "photos")
    wrong = flipped_copy(data, sides / "index.parquet", flipped, seed)
    config = replace(config, splits_from=str(sides))
    clean(flipped, config, Policy(), folder, embed=features, progress=progress)
    config = replace(config, **changes)
    scores = {
        name: round(trained(given, config, work / f"{name}-run-{seed}", progress), 5)
        for name, given in (("raw", flipped), ("clean", folder))
    }
    return {"seed": seed, **found_flips(folder, wrong)}, scores


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, "data", "weights", work="cleaning")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--imgsz", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    chosen = parser.parse_args()
    work = chosen.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    seconds = timed_clean(chosen.data, chosen.weights, work)
    quiet_tensorflow()
    whole = TrainConfig(weights=str(chosen.weights), **SPLIT)  # type: ignore[arg-type]
    changes = {"imgsz": chosen.imgsz, "epochs": chosen.epochs}
    flips, scores = [], {"raw": [], "clean": []}
    with ConsoleProgress() as progress:
        for seed in range(chosen.seeds):
            found, pair = one_seed(seed, work, chosen.data, whole, changes, progress)
            flips.append(found)
            for name, score in pair.items():
                scores[name].append(score)
            progress.note(f"seed {seed}: {found}, {pair}")
    noise, copies, million = (
        read_json(RESULTS / f"{name}.json")
        for name in ("label-noise", "near-duplicates", "million-hashes")
    )
    result = {
        "near_duplicates": copies["near_duplicates"],
        "planted_labels": {"recall": noise["sample"]["recall"]},
        "flipped_birds": {
            **{key: float(np.mean([row[key] for row in flips])) for key in ("precision", "recall")},
            "largest_loss_of_a_family": max(row["largest_loss_of_a_family"] for row in flips),
            "seeds": flips,
        },
        "raw_vs_clean": scores,
        "seconds": seconds,
        "million_hashes": {key: million[key] for key in ("seconds", "peak_gb")},
        "settings": {**changes, **SPLIT},
    }
    publish("cleaning", result, table)


if __name__ == "__main__":
    main()
