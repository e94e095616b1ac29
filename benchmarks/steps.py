"""Photos a second of fine-tuning against bare training steps on random data, in one process.

Both take the same model, optimizer and loss, with deterministic operations, in turns.  An epoch of
fine-tuning is what ``train`` does: photos from the cache, oversampled, augmented, shown by Keras'
``fit``.  The bare steps are as many calls of ``train_on_batch`` with one batch of noise.
"""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import grid, on, options, publish

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.batches.oversampling import Shares
from rs_toolkit.batches.pipeline import PixelSource
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.photos import Photo, PhotoCache
from rs_toolkit.data.readers import open_data
from rs_toolkit.progress import Progress
from rs_toolkit.sample import generate_sample
from rs_train.classifier.fine_tune import ClassifierCourse, Portion
from rs_train.classifier.fit_loop import _one_epoch, make_deterministic
from rs_train.classifier.model import build_classifier, freeze_below

SIDE, BATCH, CLASSES = 224, 16, 8
STEPS = {"mobilenetv3-large": 20, "xception": 6}  # of an epoch


def photos_of(work: Path, cache: PhotoCache) -> tuple[list[Photo], Path]:
    """Return the readable photos of a drawn sample, and their folder."""
    folder = work / "sample"
    generate_sample(folder, photos=400)
    dataset, photos = open_data(folder, cache, Progress())
    return [photo for photo in photos if photo.error is None], dataset.root


def course_of(photos: list[Photo], root: Path, cache: PhotoCache, name: str) -> ClassifierCourse:
    """Return the fine-tuning of a backbone with random weights, its last blocks trainable."""
    config = TrainConfig(backbone=name, imgsz=SIDE, batch_size=BATCH, balance=0.0)
    model = build_classifier(name, SIDE, CLASSES, config.dropout)
    freeze_below(model, name, config.first_block)

    def pixels(rows: Any) -> Any:
        return cache.stacked([photos[row] for row in rows], lambda _: root)

    labels = np.arange(len(photos)) % CLASSES
    portion = Portion(PixelSource(pixels), labels, Shares.of(photos))
    return ClassifierCourse(model, portion, portion, cache.preprocessing, config)


def bare(course: ClassifierCourse, images: Any, labels: Any, steps: int) -> None:
    """Take so many steps on one batch."""
    for _ in range(steps):
        course.learner.train_on_batch(images, labels)


def measure(course: ClassifierCourse, steps: int, rounds: int) -> dict[str, Any]:
    """Return photos a second of both, by turns, and the share of time spent waiting for photos.

    Rates count seconds of processor time of all threads too, which other programs disturb less.
    """
    generator = np.random.default_rng(0)
    images = generator.normal(size=(BATCH, SIDE, SIDE, 3)).astype(np.float32)
    labels = generator.integers(0, CLASSES, BATCH)
    works = {
        "tuning": lambda epoch: _one_epoch(course, 0, epoch, Progress(), None),
        "bare": lambda _: bare(course, images, labels, steps),
    }
    rates: dict[str, list[float]] = {name: [] for name in works}
    costs: dict[str, list[float]] = {name: [] for name in works}
    waits = []
    # The first round, which traces, does not count.
    for turn in range(rounds + 1):
        for name, work in works.items():
            begun, spent = time.perf_counter(), time.process_time()
            found = work(turn)
            seconds, cpu = time.perf_counter() - begun, time.process_time() - spent
            if turn:
                rates[name].append(steps * BATCH / seconds)
                costs[name].append(cpu / steps / BATCH)
                waits += [found[1]] if found else []
    tuning, plain = rates["tuning"], rates["bare"]
    return {
        "tuning_photos_s": statistics.median(tuning),
        "bare_photos_s": statistics.median(plain),
        "ratio": statistics.median(tuned / bare for tuned, bare in zip(tuning, plain, strict=True)),
        "cpu_ratio": statistics.median(costs["bare"]) / statistics.median(costs["tuning"]),
        "waiting": statistics.median(waits),
        "rates": rates,
        "cpu_s_a_photo": costs,
    }


def table(result: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    keys = ("steps", "tuning_photos_s", "bare_photos_s", "ratio", "cpu_ratio", "waiting")
    head = ("backbone", *keys)
    rows = grid(head, [[row[key] for key in head] for row in result["backbones"]])
    return f"""# Fine-tuning against bare steps

On {on(result["machine"])}.  Photos a second at {SIDE} px in batches of {BATCH}, with the default
blocks trained: epochs of so many `steps` as `train` makes them (`tuning`) against as many calls of
`train_on_batch` with one batch of noise (`bare`).  Both took short turns in one process, because
other programs ran at the same time; medians of {result["rounds"]} rounds.  `ratio` is the median of
the rounds' ratios by the clock; `cpu_ratio` that of the processor time of all threads for a photo,
bare to tuning, which counts the reading and changing of photos in full, also where it runs beside
the steps.  `waiting` is the share of an epoch spent waiting for photos.  Operations are
deterministic in both.

{rows}
"""


def main() -> None:
    parser = options(__doc__, work="steps")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbones", nargs="*", default=list(STEPS))
    chosen = parser.parse_args()
    make_deterministic(0)
    cache = PhotoCache(chosen.work / "cache", Preprocessing(size=SIDE))
    photos, root = photos_of(chosen.work, cache)
    found = []
    for name in chosen.backbones:
        steps = STEPS[name]
        course = course_of(photos[: steps * BATCH], root, cache, name)
        row = {"backbone": name, "steps": steps}
        found.append({**row, **measure(course, steps, chosen.rounds)})
    shutil.rmtree(chosen.work)
    publish("steps", {"rounds": chosen.rounds, "backbones": found}, table)


if __name__ == "__main__":
    main()
