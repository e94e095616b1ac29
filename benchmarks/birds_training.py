"""Is fine-tuning by a full recipe worth it, and each part of the recipe?

    python benchmarks/birds_training.py [--sets birds cub-species] [--parts probe stage_1 best]
        [--seeds 0 1 2] [--imgsz 224] [--epochs 20] [--minutes 30] [--device auto]

For each set of photos and each seed, on test photos that no training saw:

- ``probe``: a class-balanced linear classifier on frozen features, fitted on training and
  validation photos (the latter choose the strength of its penalty first);
- ``stage_1``: the same, balanced as the recipe says: where fine-tuning begins;
- ``best``: the recipe of the set (RECIPES), then trained once more with the validation photos;
- the recipe without one of its PARTS.  A part's gain is what ``best`` has more on average.

The seed decides the split too, so the spread over seeds is that of photos and of training.
In ``birds-new-species`` all photos of a species are on one side of the split, so test and
validation photos show species that training never saw.  The recipes come from a search on a GPU,
with one seed and other splits of the same photos, whose test scores were seen when later settings
were chosen.

Each of these is one training, in a folder of ``--work``.  An interrupted one goes on from its last
epoch, and a finished one, or one that the results hold already, is not repeated.  So the whole can
be done in many sessions, on different machines (``--minutes`` ends a session in time); several
processes may share a work folder.  A training itself is not to be moved to another path.  Finished
rows are merged into ``results/birds-training.json``, which says for each where and at which size it
was measured, and lists what was not measured as ``left_out``.  A row of an earlier recipe is
dropped.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from birds_training_recipes import (
    MAIN,
    PARTS,
    RECIPES,
    SEEDS,
    SETS,
    Settings,
    Task,
    parts_of,
    tasks,
)
from birds_training_rows import gains, is_current, left_out, mark, merged, scores, table
from common import RESULTS, SHARED, on, options

from rs_toolkit.config.training import TrainConfig
from rs_toolkit.environment import machine, quiet_tensorflow, use_device
from rs_toolkit.errors import ToolkitError
from rs_toolkit.files import atomic_write, read_json, write_json
from rs_toolkit.folders.locks import lock_without_waiting, locked
from rs_toolkit.folders.run import Run
from rs_toolkit.progress import ConsoleProgress

_LEAST = 60.0  # seconds; with less, no training is begun
_STOP = 20.0  # seconds that a training may take to stop


def photos_of(name: str, data: Path, work: Path) -> Path:
    """Return the data set; where whole species are held out, its table names the species."""
    source = data / SETS[name][0]
    if SETS[name][1].get("group_by") != "species":
        return source
    folder = work / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (source / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = [{**row, "species": row["common_name"]} for row in csv.DictReader(file)]
    with (
        atomic_write(folder / "metadata.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    if not (photos := folder / "photos").is_symlink():
        photos.symlink_to((source / "photos").resolve())
    return folder


def train_run(data: Path, settings: Settings, run: Path, device: str) -> None:
    """Train in a process of its own, which can be stopped and gives its memory back."""
    from rs_train.classifier.train import train

    quiet_tensorflow()
    here = [on(machine()), use_device(device)]
    known = read_json(run / "sessions.json") if (run / "sessions.json").is_file() else []
    if here not in known:
        write_json(run / "sessions.json", [*known, here])
    try:
        with ConsoleProgress() as progress:
            train(data, TrainConfig(**settings), run, resume=True, progress=progress)
    except KeyboardInterrupt:
        sys.exit(130)
    except ToolkitError as error:
        sys.exit(str(error))


def finished(arguments: tuple[Any, ...], seconds: float) -> bool:
    """Run :func:`train_run`; False: the time was too short, and the training is to go on later."""
    process = multiprocessing.get_context("spawn").Process(target=train_run, args=arguments)
    process.start()
    process.join(max(0.0, seconds - _STOP))
    if process.is_alive():
        os.kill(int(process.pid or 0), signal.SIGINT)
        process.join(_STOP / 2)
        # A checkpoint is whole at any time.
        process.kill()
        process.join()
        return False
    if process.exitcode:
        raise RuntimeError(f"training ended with exit code {process.exitcode}")
    return True


def row_of(task: Task, run: Path) -> dict[str, Any]:
    """Return the results of a finished run, and keep them beside it instead of its weights."""
    if not (file := run / "row.json").is_file():
        environment = read_json(run / "environment.json")
        machines, devices = zip(*read_json(run / "sessions.json"), strict=True)
        row = {
            "seed": task.seed, **scores(Run.open(run)), "imgsz": task.imgsz, "epochs": task.epochs,
            "best_epoch": read_json(run / "history.json")["best_epoch"],
            "seconds": environment["seconds"], "machine": "; ".join(dict.fromkeys(machines)),
            "device": "; ".join(dict.fromkeys(devices)),
            "tensorflow": environment["versions"]["tensorflow"],
            "recipe": mark(task.settings), "settings": task.settings,
        }  # fmt: skip
        write_json(file, row)
    for folder in ("checkpoints", "refit"):
        shutil.rmtree(run / folder, ignore_errors=True)
    if task.part != "best":
        (run / "model.keras").unlink(missing_ok=True)
    return dict(read_json(file))


def measure(task: Task, chosen: Any, seconds: float) -> dict[str, Any] | None:
    """Return the row of a task; None: it is unfinished, or another process works on it."""
    run = chosen.work / task.folder
    run.mkdir(parents=True, exist_ok=True)
    lock = lock_without_waiting(run.with_name(f"{run.name}.lock"))
    if lock is None:
        return None
    try:
        if not (run / "row.json").is_file():
            settings = {**task.settings, "weights": str(chosen.weights)}
            data = photos_of(task.name, chosen.data, chosen.work)
            if not finished((data, settings, run, chosen.device), seconds):
                return None
        return row_of(task, run)
    finally:
        os.close(lock)


def read(file: Path) -> dict[str, Any]:
    """Return the results so far, without rows of other recipes."""
    sets = read_json(file)["sets"] if file.is_file() else {}

    def now(name: str, part: str, row: dict[str, Any]) -> bool:
        known = name in SETS and part in parts_of(name)
        task = Task(name, part, row["seed"], row["imgsz"], row["epochs"])
        return known and row["recipe"] == mark(task.settings)

    return is_current(sets, MAIN, now)


def write(chosen: Any, task: Task | None = None, row: dict[str, Any] | None = None) -> None:
    """Merge a row into the results, which other processes may write too, and write the table."""
    file = chosen.out / "birds-training.json"
    with locked(chosen.work / "results.lock"):
        sets = read(file)
        if task and row:
            sets = merged(sets, task.name, task.part, row)
        for found in sets.values():
            found["ablation"] = gains(found)
        wanted = {name: parts_of(name) for name in SETS}
        result = {"sets": sets, "left_out": left_out(sets, wanted, SEEDS), "recipes": RECIPES}
        write_json(file, result)
        with atomic_write(file.with_suffix(".md")) as temporary:
            temporary.write_text(table(result), "utf-8")


def is_known(task: Task, sets: dict[str, Any]) -> bool:
    """Return whether the results hold the row of a task."""
    found = sets.get(task.name, {})
    rows = [*found.get(task.part, []), *found.get("without", {}).get(task.part, [])]
    return any(row["recipe"] == mark(task.settings) for row in rows)


def work_on(chosen: Any) -> list[str]:
    """Do what is left, as far as the time allows; return what failed."""
    end, failed = time.monotonic() + 60 * chosen.minutes, []
    for task in tasks(chosen):
        if is_known(task, read(chosen.out / "birds-training.json")):
            continue
        if (left := end - time.monotonic()) < _LEAST:
            print("time is up; the same command goes on")
            break
        print(task.folder, flush=True)
        try:
            if row := measure(task, chosen, left):
                write(chosen, task, row)
        except RuntimeError as error:
            failed.append(f"{task.folder}: {error}")
            print(failed[-1], file=sys.stderr)
    return failed


def main() -> None:
    """Run what is left of the benchmark, and write the table."""
    parser = options(__doc__, "weights", work="birds-training")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--parts", nargs="+", choices=[*MAIN, *PARTS])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--imgsz", type=int, default=224)
    parser.add_argument("--epochs", type=int, help="instead of those of the recipes")
    parser.add_argument(
        "--minutes", type=float, default=10_000, help="stop in time; default: a week"
    )
    parser.add_argument("--device", default="auto")
    chosen = parser.parse_args()
    for folder in (chosen.work, chosen.out):
        folder.mkdir(parents=True, exist_ok=True)
    failed = work_on(chosen)
    write(chosen)
    print((chosen.out / "birds-training.md").read_text("utf-8"))
    if failed:
        sys.exit("failed: " + "; ".join(failed))


if __name__ == "__main__":
    main()
