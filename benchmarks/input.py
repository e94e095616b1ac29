"""What the input of a training costs: photo files that are known already, batches made ahead."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from common import grid, on, options, publish
from PIL import Image

from rs_runtime.photos.preprocess import Preprocessing
from rs_toolkit.config.training import TrainConfig
from rs_toolkit.data.index import build_index
from rs_toolkit.data.known_files import KnownFiles
from rs_toolkit.data.photos import PhotoCache
from rs_toolkit.data.readers import read_dataset
from rs_toolkit.progress import Progress
from rs_train.classifier.prepare import prepare

CLASSES = 10
SIDE = 224
KILOBYTES = (0, 100, 400)
REPEATS = 5


def draw_photos(folder: Path, count: int, kilobytes: int) -> None:
    """Write photos of random blocks of colour, each with so much before its pixels.

    Cameras put previews and maker notes there; they cost nothing to decode.
    """
    generator = np.random.default_rng(kilobytes)
    for number in range(count):
        path = folder / f"family{number % CLASSES}idae" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize((256, 192)).save(path, quality=85)
        segment = b"\xff\xeb" + (50_002).to_bytes(2, "big") + generator.bytes(50_000)
        start, rest = path.read_bytes()[:2], path.read_bytes()[2:]
        path.write_bytes(start + segment * (kilobytes // 50) + rest)


def seconds_of(work: Callable[[], object], before: Callable[[], object] | None = None) -> float:
    """Return the median seconds of several calls; ``before`` is called before each, untimed."""
    times = []
    for _ in range(REPEATS):
        if before is not None:
            before()
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def unknown() -> Any:
    """Return a context in which no file is known, as it was before."""
    return mock.patch.multiple(KnownFiles, find=lambda *_: None, save=lambda _: None)


def second_start(work: Path, count: int, kilobytes: int) -> dict[str, Any]:
    """Return the seconds of a second start, with the files known and with all of them read."""
    shutil.rmtree(work, ignore_errors=True)
    data, run = work / "photos", work / "run"
    draw_photos(data, count, kilobytes)
    time.sleep(3)  # a file that changed just now is not remembered
    cache = PhotoCache(work / "cache", Preprocessing(size=SIDE))
    config, dataset = TrainConfig(imgsz=SIDE), read_dataset(data)
    found: dict[str, Any] = {
        "kb": round(np.mean([x.stat().st_size for x in data.rglob("*.jpg")]) / 1e3)
    }

    def index() -> object:
        return build_index(dataset, cache)

    def start() -> object:
        return prepare(data, config, run, cache, Progress())

    def no_run() -> None:
        shutil.rmtree(run, ignore_errors=True)

    begun = time.perf_counter()
    start()
    found["first_s"] = time.perf_counter() - begun
    with unknown():
        found["index_read_s"] = seconds_of(index)
        found["start_read_s"] = seconds_of(start, no_run)
    found["index_known_s"] = seconds_of(index)
    found["start_known_s"] = seconds_of(start, no_run)
    shutil.rmtree(work)
    for part in ("index", "start"):
        found[f"{part}_ratio"] = found[f"{part}_read_s"] / found[f"{part}_known_s"]
    print(found, flush=True)
    return found


if __name__ == "__main__":
    second_start(Path("/tmp/input/second"), 2000, 100)
    second_start(Path("/tmp/input/second"), 2000, 400)
    import cProfile

    work = Path("/tmp/input/second")
    draw_photos(work / "p", 2000, 0)
    time.sleep(3)
    cache = PhotoCache(work / "cache", Preprocessing(size=SIDE))
    config = TrainConfig(imgsz=SIDE)
    prepare(work / "p", config, work / "r", cache, Progress())
    shutil.rmtree(work / "r")
    cProfile.run('prepare(work/"p", config, work/"r", cache, Progress())', sort="cumtime")
