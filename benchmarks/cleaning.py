"""Clean bird photos whose labels were flipped, and train on them as they are and cleaned.

    python benchmarks/cleaning.py [--seeds 3] [--imgsz 128] [--epochs 3]

1. ``rs-toolkit clean`` on the bird photos in ``../shared``, with an empty cache and again.
2. For each seed: a tenth of the family labels of training and validation photos are flipped, each
   to any other family; ``rs-toolkit clean`` (224 px, its default) looks for them under its default
   policy.
3. For each seed: training on the flipped photos, and on the clean folder.  Sides are the same,
   and test photos have their true labels.  Only cleaned data have near-duplicates in groups and
   doubtful labels weighed down.

Figures of ``near_duplicates.py``, ``label_noise.py`` and ``million_hashes.py`` are repeated from
their results.  Writes ``results/cleaning.json`` and ``results/cleaning.md``.
"""

from __future__ import annotations

import argparse
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
from label_noise import flip, hits
from publish import publish

from rs_toolkit.checks.findings import read_findings
from rs_toolkit.clean.policy import Policy
from rs_toolkit.clean.run import clean
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import read_index
from rs_toolkit.environment import machine, quiet_tensorflow, versions
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import read_metrics
from rs_toolkit.progress import ConsoleProgress, Progress

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
RESULTS = HERE / "results"
SPLIT = {"rank": "family", "stratify_by": "common_name", "val": 0.15, "test": 0.25}


def timed_clean(data: Path, weights: Path, work: Path) -> dict[str, float]:
    """Return the seconds of the command with an empty cache, and again."""
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
    """Write the birds' table with flipped labels beside their photos; return what was flipped."""
    with (source / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    side = {photo.path: photo.split for photo in read_index(index)}
    names, labels = np.unique([row["family"] for row in rows], return_inverse=True)
    free = np.array([side[row["file_path"]] in ("train", "val") for row in rows])
    changed = labels.copy()
    changed[free] = flip(labels[free], len(names), seed)
    with (out / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        # A species' other photos would give the right family away.
        table.writerows(
            {**row, "family": names[label]} for row, label in zip(rows, changed, strict=True)
        )
    wrong = changed != labels
    return {row["file_path"]: bool(bad) for row, bad in zip(rows, wrong, strict=True)}


def found_flips(folder: Path, wrong: dict[str, bool]) -> dict[str, Any]:
    """Return how well a clean folder's flags and weights fit the flips, and what classes lost."""
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
    """Return mean and sample standard deviation."""
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    raw, cleaned = result["raw_vs_clean"]["raw"], result["raw_vs_clean"]["clean"]
    gains = 100 * np.subtract(cleaned, raw)
    settings, flips = result["settings"], result["flipped_birds"]
    lines = [
        "# Cleaning, end to end",
        "",
        f"1772 bird photos, 148 families; {result['machine']['cpu']}, "
        f"{result['machine']['cores']} cores. Cleaning takes {result['seconds']['cold']:.0f} s "
        f"with an empty cache and {result['seconds']['warm']:.1f} s again.",
        "",
        f"A tenth of the training and validation labels flipped, {len(raw)} seeds: "
        f"{flips['recall']:.0%} of the flips are flagged, {flips['precision']:.0%} of the flags "
        f"are flips. No family lost more than {flips['largest_loss_of_a_family']:.1%} of its "
        "weight (cap 10 %).",
        "",
        f"Training ({settings['imgsz']} px, {settings['epochs']} epochs), macro-F1 on the same "
        f"test photos with true labels: raw {spread(raw)}, clean {spread(cleaned)}; gain by seed "
        f"{', '.join(f'{gain:+.1f}' for gain in gains)} points.",
        "",
        "| seed | flipped | flagged | precision | recall | weight taken | of it from flips "
        "| flips in training | raw macro-F1 | clean macro-F1 |",
        f"|{'---:|' * 10}",
    ]
    for row, one, other in zip(flips["seeds"], raw, cleaned, strict=True):
        lines.append(
            f"| {row['seed']} | {row['flipped']} | {row['flagged']} | {row['precision']:.3f} "
            f"| {row['recall']:.3f} | {row['weight_taken']:.1f} "
            f"| {row['weight_taken_from_flipped']:.1f} | {row['flipped_in_training']} "
            f"| {one:.3f} | {other:.3f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "birds")
    parser.add_argument(
        "--weights", type=Path, default=SHARED / "weights" / "xception_imagenet_notop.weights.h5"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--imgsz", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--work", type=Path, default=HERE / "work" / "cleaning")
    arguments = parser.parse_args()
    work = arguments.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    seconds = timed_clean(arguments.data, arguments.weights, work)
    from rs_train.classifier.embed import embed

    quiet_tensorflow()
    whole = TrainConfig(weights=str(arguments.weights), **SPLIT)  # type: ignore[arg-type]
    flips, scores = [], {"raw": [], "clean": []}
    with ConsoleProgress() as progress:

        def features(photos: Any, root: Any, cache: Any) -> Any:
            return embed(
                photos, root, cache,
                backbone="xception", weights=str(arguments.weights), progress=progress,
            )  # fmt: skip

        for seed in range(arguments.seeds):
            sides, data = work / f"sides-{seed}", work / f"birds-{seed}"
            config = replace(whole, seed=seed)
            clean(arguments.data, config, Policy(), sides, embed=features, progress=progress)
            shutil.copytree(arguments.data / "photos", data / "photos")
            wrong = flipped_copy(arguments.data, sides / "index.parquet", data, seed)
            config = replace(config, splits_from=str(sides))
            folder = work / f"clean-{seed}"
            clean(data, config, Policy(), folder, embed=features, progress=progress)
            flips.append({"seed": seed, **found_flips(folder, wrong)})
            config = replace(config, imgsz=arguments.imgsz, epochs=arguments.epochs)
            for name, given in (("raw", data), ("clean", folder)):
                run = work / f"{name}-run-{seed}"
                scores[name].append(round(trained(given, config, run, progress), 5))
            progress.note(f"seed {seed}: {flips[-1]}, {scores}")
    noise, copies = (read_json(RESULTS / f"{n}.json") for n in ("label-noise", "near-duplicates"))
    million = read_json(RESULTS / "million-hashes.json")
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
        "settings": {"imgsz": arguments.imgsz, "epochs": arguments.epochs, **SPLIT},
        "machine": machine(),
        "versions": versions(),
    }
    publish("cleaning", result, table(result))


if __name__ == "__main__":
    main()
