"""How near does a kit under 5 MB come to a float Xception, with and without it as a teacher?

    python benchmarks/small_kit.py [--data ../shared/data/cub] [--imgsz 160] [--epochs 6]
        [--student efficientnet_lite0] [--student-epochs 20] [--views 4] [--seed 0]

Trains an Xception by the recipe of ``birds_training`` for families of cub, then a small network
twice with the same split: with the Xception as ``--teacher``, and from the labels alone.  Both are
exported in 8 bits and packed.  Losses are those of macro-F1 on the same test photos, which no
training saw, in pairs (0.025 to 0.975 of a bootstrap over groups): of the float student, and of
what the kit answers.  Writes ``results/small-kit.json`` and ``.md``.  Interrupted trainings go on,
and finished ones are not repeated.  About an hour and a half on 2 cores.
"""

from __future__ import annotations

import lzma
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from birds_training_recipes import FULL, SETS
from common import SHARED, grid, on, options, publish

from rs_runtime.classify import Classifier
from rs_toolkit.data.groups import group_photos
from rs_toolkit.evaluation.logits import tested_logits
from rs_toolkit.files import read_json
from rs_toolkit.folders.run import Run
from rs_toolkit.metrics.classification import accuracy, macro_f1
from rs_toolkit.metrics.paired import gains
from rs_toolkit.progress import ConsoleProgress

_BATCH = 16
# Of the small network every block is trained, its batch normalization too: it has far to go.
STUDENT = {"learning_rate": 1e-3, "fine_tune_from": "all", "patience": 0}


def train(chosen: Any, run: Path, settings: dict[str, Any]) -> Run:
    """Train with ``rs-toolkit train``, or go on, or open what is finished."""
    if not (run / "metrics.json").is_file():
        common = {**SETS["cub"][1], "imgsz": chosen.imgsz, "seed": chosen.seed}
        arguments: list[object] = [chosen.data, "--out", run]
        for name, value in {**common, **settings}.items():
            arguments += [f"--{name.replace('_', '-')}", value]
        resumed = ["--resume", run] if (run / "config.json").is_file() else arguments
        command("train", *resumed)
    return Run.open(run)


def command(*arguments: object) -> None:
    """Run ``rs-toolkit`` with these arguments."""
    subprocess.run([sys.executable, "-m", "rs_toolkit", *map(str, arguments)], check=True)


def export(run: Run, data: Path) -> Path:
    """Return the kit of a run: one 8-bit TFLite model."""
    folder = run.path / "export"
    if not (kits := list(folder.glob("*.rskit"))):
        command("export", run.path, "--data", data, "--recipe", "tflite_int8", "--force")
        kits = list(folder.glob("*.rskit"))
    return kits[0]


def answered(kit: Path, run: Run) -> np.ndarray:
    """Return the logits that a kit gives for the test photos of a run, (n, classes)."""
    photos, _ = run.split("test")
    with Classifier.open(kit, filter="off") as classifier:
        order = [item.name for item in classifier.manifest.classes]
        starts = range(0, len(photos), _BATCH)
        rows = [classifier.logits(run.pixels(photos[at : at + _BATCH])) for at in starts]
    place = {name: number for number, name in enumerate(order)}
    return np.concatenate(rows)[:, [place[str(item["name"])] for item in run.classes]]


def row(name: str, run: Run, teacher: Run, kit: Path | None) -> dict[str, Any]:
    """Return the scores of a run, and of its kit if there is one, beside the teacher's."""
    photos, labels = run.held_out("test")
    theirs, own = (tested_logits(each, ConsoleProgress()) for each in (teacher, run))
    logits = own if kit is None else answered(kit, run)
    groups = group_photos(photos).numbers
    found = gains(labels, groups, theirs, logits)["macro_f1"]
    packed = None if kit is None else len(lzma.compress(kit.read_bytes())) / 1e6
    return {
        "model": name,
        "macro_f1": macro_f1(labels, logits.argmax(axis=1), len(run.classes)),
        "accuracy": accuracy(labels, logits.argmax(axis=1)),
        "points_lost": -100 * found.value,
        "at_least": None if found.high is None else -100 * found.high,
        "at_most": None if found.low is None else -100 * found.low,
        "packed_mb": packed,
        "seconds": read_json(run.path / "environment.json")["seconds"],
    }


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    head = ["model", "macro_f1", "accuracy", "points_lost", "at_least", "at_most", "packed_mb"]
    rows = [[item[name] for name in head] for item in found["rows"]]
    about = (
        f"{found['photos']} test photos of {found['classes']} families of {found['data']} at "
        f"{found['imgsz']} px, on {on(found['machine'])}. Points of macro-F1 (of 100) lost against "
        "the float Xception, by a paired bootstrap. A kit holds one 8-bit TFLite model."
    )
    return f"# A kit under 5 MB\n\n{about}\n\n{grid(head, rows)}\n"


def main() -> None:
    """Train the three models, export two, and write the results."""
    parser = options(__doc__, "weights", work="small-kit")
    parser.add_argument("--data", type=Path, default=SHARED / "data" / "cub")
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--student", default="efficientnet_lite0")
    parser.add_argument("--student-weights", default="package")
    parser.add_argument("--student-epochs", type=int, default=20)
    parser.add_argument("--views", type=int, default=4)
    both = ["taught", "alone"]
    parser.add_argument("--students", nargs="+", choices=both, default=both)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    large = {**FULL, "refit": "none", "epochs": chosen.epochs, "weights": chosen.weights}
    teacher = train(chosen, chosen.work / f"xception-{chosen.imgsz}-{chosen.seed}", large)
    small = {**STUDENT, "backbone": chosen.student, "weights": chosen.student_weights}
    small["epochs"] = chosen.student_epochs
    taught = {"teacher": teacher.path, "teacher_views": chosen.views}
    # A teacher has views of its own.
    students = {"taught": {**small, **taught}, "alone": {**small, "crop_scale": FULL["crop_scale"]}}
    photos, _ = teacher.held_out("test")
    about = {"data": chosen.data.name, "imgsz": chosen.imgsz, "seed": chosen.seed}
    about |= {"photos": len(photos), "classes": len(teacher.classes), "left_out": []}
    rows = [row("xception, float", teacher, teacher, None)]
    for name, settings in students.items():
        if name not in chosen.students:
            about["left_out"].append(f"{chosen.student}, {name}")
            continue
        run = train(
            chosen, chosen.work / f"{chosen.student}-{name}-{chosen.imgsz}-{chosen.seed}", settings
        )
        rows.append(row(f"{chosen.student}, {name}, float", run, teacher, None))
        rows.append(row(f"{chosen.student}, {name}, kit", run, teacher, export(run, chosen.data)))
    publish("small-kit", {**about, "rows": rows}, table)


if __name__ == "__main__":
    main()
