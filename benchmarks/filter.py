"""Distil a filter from a teacher on the sample, export it, and measure it.

    python benchmarks/filter.py [--epochs 12]

A tiny CLIP (``tests/train/tiny_clip.py``) is trained on drawn pictures with captions, because no
public checkpoint can be had where this was run.  It teaches ``mobilenetv2-w50`` at 160 px on the
sample's photos and on pictures of no organism; those that are planted in the sample under the label
of a species are put with the latter.  Then, in a kit of Xception at 299 px: how much longer does a
photo take with that filter?

What is in the work folder already is not made again.  Writes the key ``sample`` of
``results/filter.json``, and ``results/filter.md``.
"""

from __future__ import annotations

import csv
import runpy
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, ROOT, on, options, publish

from rs_export import ExportSettings, export_run
from rs_export.tables import by_name
from rs_runtime.classify import Classifier
from rs_runtime.filter import Filter
from rs_runtime.kit.kit import open_kit
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.progress import ConsoleProgress, Progress
from rs_toolkit.sample import generate_sample
from rs_toolkit.sample.faults import non_organism

PROMPTS = ROOT / "samples" / "prompts-sample.toml"
TINY = ROOT / "tests" / "train" / "tiny_clip.py"
VARIANTS = ("tflite_int8", "onnx_u8s8")
COLUMNS = {
    "mb": ("MB", ".2f"),
    "auroc": ("AUROC", ".4f"),
    "agreement": ("agreement", ".4f"),
    "cosine": ("cosine", ".4f"),
    "ms": ("ms", ".2f"),
}


def sample_folders(work: Path, photos: int) -> tuple[Path, Path, Path]:
    """Return the sample, a folder of its photos of organisms, and one of pictures of none."""
    sample, organisms, others = (work / name for name in ("sample", "organisms", "others"))
    if others.exists():
        return sample, organisms, others
    generate_sample(sample, seed=0, photos=photos)
    planted = {item["path"] for item in read_json(sample / "truth.json")["faults"]["non_organism"]}
    with (sample / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    others.mkdir()
    shutil.copytree(sample, organisms)
    for path in planted:
        shutil.move(organisms / path, others / Path(path).name)
    with (organisms / "metadata.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(row for row in rows if row["file_path"] not in planted)
    for number in range(photos // 2):
        kind = ("landscape", "document", "chart", "screenshot")[number % 4]
        picture = non_organism(np.random.default_rng((7, number)), kind)
        picture.save(others / f"{kind}-{number}.jpg", quality=85)
    return sample, organisms, others


def on_sample(work: Path, epochs: int, photos: int, progress: Progress) -> dict[str, Any]:
    """Distil from the tiny CLIP, export with Xception, and return what was measured."""
    from rs_train.student.distill import distill

    sample, organisms, others = sample_folders(work, photos)
    seconds = {}
    config, checkpoint = (work / "clip" / f"tiny.{suffix}" for suffix in ("json", "safetensors"))
    if not checkpoint.exists():
        begun = time.perf_counter()
        checkpoint.parent.mkdir(parents=True)
        runpy.run_path(str(TINY))["train_tiny_clip"](checkpoint.parent)
        seconds["tiny_clip"] = time.perf_counter() - begun
    settings = DistillConfig(
        teacher=str(config), teacher_weights=str(checkpoint), prompts=str(PROMPTS), epochs=epochs
    )
    out = work / "filter"
    folder = distill(organisms, settings, out, not_organism=others, resume=True, progress=progress)
    run = xception(sample, work / "run", progress)
    report, ratios = exported(run, folder, progress), added(run, sample)
    rows = [report["table"][f"filter_{name}"] for name in VARIANTS]
    metrics = read_json(folder / "metrics.json")
    seconds["distill"] = read_json(folder / "environment.json")["seconds"]
    return {
        "teacher_auroc": metrics["test"]["teacher_auroc"],
        "student_auroc": metrics["test"]["auroc"],
        # The worse and the larger of the two.
        "int8_auroc": min(row["auroc"] for row in rows),
        "int8_mb": max(row["mb"] for row in rows),
        "added_time_ratio": max(ratios.values()),
        "added_time_ratios": ratios,
        "metrics": metrics,
        "export": report,
        "seconds": {key: round(value, 1) for key, value in seconds.items()},
    }


def xception(data: Path, out: Path, progress: Progress) -> Path:
    """Return a run of Xception at 299 px with random weights, which take as long as any."""
    from rs_train.classifier.train import train

    config = TrainConfig(weights="none", imgsz=299, epochs=0)
    return train(data, config, out, resume=True, progress=progress)


def exported(run: Path, folder: Path, progress: Progress) -> dict[str, Any]:
    """Export a run with a filter and return the filter's part of the report."""
    settings = ExportSettings(recipes=VARIANTS, mend=False, filter=str(folder))
    export_run(run, settings, progress=progress)
    found: dict[str, Any] = read_json(run / "export" / "report.json")["filter"]
    return found


def added(run: Path, sample: Path, rounds: int = 5) -> dict[str, float]:
    """Return the time that the filter adds to a photo, as a share of that without it, by engine.

    From the photo's bytes on disk to the answer, 2 threads, the two ways in turns, medians.
    """
    (kit,) = (run / "export").glob("*.rskit")
    photo = next(iter(sorted(sample.rglob("*.jpg"))))
    found = {}
    for engine in ("litert", "onnxruntime"):
        seconds: dict[str, list[float]] = {"off": [], "report": []}
        for name in sorted(seconds) * rounds:
            with open_kit(kit) as opened:
                loaded = Filter(opened, engine) if name == "report" else None
                classifier = Classifier(opened, engine, threads=2, filter=loaded)
            # Nothing else is loaded meanwhile: its waiting threads would take cores.
            for number in range(30):
                begun = time.perf_counter()
                classifier.classify(photo)
                if number >= 5:
                    seconds[name].append(time.perf_counter() - begun)
            del classifier, loaded
        off, on = (float(np.median(values)) for values in seconds.values())
        found[engine] = on / off - 1
    return found


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    sample = result["sample"]
    ratios = ", ".join(f"{v:.1%} ({k})" for k, v in sample["added_time_ratios"].items())
    return f"""\
# The filter on the sample

{on(result["machine"])}. No public CLIP checkpoint was available: the teacher is a tiny CLIP, \
trained on drawn pictures.

Test AUROC: teacher (zero-shot) {sample["teacher_auroc"]:.4f}, student \
{sample["student_auroc"]:.4f}. In a kit of Xception at 299 px the filter adds {ratios} to the \
time of a photo (2 threads).

{by_name(sample["export"]["table"], COLUMNS)}
"""


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, work="filter")
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=12)
    chosen = parser.parse_args()
    chosen.work.mkdir(parents=True, exist_ok=True)
    quiet_tensorflow()
    with ConsoleProgress() as progress:
        sample = on_sample(chosen.work, chosen.epochs, chosen.photos, progress)
    # What filter_photos.py measured stays.
    publish("filter", {**read_json(RESULTS / "filter.json"), "sample": sample}, table)


if __name__ == "__main__":
    main()
