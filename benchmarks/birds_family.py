"""Train on real bird photos, export every variant, compare with a linear probe.

    python benchmarks/birds_family.py [--imgsz 160] [--epochs 5] [--seed 0]

Families of the bird photos in ``../shared``; test photos are held out by photo, within species:
other photos of the same species are in the training set, so this says nothing about species
never seen.  Writes ``results/birds-family.json`` and ``results/birds-family.md``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from publish import publish

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import PhotoCache, default_cache_dir
from rs_toolkit.environment import machine, quiet_tensorflow, versions
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.classification import accuracy, macro_f1
from rs_toolkit.progress import ConsoleProgress, Progress

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
PROBE_STRENGTH = 0.01


def linear_probe(run: Run, weights: Path, progress: Progress) -> dict[str, dict[str, float]]:
    """Fit the baseline: class-balanced logistic regression on frozen ImageNet features.

    Fitted on the training photos, as the model was; and, because it needs no validation photos,
    once more with those added.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from rs_train.classifier.backbones import build_backbone, load_backbone_weights
    from rs_train.classifier.linear_probe import frozen_features
    from rs_train.classifier.model import build_classifier, feature_extractor

    backbone = build_backbone(run.config["backbone"], run.preprocessing.size)
    load_backbone_weights(backbone, run.config["backbone"], str(weights))
    model = build_classifier(run.config["backbone"], run.preprocessing.size, 2)
    for layer in backbone.layers:
        model.layers[backbone.layers.index(layer)].set_weights(layer.get_weights())
    cache = PhotoCache(default_cache_dir(), run.preprocessing)
    features, labels = {}, {}
    for side in ("train", "val", "test"):
        photos, labels[side] = run.split(side)
        features[side] = frozen_features(
            feature_extractor(model),
            photos,
            run.data_root,
            cache,
            progress,
        )[:, 0]
    results = {}
    for name, sides in (("probe", ["train"]), ("probe_with_val", ["train", "val"])):
        probe = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=PROBE_STRENGTH, class_weight="balanced", max_iter=1000),
        )
        probe.fit(
            np.concatenate([features[side] for side in sides]),
            np.concatenate([labels[side] for side in sides]),
        )
        predicted = probe.predict(features["test"])
        results[name] = {
            "accuracy": float(accuracy(labels["test"], predicted)),
            "macro_f1": float(macro_f1(labels["test"], predicted, len(run.classes))),
        }
    return results


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    counts, config = result["counts"], result["config"]
    lines = [
        "# Bird families: training and export",
        "",
        f"{counts['train']} training, {counts['val']} validation and {counts['test']} test photos, "
        f"{counts['classes']} families, {config['imgsz']} px, seed {result['seed']}. "
        "Test photos are held out by photo, within species.",
        "",
        f"{result['machine']['cpu']}, {result['machine']['cores']} cores. "
        f"Training {result['seconds']['train']:.0f} s, export {result['seconds']['export']:.0f} s. "
        "ms: one photo, model only, 2 threads, median.",
        "",
        "| variant | MB | accuracy | top-5 | macro-F1 | worst-decile F1 | agreement | ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ("probe", "probe_with_val"):
        row = result[name]
        lines.append(f"| {name} | | {row['accuracy']:.3f} | | {row['macro_f1']:.3f} | | | |")
    for name, row in result["variants"].items():
        lines.append(
            f"| {name} | {row['mb']:.1f} | {row['accuracy']:.3f} | {row['top5']:.3f} "
            f"| {row['macro_f1']:.3f} | {row['worst_decile_f1']:.3f} | {row['agreement']:.3f} "
            f"| {row['ms']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "birds")
    parser.add_argument(
        "--weights", type=Path, default=SHARED / "weights" / "xception_imagenet_notop.weights.h5"
    )
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--work", type=Path, default=HERE / "work" / "birds-family")
    arguments = parser.parse_args()
    config = TrainConfig(
        weights=str(arguments.weights),
        rank="family",
        stratify_by="common_name",
        imgsz=arguments.imgsz,
        val=0.15,
        test=0.25,
        epochs=arguments.epochs,
        precision=arguments.precision,
        seed=arguments.seed,
    )
    from rs_export import ExportSettings, export_run
    from rs_train.classifier.train import train

    quiet_tensorflow()
    with ConsoleProgress() as progress:
        path = train(arguments.data, config, arguments.work, resume=True, progress=progress)
        seconds = {"train": read_json(path / "environment.json")["seconds"]}
        run = Run.open(path)
        probes = linear_probe(run, arguments.weights, progress)
        begun = time.perf_counter()
        exported = export_run(path, ExportSettings(int8=True), progress=progress)
        seconds["export"] = round(time.perf_counter() - begun, 1)
    counts = {side: len(run.split(side)[0]) for side in ("train", "val", "test")}
    result = {
        **probes,
        "variants": exported.table,
        "refused": exported.refused,
        "machine": machine(),
        "versions": versions(),
        "seed": config.seed,
        "counts": {**counts, "classes": len(run.classes)},
        "config": {**config.to_dict(), "weights": arguments.weights.name},
        "history": read_json(path / "history.json"),
        "seconds": seconds,
    }
    publish("birds-family", result, table(result))


if __name__ == "__main__":
    main()
