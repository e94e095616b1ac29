"""Distil a filter from labels alone on photos of all kinds, and judge photos that it never saw.

    python benchmarks/filter_photos.py

Photos are those of ``../shared/data/organism_or_not``: animals, plants and fungi, field cameras
and cameras in boxes, against empty frames, people, objects, scenes and documents.  The box camera
``vj_ga_hu_1`` is kept back as a whole, for its frames are nearly alike; so is a quarter of the
other photos.  ``efficientnet_lite0`` is fine-tuned from ImageNet weights without a teacher, so
this runs in an environment without torch.  What is judged are the filters that ship in a kit.
They are also shown all photos of ``../shared/data/birds``, none of which was trained on.

What is in the work folder already is not made again.  Writes the key ``real_photos`` of
``results/filter.json``, and ``results/filter-photos.md``.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, SHARED, grid, on, options, publish
from numpy.typing import NDArray

from rs_export import ExportSettings, export_run
from rs_runtime.filter import NOT_ORGANISM, UNCERTAIN, Filter, verdict
from rs_runtime.kit.kit import open_kit
from rs_toolkit.config.distillation import DistillConfig
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.environment import quiet_tensorflow
from rs_toolkit.files import read_json
from rs_toolkit.folders.filter import FilterFolder
from rs_toolkit.progress import ConsoleProgress, Progress

PHOTOS, BIRDS = SHARED / "data" / "organism_or_not", SHARED / "data" / "birds"
HELD_OUT, OTHER_CAMERA = "vj_ga_hu_1", "vj_ga_hu_2"
VARIANTS = {"litert": "tflite_int8", "onnxruntime": "onnx_u8s8"}
SETTINGS = DistillConfig(
    student="efficientnet_lite0",
    student_weights="package",
    imgsz=224,
    test=0.25,
    group_by="site",
    epochs=8,
    patience=8,
    learning_rate=2e-4,
)


def laid_out(work: Path) -> list[dict[str, str]]:
    """Link the photos to learn from into ``work``; return the rows of those kept back."""
    with (PHOTOS / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held = [row for row in rows if Path(row["file_path"]).name.startswith(HELD_OUT)]
    for kind in ("organism", "other"):
        chosen = [row for row in rows if row["kind"] == kind and row not in held]
        for row in chosen:
            link = work / kind / row["file_path"]
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(PHOTOS / row["file_path"])
        with (work / kind / "metadata.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file_path", "label", "site"])
            for row in chosen:
                camera = OTHER_CAMERA if OTHER_CAMERA in row["file_path"] else ""
                name = row["source"] if kind == "organism" else ""
                table.writerow([row["file_path"], name, camera])
    return held


def distilled(work: Path, progress: Progress) -> Path:
    """Return the folder of the filter."""
    from rs_train.student.distill import distill

    data, others, out = (work / name for name in ("organism", "other", "filter"))
    return distill(data, SETTINGS, out, not_organism=others, resume=True, progress=progress)


def in_a_kit(work: Path, folder: Path, progress: Progress) -> Path:
    """Return a kit of a classifier that knows nothing, with the filter."""
    from rs_train.classifier.train import train

    nothing = TrainConfig(weights="none", backbone="xception-mini", imgsz=64, epochs=0)
    run = train(BIRDS, nothing, work / "run", resume=True, progress=progress)
    settings = ExportSettings(recipes=tuple(VARIANTS.values()), filter=str(folder), mend=False)
    found = export_run(run, settings, progress=progress)
    return found.kit


def judged(
    kit: Path, engine: str, photos: list[Path]
) -> tuple[str, NDArray[np.float64], list[str]]:
    """Return the filter's variant, each photo's probability of an organism, and the verdicts."""
    with open_kit(kit) as opened:
        loaded = Filter(opened, engine)
    found = [loaded.judge(loaded.preprocessing.load(photo)[None])[0] for photo in photos]
    return loaded.variant.name, np.array(found), [verdict(p, loaded.thresholds) for p in found]


def scores(
    probability: NDArray[np.float64], verdicts: list[str], truth: list[bool], sources: list[str]
) -> dict[str, Any]:
    """Return AUROC, the share of organisms flagged, of all undecided, and both by source."""
    from sklearn.metrics import roc_auc_score

    by_source = {
        source: {
            "photos": len(
                said := [v for v, s in zip(verdicts, sources, strict=True) if s == source]
            ),
            "flagged": said.count(NOT_ORGANISM),
            "undecided": said.count(UNCERTAIN),
        }
        for source in sorted(set(sources))
    }
    flagged = [said == NOT_ORGANISM for said, shown in zip(verdicts, truth, strict=True) if shown]
    return {
        "auroc": float(roc_auc_score(truth, probability)),
        "organisms_flagged": float(np.mean(flagged)),
        "undecided": verdicts.count(UNCERTAIN) / len(verdicts),
        "by_source": by_source,
    }


def measured(kit: Path, folder: Path, held: list[dict[str, str]]) -> dict[str, Any]:
    """Judge the test photos, those of the camera kept back, and birds, with each engine."""
    photos, truth = FilterFolder.open(folder).side("test")
    paths = [PHOTOS / photo.path for photo in photos] + [PHOTOS / row["file_path"] for row in held]
    shown = [*map(bool, truth), *(row["kind"] == "organism" for row in held)]
    sources = [photo.path.split("/")[1] for photo in photos]
    sources += [f"{row['source']} (new camera)" for row in held]
    birds = sorted(BIRDS.rglob("*.jpg"))
    engines, count = {}, len(paths)
    for engine in VARIANTS:
        variant, probability, verdicts = judged(kit, engine, [*paths, *birds])
        of_birds = verdicts[count:]
        engines[engine] = {
            "variant": variant,
            **scores(probability[:count], verdicts[:count], shown, sources),
            "birds_flagged": of_birds.count(NOT_ORGANISM) / len(birds),
            "birds_undecided": of_birds.count(UNCERTAIN) / len(birds),
        }
    return {
        **min(engines.values(), key=lambda item: item["auroc"]),
        "engines": engines,
        "photos": len(paths),
        "organisms": sum(shown),
        "birds": len(birds),
        "torch": "torch" in sys.modules,
        "seconds": read_json(folder / "environment.json")["seconds"],
        "settings": SETTINGS.to_dict(),
    }


def table(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    found = result["real_photos"]
    names = ["variant", "auroc", "organisms_flagged", "undecided"]
    names += ["birds_flagged", "birds_undecided"]
    engines = [[engine, *map(item.get, names)] for engine, item in found["engines"].items()]
    sources = [[source, *item.values()] for source, item in found["by_source"].items()]
    return f"""# The filter on photos of all kinds

{on(result["machine"])}. {found["photos"]} photos that it never saw, {found["organisms"]} of them \
of organisms; one camera's frames are all among them. {found["birds"]} birds of another \
collection. Without a teacher and without torch.

{grid(["engine", *(name.replace("_", " ") for name in names)], engines)}

By source, with the engine of the lower AUROC:

{grid(["source", "photos", "flagged", "undecided"], sources)}
"""


def main() -> None:
    """Run the benchmark."""
    chosen = options(__doc__, work="filter-photos").parse_args()
    quiet_tensorflow()
    with ConsoleProgress() as progress:
        held = laid_out(chosen.work)
        folder = distilled(chosen.work, progress)
        found = measured(in_a_kit(chosen.work, folder, progress), folder, held)
    publish(
        "filter", {**read_json(RESULTS / "filter.json"), "real_photos": found}, table, "-photos"
    )


if __name__ == "__main__":
    main()
