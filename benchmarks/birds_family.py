"""Train on real bird photos, export the run, and compare it with a linear probe.

    python benchmarks/birds_family.py [--imgsz 160] [--epochs 5] [--seed 0]

The classes are the families of the bird photos in ``../shared``.  Other photos of the test photos'
species are in the training set, so this says nothing about species never seen.  Writes
``results/birds-family.json`` and ``results/birds-family.md``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from common import BIRDS_RUN, SIDES, on, options, publish

from rs_export.tables import by_name
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.classification import accuracy, macro_f1
from rs_toolkit.progress import ConsoleProgress, Progress

PROBE_STRENGTH = 0.01
COLUMNS = {
    "mb": ("MB", ".1f"),
    "accuracy": ("accuracy", ".3f"),
    "top5": ("top-5", ".3f"),
    "macro_f1": ("macro-F1", ".3f"),
    "worst_decile_f1": ("worst-decile F1", ".3f"),
    "agreement": ("agreement", ".3f"),
    "ms": ("ms", ".1f"),
}


def linear_probe(run: Run, weights: Path, progress: Progress) -> dict[str, dict[str, float]]:
    """Fit the baseline: class-balanced logistic regression on frozen ImageNet features.

    It is fitted on the training photos, as the model was, and once more on training and
    validation photos together, because it needs no validation photos.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from rs_train.classifier.embed import embed

    cache = PhotoCache(default_cache_dir(), run.preprocessing)
    given = {"backbone": run.config["backbone"], "weights": str(weights), "progress": progress}
    known, results = {}, {}
    for side in SIDES:
        photos, labels = run.split(side)
        known[side] = embed(photos, run.data_root, cache, **given), labels
    features, truth = known["test"]
    for name, sides in (("probe", ["train"]), ("probe_with_val", ["train", "val"])):
        model = LogisticRegression(C=PROBE_STRENGTH, class_weight="balanced", max_iter=1000)
        probe = make_pipeline(StandardScaler(), model)
        probe.fit(*(np.concatenate([known[side][part] for side in sides]) for part in (0, 1)))
        predicted = probe.predict(features)
        results[name] = {
            "accuracy": float(accuracy(truth, predicted)),
            "macro_f1": float(macro_f1(truth, predicted, len(run.classes))),
        }
    return results


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    counts, seconds = result["counts"], result["seconds"]
    probes = {name: result[name] for name in ("probe", "probe_with_val")}
    return f"""# Bird families: training and export

{counts["train"]} training, {counts["val"]} validation and {counts["test"]} test photos, \
{counts["classes"]} families, {result["config"]["imgsz"]} px, seed {result["seed"]}. \
Test photos are held out by photo, within species.

{on(result["machine"])}. Training {seconds["train"]:.0f} s, export {seconds["export"]:.0f} s. \
ms: one photo, model only, 2 threads, median.

{by_name({**probes, **result["variants"]}, COLUMNS)}
"""


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, "data", "weights", work=BIRDS_RUN.name)
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    chosen = parser.parse_args()
    config = TrainConfig(
        weights=str(chosen.weights), rank="family", stratify_by="common_name", val=0.15, test=0.25,
        imgsz=chosen.imgsz, epochs=chosen.epochs, precision=chosen.precision, seed=chosen.seed,
    )  # fmt: skip
    from rs_export import ExportSettings, export_run
    from rs_train.classifier.train import train

    quiet_tensorflow()
    with ConsoleProgress() as progress:
        path = train(chosen.data, config, chosen.work, resume=True, progress=progress)
        run = Run.open(path)
        probes = linear_probe(run, chosen.weights, progress)
        begun = time.perf_counter()
        exported = export_run(path, ExportSettings(int8=True), progress=progress)
        seconds = round(time.perf_counter() - begun, 1)
    counts = {side: len(run.split(side)[0]) for side in SIDES}
    result = {
        **probes,
        "variants": exported.table,
        "refused": exported.refused,
        "seed": config.seed,
        "counts": {**counts, "classes": len(run.classes)},
        "config": {**config.to_dict(), "weights": chosen.weights.name},
        "history": read_json(path / "history.json"),
        "seconds": {"train": read_json(path / "environment.json")["seconds"], "export": seconds},
    }
    publish("birds-family", result, table)


if __name__ == "__main__":
    main()
