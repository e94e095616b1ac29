"""Does a trained model's unknown score tell families that it has never seen from the others?

    python benchmarks/unknown_families.py [--data FOLDER] [--weights FILE] [--fold 0] [--epochs 6]

Leaves a fifth of the families out (as one of the folds of ``thresholds_probe.py``), trains with
``rs-toolkit train`` on the others, and measures the run with ``rs-toolkit val`` on all photos: the
test photos of the known families, and all photos of the families left out.  Training and its
validation use no photo of these.  Writes ``results/unknown-families.json``, whose row
``thresholds.py`` takes over.  An hour on 2 cores; an interrupted training goes on.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import options, publish
from thresholds_probe import FOLDS, left_out

from rs_toolkit.files import read_json


def without(data: Path, families: set[str], folder: Path) -> Path:
    """Write a data set of the photos of all other families; photos are links."""
    folder.mkdir(parents=True, exist_ok=True)
    with (data / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if row["family"] not in families]
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    photos = folder / "photos"
    if not photos.is_symlink():
        photos.symlink_to((data / "photos").resolve())
    return folder


def command(*arguments: object) -> None:
    """Run ``rs-toolkit`` with these arguments."""
    subprocess.run([sys.executable, "-m", "rs_toolkit", *map(str, arguments)], check=True)


def main() -> None:
    """Train, validate and write the row."""
    parser = options(__doc__, "data", "weights", work="unknown-families")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--fold", type=int, choices=range(FOLDS), default=0)
    chosen = parser.parse_args()
    families = left_out(chosen.data, chosen.fold)
    folder = chosen.work / f"{chosen.data.name}-{chosen.fold}"
    data, run = without(chosen.data, families, folder / "data"), folder / "run"
    if not (run / "metrics.json").is_file():
        resumed = ("--resume", run) if (run / "config.json").is_file() else ()
        settings = ("--weights", chosen.weights, "--epochs", chosen.epochs)
        command("train", *(resumed or (data, "--out", run, *settings)))
    command("val", run, chosen.data, "--out", folder / "val")
    publish("unknown-families", {"unknown": [row(chosen, families, run, folder / "val")]})


def row(chosen: Any, families: set[str], run: Path, val: Path) -> dict[str, Any]:
    """Return the row of a finished validation."""
    found = read_json(val / "val.json")
    known = found["ranks"][0]
    score = found["strangeness"]["score"]
    return {
        "set": f"{chosen.data.name}, trained model, a fifth of the families held out",
        "fold": chosen.fold,
        "families": sorted(families),
        "known": known["photos"],
        "unknown": found["unknown"]["photos"],
        "accuracy": known["accuracy"]["value"],
        "macro_f1": known["macro_f1"]["value"],
        "auroc": found["strangeness"]["auroc"],
        "scores": {score: found["strangeness"]["auroc"]},
        "strange": found["strangeness"]["strange"],
        "seconds": read_json(run / "environment.json")["seconds"],
        "settings": read_json(run / "config.json")["settings"],
    }


if __name__ == "__main__":
    main()
